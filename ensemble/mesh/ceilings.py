"""What bounds a link, by name, with its unit.  Nobody sets these; see C{docs/limits.rst}."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from ensemble.mesh import allowance, defaults, proof_memory, tap

CEILINGS: Final[Mapping[str, int | float]] = {
    "peer_dials": defaults.PEER_DIALS,
    "stagger_seconds": defaults.STAGGER_SECONDS,
    "redial_first_seconds": defaults.REDIAL_FIRST_SECONDS,
    "redial_last_seconds": defaults.REDIAL_LAST_SECONDS,
    "pending_seconds": defaults.PENDING_SECONDS,
    "move_seconds": defaults.MOVE_SECONDS,
    "settle_seconds": defaults.SETTLE_SECONDS,
    "ping_after_seconds": defaults.PING_SECONDS,
    "gone_after_seconds": defaults.GONE_SECONDS,
    "waited_for_ping_after_seconds": defaults.PING_SECONDS_WAITED_FOR,
    "waited_for_gone_after_seconds": defaults.GONE_SECONDS_WAITED_FOR,
    "stuck_ping_seconds": defaults.STUCK_SECONDS,
    "pongs_at_once": defaults.PONGS_AT_ONCE,
    "throttled_seconds": allowance.MOST_PAUSE,
    "malformed_lines_per_second": allowance.MALFORMED_PER_SECOND,
    "malformed_lines_at_once": allowance.MALFORMED_AT_ONCE,
    "link_close_seconds": defaults.CLOSE_SECONDS,
    "goodbye_seconds": defaults.STOP_SECONDS,
    "key_statements": defaults.MAX_STATEMENTS,
    "key_statements_per_link": defaults.LINK_STATEMENTS,
    "remembered_strangers": proof_memory.MAX_STRANGERS,
    "remembered_hellos": proof_memory.MAX_HELLOS,
    "peers_database_seconds": proof_memory.OPEN_SECONDS,
    "tap_tones": tap.TAP_TONES,
}
