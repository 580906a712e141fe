"""Who asked whom, and who therefore gets what: delivery as a sans-IO core."""

from __future__ import annotations

from ensemble.conversations.asks import MAX_ASKS, MAX_KEYS, MAX_ORPHANS, REMEMBERED
from ensemble.conversations.ceilings import CEILINGS
from ensemble.conversations.outputs import (
    COUNTERS,
    Drop,
    Notice,
    Output,
    Side,
    ToClient,
    ToPeer,
    WaitingChanged,
)
from ensemble.conversations.routes import Routes
from ensemble.conversations.service import Node

__all__ = [
    "CEILINGS",
    "COUNTERS",
    "MAX_ASKS",
    "MAX_KEYS",
    "MAX_ORPHANS",
    "REMEMBERED",
    "Drop",
    "Node",
    "Notice",
    "Output",
    "Routes",
    "Side",
    "ToClient",
    "ToPeer",
    "WaitingChanged",
]
