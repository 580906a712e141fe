"""
One ceiling over all unfinished lines (wire-0.8 section 7), and another over all that wait to be written.

Each wire has its own ceiling per line and per queue; a thousand wires just below it each would still fill the memory.
When the sum passes the limit, the one that holds most is closed, and so on until the sum fits.
"""

from __future__ import annotations

from typing import Final, Protocol

from ensemble.errors import RemoteWireError

DEFAULT_LINE_BUDGET: Final = 64 * 1024 * 1024  # bytes of unfinished lines, over all wires of a process
DEFAULT_QUEUE_BUDGET: Final = 256 * 1024 * 1024  # bytes that wait to be written: 32 full queues


UNFINISHED: Final = "unfinished lines"


class BudgetExceeded(RemoteWireError):
    """
    All together are too much, and this holder has most.

    :ivar pending: bytes that it held.
    :ivar limit: bytes for all.
    """

    def __init__(self, pending: int, limit: int, what: str) -> None:
        super().__init__(f"all {what} together pass {limit} bytes; the longest, of {pending}, goes")
        self.pending, self.limit = pending, limit


class LineHolder(Protocol):
    """Who holds part of a line, or a queue of lines.  Compared by identity."""

    def budget_exceeded(self, error: BudgetExceeded) -> None:
        """You hold most of all: let go of it.  You are forgotten already; must not raise."""


class LineBudget:
    """
    Who holds how much of lines that are unfinished, or unsent.

    :ivar limit: bytes for all holders together.
    :ivar total: bytes held by all of them; never above C{limit} once L{note} returned.
    """

    __slots__ = ("_pending", "_what", "limit", "total")

    def __init__(self, limit: int = DEFAULT_LINE_BUDGET, what: str = UNFINISHED) -> None:
        """:param what: is held: for the text of the error."""
        self.limit, self._what = limit, what
        self.total = 0
        self._pending: dict[LineHolder, int] = {}

    def note(self, holder: LineHolder, pending: int) -> None:
        """
        C{holder} now holds C{pending} bytes, whatever it said before; 0 forgets it.

        May call L{LineHolder.budget_exceeded}, of C{holder} itself or of others, before it returns.
        """
        before = self._pending.pop(holder, 0) if not pending else self._pending.get(holder, 0)
        if pending:
            self._pending[holder] = pending
        self.total += pending - before
        while self.total > self.limit:
            greediest = max(self._pending, key=self._pending.__getitem__)
            held = self._pending.pop(greediest)
            self.total -= held
            greediest.budget_exceeded(BudgetExceeded(held, self.limit, self._what))
