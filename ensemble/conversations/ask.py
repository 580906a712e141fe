"""
One ask, and what one side asked or was asked.  The rules are L{AskBook<ensemble.conversations.asks.AskBook>}'s.
"""

from __future__ import annotations

from collections import OrderedDict
from enum import Enum
from typing import Final

from ensemble.conversations.outputs import Side
from ensemble.identity import HumdId

OVERHEAD: Final = 1024  # bytes of one ask, without its keys: itself and its places in the tables
# Bytes of a character of a key that is not all ASCII: in Python four, and four more once it was written.
WIDE: Final = 8


class Kind(Enum):
    """
    What was asked.

    C{PROMPT} ends with a finish or an error, C{CALL} with a tool-result or an error; both stay open however long that
    takes.  C{OTHER} is a chi that this version does not know: somebody may wait, so it is open, but it is remembered no
    longer than what has ended.  Nobody waits after C{PASSING} (cancel, attach, ...): it is never open, and remembered
    so that an error finds its way.
    """

    PROMPT = 1
    CALL = 2
    OTHER = 3
    PASSING = 4


class Ask:
    """
    One ask.  Only L{AskBook} changes it.

    :ivar asker: None for an orphan.
    :ivar heir: of an orphan: the peer that may take it over; None where any local client may.
    :ivar rid: of the latest tone that asked.
    :ivar earlier: the rids of the prompts before it that belong to the same open ask, oldest first.
    :ivar group: how many servers may still answer, where the tone went to several; shared by their asks.
    :ivar alive: False once it is forgotten.
    :ivar heads: how pieces of the answer of a peer begin in which every parser finds the same envelope; the latest few.
    :ivar size: bytes of its keys, as they count against a ceiling.
    """

    __slots__ = (
        "alive",
        "asker",
        "call_id",
        "earlier",
        "group",
        "heads",
        "heir",
        "kind",
        "open",
        "rid",
        "server",
        "sid",
        "size",
    )

    def __init__(
        self, asker: Side, server: Side, kind: Kind, rid: str | None, sid: str | None, call_id: str | None
    ) -> None:
        self.asker: Side | None = asker
        self.heir: HumdId | None = None
        self.server, self.kind = server, kind
        self.rid, self.sid, self.call_id = rid, sid, call_id
        self.earlier: tuple[str | None, ...] = ()
        self.group: list[int] | None = None
        self.open = kind is not Kind.PASSING
        self.alive = True
        self.heads: tuple[bytes, ...] = ()
        self.size = 0

    def measure(self) -> int:
        """Bytes that the keys take which it has now."""
        keys = (self.rid, self.sid, self.call_id, *self.earlier)
        return sum(len(key) if key.isascii() else WIDE * len(key) for key in keys if key)

    def may_be_taken_by(self, asker: Side) -> bool:
        """True where this is an orphan and C{asker} its heir."""
        if self.asker is not None:
            return False
        return isinstance(asker, str) if self.heir is None else asker == self.heir


class Served:
    """What one server was asked.  The three indexes are read for every reply."""

    __slots__ = ("asks", "calls", "open", "prompts", "rids", "sids")

    def __init__(self) -> None:
        self.sids: dict[str | None, Ask] = {}
        self.calls: dict[str | None, Ask] = {}
        self.rids: dict[str | None, Ask] = {}
        self.asks: dict[Ask, None] = {}
        self.open = 0
        self.prompts = 0  # open ones


class Asked:
    """
    What one asker asked.

    :ivar fading: what may be forgotten for something new of the same asker, the oldest first.
    :ivar ended: those of them that nobody waits for, so that they may be forgotten for others too.
    :ivar size: bytes of all keys.
    """

    __slots__ = ("asks", "ended", "fading", "prompts", "size")

    def __init__(self) -> None:
        self.asks: dict[Ask, None] = {}
        self.fading: OrderedDict[Ask, None] = OrderedDict()
        self.ended: dict[Ask, None] = {}
        self.prompts: dict[str | None, Ask] = {}  # the latest by sid
        self.size = 0

    @property
    def held(self) -> int:
        """Bytes of all that it asked."""
        return self.size + OVERHEAD * len(self.asks)
