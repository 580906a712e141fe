"""What an accepted connection may have us do until it is a link: `ensemble.protocols.newcomer`."""

from __future__ import annotations

from typing import Any

from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from ensemble.protocols import Porch, StreamWire
from ensemble.protocols.newcomer import (
    FREE_READS,
    LEAST_READ_BYTES,
    MOST_LINES,
    MOST_PIECES,
    READ_BYTES,
    TURN_LINES,
    TooManyPieces,
)
from ensemble.protocols.share import BURST_SECONDS, FLOW_BYTES, SPAN_SECONDS
from tests.protocols.recording import RecordingSink
from tests.protocols.test_porch import Guests


class NewcomerTests(SynchronousTestCase):
    """Wires on one porch, and a clock that goes on while lines are handled."""

    def setUp(self) -> None:
        self.clock, self.host, self.flowing = Clock(), Guests(), False
        self.porch = Porch(self.clock, self.host, traffic=lambda: self.flowing * FLOW_BYTES, handshake_percent=50)
        self.built: list[StreamWire] = []
        self.sink = RecordingSink()
        self.cost = 0.0  # seconds of each batch of lines
        self.sink.on_lines = self.spend

    def spend(self, _lines: object) -> None:
        self.clock.rightNow += self.cost

    def begin(self, wire: StreamWire) -> None:
        self.built.append(wire)
        wire.limit_total(16 * 1024)
        wire.start(self.sink)

    def come(self) -> tuple[StreamWire, StringTransport]:
        wire, transport = StreamWire(self.clock, self.begin, porch=self.porch), StringTransport()
        wire.makeConnection(transport)
        return wire, transport

    def come_in(self) -> tuple[StreamWire, StringTransport]:
        """One that had its first turn."""
        wire, transport = self.come()
        self.clock.advance(0)
        self.assertEqual(transport.producerState, "producing")
        return wire, transport

    def read(self, wire: StreamWire, times: int) -> None:
        for _ in range(times):
            wire.dataReceived(b"x")

    def test_first_turn(self) -> None:
        """Nobody hears of it, and it is not read, before its turn."""
        wire, transport = self.come()
        self.assertEqual((self.built, transport.producerState, self.host.here), ([], "paused", [wire]))
        self.clock.advance(0)
        self.assertEqual((self.built, transport.producerState), ([wire], "producing"))

    def test_few_reads(self) -> None:
        """Whoever is honest needs few, and waits before none of them."""
        wire, transport = self.come_in()
        self.read(wire, FREE_READS - 1)
        self.assertEqual((transport.producerState, len(self.porch)), ("producing", 0))

    def test_many_reads(self) -> None:
        """Then it has one for each turn, which is the next one where there is time."""
        wire, transport = self.come_in()
        self.read(wire, FREE_READS)
        for _ in range(3):
            self.assertEqual((transport.producerState, len(self.porch)), ("paused", 1))
            self.clock.advance(0)
            self.assertEqual((transport.producerState, len(self.porch)), ("producing", 0))
            self.read(wire, 1)

    def test_a_link(self) -> None:
        """It waits no more once it is a link, whatever it was read before."""
        wire, transport = self.come_in()
        self.read(wire, FREE_READS - 1)
        self.sink.on_lines = lambda lines: wire.limit_total(None)
        wire.dataReceived(b"\n")
        for _ in range(3 * MOST_LINES):
            wire.dataReceived(b"a\nb\n")
        self.assertEqual((transport.producerState, len(self.porch), self.sink.errors), ("producing", 0, []))
        self.assertIsNone(wire.newcomer)

    def test_a_link_that_waited(self) -> None:
        """Where it comes up while it waits for a turn, for its transport reads twice at once, it waits no more."""
        for pauses in (False, True):
            wire, transport = self.come_in()
            self.read(wire, FREE_READS)
            self.assertEqual((transport.producerState, len(self.porch)), ("paused", 1))
            if pauses:
                wire.pause()
            wire.limit_total(None)
            self.assertEqual((transport.producerState, len(self.porch)), ("paused" if pauses else "producing", 0))
            self.clock.advance(1)
            self.assertEqual(transport.producerState, "paused" if pauses else "producing")
            wire.resume()
            self.assertEqual(transport.producerState, "producing")

    def test_too_many_lines(self) -> None:
        """Of small lines not as many as bytes are allowed; an honest peer says two."""
        wire, _ = self.come_in()
        wire.dataReceived(b"x\n" * MOST_LINES)
        self.assertEqual((len(self.sink.batches), self.sink.errors), (MOST_LINES, []))
        wire.dataReceived(b"x\n" * 1000)
        self.assertEqual(len(self.sink.batches), MOST_LINES)
        self.assertIsInstance(self.sink.errors[0], TooManyPieces)

    def test_too_many_pieces(self) -> None:
        """Nor as many pieces of lines as bytes."""
        wire, _ = self.come_in()
        self.read(wire, MOST_PIECES)
        self.assertEqual(self.sink.errors, [])
        self.read(wire, 1)
        self.assertIsInstance(self.sink.errors[0], TooManyPieces)

    def test_work_counts(self) -> None:
        """While tones flow what one costs is earned back before another begins, or goes on."""
        (first, _), (second, waiting) = self.come_in(), self.come_in()
        self.read(second, FREE_READS - 1)
        self.flowing = True
        self.clock.advance(SPAN_SECONDS)
        self.cost = BURST_SECONDS + 0.5
        first.dataReceived(b"line\n")
        self.read(second, 1)
        _, third = self.come()
        for state, seconds in (("paused", 0.5), ("paused", 0.4), ("producing", 0.2)):
            self.clock.advance(seconds)
            self.assertEqual({waiting.producerState, third.producerState}, {state})

    def test_gone(self) -> None:
        """Whoever goes waits no longer, in the first place or in a later one, and the host is told once."""
        for reads in (0, FREE_READS):
            for how in ("lost", "aborted", "closed"):
                wire, _ = self.come()
                if reads:
                    self.clock.advance(0)
                self.read(wire, reads)
                self.assertEqual(len(self.porch), 1)
                {"lost": self.lose, "aborted": StreamWire.abort, "closed": StreamWire.close}[how](wire)
                self.assertEqual((len(self.porch), self.host.here), (0, []), (reads, how))
                if how != "lost":
                    self.lose(wire)
                self.clock.advance(10)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def lose(self, wire: Any) -> None:
        wire.connectionLost(Failure(ConnectionDone()))

    def test_one_that_breaks(self) -> None:
        """Where its lines kill whoever reads them that counts as well, and the next has its turn."""

        def broken(_lines: object) -> None:
            raise RuntimeError("a bug")

        wire, _ = self.come_in()
        self.sink.on_lines = broken
        self.assertRaises(RuntimeError, wire.dataReceived, b"x\n")
        self.come_in()


class SizedTransport(StringTransport):
    """As a socket of Twisted's, which says how much is asked for in one read."""

    bufferSize = READ_BYTES


class TurnTests(SynchronousTestCase):
    """How much is asked for in one read, which is one turn of a connection."""

    def setUp(self) -> None:
        self.wire, self.transport = StreamWire(Clock()), SizedTransport()
        self.wire.makeConnection(self.transport)
        self.wire.start(RecordingSink())

    def read(self, size: int) -> int:
        """As much as is asked for, of lines of this size.  :returns: how many."""
        lines = self.at_once // size
        self.wire.dataReceived((b"x" * (size - 1) + b"\n") * lines)
        return lines

    @property
    def at_once(self) -> int:
        return self.transport.bufferSize

    def test_small_lines(self) -> None:
        """A turn has the same number of them, however small they are; what comes is delivered all the same."""
        for size in (16, 60, 200):
            self.setUp()
            self.read(size)
            for _ in range(10):
                self.assertLess(abs(self.read(size) - TURN_LINES), TURN_LINES // 8)

    def test_large_lines(self) -> None:
        """Nothing changes for those, nor for a few small ones."""
        for size in (300, 4000, 60_000):
            for _ in range(3):
                self.read(size)
        self.wire.dataReceived(b"x\n" * TURN_LINES)
        self.assertEqual(self.at_once, READ_BYTES)

    def test_again(self) -> None:
        """When lines are large again it is soon as before."""
        self.read(2)
        self.assertEqual(self.at_once, LEAST_READ_BYTES)
        for _ in range(5):
            self.read(1000)
        self.assertEqual(self.at_once, READ_BYTES)

    def test_step_by_step(self) -> None:
        """It doubles with each read of few lines until it is as much as at the beginning, and is never more."""
        self.read(60)
        asked = [fits := self.at_once]
        while len(asked) < 6:
            self.read(4000)
            asked.append(self.at_once)
        self.assertEqual(asked, [min(fits << doubled, READ_BYTES) for doubled in range(6)])
        self.assertNotIn(READ_BYTES, asked[:2])

    def test_in_records(self) -> None:
        """It is the whole of a read that counts, however it is cut inside; a piece of a record says nothing."""
        for _ in range(3):
            for _ in range(self.at_once // 32):
                StreamWire._handle(self.wire, b"x" * 15 + b"\n")
            self.wire._fit_reads(self.at_once)
        self.assertLess(abs(self.at_once // 32 - TURN_LINES), TURN_LINES // 8)
        fits = self.at_once
        for _ in range(5):
            self.wire._fit_reads(fits)
        self.assertEqual(self.at_once, fits)

    def test_a_record_in_pieces(self) -> None:
        """Of a record that takes more than one read all the reads count, for its lines are those of all."""
        self.read(2)
        size = self.at_once
        for _ in range(7):
            self.wire._fit_reads(size)
        StreamWire._handle(self.wire, (b"x" * 15 + b"\n") * (8 * size // 16))
        self.wire._fit_reads(size)
        self.assertEqual(self.at_once, 16 * TURN_LINES)

    def test_between(self) -> None:
        """No swinging to and fro: what fits stays."""
        self.read(16)
        fits = self.at_once
        for _ in range(5):
            self.read(16)
        self.assertEqual(self.at_once, fits)
