"""
One ask, and what one side asked or was asked.  The rules are `AskBook<ensemble.conversations.asks.AskBook>`'s.
"""

from __future__ import annotations

from collections import OrderedDict
from enum import Enum
from typing import Final

from attrs import define, field

from ensemble.conversations.outputs import Side
from ensemble.identity import HumdId

OVERHEAD: Final = 1024  # bytes of one ask, without its keys: itself and its places in the tables
# Bytes of a character of a key that is not all ASCII: in Python four, and four more once it was written.
WIDE: Final = 8


class Kind(Enum):
    """
    What was asked.

    ``PROMPT`` ends with a finish or an error, ``CALL`` with a tool-result or an error; both stay open however long that
    takes.  ``OTHER`` is a chi that this version does not know: somebody may wait, so it is open, but it is remembered
    no longer than what has ended.  Nobody waits after ``PASSING`` (cancel, attach, ...): it is never open, and
    remembered so that an error finds its way.
    """

    PROMPT = 1
    CALL = 2
    OTHER = 3
    PASSING = 4


@define(eq=False, weakref_slot=False)
class Ask:
    """
    One ask.  Only `AskBook` changes it.

    :ivar asker: None for an orphan.
    :ivar heir: of an orphan: the peer that may take it over; None where any local client may.
    :ivar rid: of the latest tone that asked.
    :ivar earlier: the rids of the prompts before it that belong to the same open ask, oldest first.
    :ivar group: how many servers may still answer, where the tone went to several; shared by their asks.
    :ivar alive: False once it is forgotten.
    :ivar heads: how pieces of the answer of a peer begin in which every parser finds the same envelope; the latest few.
    :ivar size: bytes of its keys, as they count against a ceiling.
    """

    asker: Side | None
    server: Side
    kind: Kind
    rid: str | None
    sid: str | None
    call_id: str | None
    heir: HumdId | None = None
    earlier: tuple[str | None, ...] = ()
    group: list[int] | None = None
    open: bool = field(init=False)
    alive: bool = True
    heads: tuple[bytes, ...] = ()
    size: int = 0

    @open.default
    def _begins_open(self) -> bool:
        return self.kind is not Kind.PASSING

    def measure(self) -> int:
        """Bytes that the keys take which it has now."""
        keys = (self.rid, self.sid, self.call_id, *self.earlier)
        return sum(len(key) if key.isascii() else WIDE * len(key) for key in keys if key)

    def may_be_taken_by(self, asker: Side) -> bool:
        """True where this is an orphan and ``asker`` its heir."""
        if self.asker is not None:
            return False
        return isinstance(asker, str) if self.heir is None else asker == self.heir


@define(eq=False, weakref_slot=False)
class Served:
    """
    What one server was asked.  The three indexes are read for every reply.

    :ivar open: how many are.
    :ivar prompts: how many of them are prompts.
    """

    sids: dict[str | None, Ask] = field(factory=dict)
    calls: dict[str | None, Ask] = field(factory=dict)
    rids: dict[str | None, Ask] = field(factory=dict)
    asks: dict[Ask, None] = field(factory=dict)
    open: int = 0
    prompts: int = 0


@define(eq=False, weakref_slot=False)
class Asked:
    """
    What one asker asked.

    :ivar fading: what may be forgotten for something new of the same asker, the oldest first.
    :ivar ended: those of them that nobody waits for, so that they may be forgotten for others too.
    :ivar prompts: the latest by sid.
    :ivar size: bytes of all keys.
    """

    asks: dict[Ask, None] = field(factory=dict)
    fading: OrderedDict[Ask, None] = field(factory=OrderedDict)
    ended: dict[Ask, None] = field(factory=dict)
    prompts: dict[str | None, Ask] = field(factory=dict)
    size: int = 0

    @property
    def held(self) -> int:
        """Bytes of all that it asked."""
        return self.size + OVERHEAD * len(self.asks)
