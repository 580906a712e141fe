"""What bounds a connection, by name, with its unit.  Nobody sets these; see ``docs/limits.rst``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from ensemble.protocols import budget, handshake, names, newcomer, share, tls, tls_sessions

CEILINGS: Final[Mapping[str, int | float]] = {
    "look_ups": names.LOOK_UPS,
    "look_ups_per_peer": names.PEER_LOOK_UPS,
    "look_up_seconds": names.LOOK_UP_SECONDS,
    "look_up_addresses": names.MAX_ADDRESSES,
    "flow_bytes_per_second": share.FLOW_BYTES,
    "pending_bytes": handshake.PENDING_BYTES,
    "pending_lines": newcomer.MOST_LINES,
    "pending_pieces": newcomer.MOST_PIECES,
    "tls_handshake_bytes": tls.HANDSHAKE_BYTES,
    "tls_message_bytes": tls_sessions.MESSAGE_BYTES,
    "tls_key_updates": tls_sessions.KEY_UPDATES,
    "tls_key_updates_seconds": tls_sessions.KEY_UPDATE_SECONDS,
    "tls_rsa_bits": tls_sessions.RSA_BITS,
    "strangers_share_percent": budget.SHARES[budget.Standing.STRANGER],
    "known_share_percent": budget.SHARES[budget.Standing.KNOWN],
    "local_share_percent": budget.SHARES[budget.Standing.LOCAL],
}
