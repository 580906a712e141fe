"""What bounds a link, by name, with its unit.  Nobody sets these; see ``docs/limits.rst``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from ensemble.mesh import allowance, defaults, proof_memory, tap

CEILINGS: Final[Mapping[str, int | float]] = {
    "peer_dials": defaults.PEER_DIALS,
    "stagger_seconds": defaults.STAGGER_SECONDS,
    "redial_first_seconds": defaults.REDIAL_FIRST_SECONDS,
    "redial_last_seconds": defaults.REDIAL_LAST_SECONDS,
    "move_seconds": defaults.MOVE_SECONDS,
    "settle_seconds": defaults.SETTLE_SECONDS,
    "pongs_at_once": defaults.PONGS_AT_ONCE,
    "malformed_lines_per_second": allowance.MALFORMED_PER_SECOND,
    "malformed_lines_at_once": allowance.MALFORMED_AT_ONCE,
    "goodbye_seconds": defaults.STOP_SECONDS,
    "key_statements": defaults.MAX_STATEMENTS,
    "key_statements_per_link": defaults.LINK_STATEMENTS,
    "remembered_strangers": proof_memory.MAX_STRANGERS,
    "remembered_hellos": proof_memory.MAX_HELLOS,
    "peers_database_seconds": proof_memory.OPEN_SECONDS,
    "tap_tones": tap.TAP_TONES,
}
