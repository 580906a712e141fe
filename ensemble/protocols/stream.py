"""
`StreamWire`: an `IWire` over any byte stream that Twisted connects (TCP, a Unix socket, a tunnel).

Only I/O and time are here; lines are `LineReader`'s.  Theory of operation:

- *Reading.*  Until `StreamWire.start` the transport is paused, so whoever connects and is not looked at costs no more
  than its socket buffers.  A chunk becomes one ``lines_received``.  Pausing pauses the transport, and what it had read
  already is held back (one chunk) and delivered, in order and from the reactor, after `StreamWire.resume`.
- *Limit.*  While ``limit_total`` is in force, lines are delivered one by one, each after its own bytes were counted; so
  whoever shakes hands lifts the limit inside the ``lines_received`` that completes the handshake, and what follows, in
  the same chunk or later, is not counted.
- *Writing.*  One segment per `StreamWire.write`.  A socket is sent it at once; what it does not take waits in the
  transport, and meanwhile the wire is full and ``send_now`` None.  Any other transport is written to, and says by
  itself when it is full.
- *Time.*  One timer at most: the age of an unfinished line, later the patience of an orderly close.  The first is
  armed when a line stays unfinished and looks again when it fires; nothing is re-armed or cancelled per line.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IDelayedCall, IPushProducer, IReactorTime
from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from ensemble.errors import RemoteWireError
from ensemble.identity import HumdAddr, HumdId
from ensemble.interfaces import Arrived, IWire, IWireSink
from ensemble.protocols.block import Block
from ensemble.protocols.budget import BudgetExceeded, LineBudget, Standing
from ensemble.protocols.deadlines import DEADLINES, Deadlines
from ensemble.protocols.ndjson import DEFAULT_MAX_LINE, LineReader, LineTooLong, UnfinishedLine
from ensemble.protocols.newcomer import ReadInTurn
from ensemble.protocols.porch import Porch
from ensemble.protocols.sockets import arrived, has_unsent, in_short, peer_of, send_of, set_keep_alive, set_no_delay


@implementer(IWire, IPushProducer)
class StreamWire(ReadInTurn):
    """One connection, usable once ``connectionMade`` has run.  See the module, and `IWire` for what it promises."""

    __slots__ = (  # many links are idle: slots, and one timer
        "_budget",
        "_buffered",
        "_built",
        "_clean",
        "_clock",
        "_closed",
        "_deadlines",
        "_deaf",
        "_full",
        "_held",
        "_listener",
        "_lost",
        "_paused",
        "_paused_at",
        "_plug",
        "_reader",
        "_redelivery",
        "_since",
        "_sink",
        "_timer",
        "address",
        "dialled",
        "kind",
        "peer",
        "send_now",
        "sent",
    )

    log = Logger()
    transport: Any  # ITransport, IPushProducer and IConsumer, as every stream transport of Twisted is
    binding, secure, stuffing, broken = "none", False, 0, False
    leaf: HumdId | None = None
    standing: int = Standing.STRANGER
    began: float | None = None

    def __init__(
        self,
        clock: IReactorTime,
        built: Callable[[StreamWire], None] | None = None,
        *,
        kind: str = "tcp",
        peer: HumdAddr | None = None,
        dialled: bool = False,
        budget: LineBudget | None = None,
        max_line: int = DEFAULT_MAX_LINE,
        porch: Porch | None = None,
        deadlines: Deadlines = DEADLINES,
    ) -> None:
        """
        :param built: called with the wire when it is connected, or when it is its turn.
        :param kind: what the wire says it is; ``unix`` for a Unix socket.
        :param peer: whom we dialled.
        :param budget: shared by all wires of the process; None for no such limit.
        :param max_line: bytes before the LF that are accepted.
        :param porch: where an accepted one waits; None for one that need not.
        """
        super().__init__(porch)
        self.kind, self.peer, self.dialled, self._deadlines = kind, peer, dialled, deadlines
        self.address, self.sent = "", 0
        self._clock, self._built, self._budget = clock, built, budget
        self._reader = LineReader(max_line)
        self._sink: IWireSink | None = None  # who is told everything; nobody before start, and after the end of lines
        self._listener: IWireSink | None = None  # who is still to be told of the loss
        self._held = b""  # read by the transport, not yet looked at
        self._paused = self._deaf = self._closed = self._clean = self._buffered = self._full = False
        self._paused_at = self._since = 0.0  # when reading paused; the age of the unfinished line counts from _since
        self._timer: IDelayedCall | None = None
        self._redelivery: IDelayedCall | None = None
        self._lost: str | None = None
        self._use(None)

    @property
    def max_line(self) -> int:
        return self._reader.max_line

    @max_line.setter
    def max_line(self, limit: int) -> None:
        self._reader.max_line = limit

    def start(self, sink: IWireSink) -> None:
        self._listener, self._sink = sink, None if self._deaf else sink
        if self._full and self._sink is not None:
            sink.wire_full()
        if self._lost is not None:
            self._clock.callLater(0, self._finish)
        elif self._wanting():
            self._go_on()

    def write(self, lines: Sequence[bytes]) -> None:
        if self._closed or not lines:
            return
        data = lines.joined() if type(lines) is Block else b"\n".join((*lines, b""))
        self.sent += len(data)
        self._send(data)

    def _send(self, data: bytes) -> None:
        """Have these bytes leave as they are."""
        if self._plug is None:
            self.transport.write(data)
            return
        try:
            sent = self._plug(data)
        except OSError:
            sent = 0  # no room, or an end: the transport finds that out by itself
        if sent != len(data):
            self._buffer(data[sent:] if sent else data)

    def keep_alive(self, on: bool) -> None:
        if self._lost is None:
            set_keep_alive(self.transport, on)

    def arrived(self) -> Arrived | None:
        return arrived(self.transport) if self._lost is None else None

    def pause(self) -> None:
        if self._paused:
            return
        self._paused, self._paused_at = True, self._clock.seconds()
        if self._sink is not None and self._lost is None:
            self.transport.pauseProducing()

    def resume(self) -> None:
        if not self._paused:
            return
        self._paused = False
        if self._sink is None:
            return
        self._since += self._clock.seconds() - self._paused_at  # the peer could not finish a line that we did not read
        if self._reader.pending and self._timer is None:
            self._look_at_age()
        self._go_on()

    def close(self) -> None:
        if self._closed:
            return
        self._leave()
        if self._lost is None:
            self._timer = self._clock.callLater(self._deadlines.connection_close_seconds, self._abort)
            self._end()

    def abort(self) -> None:
        if not self._closed:
            self._leave()
        if self._lost is None:
            self._abort()

    def connectionMade(self) -> None:
        self._take_transport()
        self._enter(self._ready)

    def _take_transport(self) -> None:
        self.address = peer_of(self.transport)
        set_no_delay(self.transport)
        self._use(send_of(self.transport))
        if self._plug is None:
            self.transport.registerProducer(self, True)
        elif has_unsent(self.transport):
            self._buffer(b"")

    def _use(self, plug: Callable[[bytes], int] | None) -> None:
        """What writes to the socket at once from now on; None: nothing does."""
        self._plug = self.send_now = plug

    def _ready(self) -> None:
        built, self._built = self._built, None
        if built is not None:
            built(self)
        if not (self._wanting() or self._closed):
            self.transport.pauseProducing()  # last: mostly it was started already

    def _handle(self, data: bytes) -> None:
        self.received += len(data)
        if self._sink is None or self._paused or self._held or self._limit is not None:
            self._receive_with_care(data)
        else:
            self._receive(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._lost = in_short(reason)
        self._part()
        self._use(None)  # it holds the transport
        self._clean = isinstance(reason.value, ConnectionDone)
        if self._listener is not None or self._deaf:
            self._finish()  # else start does

    # IPushProducer: what the transport says of our writing

    def pauseProducing(self) -> None:
        self._full = True
        if self._sink is not None:
            self._sink.wire_full()

    def resumeProducing(self) -> None:
        if self._plug is not None:
            return  # a producer that is pulled is asked at once when it registers
        if self._buffered:
            self._buffered = False
            self.transport.unregisterProducer()
            self._use(send_of(self.transport))
        self._drained()

    def _drained(self) -> None:
        self._full = False
        if self._sink is not None:
            self._sink.wire_drained()

    def stopProducing(self) -> None:
        """Nothing: ``connectionLost`` says it."""

    def _buffer(self, data: bytes) -> None:
        """The socket takes no more: the transport keeps ``data`` and asks for more when it is sent; we are full."""
        self.transport.write(data)
        self.transport.registerProducer(self, False)
        self._buffered = True  # until the transport has nothing more of ours to send
        self._use(None)
        self.pauseProducing()

    def budget_exceeded(self, error: BudgetExceeded) -> None:
        self._refuse(error)

    def _receive(self, data: bytes) -> None:
        """Hand on the lines in ``data``, the newest bytes."""
        sink, reader = self._sink, self._reader
        assert sink is not None
        before = reader.pending
        try:
            lines = reader.receive(data)
        except LineTooLong as error:
            if error.lines:
                sink.lines_received(error.lines)
            self._refuse(error)
            return
        pending = reader.pending  # read first: the sink may close us, or pause and so stop the age of the line
        if pending and (not before or pending != before + len(data)):
            self._since = self._clock.seconds()  # a line began
        self._lines += len(lines) or 1
        if lines:
            sink.lines_received(lines)
        else:
            sink.bytes_trickled()
        if (pending or before) and not self._deaf:
            if self._budget is not None:
                self._budget.note(self, pending)
            if pending and self._timer is None and not self._deaf:
                self._timer = self._clock.callLater(self._deadlines.unfinished_line_seconds, self._look_at_age)

    def _look_at_age(self) -> None:
        self._timer = None
        if not self._reader.pending or self._paused:
            return  # armed again by the next line that stays unfinished, or by resume
        left = self._since + self._deadlines.unfinished_line_seconds - self._clock.seconds()
        if left > 0:
            self._timer = self._clock.callLater(left, self._look_at_age)
        else:
            self._refuse(UnfinishedLine(self._reader.pending, self._deadlines.unfinished_line_seconds))

    def _receive_with_care(self, data: bytes) -> None:
        if self._held:
            self._held += data
            return
        at = 0
        while at < len(data) and self._wanting():
            if self._limit is None:
                self._receive(data[at:] if at else data)
                return
            end = self._reader.end_of_line(data, at)
            if (excess := self._excess(data, end)) is not None:
                self._refuse(excess)
                return
            self._receive(data[at:end])
            at = end
        if not self._deaf:
            self._held = data[at:]

    def _wanting(self) -> bool:
        return self._sink is not None and not self._paused

    def _go_on(self) -> None:
        """Reading is wanted: what is held back comes first, and not from inside the caller's call."""
        if not self._held:
            self.transport.resumeProducing()
        elif self._redelivery is None:
            self._redelivery = self._clock.callLater(0, self._redelivered)

    def _redelivered(self) -> None:
        self._redelivery = None
        if self._wanting():
            try:
                self._redeliver()
            except Exception:  # noqa: BLE001
                self.log.failure("a sink died of lines that had been held back")
                self.abort()  # as a transport does; or the wire would be there, and mute
            if self._wanting() and not self._held:
                self.transport.resumeProducing()

    def _redeliver(self) -> None:
        data, self._held = self._held, b""
        self._receive_with_care(data)

    def _refuse(self, error: RemoteWireError) -> None:
        """Deliver nothing more, and say why.  Writing goes on: there may be a goodbye to say."""
        sink = self._sink
        if sink is None:
            return
        self._end_of_lines()
        if self._lost is None and not self._paused:
            self.transport.pauseProducing()
        self._paused = True
        sink.line_refused(error)

    def _end_of_lines(self) -> None:
        """Nothing more is delivered; let go of everything that only reading needs."""
        self._deaf, self._sink, self._held = True, None, b""
        self._reader.clear()
        if self._budget is not None:
            self._budget.note(self, 0)
        self._stop_timers()

    def _leave(self) -> None:
        self._part()
        self._closed, self.send_now = True, None
        self._end_of_lines()
        if self._lost is None:
            self.transport.unregisterProducer()  # a transport with a producer does not close

    def _end(self) -> None:
        self.transport.resumeProducing()  # what is no socket (TLS of somebody else) may have to read to say goodbye
        self.transport.loseConnection()

    def _abort(self) -> None:
        self._stop_timers()
        getattr(self.transport, "abortConnection", self.transport.loseConnection)()

    def _stop_timers(self) -> None:
        for call in (self._timer, self._redelivery):
            if call is not None and call.active():
                call.cancel()
        self._timer = self._redelivery = None

    def _finish(self) -> None:
        """The transport is gone: hand on what had come before, then tell."""
        try:
            if self._held and self._wanting():
                self._redeliver()
            if self._clean and self._sink is not None and not self._paused and (rest := self._reader.finish()):
                self._sink.lines_received([rest])  # mesh 2.2: the last line may come without its LF
        except Exception:  # noqa: BLE001
            self.log.failure("a sink died of the last lines of its wire")  # and is told of the loss all the same
        self._closed = True
        self._end_of_lines()
        listener, self._listener = self._listener, None
        if listener is not None and self._lost is not None:
            listener.wire_lost(self._lost, self._clean)
