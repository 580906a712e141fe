"""The limit on a stream wire before its link is up."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import given, strategies as st
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport

from ensemble.protocols import StreamWire, TotalExceeded
from tests.protocols.recording import RecordingSink
from tests.protocols.streaming import StreamWireCase
from tests.protocols.test_ndjson import cut, expected, steps, streams


class LimitTests(StreamWireCase):
    def lift_at(self, wire: StreamWire, line: bytes) -> Callable[[list[bytes]], None]:
        def look(lines: list[bytes]) -> None:
            if line in lines:
                wire.limit_total(None)

        return look

    def test_limit_lifted(self) -> None:
        """The line that completes the handshake counts, what follows it in the same chunk belongs to the link."""
        wire = self.wire()
        wire.limit_total(12)
        self.sink.on_lines = self.lift_at(wire, b"proof")
        wire.dataReceived(b"hello\nproof\none\ntwo\nand much more\n")
        self.assertEqual(self.sink.batches, [[b"hello"], [b"proof"], [b"one", b"two", b"and much more"]])

    def test_blank_lines(self) -> None:
        """Thousands of blank lines are taken in one step, and count; those behind the last line do not hold it up."""
        wire = self.wire()
        wire.limit_total(16_000)
        self.sink.on_lines = self.lift_at(wire, b"proof")
        wire.dataReceived(b"hel")
        wire.dataReceived(b"lo\n" + b"\n" * 1000 + b"\r\n" * 1000 + b"proof\n" + b"\n" * 20_000 + b"\none\n")
        self.assertEqual(self.sink.batches, [[b"hello"], [b"proof"], [b"one"]])

    def test_only_blank_lines(self) -> None:
        """They count where nothing is behind them, too."""
        wire = self.wire()
        wire.limit_total(16_000)
        for _ in range(2):
            wire.dataReceived(b"\n" * 8_000)
        self.assertEqual(self.sink.events, ["bytes_trickled"] * 2)
        wire.dataReceived(b"\n")
        self.assertIsInstance(self.sink.errors[0], TotalExceeded)

    def test_limit_reached(self) -> None:
        """A line that ends past the limit is refused, not delivered."""
        wire = self.wire()
        wire.limit_total(11)
        self.sink.on_lines = self.lift_at(wire, b"proof")
        wire.dataReceived(b"hello\nproof\none\n")
        error = self.sink.errors[0]
        self.assertIsInstance(error, TotalExceeded)
        self.assertEqual((error.received, error.limit), (12, 11))  # type: ignore[attr-defined]
        self.assertIn("limit 11", str(error))
        self.assertEqual(self.sink.lines, [b"hello"])

    def test_limit_on_unfinished(self) -> None:
        """Bytes of an unfinished line and empty lines count as they come."""
        wire = self.wire()
        wire.limit_total(11)
        wire.dataReceived(b"hello\n")
        wire.dataReceived(b"\n\n\n12")
        self.assertEqual(self.sink.errors, [])
        wire.dataReceived(b"3")
        self.assertEqual(len(self.sink.errors), 1)

    def test_max_line_raised_by_the_handshake(self) -> None:
        """A ceiling per line that the handshake's last line raises holds for the next line of the same chunk."""
        wire = self.wire(max_line=5)
        wire.limit_total(100)

        def up(_: list[bytes]) -> None:
            wire.limit_total(None)
            wire.max_line = 50

        self.sink.on_lines = up
        wire.dataReceived(b"hello\na long tone\n")
        self.assertEqual(self.sink.lines, [b"hello", b"a long tone"])

    def test_pause_inside_the_limit(self) -> None:
        """A sink that pauses when the handshake is done gets nothing more, even of the same chunk, until it resumes."""
        wire = self.wire()
        wire.limit_total(100)

        def up(lines: list[bytes]) -> None:
            if lines == [b"hello"]:
                wire.limit_total(None)
                wire.pause()

        self.sink.on_lines = up
        wire.dataReceived(b"hello\none\ntwo\n")
        wire.dataReceived(b"three\n")
        self.assertEqual(self.sink.lines, [b"hello"])
        wire.resume()
        self.clock.advance(0)
        self.assertEqual(self.sink.batches, [[b"hello"], [b"one", b"two", b"three"]])

    def test_pause_while_limited(self) -> None:
        """Held bytes are counted like all others when they are looked at."""
        wire = self.wire()
        wire.limit_total(9)
        self.sink.on_lines = lambda lines: wire.pause() if lines == [b"one"] else None
        wire.dataReceived(b"one\ntwo\nx")
        wire.dataReceived(b"y\n")
        wire.resume()
        self.clock.advance(0)
        self.assertEqual((self.sink.lines, len(self.sink.errors)), ([b"one", b"two"], 1))

    @given(streams, steps, st.integers(0, 40), st.integers(0, 4))
    def test_any_cut_of_the_limit(self, stream: bytes, sizes: list[int], limit: int, up_at: int) -> None:
        """However the stream is cut, the same lines pass the limit, and the same line lifts it."""
        wire = StreamWire(Clock())
        sink = RecordingSink(lambda _: wire.limit_total(None) if len(sink.lines) > up_at else None)
        wire.makeConnection(StringTransport())
        wire.limit_total(limit)
        wire.start(sink)
        for piece in cut(stream, sizes):
            wire.dataReceived(piece)
        lines = expected(stream, len(stream))[0]
        counted, passed = 0, 0
        for raw in stream.split(b"\n")[:-1]:
            counted += len(raw) + 1
            if passed <= up_at and counted > limit:
                break
            passed += bool(raw.removesuffix(b"\r"))
        self.assertEqual(sink.lines, lines[:passed])
        self.assertEqual(bool(sink.errors), passed <= up_at and len(stream) > limit)
