"""
Whose turn it is to dial: so many dials may be under way at once, over all peers.

Each takes a descriptor until it has failed or its link is up, and a row costs nothing to write.  Whoever waits is
served in the order in which it asked, and asks for one dial at a time: the many hints of one peer are behind the first
of the others.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from ensemble.mesh.defaults import SPARE_SECONDS


class DialTurns:
    """Gives turns; each is over when `ended` is called."""

    def __init__(self, most: int, clock: IReactorTime, spare: Callable[[], bool]) -> None:
        """
        :param most: turns at once.
        :param spare: asked before each: are there descriptors for one more?
        """
        self._most, self._clock, self._spare = most, clock, spare
        self._waiting: dict[Hashable, Callable[[], None]] = {}
        self._taken = 0
        self._giving = False
        self._timer: IDelayedCall | None = None

    def ask(self, who: Hashable, begin: Callable[[], None]) -> None:
        """Have ``begin`` called when it is the turn of ``who``, perhaps at once; it waits for one turn at most."""
        self._waiting.setdefault(who, begin)
        self._give()

    def withdraw(self, who: Hashable) -> None:
        """``who`` does not wait any more; nothing where it does not."""
        self._waiting.pop(who, None)
        if not self._waiting and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def waits(self, who: Hashable) -> bool:
        """Is it not yet the turn of ``who``, which asked?"""
        return who in self._waiting

    def ended(self) -> None:
        """One of those that had a turn is done.  Who waits has it soon: the rows may be changing at this moment."""
        self._taken -= 1
        if self._waiting:
            self._give_in(0)

    def _give(self) -> None:
        if self._giving:
            return  # a dial that fails at once asks again: the loop goes on, and not the stack
        self._giving = True
        try:
            while self._waiting and self._taken < self._most:
                if not self._spare():
                    self._give_in(SPARE_SECONDS)  # nobody tells when one is free
                    return
                begin = self._waiting.pop(next(iter(self._waiting)))
                begin()
                self._taken += 1
        finally:
            self._giving = False

    def _give_in(self, seconds: float) -> None:
        if self._timer is None:
            self._timer = self._clock.callLater(seconds, self._give_now)

    def _give_now(self) -> None:
        self._timer = None
        self._give()
