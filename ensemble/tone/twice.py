"""
Keys of the envelope that stand in a line twice.

Our readers take the last of them, other parsers the first: whoever reads a line that we hand on would then see another
``from`` or ``sid`` than the one that was judged.  Such a line is built anew, with each key once; and so is one that may
be such a line, for to be sure would cost as much: behind something else, and with the text of a key twice.
"""

from __future__ import annotations

from typing import Any, Final

from ensemble.tone.codec import ABSENT, Envelope, decode_checked, encode

_KEYS: Final = (b'"chi"', b'"from"', b'"to"', b'"sid"', b'"rid"', b'"callId"')
_LETTER: Final = b"\\u00"  # begins each escape that may spell a letter of a key

MAX_HEAD: Final = 512  # bytes


def head(line: bytes, envelope: Envelope) -> bytes | None:
    """
    The begin of a line, up to ``chi``, ``from``, ``to`` and ``sid``: each for the first time, and as ``envelope`` has
    it.

    In whatever line begins so these are the first ones, too.

    :returns: None where that is not plain to see, or it is long.
    """
    end = _end(line, (envelope.chi, envelope.sender, envelope.to, envelope.sid))
    return line[:end] if 0 < end <= MAX_HEAD else None


def once(line: bytes, envelope: Envelope) -> bytes:
    """
    The same tone, in which every parser finds the same envelope.

    :param line: accepted by a reader.
    :param envelope: of this line.
    :returns: ``line`` itself, nearly always: where the envelope comes first, or no key is in the line twice at all.
    """
    told = (envelope.chi, envelope.sender, envelope.to, envelope.sid, envelope.rid, envelope.raw_call_id)
    if _end(line, told) >= 0:
        return line
    if line.find(_LETTER) < 0 and all(line.count(key) < 2 for key in _KEYS):
        return line
    return encode(decode_checked(line))


def _end(line: bytes, told: tuple[Any, ...]) -> int:
    """Where the last of ``_KEYS`` ends, if each stands for the first time with the value that is told; else -1."""
    end = 0
    for key, value in zip(_KEYS, told, strict=False):
        if value is ABSENT:
            continue
        at = line.find(key)
        if value is None:
            if at >= 0 or line.find(_LETTER) >= 0:
                return -1  # it may stand there, and be null later
            continue
        if at < 0 or type(value) is not str:
            return -1
        at += len(key)
        text = b':"' + value.encode() + b'"'
        if not line.startswith(text, at):
            if not line.startswith(b": " + text[1:], at):
                return -1
            at += 1
        at += len(text)
        if at > end:
            end = at
    # Before it nothing is inside of something else, and no key is spelled otherwise; braces may be those of a text.
    if line.find(b"{", 1, end) >= 0 or line.find(b"\\", 0, end) >= 0:
        return -1
    return end
