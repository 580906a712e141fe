"""The local bees: what they say of themselves, and who of them does what."""

from __future__ import annotations

from ensemble.hives.manifest import (
    MAX_CATALOGUE,
    MAX_CHIS,
    MAX_MODELS,
    MAX_ROLES,
    MAX_TEXT,
    MAX_TOOLS,
    WORKER,
    Bind,
    NestlingManifest,
    ReadHello,
    Tool,
    read_hello,
)
from ensemble.hives.roster import Roster

__all__ = [
    "MAX_CATALOGUE",
    "MAX_CHIS",
    "MAX_MODELS",
    "MAX_ROLES",
    "MAX_TEXT",
    "MAX_TOOLS",
    "WORKER",
    "Bind",
    "NestlingManifest",
    "ReadHello",
    "Roster",
    "Tool",
    "read_hello",
]
