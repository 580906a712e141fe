"""`PacedPort`: connections are accepted within their share of the time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from twisted.internet.interfaces import IDelayedCall, IReadDescriptor
from twisted.python.failure import Failure
from zope.interface import implementer

from ensemble.protocols import Share

ACCEPTS_AT_ONCE: Final = 20  # in one turn of the reactor, 3 ms; Twisted's own number grows with the crowd


@implementer(IReadDescriptor)
class PacedPort:
    """
    Reads a listening port in its place, and lets it rest where accepting took more than its share.

    That is a matter of milliseconds, while which the system holds what comes and turns away what it cannot hold: it
    does that for less than we can.  Without it a crowd would not be refused but served: each connection is some work
    before any rule of ours can look at it.
    """

    def __init__(self, reactor: Any, port: Any, share: Callable[[], Share]) -> None:
        """
        :param reactor: ``IReactorFDSet`` and ``IReactorTime``.
        :param port: one of Twisted's, listening.
        :param share: of the time, asked at each turn.
        """
        self._reactor, self._port, self._share = reactor, port, share
        self._rest: IDelayedCall | None = None
        reactor.removeReader(port)
        reactor.addReader(self)

    def stop(self) -> None:
        """Read it no more; closing it is left to others."""
        if self._rest is None:
            self._reactor.removeReader(self)
        else:
            self._rest.cancel()
            self._rest = None

    def fileno(self) -> int:
        return int(self._port.fileno())

    def logPrefix(self) -> str:
        return str(self._port.logPrefix())

    def connectionLost(self, reason: Failure) -> None:
        self._port.connectionLost(reason)

    def doRead(self) -> Any:
        share, began = self._share(), self._reactor.seconds()
        self._port.numberAccepts = ACCEPTS_AT_ONCE
        done = self._port.doRead()
        now = self._reactor.seconds()
        share.spent(now - began, now)
        wait = share.wait(now)
        if wait:
            self._reactor.removeReader(self)
            self._rest = self._reactor.callLater(wait, self._go_on)
        return done

    def _go_on(self) -> None:
        self._rest = None
        self._reactor.addReader(self)
