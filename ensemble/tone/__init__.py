"""Tones: the messages of the mesh, how they are written on a line, and what they are called."""

from ensemble.tone.chi import CHI_TABLE, THRUM_VERSION, Chi, ChiInfo, Direction, PulseKind
from ensemble.tone.codec import (
    ABSENT,
    MAX_TEXT,
    BadDocument,
    Envelope,
    IllegalTone,
    decode,
    decode_checked,
    decode_each,
    encode,
    envelope_of,
    peek,
    peek_each,
    read,
    read_document,
    write_document,
)
from ensemble.tone.dusk import dusk_in, is_expired
from ensemble.tone.kinds import DROPPABLE, ENDS, LINK_CHI, NEVER_ANSWERED, NEVER_ANSWERED_PEER, REPLIES
from ensemble.tone.qualifier import MEANING, Qualifier, error_tone
from ensemble.tone.rid import RidMinter, base36, is_about, rid
from ensemble.tone.salvage import Salvaged, salvage
from ensemble.tone.sigil import sigil
from ensemble.tone.stamp import stamp
from ensemble.tone.strict import MAX_DEPTH, MalformedTone
from ensemble.tone.twice import MAX_HEAD, head, once
from ensemble.tone.wane import MAX_WANE, WaneTracker

__all__ = [
    "ABSENT",
    "CHI_TABLE",
    "DROPPABLE",
    "ENDS",
    "LINK_CHI",
    "MAX_DEPTH",
    "MAX_HEAD",
    "MAX_TEXT",
    "MAX_WANE",
    "MEANING",
    "NEVER_ANSWERED",
    "NEVER_ANSWERED_PEER",
    "REPLIES",
    "THRUM_VERSION",
    "BadDocument",
    "Chi",
    "ChiInfo",
    "Direction",
    "Envelope",
    "IllegalTone",
    "MalformedTone",
    "PulseKind",
    "Qualifier",
    "RidMinter",
    "Salvaged",
    "WaneTracker",
    "base36",
    "decode",
    "decode_checked",
    "decode_each",
    "dusk_in",
    "encode",
    "envelope_of",
    "error_tone",
    "head",
    "is_about",
    "is_expired",
    "once",
    "peek",
    "peek_each",
    "read",
    "read_document",
    "rid",
    "salvage",
    "sigil",
    "stamp",
    "write_document",
]
