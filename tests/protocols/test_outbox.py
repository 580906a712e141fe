"""What waits to be written."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from hypothesis import given, strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from ensemble.protocols import Block, Outbox, Turn, outbox as module


class Writes:
    """A wire that takes lines; full after so many writes where told so."""

    send_now: Callable[[bytes], int] | None = None

    def __init__(self) -> None:
        self.sent = 0
        self.batches: list[list[bytes]] = []
        self.full_after: int | None = None
        self.outbox: Outbox

    def write(self, lines: Sequence[bytes]) -> None:
        self.batches.append(list(lines))
        if self.full_after is not None and len(self.batches) >= self.full_after:
            self.outbox.full()

    @property
    def lines(self) -> list[bytes]:
        return [line for batch in self.batches for line in batch]


class PlainOutbox:
    """The description of an outbox of 100 bytes, without a thought for speed: the property test compares with it."""

    def __init__(self) -> None:
        self.queue: list[tuple[bytes, bool]] = []
        self.batches: list[list[bytes]] = []
        self.full = self.wanted = False
        self.dropped = self.rooms = self.rooms_due = 0

    def room(self) -> None:
        self.rooms += 1

    def size(self) -> int:
        return sum(len(line) + 1 for line, _ in self.queue)

    def push(self, line: bytes, droppable: bool) -> bool:
        over = self.size() + len(line) + 1 - 100
        if over > 0 and self.queue:
            oldest = [entry for entry in self.queue if entry[1]]
            if over > sum(len(old) + 1 for old, _ in oldest):
                self.dropped += droppable
                self.wanted |= not droppable
                return droppable
            while over > 0:
                over -= len(oldest[0][0]) + 1
                self.queue.remove(oldest.pop(0))
                self.dropped += 1
        self.queue.append((line, droppable))
        return True

    def flush(self, writes: int) -> None:
        """As far as so many writes go; then the wire is full."""
        while self.queue and not self.full:
            batch: list[bytes] = []
            while self.queue and len(batch) < 3:
                if batch and sum(map(len, batch)) + len(batch) + len(self.queue[0][0]) + 1 > 40:
                    break
                batch.append(self.queue.pop(0)[0])
            self.batches.append(batch)
            writes -= 1
            self.full = writes == 0
        if self.wanted and self.size() <= 50:
            self.wanted = False
            self.rooms_due += 1


class OutboxTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.turn = Turn(self.clock)

    def outbox(self, limit: int = 1000) -> tuple[Outbox, Writes]:
        writes = Writes()
        writes.outbox = Outbox(writes, self.turn, limit)
        return writes.outbox, writes

    def test_one_write_per_turn(self) -> None:
        """What is pushed in one turn leaves in one write when the turn ends, and the very objects that were pushed."""
        outbox, writes = self.outbox()
        lines = [b"one", b"two", b"three"]
        self.assertEqual([outbox.push(line) for line in lines], [True, True, True])
        self.assertEqual((writes.batches, outbox.size), ([], 14))
        self.clock.advance(0)
        self.assertEqual((writes.batches, outbox.size), ([lines], 0))
        self.assertIs(writes.batches[0][0], lines[0])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_one_timer_for_all(self) -> None:
        """However many outboxes have something to write, a turn costs one delayed call."""
        boxes = [self.outbox() for _ in range(5)]
        for outbox, _ in boxes:
            outbox.push(b"x")
            outbox.push(b"y")
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)
        self.clock.advance(0)
        self.assertEqual([writes.batches for _, writes in boxes], [[[b"x", b"y"]]] * 5)

    def test_writes_are_small(self) -> None:
        """No write has more than 64 lines or, but for a single longer line, 64 KiB."""
        outbox, writes = self.outbox(10**7)
        lines = [b"%d" % number for number in range(150)] + [bytes(30_000)] * 5 + [bytes(200_000)] + [b"z"]
        for line in lines:
            outbox.push(line)
        self.clock.advance(0)
        self.assertEqual(writes.lines, lines)
        self.assertLessEqual(max(map(len, writes.batches)), 64)
        for batch in writes.batches:
            self.assertTrue(len(batch) == 1 or sum(map(len, batch)) + len(batch) <= 65536)

    def test_full_stops(self) -> None:
        """A wire that says it is full, in the middle of a flush too, gets nothing until it drained."""
        outbox, writes = self.outbox(10**6)
        writes.full_after = 1
        for number in range(100):
            outbox.push(b"%d" % number)
        self.clock.advance(0)
        self.assertEqual(len(writes.lines), 64)
        outbox.push(b"more")
        self.assertEqual(self.clock.getDelayedCalls(), [])  # a full wire costs no turns
        self.clock.advance(0)
        self.assertEqual(len(writes.lines), 64)
        writes.full_after = None
        outbox.drained()
        self.assertEqual((len(writes.lines), writes.lines[-1], outbox.size), (101, b"more", 0))
        outbox.push(b"after")
        self.clock.advance(0)
        self.assertEqual(writes.lines[-1], b"after")

    def test_bound(self) -> None:
        """A line over the bound is not taken, and everything before it still leaves."""
        outbox, writes = self.outbox(10)
        outbox.full()
        self.assertTrue(outbox.push(b"12345"))
        self.assertTrue(outbox.push(b"123"))
        self.assertFalse(outbox.push(b""))
        self.assertEqual((outbox.size, outbox.dropped, outbox.limit), (10, 0, 10))
        outbox.drained()
        self.assertEqual(writes.lines, [b"12345", b"123"])

    def test_one_long_line(self) -> None:
        """A line longer than the bound goes where nothing else waits, and only there."""
        outbox, writes = self.outbox(10)
        self.assertTrue(outbox.push(bytes(50)))
        self.assertFalse(outbox.push(b"x"))
        self.clock.advance(0)
        self.assertEqual(writes.lines, [bytes(50)])

    def test_droppable_oldest_first(self) -> None:
        """Under pressure the oldest droppable lines make room, counted; the others keep their order."""
        outbox, writes = self.outbox(12)
        outbox.full()
        for line, droppable in ((b"d1", True), (b"k1", False), (b"d2", True), (b"d3", True)):
            self.assertTrue(outbox.push(line, droppable))
        self.assertTrue(outbox.push(b"k22"))
        self.assertEqual((outbox.dropped, outbox.size), (2, 10))
        outbox.drained()
        self.assertEqual(writes.lines, [b"k1", b"d3", b"k22"])

    def test_droppable_in_vain(self) -> None:
        """Where dropping would not make room nothing is dropped and the line is refused."""
        outbox, writes = self.outbox(12)
        outbox.full()
        outbox.push(b"keep-me")
        outbox.push(b"d", droppable=True)
        self.assertFalse(outbox.push(b"too-long"))
        self.assertEqual(outbox.dropped, 0)
        outbox.drained()
        self.assertEqual(writes.lines, [b"keep-me", b"d"])

    def test_droppable_itself(self) -> None:
        """A droppable line that finds no room is what is dropped: taken, counted, and nobody need be told."""
        outbox, writes = self.outbox(4)
        outbox.full()
        outbox.push(b"abc")
        self.assertTrue(outbox.push(b"d", droppable=True))
        self.assertEqual(outbox.dropped, 1)
        outbox.drained()
        self.assertEqual(writes.lines, [b"abc"])

    def test_droppable_sent(self) -> None:
        """A droppable line that has left is out of reach: the oldest that still waits is the one dropped."""
        lines = [b"%d" % number for number in range(3000)]
        outbox, writes = self.outbox(sum(map(len, lines)) + len(lines))
        for line in lines:
            outbox.push(line, droppable=True)
        writes.full_after = 40
        self.clock.advance(0)
        sent, last = len(writes.lines), bytes(outbox.limit - outbox.size)  # one byte more than fits, with its LF
        self.assertEqual(sent, 40 * 64)
        self.assertTrue(outbox.push(last))
        self.assertEqual(outbox.dropped, 1)
        writes.full_after = None
        outbox.drained()
        self.assertEqual(writes.lines, lines[:sent] + lines[sent + 1 :] + [last])

    def test_on_room(self) -> None:
        """After a refusal the source is told once, when the queue is at most half full."""
        told: list[int] = []
        outbox, writes = self.outbox(10_000)
        outbox.on_room = lambda: told.append(outbox.size)
        for _ in range(100):
            outbox.push(bytes(99))
        self.assertFalse(outbox.push(b"x"))
        writes.full_after = 1
        outbox.flush()
        self.assertEqual(told, [3600])
        writes.full_after = None
        outbox.drained()
        self.assertEqual(told, [3600])

    def test_room_only_at_half(self) -> None:
        """Room for a line or two is not yet told: sources are not woken for every line that leaves."""
        told: list[int] = []
        outbox, writes = self.outbox(200 * 100)
        outbox.on_room = lambda: told.append(outbox.size)
        for _ in range(200):
            outbox.push(bytes(99))
        outbox.push(b"x")
        writes.full_after = 1
        outbox.flush()
        self.assertEqual((outbox.size, told), (13_600, []))
        outbox.drained()
        self.assertEqual(told, [7_200])

    def test_want_room(self) -> None:
        """Who asks is told at the end of the turn where there is room already, never from inside the question."""
        told: list[str] = []
        outbox = Outbox(Writes(), self.turn, on_room=lambda: told.append("room"))
        outbox.want_room()
        self.assertEqual(told, [])
        self.clock.advance(0)
        self.clock.advance(0)
        self.assertEqual(told, ["room"])

    def test_nobody_cares_for_room(self) -> None:
        """A queue without the hook refuses and goes on."""
        outbox, writes = self.outbox(4)
        outbox.push(b"abc")
        self.assertFalse(outbox.push(b"d"))
        self.clock.advance(0)
        self.assertTrue(outbox.push(b"e"))
        self.clock.advance(0)
        self.assertEqual(writes.lines, [b"abc", b"e"])

    def test_when_empty(self) -> None:
        """The end of the queue is told once, after the last line was written."""
        outbox, writes = self.outbox()
        told: list[int] = []
        outbox.full()
        outbox.push(b"x")
        outbox.when_empty(lambda: told.append(len(writes.lines)))
        self.clock.advance(0)
        self.assertEqual(told, [])
        outbox.drained()
        outbox.push(b"y")
        self.clock.advance(0)
        self.assertEqual(told, [1])

    def test_when_empty_already(self) -> None:
        """An empty queue says so at the end of the turn."""
        outbox, _ = self.outbox()
        told: list[str] = []
        outbox.when_empty(lambda: told.append("empty"))
        self.assertEqual(told, [])
        self.clock.advance(0)
        self.assertEqual(told, ["empty"])

    def test_closed(self) -> None:
        """A closed queue lets go of everything, takes nothing, says nothing, writes nothing."""
        outbox, writes = self.outbox()
        outbox.on_room = lambda: self.fail("room in a closed queue")
        outbox.when_empty(lambda: self.fail("it was never written"))
        outbox.push(b"x")
        outbox.close()
        self.assertFalse(outbox.push(b"y"))
        self.assertFalse(outbox.push(b"z", droppable=True))
        self.clock.advance(0)
        outbox.want_room()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        outbox.drained()
        self.assertEqual((writes.lines, outbox.size), ([], 0))

    def test_one_bug_stops_nobody(self) -> None:
        """An outbox whose hook fails is logged and holds up no other."""

        def bug() -> None:
            raise ZeroDivisionError

        (broken, _), (sound, writes) = self.outbox(), self.outbox()
        broken.when_empty(bug)
        sound.push(b"x")
        self.clock.advance(0)
        self.assertEqual(writes.lines, [b"x"])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_lasting_pressure(self) -> None:
        """A full queue in which droppable lines replace each other does not grow, and keeps its order."""
        outbox, writes = self.outbox(1000)
        outbox.full()
        for number in range(20_000):
            self.assertTrue(outbox.push(b"%05d" % number, droppable=number % 1000 != 0))
        self.assertLess(len(outbox._lines), 3000)
        outbox.drained()
        last = 1000 // 6  # that many lines fit
        self.assertEqual((len(writes.lines), outbox.dropped), (last, 20_000 - last))
        kept = [b"%05d" % number for number in range(0, 20_000, 1000)]
        self.assertEqual(writes.lines, kept + [b"%05d" % number for number in range(20_000 - last + 20, 20_000)])

    def test_asks_once_per_turn(self) -> None:
        """However much is pushed and asked for, an outbox is flushed once per turn."""
        asked: list[Outbox | Block] = []

        class Counting(Turn):
            def add(self, outbox: Outbox | Block) -> None:
                asked.append(outbox)
                super().add(outbox)

        self.turn = Counting(self.clock)
        outbox, _ = self.outbox()
        outbox.push(b"x")
        outbox.push(b"y", droppable=True)
        outbox.want_room()
        self.assertEqual(asked, [outbox])
        self.clock.advance(0)
        outbox.want_room()
        outbox.push(b"z")
        self.assertEqual(asked, [outbox, outbox])

    @given(
        st.lists(
            st.one_of(
                st.tuples(st.just("push"), st.integers(0, 20), st.booleans()),
                st.tuples(st.sampled_from(["full", "drained", "turn", "flood"]), st.integers(1, 3), st.just(False)),
            ),
            max_size=60,
        )
    )
    def test_any_schedule(self, steps: list[tuple[str, int, bool]]) -> None:
        """
        Whatever happens in whatever order, the queue does what its plain description says, line for line.

        The writes are made small, so that parts of a queue leave, too.
        """
        self.patch(module, "MAX_WRITE_LINES", 3)
        self.patch(module, "MAX_WRITE_BYTES", 40)
        self.patch(module, "_COMPACT_AT", 4)
        clock = Clock()
        writes, plain = Writes(), PlainOutbox()
        outbox = writes.outbox = Outbox(writes, Turn(clock), 100, plain.room)
        for number, (step, count, droppable) in enumerate(steps):
            writes.full_after = len(writes.batches) + count
            if step == "push":
                line = b"%d:" % number + bytes(count)
                self.assertEqual(outbox.push(line, droppable), plain.push(line, droppable))
            elif step == "flood":
                for line in (b"%d.%d" % (number, part) for part in range(count * 30)):
                    self.assertEqual(outbox.push(line, True), plain.push(line, True))
            elif step == "full":
                outbox.full()
                plain.full = True
            else:
                if step == "drained":
                    plain.full = False
                    outbox.drained()
                else:
                    clock.advance(0)
                plain.flush(count)
            self.assertEqual((writes.batches, outbox.size), (plain.batches, plain.size()))
            self.assertEqual((outbox.dropped, plain.rooms), (plain.dropped, plain.rooms_due))
