"""
SIGTERM and SIGINT: say goodbye, exit 0.  SIGHUP: read the peers file again.

Left alone, ``twistd`` dies of SIGTERM with 143.  The handlers are taken twice: before the sockets appear, so that
nobody who sees them can hit us unprepared, and when the reactor runs, for it has then put its own in place.

Behind the goodbye stands an alarm: the reactor waits for its threads, and one of them may wait for a name server.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from types import FrameType
from typing import Any, Final

from twisted.logger import Logger

END_SECONDS: Final = 1.8  # from the signal until the process is gone, whatever it still waits for

Install = Callable[[int, Callable[[int, FrameType | None], None]], object]


class Signals:
    """Turns signals into calls in the reactor thread."""

    log = Logger()

    def __init__(
        self,
        reactor: Any,
        stop: Callable[[], None],
        reload: Callable[[], object],
        end_now: Callable[[], None],
        install: Install = signal.signal,
        alarm: Callable[[float], object] = lambda seconds: signal.setitimer(signal.ITIMER_REAL, seconds),
    ) -> None:
        """
        :param reactor: ``IReactorFromThreads`` and ``IReactorCore``.
        :param stop: called once, however often we are told.
        :param end_now: called where that did not end the process in time.
        """
        self._reactor, self._stop, self._reload, self._end_now = reactor, stop, reload, end_now
        self._install, self._alarm = install, alarm
        self._stopping = False

    def take(self) -> None:
        """From now on the signals are ours, and once more when the reactor runs."""
        self._take()
        self._reactor.callWhenRunning(self._take)

    def _take(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            self._install(number, self._caught)

    def _caught(self, number: int, _frame: FrameType | None) -> None:
        self._reactor.callFromThread(self._handle, signal.Signals(number))

    def _handle(self, which: signal.Signals) -> None:
        if which is signal.SIGHUP:
            self._reload()
        elif not self._stopping:  # a second one changes nothing: the end is bounded
            self._stopping = True
            self.log.info("{signal}: saying goodbye", signal=which.name, event="stopping")
            self._install(signal.SIGALRM, lambda *_: self._end_now())
            self._alarm(END_SECONDS)
            # The reactor has ended then, and its threads.  Python gives the signals back before the process ends: an
            # alarm in between would kill it.
            self._reactor.addSystemEventTrigger("after", "shutdown", self._alarm, 0.0)
            self._stop()
