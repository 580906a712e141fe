"""Lines that many outboxes share, and when outboxes are flushed."""

from __future__ import annotations

from hypothesis import given, strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from ensemble.protocols import Block, Outbox, Turn, block as block_module, outbox as outbox_module
from tests.protocols.streaming import StreamWireCase
from tests.protocols.test_outbox import Writes


class Fan:
    """Outboxes that are sent the same, one line each."""

    def __init__(self, clock: Clock, count: int, limit: int = 10_000) -> None:
        self.turn = Turn(clock)
        self.writes = [Writes() for _ in range(count)]
        for writes in self.writes:
            writes.outbox = Outbox(writes, self.turn, limit)
        self.block: Block | None = None

    def share(self, line: bytes) -> None:
        if self.block is None or not self.block.add(line):
            self.block = Block(line, self.turn)
            for writes in self.writes:
                writes.outbox.add_block(self.block)


class BlockTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()

    def test_one_write_for_all(self) -> None:
        """The shared lines of a turn reach every wire as one and the same block."""
        fan = Fan(self.clock, 3)
        for line in (b"one", b"two"):
            fan.share(line)
        self.clock.advance(0)
        written = [writes.batches for writes in fan.writes]
        self.assertEqual(written, [[[b"one", b"two"]]] * 3)
        assert fan.block is not None
        self.assertEqual((fan.block.joined(), fan.block.open), (b"one\ntwo\n", False))
        self.assertIs(fan.block.joined(), fan.block.joined())

    def test_bounded(self) -> None:
        """A block is never more than one write; a single longer line makes a block of its own."""
        turn = Turn(self.clock)
        block = Block(b"x", turn)
        self.assertEqual([block.add(b"x") for _ in range(70)].count(True), block_module.MAX_WRITE_LINES - 1)
        self.assertFalse(Block(b"x", turn).add(bytes(block_module.MAX_WRITE_BYTES)))
        self.assertFalse(Block(bytes(block_module.MAX_WRITE_BYTES + 1), turn).add(b""))

    def test_full(self) -> None:
        """Where a wire is full, shared lines are as all droppable ones: bounded, the oldest dropped and counted."""
        fan = Fan(self.clock, 2, limit=100)
        slow, fast = fan.writes
        slow.outbox.full()
        for number in range(300):
            fan.share(b"%09d" % number)
            self.clock.advance(0)
        self.assertEqual(len(fast.lines), 300)
        self.assertLessEqual(slow.outbox.size, 100)
        slow.outbox.drained()
        self.assertEqual(slow.lines, fast.lines[-len(slow.lines) :])
        self.assertEqual(slow.outbox.dropped + len(slow.lines), 300)

    def test_closed(self) -> None:
        """A closed queue lets go of what is shared, and takes no more of it."""
        fan = Fan(self.clock, 2)
        fan.share(b"one")
        fan.writes[0].outbox.close()
        fan.share(b"two")
        self.clock.advance(0)
        fan.share(b"three")
        self.clock.advance(0)
        self.assertEqual([writes.lines for writes in fan.writes], [[], [b"one", b"two", b"three"]])

    @given(
        st.lists(
            st.tuples(
                st.sampled_from(["push", "share", "share", "full", "drained", "turn", "want"]), st.integers(0, 2)
            ),
            max_size=80,
        )
    )
    def test_any_schedule(self, steps: list[tuple[str, int]]) -> None:
        """Whatever is shared and pushed in whatever order, every wire gets its lines in that order, each once."""
        for module in (block_module, outbox_module):
            self.patch(module, "MAX_WRITE_LINES", 3)
        clock = Clock()
        fan, wanted = Fan(clock, 3), [list[bytes]() for _ in range(3)]
        for number, (step, at) in enumerate(steps):
            line, outbox = b"%d" % number, fan.writes[at].outbox
            if step == "push":
                outbox.push(line)
                wanted[at].append(line)
            elif step == "share":
                fan.share(line)
                for lines in wanted:
                    lines.append(line)
            elif step == "full":
                outbox.full()
            elif step == "drained":
                outbox.drained()
            elif step == "want":
                outbox.want_room()
            else:
                clock.advance(0)
        for writes in fan.writes:
            writes.outbox.drained()
        self.assertEqual([writes.lines for writes in fan.writes], wanted)
        self.assertTrue(all(len(batch) <= 3 for writes in fan.writes for batch in writes.batches))


class StreamTests(StreamWireCase):
    def test_joined_once(self) -> None:
        """A stream is sent the bytes that the block joined, not a copy of its own."""
        wire = self.wire()
        writes: list[bytes] = []
        self.transport.write = writes.append  # type: ignore[method-assign]
        block = Block(b"one", Turn(self.clock))
        block.add(b"two")
        wire.write(block)
        self.assertIs(writes[0], block.joined())
        self.assertEqual(wire.sent, 8)


class TurnTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.turn = Turn(self.clock)
        self.writes = Writes()
        self.outbox = self.writes.outbox = Outbox(self.writes, self.turn)

    def read(self, *lines: bytes) -> None:
        """What a read leads to: the same lines are pushed."""
        self.turn.handle(self.push, list(lines))

    def push(self, lines: list[bytes]) -> None:
        for line in lines:
            self.outbox.push(line)

    def test_at_once_behind_a_read(self) -> None:
        """What a read leads to leaves when it is handled; what else comes in the turn waits for the turn's end."""
        self.read(b"one", b"two")
        self.assertEqual(self.writes.batches, [[b"one", b"two"]])
        self.read(b"three")
        self.outbox.push(b"four")
        self.assertEqual(len(self.writes.batches), 1)
        self.clock.advance(0)
        self.assertEqual(self.writes.batches[1:], [[b"three", b"four"]])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_one_read_inside_another(self) -> None:
        """Only the outermost read flushes."""

        def outermost(lines: list[bytes]) -> None:
            self.read(b"one")
            self.assertEqual(self.writes.batches, [])

        self.turn.handle(outermost, [])
        self.assertEqual(self.writes.batches, [[b"one"]])

    def test_a_read_that_fails(self) -> None:
        """What a read led to before it failed leaves all the same."""

        def failing(lines: list[bytes]) -> None:
            self.push(lines)
            raise ZeroDivisionError

        self.assertRaises(ZeroDivisionError, self.turn.handle, failing, [b"one"])
        self.assertEqual(self.writes.batches, [[b"one"]])

    def test_behind_a_push(self) -> None:
        """Where the turn already has an end to wait for, a read waits with it."""
        self.outbox.push(b"one")
        self.read(b"two")
        self.assertEqual(self.writes.batches, [])
        self.clock.advance(0)
        self.assertEqual(self.writes.batches, [[b"one", b"two"]])

    def test_a_read_without_answers(self) -> None:
        """A read that leads to nothing costs the reactor nothing."""
        self.read()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_pushed_while_flushing(self) -> None:
        """What a flush leads to leaves at the end of the turn."""
        self.outbox.on_room = lambda: self.push([b"more"])

        def wanting(lines: list[bytes]) -> None:
            self.push(lines)
            self.outbox.want_room()

        self.turn.handle(wanting, [b"two"])
        self.assertEqual(self.writes.batches, [[b"two"]])
        self.clock.advance(0)
        self.assertEqual(self.writes.batches, [[b"two"], [b"more"]])
        self.assertEqual(self.clock.getDelayedCalls(), [])
