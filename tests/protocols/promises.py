"""
What every wire promises: each promise once, as a coroutine over a pair of wires.

A test case mixes these in and says where a pair comes from and how time passes.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from twisted.internet.defer import Deferred
from zope.interface.verify import verifyObject

from ensemble.identity import HumdId
from ensemble.interfaces import IWire
from ensemble.protocols import LineTooLong, TotalExceeded
from tests.protocols.recording import RecordingSink

ALICE = HumdId.parse("humd_" + "aa" * 32)
BOB = HumdId.parse("humd_" + "bb" * 32)


class Promises:
    """The tests; mixed into a test case that makes pairs."""

    # A pair of ends, not started: who dialled (to BOB), and who accepted.
    pair: Callable[[], Coroutine[Deferred[Any], Any, tuple[IWire, IWire]]]

    async def started(self) -> tuple[IWire, RecordingSink, IWire, RecordingSink]:
        mine, theirs = await self.pair()
        my_sink, their_sink = RecordingSink(), RecordingSink()
        mine.start(my_sink)
        theirs.start(their_sink)
        return mine, my_sink, theirs, their_sink

    def test_ends(self: Any) -> Any:
        """Both ends are wires; the dialler knows whom it dialled."""

        async def body() -> None:
            mine, theirs = await self.pair()
            self.assertTrue(verifyObject(IWire, mine) and verifyObject(IWire, theirs))
            self.assertEqual((mine.dialled, theirs.dialled, mine.peer.id), (True, False, BOB))
            self.assertEqual((mine.kind, mine.binding), (theirs.kind, "none"))
            mine.keep_alive(True)
            mine.keep_alive(False)

        return self.run_to_end(body())

    def test_lines_both_ways(self: Any) -> Any:
        """Lines arrive whole, in order, both ways, and are counted."""

        async def body() -> None:
            mine, my_sink, theirs, their_sink = await self.started()
            lines = [b"%d" % number for number in range(1000)]
            for at in range(0, 1000, 50):
                mine.write(lines[at : at + 50])
            theirs.write([b"x" * 100_000, b"y"])
            await their_sink.count(1000)
            await my_sink.count(2)
            self.assertEqual((their_sink.lines, my_sink.lines), (lines, [b"x" * 100_000, b"y"]))
            self.assertEqual((mine.sent, theirs.received), (3890, 3890))
            self.assertEqual((theirs.sent, mine.received), (100_003, 100_003))

        return self.run_to_end(body())

    def test_not_before_start(self: Any) -> Any:
        """What comes before an end is started waits for it."""

        async def body() -> None:
            mine, theirs = await self.pair()
            my_sink, their_sink = RecordingSink(), RecordingSink()
            mine.start(my_sink)
            mine.write([b"one"])
            theirs.write([b"two"])
            await my_sink.count(1)
            theirs.start(their_sink)
            self.assertEqual(their_sink.lines, [])
            await their_sink.count(1)
            self.assertEqual(their_sink.lines, [b"one"])

        return self.run_to_end(body())

    def test_pause(self: Any) -> Any:
        """A paused end gets nothing, the other direction goes on, and a resume brings all that came, in order."""

        async def body() -> None:
            mine, my_sink, theirs, their_sink = await self.started()
            theirs.pause()
            theirs.pause()
            mine.write([b"one"])
            theirs.write([b"over"])
            await my_sink.count(1)
            mine.write([b"two"])
            theirs.write([b"and over"])
            await my_sink.count(2)
            self.assertEqual(their_sink.lines, [])
            theirs.resume()
            theirs.resume()
            await their_sink.count(2)
            self.assertEqual(their_sink.lines, [b"one", b"two"])

        return self.run_to_end(body())

    def test_close(self: Any) -> Any:
        """An orderly close brings what was written before it, then the loss, told once at both ends."""

        async def body() -> None:
            mine, my_sink, theirs, their_sink = await self.started()
            mine.write([b"one", b"two"])
            mine.close()
            mine.close()
            mine.write([b"never"])
            await their_sink.told("wire_lost")
            await my_sink.told("wire_lost")
            theirs.write([b"nobody"])
            theirs.close()
            theirs.abort()
            self.assertEqual((their_sink.lines, my_sink.lines), ([b"one", b"two"], []))
            self.assertEqual((my_sink.events, their_sink.events.count("wire_lost")), (["wire_lost"], 1))

        return self.run_to_end(body())

    def test_abort(self: Any) -> Any:
        """An abort reaches both ends; who aborted hears nothing more but that."""

        async def body() -> None:
            mine, my_sink, theirs, their_sink = await self.started()
            theirs.write([b"too late"])
            mine.abort()
            mine.abort()
            self.assertEqual(my_sink.events, [])
            await my_sink.told("wire_lost")
            await their_sink.told("wire_lost")
            self.assertEqual((my_sink.events, their_sink.events), (["wire_lost"], ["wire_lost"]))

        return self.run_to_end(body())

    def test_close_inside(self: Any) -> Any:
        """A sink may close the wire from inside its own lines."""

        async def body() -> None:
            mine, my_sink, theirs, their_sink = await self.started()
            their_sink.on_lines = lambda _: theirs.close()
            mine.write([b"one"])
            await their_sink.told("wire_lost")
            await my_sink.told("wire_lost")
            self.assertEqual(their_sink.events, ["lines_received", "wire_lost"])

        return self.run_to_end(body())

    def test_line_too_long(self: Any) -> Any:
        """A line over the ceiling is refused after those before it; the refusing end can still say why."""

        async def body() -> None:
            mine, my_sink, theirs, their_sink = await self.started()
            theirs.max_line = 5
            mine.write([b"12345", b"123456", b"123"])
            mine.write([b"more"])
            await their_sink.told("line_refused")
            theirs.write([b"limit"])
            await my_sink.count(1)
            theirs.close()
            await my_sink.told("wire_lost")
            await their_sink.told("wire_lost")
            self.assertEqual((their_sink.lines, my_sink.lines), ([b"12345"], [b"limit"]))
            self.assertIsInstance(their_sink.errors[0], LineTooLong)
            self.assertEqual(their_sink.events, ["lines_received", "line_refused", "wire_lost"])

        return self.run_to_end(body())

    def test_first_line_too_long(self: Any) -> Any:
        """Nothing is delivered before a refusal where there was nothing before it."""

        async def body() -> None:
            mine, _, theirs, their_sink = await self.started()
            theirs.max_line = 5
            mine.write([b"123456"])
            await their_sink.told("line_refused")
            self.assertEqual(their_sink.events, ["line_refused"])

        return self.run_to_end(body())

    def test_limit(self: Any) -> Any:
        """Under a limit lines come one by one; lifted inside one, all that follows is free of it."""

        async def body() -> None:
            mine, theirs = await self.pair()
            their_sink = RecordingSink(lambda lines: theirs.limit_total(None) if lines == [b"proof"] else None)
            theirs.limit_total(12)
            mine.start(RecordingSink())
            mine.write([b"hello", b"proof", b"one", b"two"])
            theirs.start(their_sink)
            await their_sink.count(4)
            self.assertEqual(their_sink.batches, [[b"hello"], [b"proof"], [b"one", b"two"]])

        return self.run_to_end(body())

    def test_limit_passed(self: Any) -> Any:
        """The line that passes the limit is refused."""

        async def body() -> None:
            mine, theirs = await self.pair()
            their_sink = RecordingSink()
            theirs.limit_total(11)
            theirs.start(their_sink)
            mine.start(RecordingSink())
            mine.write([b"hello", b"proof", b"one"])
            await their_sink.told("line_refused")
            self.assertEqual((their_sink.lines, type(their_sink.errors[0])), ([b"hello"], TotalExceeded))

        return self.run_to_end(body())

    def test_pause_inside_the_limit(self: Any) -> Any:
        """Who pauses at the line that completes a handshake gets nothing of what follows until it resumes."""

        async def body() -> None:
            mine, theirs = await self.pair()
            their_sink = RecordingSink(lambda lines: theirs.pause() if lines == [b"hello"] else None)
            theirs.limit_total(100)
            theirs.start(their_sink)
            mine.start(RecordingSink())
            mine.write([b"hello", b"one", b"two"])
            await their_sink.count(1)
            self.assertEqual(their_sink.lines, [b"hello"])
            theirs.limit_total(None)
            theirs.resume()
            await their_sink.count(3)
            self.assertEqual(their_sink.batches, [[b"hello"], [b"one", b"two"]])

        return self.run_to_end(body())

    def test_lost_before_start(self: Any) -> Any:
        """Who starts an end whose other end is gone gets what was written, and the loss."""

        async def body() -> None:
            mine, theirs = await self.pair()
            my_sink, their_sink = RecordingSink(), RecordingSink()
            mine.start(my_sink)
            mine.write([b"one"])
            mine.close()
            await my_sink.told("wire_lost")
            theirs.start(their_sink)
            await their_sink.told("wire_lost")
            self.assertEqual(their_sink.lines, [b"one"])

        return self.run_to_end(body())


class PushingBack(Promises):
    """For pairs whose buffers can be full, and whose aborts are not closes; a simulation's are not so."""

    hides_aborts = False  # from the other end, for which they look like closes

    def test_clean_end(self: Any) -> Any:
        """Both ends learn whether the end was clean: a close is, an abort is not."""

        async def body() -> None:
            for end, clean in (("close", True), ("abort", False)):
                mine, my_sink, _, their_sink = await self.started()
                mine.write([b"last"])
                await their_sink.count(1)
                getattr(mine, end)()
                await my_sink.told("wire_lost")
                await their_sink.told("wire_lost")
                self.assertEqual((my_sink.clean, their_sink.clean), (clean, clean or self.hides_aborts))

        return self.run_to_end(body())

    def test_back_pressure(self: Any) -> Any:
        """A peer that does not read fills the wire; once it reads, the wire drains and nothing was lost."""

        async def body() -> None:
            mine, my_sink, theirs, their_sink = await self.started()
            theirs.pause()
            written = 0
            while "wire_full" not in my_sink.events:
                mine.write([b"x" * 60_000])
                written += 1
                self.assertLess(written, 1000)
            theirs.resume()
            await my_sink.told("wire_drained")
            await their_sink.count(written)
            self.assertEqual(their_sink.lines, [b"x" * 60_000] * written)

        return self.run_to_end(body())
