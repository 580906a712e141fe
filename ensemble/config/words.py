"""Words that options of the daemon take, which C{ensemble init} passes on."""

from __future__ import annotations

from typing import Final

ADMIT: Final = ("known", "any")
LOG_FORMATS: Final = ("text", "json")
