"""How a stream wire ends."""

from __future__ import annotations

from twisted.internet.error import ConnectionAborted, ConnectionLost
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from ensemble.protocols import StreamWire
from tests.protocols.recording import RecordingSink
from tests.protocols.streaming import DONE, StreamWireCase


class EndingTests(StreamWireCase):
    def test_close(self) -> None:
        """An orderly close waits for what was written, five seconds at most, and delivers nothing more."""
        wire = self.wire()
        wire.write([b"last"])
        wire.close()
        wire.close()
        wire.dataReceived(b"late\n")
        wire.pauseProducing()
        wire.resumeProducing()
        wire.write([b"later"])
        self.assertEqual((self.transport.value(), self.sink.events), (b"last\n", []))
        self.assertTrue(self.transport.disconnecting)
        self.assertIs(self.transport.producer, None)
        self.clock.advance(4.9)
        self.assertFalse(self.transport.disconnected)
        self.clock.advance(0.1)
        self.assertTrue(self.transport.disconnected)
        wire.connectionLost(Failure(ConnectionAborted()))
        self.assertEqual(self.sink.events, ["wire_lost"])
        self.assertNoTimers()

    def test_close_in_time(self) -> None:
        """A close that went well leaves no timer."""
        wire = self.wire()
        wire.dataReceived(b"unfinished")
        wire.pause()
        wire.close()
        self.assertEqual(self.transport.producerState, "producing")
        wire.connectionLost(DONE)
        self.assertEqual(self.sink.events, ["bytes_trickled", "wire_lost"])
        self.assertNoTimers()

    def test_abort(self) -> None:
        """An abort is at once, also after a close, and delivers nothing more."""
        wire = self.wire()
        wire.close()
        wire.abort()
        self.assertTrue(self.transport.disconnected)
        wire.connectionLost(Failure(ConnectionAborted()))
        wire.abort()
        self.assertEqual(self.sink.events, ["wire_lost"])
        self.assertNoTimers()

    def test_abort_inside_a_batch(self) -> None:
        """Who aborts inside a batch of the limit gets nothing of what follows in the chunk."""
        wire = self.wire()
        wire.limit_total(100)
        self.sink.on_lines = lambda _: wire.abort()
        wire.dataReceived(b"one\ntwo\nthree")
        self.assertEqual(self.sink.lines, [b"one"])
        self.assertNoTimers()

    def test_transport_without_abort(self) -> None:
        """Where a transport cannot abort, it is closed."""

        class Gentle(StringTransport):
            def __getattribute__(self, name: str) -> object:
                if name == "abortConnection":
                    raise AttributeError(name)
                return super().__getattribute__(name)

        self.transport = Gentle()
        self.wire().abort()
        self.assertTrue(self.transport.disconnecting)

    def test_last_line_without_lf(self) -> None:
        """At a clean end the last line counts though its LF is missing."""
        wire = self.wire()
        wire.dataReceived(b"one\nlast")
        wire.connectionLost(DONE)
        self.assertEqual((self.sink.lines, self.sink.events[-1]), ([b"one", b"last"], "wire_lost"))
        self.assertNoTimers()

    def test_half_a_line_lost(self) -> None:
        """At an unclean end half a line is nothing."""
        wire = self.wire()
        wire.dataReceived(b"one\nlast")
        wire.connectionLost(Failure(ConnectionLost()))
        self.assertEqual(self.sink.lines, [b"one"])

    def test_lost_with_lines_held(self) -> None:
        """What was to come after a resume comes before the loss; what is held while paused does not."""
        for resume, lines in ((True, [b"one", b"two"]), (False, [])):
            self.transport, self.sink = StringTransport(), RecordingSink()
            wire = self.wire()
            wire.pause()
            wire.dataReceived(b"one\ntwo")
            if resume:
                wire.resume()
            wire.connectionLost(DONE)
            self.assertEqual((self.sink.lines, self.sink.events[-1]), (lines, "wire_lost"))
            self.assertNoTimers()

    def test_pause_at_the_end(self) -> None:
        """A sink that pauses on the last lines of a lost wire harms nothing."""
        wire = self.wire()
        wire.pause()
        wire.dataReceived(b"one\ntwo")
        wire.resume()
        self.sink.on_lines = lambda _: wire.pause()
        wire.connectionLost(DONE)
        self.assertEqual(self.sink.lines, [b"one"])

    def test_lost_before_start(self) -> None:
        """Who starts a wire that is gone already is told so, in a later turn."""
        wire = self.wire(start=False)
        wire.connectionLost(DONE)
        wire.start(self.sink)
        self.assertEqual(self.sink.events, [])
        self.clock.advance(0)
        self.assertEqual(self.sink.events, ["wire_lost"])
        self.assertEqual(self.sink.reasons, ["closed cleanly"])

    def test_given_up_after_loss(self) -> None:
        """A wire that was lost and then closed, before it started, still tells the loss and nothing else."""
        for give_up in (StreamWire.close, StreamWire.abort):
            self.transport, self.sink = StringTransport(), RecordingSink()
            wire = self.wire(start=False)
            wire.dataReceived(b"one\n")
            wire.connectionLost(DONE)
            give_up(wire)
            self.assertNoTimers()
            wire.start(self.sink)
            self.clock.advance(0)
            self.assertEqual(self.sink.events, ["wire_lost"])

    def test_close_on_the_last_lines(self) -> None:
        """A sink that closes on the last lines of a lost wire hears nothing but the loss after them."""
        wire = self.wire()
        wire.pause()
        wire.dataReceived(b"one\ntwo")
        wire.resume()
        self.sink.on_lines = lambda _: wire.close()
        wire.connectionLost(DONE)
        self.assertEqual(self.sink.events, ["lines_received", "wire_lost"])
        self.assertNoTimers()

    def test_sink_with_a_bug(self) -> None:
        """A sink that dies of lines that came late is told of the loss all the same, and its bug is in the log."""

        def bug(_: list[bytes]) -> None:
            raise ZeroDivisionError

        for lost in (False, True):
            self.transport, self.sink = StringTransport(), RecordingSink(bug)
            wire = self.wire()
            wire.pause()
            wire.dataReceived(b"one\ntwo\n")
            wire.resume()
            if lost:
                wire.connectionLost(DONE)
                self.assertEqual(self.sink.events, ["lines_received", "wire_lost"])
            else:
                self.clock.advance(0)
                self.assertTrue(self.transport.disconnected)
                wire.connectionLost(Failure(ConnectionAborted()))
            self.assertEqual(self.sink.events[-1], "wire_lost")
            self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
            self.assertNoTimers()

    def test_closed_before_start(self) -> None:
        """A wire that was closed before it started delivers nothing but its loss."""
        wire = self.wire(start=False)
        wire.close()
        wire.start(self.sink)
        wire.dataReceived(b"one\n")
        wire.connectionLost(DONE)
        self.assertEqual(self.sink.events, ["wire_lost"])

    def test_never_started(self) -> None:
        """A wire that nobody started is lost without a word, and leaves no timer."""
        self.wire(start=False).connectionLost(DONE)
        self.assertNoTimers()

    def test_nothing_after_loss(self) -> None:
        """Writing to, closing or changing a wire that is gone does nothing."""
        wire = self.wire()
        wire.connectionLost(DONE)
        wire.write([b"x"])
        for call in (wire.close, wire.abort, wire.pause, wire.resume, lambda: wire.keep_alive(True)):
            call()
        wire.write([b"x"])
        wire.pauseProducing()
        wire.resumeProducing()
        wire.dataReceived(b"late\n")
        self.assertEqual((self.transport.value(), self.sink.events), (b"", ["wire_lost"]))
        self.assertFalse(self.transport.disconnecting)
        self.assertNoTimers()
