"""What an outbox tells of its size, and that it tells nothing while all is well."""

from __future__ import annotations

from hypothesis import given, strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from ensemble.protocols import Block, Outbox, Turn
from ensemble.protocols.block import MAX_WRITE_BYTES
from ensemble.protocols.outbox import NOTE_EVERY
from tests.protocols.test_outbox import Writes

LIMIT = 10 * NOTE_EVERY


class NoteTests(SynchronousTestCase):
    """An outbox of 640 KiB whose size somebody keeps."""

    def setUp(self) -> None:
        self.notes: list[int] = []
        self.clock = Clock()
        self.turn = Turn(self.clock)
        self.writes = Writes()
        self.outbox = Outbox(self.writes, self.turn, LIMIT, note=self.notes.append)
        self.writes.outbox = self.outbox

    def test_nothing_to_tell(self) -> None:
        """Where the wire takes all at the end of each turn, nothing is noted."""
        for _ in range(100):
            self.outbox.push(b"x" * 999)
            self.clock.advance(0)
        self.assertEqual(self.notes, [])

    def test_what_stays(self) -> None:
        """What a flush leaves is noted exactly, growth by 64 KiB, and the end of it once."""
        self.outbox.full()
        self.outbox.push(b"x" * 999)
        self.outbox.flush()
        self.assertEqual(self.notes, [1000])
        for _ in range(65):
            self.outbox.push(b"x" * 999)
        self.assertEqual(self.notes, [1000])
        self.outbox.push(b"x" * 999)
        self.assertEqual(self.notes, [1000, 67_000])
        self.outbox.drained()
        self.outbox.flush()
        self.assertEqual(self.notes, [1000, 67_000, 0])

    def test_long_line_in_the_wire(self) -> None:
        """A long line that fills the wire is in memory until that is drained, or given up; a short one is not."""
        for end in ("drained", "forget", "close"):
            self.setUp()
            self.writes.full_after = 1
            self.outbox.push(b"x" * MAX_WRITE_BYTES)
            self.outbox.push(b"more")
            self.clock.advance(0)
            self.assertEqual((self.notes[-1], self.outbox.size), (MAX_WRITE_BYTES + 1 + 5, 5))
            self.writes.full_after = None
            getattr(self.outbox, end)()
            self.assertEqual((self.notes[-1], self.outbox.size), (0, 0))
        self.setUp()
        self.writes.full_after = 1
        self.outbox.push(b"x" * (MAX_WRITE_BYTES - 1))
        self.clock.advance(0)
        self.assertEqual(self.notes, [])

    def test_within_a_turn(self) -> None:
        """A source that queues much in one turn is noted before the turn ends."""
        for _ in range(5):
            self.outbox.push(b"x" * (NOTE_EVERY - 1))
        self.assertEqual(self.notes, [2 * NOTE_EVERY, 4 * NOTE_EVERY])

    def test_let_go(self) -> None:
        """Forgetting and closing are noted where something was, and what is pushed after a forget is queued."""
        self.outbox.full()
        self.outbox.push(b"x" * NOTE_EVERY)
        self.outbox.forget()
        self.outbox.push(b"last", whatever=True)
        self.outbox.close()
        self.assertEqual(self.notes, [NOTE_EVERY + 1, 0])

    def test_forgotten_inside_a_note(self) -> None:
        """Whoever is told may have all of it forgotten, and push a last line, before the push returns."""

        def shed(size: int) -> None:
            if size > NOTE_EVERY:
                self.outbox.forget()
                self.outbox.push(b"bye", whatever=True)

        outbox = self.outbox = Outbox(self.writes, self.turn, LIMIT, note=shed)
        self.assertTrue(outbox.push(b"x" * NOTE_EVERY))
        self.assertEqual(outbox.size, 4)
        self.clock.advance(0)
        self.assertEqual(self.writes.lines, [b"bye"])

    def test_blocks_are_noted(self) -> None:
        """Blocks behind a full wire grow the queue, too; the last line stays the last, whatever was being queued."""
        for queue in (lambda: self.outbox.push(b"more"), lambda: self.outbox.add_block(Block(b"more", self.turn))):
            self.setUp()
            told: list[int] = []

            def shed(size: int, told: list[int] = told) -> None:
                told.append(size)
                if size > NOTE_EVERY:
                    self.outbox.forget()
                    self.outbox.push(b"bye", whatever=True)

            self.outbox = self.writes.outbox = Outbox(self.writes, self.turn, LIMIT, note=shed)
            self.outbox.full()
            self.outbox.add_block(Block(b"x" * NOTE_EVERY, self.turn))
            self.assertEqual(told, [])
            queue()
            self.assertGreater(max(told), NOTE_EVERY)
            self.outbox.drained()
            self.assertEqual(self.writes.lines, [b"bye"])

    @given(
        st.lists(
            st.one_of(
                st.tuples(st.just("push"), st.integers(0, 100_000), st.booleans()),
                st.tuples(st.just("add_block"), st.integers(0, NOTE_EVERY - 1), st.just(True)),
                st.tuples(st.sampled_from(["flush", "full", "drained", "forget"]), st.just(0), st.just(False)),
            )
        )
    )
    def test_never_far_off(self, steps: list[tuple[str, int, bool]]) -> None:
        """Whatever happens, between turns no more than 64 KiB are queued and not noted, and after a flush none."""
        self.setUp()
        for what, size, droppable in steps:
            if what == "push":
                self.outbox.push(b"x" * size, droppable)
            elif what == "add_block":
                self.outbox.add_block(Block(b"x" * size, self.turn))
            else:
                getattr(self.outbox, what)()
            noted = self.notes[-1] if self.notes else 0
            self.assertLessEqual(self.outbox.size - noted, NOTE_EVERY)
            if what == "flush":
                self.assertEqual(self.outbox.size, noted)
