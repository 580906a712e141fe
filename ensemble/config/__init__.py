"""Where things are, and what the operator wrote there."""

from ensemble.config.addresses import outward_addresses
from ensemble.config.atomic import alone, create_text, write_text
from ensemble.config.controls import CONTROLS, CONTROLS_BUT_LINES, escaped_json
from ensemble.config.pasting import pasteable
from ensemble.config.paths import (
    LOCK,
    MAX_THRUM,
    Paths,
    ThrumPathTooLong,
    meant,
    refuse_shared_state,
    served,
    shown,
    without_home,
)
from ensemble.config.peers import (
    LEVELS,
    BadAlias,
    PeerRow,
    PeersFile,
    parse_peers,
    read_peers,
    row_json,
    write_empty_peers,
)
from ensemble.config.rekeying import (
    KEY_KIN,
    OwnStatements,
    begin_rotation,
    finish_rotation,
    keep_revocation,
    next_key_trouble,
    old_key_file,
    read_own_statements,
    read_revocation,
    remove_seeds,
    write_revocation,
)
from ensemble.config.trust import AliasTaken, Edit, Trust, trust_peer, untrust_peer
from ensemble.config.words import ADMIT, LOG_FORMATS

__all__ = [
    "ADMIT",
    "CONTROLS",
    "CONTROLS_BUT_LINES",
    "KEY_KIN",
    "LEVELS",
    "LOCK",
    "LOG_FORMATS",
    "MAX_THRUM",
    "AliasTaken",
    "BadAlias",
    "Edit",
    "OwnStatements",
    "PeerRow",
    "PeersFile",
    "Paths",
    "ThrumPathTooLong",
    "Trust",
    "alone",
    "begin_rotation",
    "create_text",
    "escaped_json",
    "finish_rotation",
    "keep_revocation",
    "meant",
    "next_key_trouble",
    "old_key_file",
    "outward_addresses",
    "parse_peers",
    "pasteable",
    "read_own_statements",
    "read_peers",
    "read_revocation",
    "refuse_shared_state",
    "remove_seeds",
    "served",
    "shown",
    "row_json",
    "trust_peer",
    "untrust_peer",
    "without_home",
    "write_empty_peers",
    "write_revocation",
    "write_text",
]
