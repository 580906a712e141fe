"""Words of options that the daemon and the command have in common."""

from __future__ import annotations

from typing import Final

ADMIT: Final = ("known", "any")
LOG_FORMATS: Final = ("text", "json")
PLACES: Final = ("state-dir", "key", "peers", "thrum")  # options that say where a humd is
EMPTY_PLACE: Final = "is empty: leave it out, or name the place"  # that of a variable which is not set is another's
