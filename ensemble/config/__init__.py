"""Where things are, and what the operator wrote there."""

from ensemble.config.atomic import create_text, write_text
from ensemble.config.paths import MAX_THRUM, Paths, ThrumPathTooLong
from ensemble.config.peers import (
    LEVELS,
    PeerRow,
    PeersFile,
    parse_peers,
    read_peers,
    row_json,
    write_empty_peers,
)
from ensemble.config.trust import Edit, Trust, trust_peer, untrust_peer

__all__ = [
    "LEVELS",
    "MAX_THRUM",
    "Edit",
    "PeerRow",
    "PeersFile",
    "Paths",
    "ThrumPathTooLong",
    "Trust",
    "create_text",
    "parse_peers",
    "read_peers",
    "row_json",
    "trust_peer",
    "untrust_peer",
    "write_empty_peers",
    "write_text",
]
