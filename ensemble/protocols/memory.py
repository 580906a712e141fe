"""
`InMemoryEndpoint`: both ends of a link in one process (mesh 5.4), with encoded lines like any other wire.

Each direction holds at most 256 lines that were written and not yet delivered; then the writer is told that the wire is
full, and that it drained when all were delivered.  Delivery is always a later reactor turn.  Departs from 0.7.0: the
other end learns of a close, and nothing is lost when a partition heals but what the partition's own buffer dropped.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from zope.interface import implementer

from ensemble.identity import HumdAddr, HumdId
from ensemble.interfaces import IWire, IWireSink
from ensemble.protocols.budget import Standing
from ensemble.protocols.ndjson import DEFAULT_MAX_LINE, LineTooLong, TotalExceeded
from ensemble.protocols.sockets import ABORTED, CLOSED

if TYPE_CHECKING:
    from ensemble.errors import RemoteWireError
    from ensemble.protocols.capabilities import PeerCapabilities

IN_FLIGHT: Final = 256  # lines per direction, then the wire is full
PARTITION_BUFFER: Final = 64  # lines that a cut direction keeps, the newest


@implementer(IWire)
class InMemoryEndpoint:
    """
    One end.  Make both with `pair`; both must be started.

    :ivar me: whose end this is.
    :ivar capabilities: what ``me`` says of itself before any handshake.
    :ivar latency: seconds that what this end writes takes; set it while nothing is on its way.
    :ivar partition_dropped: lines that this end wrote while cut and that fell out of the buffer.
    """

    kind = "memory"
    address = "memory"
    binding = "none"
    leaf = None
    began = None
    send_now = None
    stuffing, broken = 0, False
    secure = True  # nobody can sit on it

    __slots__ = (
        "_buffer",
        "_clock",
        "_closed",
        "_deaf",
        "_delivery",
        "_ending",
        "_full",
        "_inbox",
        "_limit",
        "_listener",
        "_other",
        "_partitioned",
        "_paused",
        "_sink",
        "_unsent_ending",
        "capabilities",
        "dialled",
        "latency",
        "max_line",
        "me",
        "partition_dropped",
        "peer",
        "received",
        "sent",
        "standing",
    )

    _other: InMemoryEndpoint

    def __init__(
        self, me: HumdId, capabilities: PeerCapabilities | None, peer: HumdId, clock: IReactorTime, dialled: bool
    ) -> None:
        self.me, self.capabilities, self.dialled = me, capabilities, dialled
        self.peer: HumdAddr | None = HumdAddr(peer)
        self.max_line = DEFAULT_MAX_LINE
        self.received = self.sent = self.partition_dropped = 0
        self.standing: int = Standing.STRANGER
        self.latency = 0.0
        self._clock = clock
        self._limit: int | None = None
        self._sink: IWireSink | None = None
        self._listener: IWireSink | None = None
        self._inbox: list[bytes] = []  # towards us, not yet delivered
        self._buffer: deque[bytes] = deque()  # away from us, held back by the partition
        self._partitioned = self._paused = self._deaf = self._closed = False
        self._full = False  # the other end was told that it is
        self._ending: str | None = None  # once the inbox is empty: the loss, and its reason
        self._unsent_ending: tuple[str, bool] | None = None
        self._delivery: IDelayedCall | None = None

    @classmethod
    def pair(
        cls,
        me: HumdId,
        my_capabilities: PeerCapabilities | None,
        peer: HumdId,
        peer_capabilities: PeerCapabilities | None,
        clock: IReactorTime,
    ) -> tuple[InMemoryEndpoint, InMemoryEndpoint]:
        """
        Both ends of a new link.

        :param clock: the reactor, or a ``Clock`` in tests.
        :returns: the end of ``me``, which dialled, and the end of ``peer``.
        """
        mine = cls(me, my_capabilities, peer, clock, True)
        theirs = cls(peer, peer_capabilities, me, clock, False)
        mine._other, theirs._other = theirs, mine
        return mine, theirs

    def partition(self, cut: bool) -> None:
        """
        Cut, or heal, the direction away from this end; cut both ends to cut the link.

        What is written while cut is kept up to 64 lines, then the oldest are dropped; healing sends them in order.
        The news of a close waits for the healing too.
        """
        if cut:
            self._partitioned = True
        elif self._partitioned:
            self._partitioned = False
            kept, self._buffer = list(self._buffer), deque()
            self._travel(self._other._arrive, kept)
            ending, self._unsent_ending = self._unsent_ending, None
            if ending is not None:
                self._travel(self._other._end, *ending)

    # IWire

    def start(self, sink: IWireSink) -> None:
        self._listener = sink
        if not self._deaf:
            self._sink = sink
        self._schedule()

    def write(self, lines: Sequence[bytes]) -> None:
        if self._closed or not lines:
            return
        self.sent += sum(map(len, lines)) + len(lines)
        if not self._partitioned:
            self._travel(self._other._arrive, list(lines))
            return
        self._buffer.extend(lines)
        while len(self._buffer) > PARTITION_BUFFER:
            self._buffer.popleft()
            self.partition_dropped += 1

    def limit_total(self, limit: int | None) -> None:
        self._limit = limit

    def keep_alive(self, on: bool) -> None:
        """Nothing: memory does not go silent."""

    def arrived(self) -> None:
        """Nobody can tell."""

    def pause(self) -> None:
        self._paused = True

    def resume(self) -> None:
        self._paused = False
        self._schedule()

    def close(self) -> None:
        self._leave(CLOSED, undrained=False)

    def abort(self) -> None:
        self._leave(ABORTED, undrained=True)

    # inside

    def _travel(self, arrives: Callable[..., None], *what: object) -> None:
        if self.latency:
            self._clock.callLater(self.latency, arrives, *what)
        else:
            arrives(*what)

    def _arrive(self, lines: Sequence[bytes]) -> None:
        if self._deaf or not lines:
            return
        self._inbox.extend(lines)
        if len(self._inbox) >= IN_FLIGHT and not self._full:
            self._full = True
            if self._other._sink is not None:
                self._other._sink.wire_full()
        self._schedule()

    def _end(self, reason: str, undrained: bool) -> None:
        """The other end is gone; what it wrote before is still delivered unless ``undrained``."""
        if self._ending is None:
            self._ending = reason
        if undrained:
            self._inbox.clear()
        self._schedule()

    def _leave(self, reason: str, undrained: bool) -> None:
        if self._closed:
            return
        self._closed = True
        self._end_of_lines()
        if undrained:
            self._buffer.clear()
        if self._partitioned:
            self._unsent_ending = (reason, undrained)
        else:
            self._travel(self._other._end, reason, undrained)
        self._end(reason, undrained=True)

    def _end_of_lines(self) -> None:
        self._deaf = True
        self._sink = None
        self._inbox.clear()

    def _schedule(self) -> None:
        """Deliver in a later turn what can be delivered."""
        if self._delivery is not None or self._listener is None:
            return
        if self._ending is not None and not self._inbox:
            pass  # told even where reading is paused: there is nothing left to read
        elif self._paused or self._deaf or not self._inbox:
            return
        self._delivery = self._clock.callLater(0, self._deliver)

    def _deliver(self) -> None:
        self._delivery = None
        lines, self._inbox = self._inbox, []  # what is written meanwhile comes in a later turn
        at = 0
        while at < len(lines) and self._sink is not None and not self._paused:
            at = self._deliver_some(self._sink, lines, at)
        if not self._deaf:
            self._inbox[:0] = lines[at:]
        if self._inbox:
            self._schedule()
            return
        if self._full:
            self._full = False
            if self._other._sink is not None:
                self._other._sink.wire_drained()
        # Who was told of the room may have written a last line, and closed: that comes first, in a later turn.
        if self._ending is not None and not self._inbox and self._listener is not None:
            listener, self._listener = self._listener, None
            self._closed = True
            self._end_of_lines()
            listener.wire_lost(self._ending, self._ending == CLOSED)

    def _deliver_some(self, sink: IWireSink, lines: list[bytes], at: int) -> int:
        """Deliver all from ``at`` on, or one line while the total is limited; returns where to go on."""
        end = len(lines) if self._limit is None else at + 1
        for number in range(at, end):
            length = len(lines[number])
            self.received += length + 1
            if length > self.max_line:
                if number > at:
                    sink.lines_received(lines[at:number])
                self._refuse(LineTooLong(length, self.max_line, []))
                return end
            if self._limit is not None and self.received > self._limit:
                self._refuse(TotalExceeded(self.received, self._limit))
                return end
        sink.lines_received(lines[at:end])
        return end

    def _refuse(self, error: RemoteWireError) -> None:
        sink = self._sink
        if sink is not None:
            self._end_of_lines()
            sink.line_refused(error)
