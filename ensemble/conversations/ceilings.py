"""What bounds what is asked and answered, by name, with its unit.  Nobody sets these; see ``docs/limits.rst``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from ensemble.conversations import asks, owed

CEILINGS: Final[Mapping[str, int | float]] = {
    "asks_per_client": asks.MAX_ASKS,
    "asks_orphaned": asks.MAX_ORPHANS,
    "asks_keys_bytes": asks.MAX_KEYS,
    "asks_bytes": asks.MAX_BYTES,
    "asks_remembered_seconds": asks.REMEMBERED,
    "owed_errors_per_peer": owed.MAX_OWED,
    "owed_bytes_per_peer": owed.MAX_OWED_BYTES,
    "owed_bytes": owed.MAX_ALL_BYTES,
}
