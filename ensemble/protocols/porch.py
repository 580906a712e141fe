"""`Porch`: where accepted connections, over TLS and TCP, wait for their turn until they are links."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from ensemble.interfaces import IWire
from ensemble.protocols.share import FLOW_SECONDS, FairQueue, Flow, Share, Traffic

HANDSHAKE_PERCENT: Final = 10  # of the time, for what is no link yet, while tones flow
ACCEPT_PERCENT: Final = 5  # and to accept connections: the links have the rest


class Host(Protocol):
    """Who counts those that shake hands (wire-0.8 section 2)."""

    def has_room(self, address: str) -> bool:
        """May another connection of this host come, or has it too many that have only just come?"""

    def came(self, wire: IWire) -> None:
        """A connection was accepted; it is pending from now on."""

    def gone(self, wire: IWire) -> None:
        """It ended before it was a link.  Nothing for others."""


class Porch:
    """
    One for all the ports of a humd, so that they share what handshakes may take.

    A connection that waits is not read; its seconds run.  The share binds when a handshake is to begin, and where
    one has been read often: what a few reads of those that have begun cost is earned back before the next has its turn.
    Those that begin and those that go on have every other turn.

    :ivar accepting: the share of whoever accepts connections.
    :ivar open: False: nobody is to come any more.
    """

    def __init__(
        self,
        clock: IReactorTime,
        host: Host | None = None,
        *,
        traffic: Traffic = int,
        handshake_percent: int = HANDSHAKE_PERCENT,
        accept_percent: int = ACCEPT_PERCENT,
    ) -> None:
        """
        :param host: told of each connection that comes and goes; without one none is counted.
        :param traffic: of the links that are up; the default is that tones never flow.
        """
        flow = Flow(traffic)
        self.accepting = Share(accept_percent / 100, flow)
        self._shaking = Share(handshake_percent / 100, flow)
        self._clock, self._host, self.open = clock, host, True
        self._waiting: FairQueue[Callable[[], None]] = FairQueue()
        self._begun: FairQueue[Callable[[], None]] = FairQueue()  # those that wait again
        self._goes_on = False  # the last turn was one of theirs
        self._timer: IDelayedCall | None = None

    def __len__(self) -> int:
        """How many wait for their turn."""
        return len(self._waiting) + len(self._begun)

    def has_room(self, address: str) -> bool:
        """To be asked before anything is made of a connection: to refuse it then costs the least."""
        return self._host is None or self._host.has_room(address)

    def enter(self, wire: IWire, shake: Callable[[], None]) -> None:
        """
        A connection was accepted.

        :param shake: called when it may begin; not from in here, where somebody else pays for our time.
        """
        if self._host is not None:
            self._host.came(wire)
        self._add(self._waiting, wire, shake)

    def again(self, wire: IWire, read: Callable[[], None]) -> None:
        """:param read: called when the connection of an `enter` may be read again."""
        self._add(self._begun, wire, read)

    def _add(self, queue: FairQueue[Callable[[], None]], wire: IWire, turn: Callable[[], None]) -> None:
        queue.add(turn, wire.address)
        if self._timer is None:
            self._timer = self._clock.callLater(0, self._next)

    def leave(self, wire: IWire, shake: Callable[[], None]) -> None:
        """The connection of this `enter` ended.  Nothing where that was known, or where it is a link."""
        self.forget(shake)
        if self._host is not None:
            self._host.gone(wire)

    def forget(self, turn: Callable[[], None]) -> bool:
        """:returns: whether anybody waited for that turn; now nobody does."""
        waited = len(self)
        self._waiting.discard(turn)
        self._begun.discard(turn)
        if self._timer is not None and not len(self):
            self._timer.cancel()
            self._timer = None
        return len(self) < waited

    def work(self, step: Callable[[], None], before: float = 0.0) -> None:
        """
        Do something for a handshake: it counts, also where it raises.

        :param before: seconds that it took already.
        """
        began = self._clock.seconds()
        try:
            step()
        finally:
            now = self._clock.seconds()
            self._shaking.spent(now - began + before, now)

    def _next(self) -> None:
        """One at a time: what the rest of it costs is known when the reactor comes here again."""
        wait = self._shaking.wait(self._clock.seconds())
        self._timer = None
        try:
            if not wait:
                self._goes_on = bool(self._begun) and not (self._goes_on and self._waiting)
                self.work((self._begun if self._goes_on else self._waiting).next())
        finally:  # one connection's bug must not hold up all others
            if len(self) and self._timer is None:
                # Tones may cease to flow meanwhile, and then nobody need wait.
                self._timer = self._clock.callLater(min(wait, FLOW_SECONDS), self._next)
