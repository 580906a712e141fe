"""
One ceiling over all unfinished lines (wire-0.8 section 7), and another over all that wait to be written.

Each wire has its own ceiling per line and per queue; a thousand wires just below it each would still fill the memory.
When the sum passes the limit one goes, and so on until the sum fits: of those whose kind has more than its share, and
strangers before others, the one that holds most.  So a crowd of strangers that fills what there is costs nobody else
anything: whoever sends the longest line beside it would be the greediest of all.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import Final, Protocol

from ensemble.errors import RemoteWireError

DEFAULT_LINE_BUDGET: Final = 64 * 1024 * 1024  # bytes of unfinished lines, over all wires of a process
DEFAULT_QUEUE_BUDGET: Final = 256 * 1024 * 1024  # bytes that wait to be written: 32 full queues

UNFINISHED: Final = "unfinished lines"


class Standing(IntEnum):
    """Whose a line or a queue is; the first goes first."""

    STRANGER = 0
    KNOWN = 1
    LOCAL = 2

    @property
    def words(self) -> str:
        """Of all of that kind, for people."""
        return ("strangers", "peers with a row", "local programs")[self]


# Percent of a limit that each kind may hold when all together hold too much.
SHARES: Final[Mapping[Standing, int]] = {Standing.STRANGER: 25, Standing.KNOWN: 50, Standing.LOCAL: 25}


class BudgetExceeded(RemoteWireError):
    """
    All together are too much, and this holder has most of its kind.

    :ivar pending: bytes that it held.
    :ivar limit: bytes for all.
    """

    def __init__(self, pending: int, limit: int, what: str, standing: Standing) -> None:
        text = f"all {what} together pass {limit} bytes, and {standing.words} have more than their share"
        super().__init__(f"{text}; the longest of theirs, of {pending}, goes")
        self.pending, self.limit = pending, limit


class LineHolder(Protocol):
    """
    Who holds part of a line, or a queue of lines.  Compared by identity.

    A ``standing`` that it has says whose that is, and may change; who has none is a program of this machine.
    """

    def budget_exceeded(self, error: BudgetExceeded) -> None:
        """You hold most of your kind: let go of it.  You are forgotten already; must not raise."""


class LineBudget:
    """
    Who holds how much of lines that are unfinished, or unsent.

    :ivar limit: bytes for all holders together.
    :ivar total: bytes held by all of them; never above ``limit`` once `note` returned.
    """

    __slots__ = ("_pending", "_what", "limit", "total")

    def __init__(self, limit: int = DEFAULT_LINE_BUDGET, what: str = UNFINISHED) -> None:
        """:param what: is held: for the text of the error."""
        self.limit, self._what = limit, what
        self.total = 0
        self._pending: dict[LineHolder, int] = {}

    def note(self, holder: LineHolder, pending: int) -> None:
        """
        ``holder`` now holds ``pending`` bytes, whatever it said before; 0 forgets it.

        May call `LineHolder.budget_exceeded`, of ``holder`` itself or of others, before it returns.
        """
        before = self._pending.pop(holder, 0) if not pending else self._pending.get(holder, 0)
        if pending:
            self._pending[holder] = pending
        self.total += pending - before
        while self.total > self.limit:
            standing = self._over_its_share()
            theirs = [each for each in self._pending if _standing_of(each) == standing]
            greediest = max(theirs, key=self._pending.__getitem__)
            held = self._pending.pop(greediest)
            self.total -= held
            greediest.budget_exceeded(BudgetExceeded(held, self.limit, self._what, standing))

    def _over_its_share(self) -> Standing:
        """There is one, as all together are over the limit."""
        held = dict.fromkeys(Standing, 0)
        for holder, pending in self._pending.items():
            held[_standing_of(holder)] += pending
        return next(each for each in Standing if held[each] * 100 > SHARES[each] * self.limit)


def _standing_of(holder: LineHolder) -> Standing:
    found: Standing = getattr(holder, "standing", Standing.LOCAL)
    return found
