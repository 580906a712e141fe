"""The wire over a byte stream: what it is, what it reads, what it refuses."""

from __future__ import annotations

from typing import Any

from hypothesis import given, strategies as st
from twisted.internet.address import IPv6Address
from twisted.internet.error import ConnectionLost
from twisted.internet.interfaces import IPushProducer
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from zope.interface.verify import verifyObject

from ensemble.interfaces import IWire, IWireSink
from ensemble.protocols import BudgetExceeded, LineBudget, LineTooLong, StreamWire, StreamWireFactory, UnfinishedLine
from tests.protocols.recording import RecordingSink
from tests.protocols.streaming import DONE, StreamWireCase
from tests.protocols.test_ndjson import cut, expected, steps, streams


class ReadingTests(StreamWireCase):
    # what it is

    def test_interfaces(self) -> None:
        """It is an IWire, and a push producer towards its transport; the sink of these tests is a sink."""
        wire = self.wire()
        self.assertTrue(verifyObject(IWire, wire))
        self.assertTrue(verifyObject(IPushProducer, wire))
        self.assertTrue(verifyObject(IWireSink, self.sink))
        self.assertIs(self.transport.producer, wire)
        self.assertTrue(self.transport.streaming)

    def test_address(self) -> None:
        """The address is the host alone, in its plainest spelling."""
        self.transport = StringTransport(peerAddress=IPv6Address("TCP", "::ffff:192.0.2.7", 5))
        self.assertEqual(self.wire().address, "192.0.2.7")

    def test_factory(self) -> None:
        """Each accepted connection is told, connected and not started, with what the factory was given."""
        built: list[StreamWire] = []
        factory = StreamWireFactory(self.clock, built.append, kind="tls", max_line=7)
        wire: Any = factory.buildProtocol(None)
        self.assertEqual(built, [])
        wire.makeConnection(self.transport)
        self.assertEqual(built, [wire])
        self.assertEqual((wire.kind, wire.dialled, wire.peer, wire.max_line), ("tls", False, None, 7))
        self.assertEqual((wire.address, self.transport.producerState), ("192.168.1.1", "paused"))

    def test_pause_and_start_when_built(self) -> None:
        """Whoever pauses a wire before it starts it, as soon as it is there, reads nothing until it resumes."""

        def built(wire: StreamWire) -> None:
            wire.pause()
            wire.start(self.sink)

        wire = StreamWire(self.clock, built)
        wire.makeConnection(self.transport)
        self.assertEqual(self.transport.producerState, "paused")
        wire.resume()
        self.assertEqual(self.transport.producerState, "producing")

    # reading

    def test_one_batch_per_chunk(self) -> None:
        """The lines of one chunk come as one list."""
        wire = self.wire()
        wire.dataReceived(b"one\ntwo\nthr")
        wire.dataReceived(b"ee\n")
        self.assertEqual(self.sink.batches, [[b"one", b"two"], [b"three"]])
        self.assertEqual(wire.received, 14)

    def test_trickle(self) -> None:
        """Bytes that complete no line are told as a sign of life."""
        wire = self.wire()
        wire.dataReceived(b"o")
        wire.dataReceived(b"n")
        wire.dataReceived(b"e\n")
        self.assertEqual(self.sink.events, ["bytes_trickled", "bytes_trickled", "lines_received"])

    def test_nothing_before_start(self) -> None:
        """Before start the transport is paused, and what it delivers all the same waits."""
        wire = self.wire(start=False)
        self.assertEqual(self.transport.producerState, "paused")
        wire.dataReceived(b"one\n")
        wire.start(self.sink)
        self.assertEqual(self.sink.events, [])
        self.clock.advance(0)
        self.assertEqual((self.sink.lines, self.transport.producerState), ([b"one"], "producing"))

    def test_paused_before_start(self) -> None:
        """A wire that was paused before it started starts paused."""
        wire = self.wire(start=False)
        wire.pause()
        wire.start(self.sink)
        self.assertEqual(self.transport.producerState, "paused")
        wire.resume()
        self.assertEqual(self.transport.producerState, "producing")

    def test_pause_and_resume(self) -> None:
        """Pausing stops the transport; what it had read comes in order, before the rest, in a later turn."""
        wire = self.wire()
        wire.pause()
        wire.pause()
        self.assertEqual(self.transport.producerState, "paused")
        wire.dataReceived(b"one\ntw")
        wire.dataReceived(b"o\n")
        wire.resume()
        wire.resume()
        self.assertEqual((self.sink.lines, self.transport.producerState), ([], "paused"))
        wire.dataReceived(b"three\n")
        self.clock.advance(0)
        self.assertEqual((self.sink.lines, self.transport.producerState), ([b"one", b"two", b"three"], "producing"))
        self.assertNoTimers()

    def test_paused_again(self) -> None:
        """Who pauses again before what was held came back still gets nothing."""
        wire = self.wire()
        wire.pause()
        wire.dataReceived(b"one\n")
        wire.resume()
        wire.pause()
        self.clock.advance(0)
        self.assertEqual(self.sink.lines, [])
        wire.resume()
        self.clock.advance(0)
        self.assertEqual(self.sink.lines, [b"one"])

    def test_pause_inside_a_batch(self) -> None:
        """A sink that pauses in the middle of a batch has that batch; what comes after it is held."""
        wire = self.wire()
        self.sink.on_lines = lambda _: wire.pause()
        wire.dataReceived(b"one\ntwo\n")
        wire.dataReceived(b"three\n")
        self.assertEqual(self.sink.batches, [[b"one", b"two"]])
        wire.resume()
        self.clock.advance(0)
        self.assertEqual(self.sink.batches, [[b"one", b"two"], [b"three"]])
        self.assertEqual(self.transport.producerState, "paused")  # paused again, inside the second batch

    @given(streams, steps, st.lists(st.sampled_from(["pause", "resume", "turn", "data"])))
    def test_any_pause(self, stream: bytes, sizes: list[int], schedule: list[str]) -> None:
        """However reading is paused and resumed, nothing is lost, doubled or reordered, or comes while paused."""
        clock, paused = Clock(), False

        def check(_: list[bytes]) -> None:
            self.assertFalse(paused)

        sink = RecordingSink(check)
        wire = StreamWire(clock)
        wire.makeConnection(StringTransport())
        wire.start(sink)
        pieces = cut(stream, sizes)
        for step in schedule:
            if step == "data" and pieces:
                wire.dataReceived(pieces.pop(0))
            elif step == "turn":
                clock.advance(0)
            elif step == "pause":
                wire.pause()
                paused = True
            elif step == "resume":
                paused = False
                wire.resume()
        paused = False
        wire.resume()
        for piece in pieces:
            wire.dataReceived(piece)
        clock.advance(0)
        self.assertEqual(sink.lines, expected(stream, len(stream))[0])

    # what is refused

    def test_too_long(self) -> None:
        """A line too long ends the reading, after the lines before it; a last word can still be written."""
        wire = self.wire(max_line=4)
        wire.dataReceived(b"one\nlonger\nthree\n")
        wire.dataReceived(b"four\n")
        self.assertEqual(self.sink.events, ["lines_received", "line_refused"])
        self.assertEqual((self.sink.lines, type(self.sink.errors[0])), ([b"one"], LineTooLong))
        self.assertEqual(self.transport.producerState, "paused")
        wire.write([b"goodbye"])
        self.assertEqual(self.transport.value(), b"goodbye\n")
        wire.resume()
        self.assertEqual(self.transport.producerState, "paused")  # whatever else wants it read
        wire.pauseProducing()
        self.assertNoTimers()
        wire.close()
        self.assertEqual(self.transport.producerState, "producing")  # TLS must read to say goodbye
        wire.connectionLost(DONE)
        self.assertEqual(self.sink.events[2:], ["wire_lost"])
        self.assertNoTimers()

    def test_too_long_at_once(self) -> None:
        """A first line too long brings no empty batch."""
        self.wire(max_line=4).dataReceived(b"longer\n")
        self.assertEqual(self.sink.events, ["line_refused"])

    def test_closed_by_the_line_before(self) -> None:
        """A sink that aborts at the line before hears nothing of the line too long."""
        wire = self.wire(max_line=4)
        self.sink.on_lines = lambda _: wire.abort()
        wire.dataReceived(b"one\nlonger\n")
        self.assertEqual(self.sink.events, ["lines_received"])

    def test_max_line_changed(self) -> None:
        """The ceiling can be raised while the wire runs."""
        wire = self.wire(max_line=4)
        wire.max_line = 10
        wire.dataReceived(b"longer\n")
        self.assertEqual((self.sink.lines, wire.max_line), ([b"longer"], 10))

    def test_unfinished(self) -> None:
        """A line unfinished 60 s after its first byte is refused, however steadily its bytes come."""
        wire = self.wire()
        for _ in range(59):
            wire.dataReceived(b"x")
            self.clock.advance(1)
            wire.resume()  # nobody has paused it, so nothing is to be made up for
        self.assertNotIn("line_refused", self.sink.events)
        self.clock.advance(1)
        error = self.sink.errors[0]
        self.assertIsInstance(error, UnfinishedLine)
        self.assertEqual((error.pending, error.seconds), (59, 60.0))  # type: ignore[attr-defined]
        self.assertIn("60 s", str(error))
        self.assertNoTimers()

    def test_unfinished_counts_from_its_own_byte(self) -> None:
        """Each line has its own 60 s, also when one follows the other in the same chunk; one timer serves them all."""
        wire = self.wire()
        wire.dataReceived(b"a")
        self.clock.advance(40)
        wire.dataReceived(b"b\nc")
        self.clock.advance(30)
        wire.dataReceived(b"d")
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)
        self.clock.advance(29)
        self.assertEqual(self.sink.errors, [])
        self.clock.advance(1)
        self.assertEqual(len(self.sink.errors), 1)

    def test_no_timer_when_idle(self) -> None:
        """A wire with no unfinished line ends up without a timer, and a busy one never has two."""
        wire = self.wire()
        wire.dataReceived(b"whole\n")
        self.assertNoTimers()
        for _ in range(50):
            wire.dataReceived(b"a")
            wire.dataReceived(b"b\n")
            self.assertLessEqual(len(self.clock.getDelayedCalls()), 1)
            self.clock.advance(1)
        self.clock.advance(60)
        self.assertNoTimers()
        self.assertEqual(self.sink.errors, [])

    def test_unfinished_while_we_do_not_read(self) -> None:
        """Time in which we did not read does not age the peer's line."""
        wire = self.wire()
        wire.dataReceived(b"a")
        self.clock.advance(50)
        wire.pause()
        wire.resume()
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)
        wire.pause()
        self.clock.advance(500)
        self.assertNoTimers()
        wire.resume()
        self.clock.advance(9)
        self.assertEqual(self.sink.errors, [])
        self.clock.advance(1)
        self.assertEqual(len(self.sink.errors), 1)

    def test_budget(self) -> None:
        """Unfinished lines of all wires share a budget; the greediest is refused, and its bytes are free again."""
        budget = LineBudget(10)
        greedy, greedy_sink = self.wire(budget=budget), self.sink
        self.transport, self.sink = StringTransport(), RecordingSink()
        modest = self.wire(budget=budget)
        greedy.dataReceived(b"x\n12345678")
        modest.dataReceived(b"ab")
        self.assertEqual((budget.total, greedy_sink.errors), (10, []))
        modest.dataReceived(b"c")
        self.assertIsInstance(greedy_sink.errors[0], BudgetExceeded)
        self.assertEqual((self.sink.errors, budget.total), ([], 3))
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)  # the age of the modest one's line
        modest.dataReceived(b"\n")
        self.assertEqual((self.sink.lines, budget.total), ([b"abc"], 0))
        modest.dataReceived(b"0123456789a")
        self.assertEqual((len(self.sink.errors), budget.total), (1, 0))

    def test_budget_after_a_loss(self) -> None:
        """What a lost wire held is free again."""
        budget = LineBudget(10)
        wire = self.wire(budget=budget)
        wire.dataReceived(b"12345")
        wire.connectionLost(Failure(ConnectionLost()))
        self.assertEqual(budget.total, 0)
        self.assertNoTimers()
