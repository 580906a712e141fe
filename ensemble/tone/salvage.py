"""What can still be read of a line that is not a tone, so that whoever sent it can be told."""

from __future__ import annotations

import re
from itertools import islice
from typing import Final

from attrs import frozen

from ensemble.tone.codec import ABSENT, MAX_TEXT, BadDocument, Envelope, outline, read_document

PARSED: Final = 1024 * 1024
"""Bytes of a line that is looked at whole: it may be good JSON and yet no tone.  What is no field is skipped."""

SCANNED: Final = 8192
"""Bytes of a broken line, or of a longer one, that are looked at."""

TOKENS: Final = 100
"""Of those bytes: two dozen fields.  Whoever writes tones has the rid before them, and a flood is given up on soon."""

# A string that is not closed is a token too, or looking for the next one would begin in its middle.
_TOKEN: Final = re.compile(rb'"(?:[^"\\\x00-\x1f]++|\\.)*+("?)|[{}\[\]:,]')
_FIELDS: Final = {"chi": "chi", "rid": "rid", "sid": "sid", "callId": "call_id"}
_KEYS: Final = {b'"%s"' % key.encode(): name for key, name in _FIELDS.items()}


@frozen
class Salvaged:
    """What an error answer repeats of the tone that it is about; None where it could not be read."""

    chi: str | None = None
    rid: str | None = None
    sid: str | None = None
    call_id: str | None = None

    @property
    def envelope(self) -> Envelope:
        """As of a tone that says no more; without a ``chi`` that one is empty."""
        call_id = ABSENT if self.call_id is None else self.call_id
        return Envelope(chi=self.chi or "", rid=self.rid, sid=self.sid, raw_call_id=call_id)


def salvage(line: bytes) -> Salvaged:
    """
    Best effort, bounded work, never an error.

    :param line: refused by a reader, or the beginning of one that was too long.
    """
    fields = outline(line) if len(line) <= PARSED else None
    return _from_scan((line if fields is None else fields)[:SCANNED])  # broken JSON: as far as it goes


def _from_scan(head: bytes) -> Salvaged:
    """Read members of the outermost object for as long as its tokens make sense."""
    found: dict[str, bytes] = {}
    depth = 0
    key: str | None = None  # of the outermost object, its colon not yet seen
    member: str | None = None  # its colon seen: the next token is its value
    last = b""
    for match in islice(_TOKEN.finditer(head), TOKENS):
        token = match[0]
        if token.startswith(b'"'):
            if not match[1]:
                break
            if depth == 1 and member is not None:
                found[member] = token
                member = None
            elif depth == 1 and last in (b"{", b","):
                key = _KEYS.get(token)
        elif token in b"{[":
            depth += 1
        elif token in b"}]":
            depth -= 1
        elif depth == 1:
            member, key = (key, None) if token == b":" else (None, None)
        if depth < 1:
            break
        last = token
    return Salvaged(**{name: _text(token) for name, token in found.items()})


def _text(token: bytes) -> str | None:
    try:
        text: str = read_document(token)
    except BadDocument:
        return None
    return text if len(text) <= MAX_TEXT else None
