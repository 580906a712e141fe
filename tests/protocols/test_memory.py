"""What only memory wires have: partitions and a bound that is exact.  What all wires promise is in test_wires."""

from __future__ import annotations

from hypothesis import given, strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from ensemble.identity import HumdId
from ensemble.protocols import InMemoryEndpoint
from tests.protocols.recording import RecordingSink

ALICE = HumdId.parse("humd_" + "aa" * 32)
BOB = HumdId.parse("humd_" + "bb" * 32)


class InMemoryEndpointTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.mine, self.theirs = InMemoryEndpoint.pair(ALICE, None, BOB, None, self.clock)
        self.my_sink, self.their_sink = RecordingSink(), RecordingSink()
        self.mine.start(self.my_sink)
        self.theirs.start(self.their_sink)

    def numbers(self, *ends: int) -> list[bytes]:
        return [b"%d" % number for number in range(*ends)]

    def test_ends(self) -> None:
        """Each end says whose it is and who is at the other; nobody else can be on a memory wire."""
        self.assertEqual((self.mine.me, self.mine.peer.id), (ALICE, BOB))  # type: ignore[union-attr]
        self.assertEqual((self.theirs.me, self.theirs.peer.id), (BOB, ALICE))  # type: ignore[union-attr]
        self.assertTrue(self.mine.secure and self.theirs.secure)

    def test_later_turn(self) -> None:
        """What is written is delivered in a later turn, all of one turn in one batch."""
        self.mine.write([b"one"])
        self.mine.write([b"two"])
        self.assertEqual(self.their_sink.batches, [])
        self.clock.advance(0)
        self.assertEqual(self.their_sink.batches, [[b"one", b"two"]])

    def test_latency(self) -> None:
        """What a slow end writes is on its way for so long, in order, its close too; the other is fast."""
        self.mine.latency = 0.2
        lines = [b"one"]
        self.mine.write(lines)
        lines.clear()  # still the writer's
        self.theirs.write([b"back"])
        self.clock.advance(0.1)
        self.mine.write([b"two"])
        self.mine.close()
        self.clock.pump([0, 0.09])
        self.assertEqual((self.their_sink.batches, self.my_sink.batches), ([], [[b"back"]]))
        self.clock.pump([0.02, 0])
        self.assertEqual((self.their_sink.batches, self.their_sink.reasons), ([[b"one"]], []))
        self.clock.pump([0.1, 0, 0])
        self.assertEqual(self.their_sink.batches, [[b"one"], [b"two"]])
        self.assertEqual(len(self.their_sink.reasons), 1)

    def test_written_while_delivering(self) -> None:
        """What is written from inside a delivery comes after it, not inside it."""

        def answer(lines: list[bytes]) -> None:
            if lines == [b"one"]:
                self.mine.write([b"two"])
                self.theirs.write([b"back"])
                self.assertEqual((self.their_sink.batches, self.my_sink.batches), ([[b"one"]], []))

        self.their_sink.on_lines = answer
        self.mine.write([b"one"])
        self.clock.advance(0)
        self.assertEqual((self.their_sink.batches, self.my_sink.batches), ([[b"one"], [b"two"]], [[b"back"]]))

    def test_bound(self) -> None:
        """At 256 undelivered lines the writer is told, once; when all were delivered, that it may go on."""
        self.theirs.pause()
        self.mine.write(self.numbers(255))
        self.assertEqual(self.my_sink.events, [])
        self.mine.write([b"x"])
        self.mine.write([b"y"])
        self.assertEqual(self.my_sink.events, ["wire_full"])
        self.clock.advance(0)
        self.theirs.resume()
        self.clock.advance(0)
        self.assertEqual(self.my_sink.events, ["wire_full", "wire_drained"])
        self.assertEqual(self.their_sink.lines, [*self.numbers(255), b"x", b"y"])
        self.mine.write(self.numbers(256))
        self.assertEqual(self.my_sink.events, ["wire_full", "wire_drained", "wire_full"])

    def test_bound_with_nobody_there(self) -> None:
        """A writer that has not started, or has closed, is not told that the wire is full or drained."""
        mine, theirs = InMemoryEndpoint.pair(ALICE, None, BOB, None, self.clock)
        mine.write(self.numbers(300))
        sink = RecordingSink()
        theirs.start(sink)
        self.clock.advance(0)
        self.assertEqual(len(sink.lines), 300)

    def test_partition(self) -> None:
        """A cut direction delivers nothing and keeps all; healed, everything comes in order.  The other one lives."""
        self.mine.partition(True)
        self.mine.partition(True)
        self.mine.write([b"one"])
        self.mine.write([b"two"])
        self.theirs.write([b"over"])
        self.clock.advance(0)
        self.assertEqual((self.their_sink.lines, self.my_sink.lines), ([], [b"over"]))
        self.mine.partition(False)
        self.mine.partition(False)
        self.mine.write([b"three"])
        self.clock.advance(0)
        self.assertEqual((self.their_sink.lines, self.mine.partition_dropped), ([b"one", b"two", b"three"], 0))

    def test_partition_overflow(self) -> None:
        """A cut direction keeps the newest 64 lines and counts those it dropped; it is never full."""
        self.mine.partition(True)
        self.mine.write(self.numbers(600))
        self.mine.partition(False)
        self.clock.advance(0)
        self.assertEqual((self.their_sink.lines, self.mine.partition_dropped), (self.numbers(536, 600), 536))
        self.assertEqual(self.my_sink.events, [])

    def test_partition_keeps_what_flew(self) -> None:
        """What was written before the cut is delivered all the same."""
        self.mine.write([b"one"])
        self.mine.partition(True)
        self.clock.advance(0)
        self.assertEqual(self.their_sink.lines, [b"one"])

    def test_close_behind_a_partition(self) -> None:
        """Nobody learns of a close through a cut; healed, the lines come and then the loss."""
        self.mine.partition(True)
        self.mine.write([b"last"])
        self.mine.close()
        self.clock.advance(0)
        self.assertEqual((self.my_sink.events, self.their_sink.events), (["wire_lost"], []))
        self.mine.partition(False)
        self.clock.advance(0)
        self.assertEqual((self.their_sink.lines, self.their_sink.events[-1]), ([b"last"], "wire_lost"))

    def test_abort_behind_a_partition(self) -> None:
        """An abort drops what the cut kept, and is told when it heals."""
        self.mine.partition(True)
        self.mine.write([b"lost"])
        self.mine.abort()
        self.clock.advance(0)
        self.assertEqual(self.their_sink.events, [])
        self.mine.partition(False)
        self.clock.advance(0)
        self.assertEqual(self.their_sink.events, ["wire_lost"])

    def test_close_waits_for_a_reader(self) -> None:
        """A close is told behind the lines that a paused end has still to read; an abort is told at once."""
        self.theirs.pause()
        self.mine.write([b"one"])
        self.mine.close()
        self.clock.advance(0)
        self.assertEqual(self.their_sink.events, [])
        self.theirs.resume()
        self.clock.advance(0)
        self.assertEqual(self.their_sink.events, ["lines_received", "wire_lost"])

    def test_last_words_in_the_room(self) -> None:
        """What is written, and then closed behind, at the moment of the room still comes, before the end."""

        def last_words() -> None:
            self.mine.write([b"bye"])
            self.mine.close()

        self.my_sink.wire_drained = last_words  # type: ignore[method-assign]
        self.mine.write(self.numbers(256))
        self.clock.advance(0)
        self.clock.advance(0)
        self.assertEqual(self.their_sink.lines[-1], b"bye")
        self.assertEqual(self.their_sink.events[-1], "wire_lost")

    def test_abort_does_not_wait(self) -> None:
        """An abort takes the undelivered lines with it and reaches a paused end too."""
        self.theirs.pause()
        self.mine.write([b"one"])
        self.mine.abort()
        self.clock.advance(0)
        self.assertEqual((self.their_sink.events, self.my_sink.events), (["wire_lost"], ["wire_lost"]))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_nobody_reads_any_more(self) -> None:
        """What is written to an end that closed goes nowhere, and fills nothing."""
        self.theirs.close()
        self.mine.write(self.numbers(300))
        self.clock.advance(0)
        self.assertEqual((self.their_sink.lines, self.my_sink.events), ([], ["wire_lost"]))

    def test_both_close(self) -> None:
        """Both may close in the same turn; each is told once."""
        self.mine.close()
        self.theirs.close()
        self.clock.advance(0)
        self.assertEqual((self.their_sink.events, self.my_sink.events), (["wire_lost"], ["wire_lost"]))

    @given(
        st.lists(
            st.one_of(
                st.tuples(st.just("write"), st.integers(0, 90)),
                st.tuples(st.sampled_from(["pause", "resume", "cut", "heal", "turn"]), st.just(0)),
            )
        )
    )
    def test_any_schedule(self, schedule: list[tuple[str, int]]) -> None:
        """Whatever is paused and cut when: order holds, nothing is doubled, and what is missing was counted."""
        clock = Clock()
        mine, theirs = InMemoryEndpoint.pair(ALICE, None, BOB, None, clock)
        sink = RecordingSink()
        mine.start(RecordingSink())
        theirs.start(sink)
        written: list[bytes] = []
        for step, count in schedule:
            if step == "write":
                lines = self.numbers(len(written), len(written) + count)
                written += lines
                mine.write(lines)
            elif step in ("pause", "resume"):
                getattr(theirs, step)()
            elif step in ("cut", "heal"):
                mine.partition(step == "cut")
            else:
                clock.advance(0)
        mine.partition(False)
        theirs.resume()
        clock.advance(0)
        arrived = set(sink.lines)
        self.assertEqual(sink.lines, [line for line in written if line in arrived])
        self.assertEqual(len(written) - len(sink.lines), mine.partition_dropped)
