"""Says on a line whose tone it is, without rebuilding the line where that can be helped (wire-0.8 section 5)."""

from __future__ import annotations

from functools import lru_cache

from ensemble.tone.codec import ABSENT, Envelope, decode_checked, encode


def stamp(line: bytes, envelope: Envelope, sender: str, to: str | None) -> bytes:
    """
    The same tone with this ``from`` and ``to``.

    Where neither key is in the line they are put in front, and where one has another value that value is replaced;
    all else stays as it is, byte for byte.  Only a line that hides the keys (in escapes, behind a ``null``, or by
    having them more than once) is built anew.

    :param line: accepted by a reader.
    :param envelope: of this line.
    :param sender: plain ASCII, as an id is; so is ``to``.
    :param to: ``None`` leaves whatever is there.
    :returns: ``line`` itself where it already says so.
    """
    if envelope.sender == sender and (to is None or envelope.to == to):
        return line
    if envelope.sender is ABSENT and envelope.to is ABSENT and to is not None and line[0] == 123:  # `{`, not a blank
        return _front(sender, to) + line[1:]  # what a local program says, nearly always
    fields = ((b'"from"', envelope.sender, sender), (b'"to"', envelope.to, to))
    stamped: bytes | None = line
    added = b""
    if 92 in line and b"\\u" in line:
        stamped = None  # an escape may spell either key
    for key, old, new in fields:
        if stamped is None or new is None or old == new:
            continue
        if isinstance(old, str):
            stamped = _replaced(stamped, key, old, new)
        elif old is None:
            stamped = None
        else:
            added += key + b':"' + new.encode() + b'",'
    if stamped is None:
        tone = decode_checked(line)
        tone["from"] = sender
        if to is not None:
            tone["to"] = to
        return encode(tone)
    if added:
        brace = stamped.index(b"{") + 1  # behind it stands at least a chi
        stamped = b"".join((stamped[:brace], added, stamped[brace:]))
    return stamped


@lru_cache(1024)
def _front(sender: str, to: str) -> bytes:
    return f'{{"from":"{sender}","to":"{to}",'.encode()


def _replaced(line: bytes, key: bytes, old: str, new: str) -> bytes | None:
    """The line with the value of ``key`` exchanged; None where it is not plain to see which value that is."""
    at = line.rfind(key)
    # The envelope has the key, so where it stands only once it is the envelope's and not one of the body.
    if at < 0 or line.find(key, 0, at) >= 0:
        return None
    at += len(key)
    value = b'"' + old.encode() + b'"'
    for colon in (b":", b": "):
        there = colon + value
        if line.startswith(there, at):
            return b"".join((line[:at], b':"', new.encode(), line[at + len(there) - 1 :]))
    return None
