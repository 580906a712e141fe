"""
`Newcomer`: an accepted connection that is no link yet, and how much it may have us do until it is.

Whoever connects may send a hello in pieces of one byte, or a thousand lines before it, or never an end: it costs them a
packet that they made once, and us some microseconds for each piece.  So of what it sends little is looked at besides
the 16 KiB that it may send at all; all of that is work of the `Porch`, out of its share of the time; and after the
first few reads, which are enough for whoever is honest on a good line, it waits for its turn before each.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final

from twisted.internet.protocol import Protocol

from ensemble.errors import RemoteWireError
from ensemble.protocols.ndjson import TotalExceeded
from ensemble.protocols.porch import Porch

FREE_READS: Final = 6  # that need no turn: a ClientHello, a certificate, a hello and a proof, and two to spare
READ_SECONDS: Final = 30e-6  # of one read, before we are asked: the system's, and the reactor's
MOST_LINES: Final = 128  # until the link is up; honest are two, and the first tones of a 0.7.0 peer, 16 KiB of them
MOST_PIECES: Final = 2048  # of lines, until then; a hello and a proof in records of one byte are fewer

TURN_LINES: Final = 256  # in one read of a connection, or so
READ_BYTES: Final = 64 * 1024  # in one read, at most, as in Twisted
LEAST_READ_BYTES: Final = 2048


class TooManyPieces(RemoteWireError):
    """What came before the link was up was little, and in too many pieces."""

    def __init__(self) -> None:
        super().__init__(f"more than {MOST_LINES} lines, or {MOST_PIECES} pieces of them, before the link was up")


class Newcomer:
    """One of those, until the link is up or the connection ends."""

    __slots__ = ("_begin", "_lines", "_pieces", "_porch", "_reads", "_wire")

    def __init__(self, porch: Porch, wire: Any, begin: Callable[[], None]) -> None:
        """
        :param wire: an `IWire` with a transport, which is not read until the first turn.
        :param begin: called at the first turn; it has the transport read.
        """
        self._porch, self._wire = porch, wire
        self._begin: Callable[[], None] | None = begin
        self._reads = self._lines = self._pieces = 0

    def enter(self) -> None:
        """Wait for the first turn."""
        self._wire.transport.pauseProducing()
        self._porch.enter(self._wire, self._turn)

    def work(self, step: Callable[[], None]) -> None:
        """Do something for it."""
        self._porch.work(step)

    def read(self, step: Callable[[], None]) -> None:
        """:param step: handles what was read."""
        self._porch.work(step, READ_SECONDS)
        self._reads += 1
        if self._reads >= FREE_READS and self._wire.newcomer is self:
            self._wire.transport.pauseProducing()
            self._porch.again(self._wire, self._turn)

    def counted(self, whole: bool) -> TooManyPieces | None:
        """
        A line, or a piece of one, is about to be handed on.

        :returns: why not.
        """
        self._pieces += 1
        self._lines += whole
        return TooManyPieces() if self._lines > MOST_LINES or self._pieces > MOST_PIECES else None

    def settle(self) -> None:
        """It is a link: where it waits for a turn it is read again, unless somebody else has paused it."""
        if self._porch.forget(self._turn) and self._wire._wanting():
            self._wire.transport.resumeProducing()

    def leave(self) -> None:
        """The connection ended, or nobody wants it."""
        self._porch.leave(self._wire, self._turn)

    def _turn(self) -> None:
        begin, self._begin = self._begin, None
        if begin is not None:
            begin()
        else:
            self._wire.transport.resumeProducing()


class ReadInTurn(Protocol):
    """
    What a wire has to do with all that; and links take turns as well.

    The reactor reads each connection once a turn, 64 KiB at most: of small lines that is a hundred times the work that
    it is of long ones.  So one read has about `TURN_LINES`, and others wait no longer for it than for any other.

    :ivar newcomer: None where it was not accepted, or is none any more.
    :ivar received: bytes, so far.
    """

    __slots__ = ("_at_once", "_limit", "_lines", "_porch", "_size", "newcomer", "received")

    def __init__(self, porch: Porch | None) -> None:
        """:param porch: where it waits once it is connected; None: it need not."""
        self._porch, self.received = porch, 0
        self._at_once, self._lines, self._size = READ_BYTES, 0, 0
        self.newcomer: Newcomer | None = None
        self._limit: int | None = None  # of what is received

    def _enter(self, begin: Callable[[], None]) -> None:
        """Have ``begin`` called now, or when it is our turn."""
        porch, self._porch = self._porch, None
        if porch is None:
            begin()
        else:
            self.newcomer = newcomer = Newcomer(porch, self, begin)
            newcomer.enter()

    def dataReceived(self, data: bytes) -> None:
        if self.newcomer is None:
            self._handle(data)
        else:
            self.newcomer.read(partial(self._handle, data))
        self._fit_reads(len(data))

    def _handle(self, data: bytes) -> None:
        """What was read of the transport; adds to ``_lines``."""
        raise NotImplementedError

    def limit_total(self, limit: int | None) -> None:
        """As `IWire.limit_total<ensemble.interfaces.IWire>`; one without is a link, and no newcomer."""
        self._limit = limit
        if limit is None:
            newcomer, self.newcomer = self.newcomer, None
            if newcomer is not None:
                newcomer.settle()

    def _excess(self, data: bytes, end: int) -> RemoteWireError | None:
        """
        Of ``data``, the newest bytes, what ends there is about to be handed on.

        :returns: why not.
        """
        received = self.received - (len(data) - end)
        if self._limit is not None and received > self._limit:
            return TotalExceeded(received, self._limit)
        return None if self.newcomer is None else self.newcomer.counted(data.endswith(b"\n", end - 1, end))

    def _fit_reads(self, size: int) -> None:
        """So many bytes were read: where there were many lines in them ask for fewer, or for more again."""
        self._size += size
        if not self._lines:
            return  # a piece of a TLS record
        lines, size = self._lines, self._size
        self._lines = self._size = 0
        if lines > TURN_LINES:
            fitting = max(LEAST_READ_BYTES, size * TURN_LINES // lines)
        elif self._at_once < READ_BYTES and 2 * lines < TURN_LINES:
            fitting = min(READ_BYTES, 2 * self._at_once)
        else:
            return
        transport: Any = self.transport
        self._at_once = transport.bufferSize = fitting

    def _part(self) -> None:
        """The connection ended, or nobody wants it."""
        newcomer, self.newcomer = self.newcomer, None
        if newcomer is not None:
            newcomer.leave()
