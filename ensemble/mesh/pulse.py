"""
The pings of one link that is up: the thin adapter around `Liveness`, with one lazily re-armed timer.

Pings and pongs carry ``sentAt``, which every tone may: so a ping that we choose to send also tells the round trip and
how far the peer's clock is from ours.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from ensemble.errors import LinkRefused
from ensemble.interfaces import Arrived
from ensemble.mesh.liveness import Gone, Liveness
from ensemble.protocols import Deadlines
from ensemble.tone import Envelope

# A timer that is as late tells that we were stopped, or busy, and have read nothing meanwhile.
LATE_SECONDS: Final = 1.0
ASK_AGAIN_SECONDS: Final = 3.0  # a pong may be left out, as one of many: then the next probe asks anew


class Pulse:
    """
    Is the peer there, how far away, and what time is it there?

    :ivar round_trip: seconds, of the last ping that was answered.
    :ivar skew_ms: the peer's clock less ours, as that pong told.
    """

    __slots__ = (
        "_arrived",
        "_asked",
        "_asked_at",
        "_clock",
        "_full",
        "_gone",
        "_has_ping",
        "_in_wire",
        "_live",
        "_patience",
        "_probes",
        "_say",
        "_timer",
        "_wall_ms",
        "_when_taken",
        "round_trip",
        "skew_ms",
    )

    def __init__(
        self,
        clock: IReactorTime,
        wall_ms: Callable[[], int],
        has_ping: bool,
        say: Callable[[Mapping[str, Any]], None],
        when_taken: Callable[[Callable[[], None]], None],
        gone: Callable[[str], None],
        arrived: Callable[[], Arrived | None],
        deadlines: Deadlines,
    ) -> None:
        """
        :param has_ping: both sides know ``ping-1``.
        :param say: queues a tone of ours.
        :param when_taken: calls back once the wire has taken all that is queued.
        :param gone: the peer is given up; told the cause.
        :param arrived: as the wire tells.
        """
        self.round_trip: float | None = None
        self.skew_ms: int | None = None
        self._clock, self._wall_ms, self._has_ping = clock, wall_ms, has_ping
        self._say, self._when_taken, self._gone, self._arrived = say, when_taken, gone, arrived
        self._live = Liveness(clock.seconds(), has_ping, deadlines)
        self._patience = deadlines.gone_after_seconds
        self._timer: IDelayedCall | None = None
        self._full = self._in_wire = False
        self._asked: str | None = None  # the rid of the ping that is unanswered
        self._asked_at = 0.0
        self._probes: list[Deferred[None]] = []
        self._arm()

    def heard(self) -> None:
        """Bytes arrived."""
        self._live.heard(self._clock.seconds())

    def wire_full(self) -> None:
        """The wire takes nothing more for now."""
        self._full = True

    def wire_drained(self) -> None:
        """It does again: what it had taken has left us, and the peer's side took something."""
        self._full = False
        self._live.drained(self._clock.seconds())
        if self._in_wire:
            self._left()
        self._arm()

    def paused(self) -> None:
        """We do not read the link for now."""
        self._live.paused_reading(self._clock.seconds())
        self._arm()

    def resumed(self) -> None:
        """We read it again."""
        self._live.resumed_reading(self._clock.seconds())
        self._arm()

    def set_waiting(self, waits: bool) -> None:
        """Somebody waits for an answer over this link, or nobody does any more."""
        self._live.someone_waits(waits, self._clock.seconds())
        self._arm()

    def pinged(self, ping: Envelope) -> None:
        """The peer asks for a sign of life."""
        if self._live.ping_received(self._clock.seconds()):
            pong: dict[str, Any] = {"chi": "pong", "sentAt": self._wall_ms()}
            if ping.rid is not None:
                pong["rid"] = ping.rid
            self._say(pong)

    def ponged(self, pong: Envelope) -> None:
        """The peer answers a ping."""
        if self._asked is None or pong.rid != self._asked:
            return
        self._asked = None
        self.round_trip = self._clock.seconds() - self._asked_at
        if pong.sent_at is not None:
            self.skew_ms = pong.sent_at - self._wall_ms() + int(self.round_trip * 500)
        probes, self._probes = self._probes, []
        for probe in probes:
            probe.callback(None)

    def probe(self) -> Deferred[None]:
        """
        Ask now.

        :returns: fires when the answer came; fails with `LinkRefused` where the link ends first or the peer knows
            no pings.
        """
        answered: Deferred[None] = Deferred(self._forget)
        if self._has_ping:
            self._probes.append(answered)
            if self._asked is None or self._clock.seconds() - self._asked_at >= ASK_AGAIN_SECONDS:
                self._ping()
        else:
            answered.errback(LinkRefused("the peer knows no pings"))
        return answered

    def _forget(self, given_up: Deferred[None]) -> None:
        if given_up in self._probes:
            self._probes.remove(given_up)

    def stop(self) -> None:
        """The link is gone."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._has_ping = False
        probes, self._probes = self._probes, []
        for probe in probes:
            probe.errback(LinkRefused("the link was lost"))

    def _ping(self) -> None:
        self._asked_at = self._clock.seconds()
        self._asked = f"ping-{self._wall_ms():x}"
        self._say({"chi": "ping", "rid": self._asked, "sentAt": self._wall_ms()})
        self._when_taken(self._taken)

    def _taken(self) -> None:
        """The wire has the ping; while the wire is full it is still in our process, and `wire_drained` goes on."""
        self._in_wire = True
        if not self._full:
            self._left()
            self._arm()

    def _left(self) -> None:
        self._in_wire = False
        self._live.ping_left(self._clock.seconds(), self._arrived())

    def _arm(self) -> None:
        """Keep one timer at or before the next deadline; a later deadline is noticed when it fires."""
        deadline = self._live.next_deadline()
        if deadline is None or not self._has_ping:
            return
        if self._timer is not None:
            if self._timer.getTime() <= deadline:
                return
            self._timer.cancel()
        self._timer = self._clock.callLater(max(0.0, deadline - self._clock.seconds()), self._due)

    def _due(self, is_late: bool = False) -> None:
        timer, self._timer = self._timer, None
        now = self._clock.seconds()
        assert timer is not None
        if not is_late and LATE_SECONDS < now - timer.getTime() < self._patience:
            # What has come is read first.  After hours nothing of it tells that the peer is there still.
            self._timer = self._clock.callLater(0, self._due, True)
            return
        if self._live.is_under_way:
            self._live.arrived(self._arrived(), now)
        action = self._live.tick(now)
        if isinstance(action, Gone):
            self._gone(action.cause)
            return
        if action is not None:
            self._ping()
        self._arm()
