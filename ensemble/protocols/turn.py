"""When what waits in outboxes is written: once per reactor turn, or right behind what led to it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

if TYPE_CHECKING:
    from ensemble.protocols.block import Block
    from ensemble.protocols.outbox import Outbox


class Turn:
    """
    When outboxes are flushed; one for all of a process.

    What is pushed while the lines of one read are handled leaves right behind them, for a lone tone should not wait
    for the reactor to come round.  That happens once in a turn: whatever else is pushed in it, there or from anywhere
    else, leaves together at its end, in one ``callLater(0)``, however many outboxes and lines there are.
    """

    log = Logger()

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._call: IDelayedCall | None = None  # the end of this turn, where somebody cares
        self._dirty: list[Outbox | Block] = []
        self._handling = False

    def add(self, outbox: Outbox | Block) -> None:
        """Flush ``outbox`` in this turn.  For outboxes and what they share only: they ask once."""
        self._dirty.append(outbox)
        if self._call is None and not self._handling:
            self._call = self._clock.callLater(0, self._ended)

    def handle(self, handler: Callable[[list[bytes]], None], lines: list[bytes]) -> None:
        """Have ``handler`` handle the lines of one read."""
        outer, self._handling = self._handling, True
        try:
            handler(lines)
        finally:
            self._handling = outer
            if self._dirty and self._call is None and not outer:
                self._flush()
                if self._call is None:
                    self._call = self._clock.callLater(0, self._ended)

    def _flush(self) -> None:
        dirty, self._dirty = self._dirty, []
        for outbox in dirty:
            try:
                outbox.flush()
            except Exception:  # noqa: BLE001
                # One destination's bug must not hold up all others.
                self.log.failure("flushing an outbox failed")

    def _ended(self) -> None:
        self._call = None
        self._flush()
