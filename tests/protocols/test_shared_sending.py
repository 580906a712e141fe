"""Lines that many sockets are sent at the end of a turn, one system call right behind the other."""

from __future__ import annotations

from hypothesis import given, strategies as st
from twisted.internet.main import CONNECTION_LOST
from twisted.internet.protocol import Protocol
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from ensemble.protocols import Block, Outbox, StreamWire, Turn, block as block_module, outbox as outbox_module
from tests.protocols.pretended import Socket, System
from tests.protocols.recording import RecordingSink
from tests.protocols.test_outbox import Writes


class End(RecordingSink):
    """One destination: an outbox before a wire on a socket that takes what it is told to."""

    def __init__(self, clock: Clock, turn: Turn, limit: int = 10_000) -> None:
        super().__init__()
        self.system = System()
        self.socket = Socket(MemoryReactorClock(), self.system, Protocol())
        self.wire = StreamWire(clock)
        self.wire.makeConnection(self.socket)
        self.outbox = Outbox(self.wire, turn, limit)
        self.wire.start(self)

    def wire_full(self) -> None:
        self.outbox.full()
        super().wire_full()

    def wire_drained(self) -> None:
        super().wire_drained()
        self.outbox.drained()

    @property
    def said(self) -> list[bytes]:
        """The whole lines that reached the socket; it must end with one."""
        *lines, rest = bytes(self.system.taken).split(b"\n")
        assert rest == b"", rest
        return lines

    def go_on(self, room: int) -> object:
        """The socket has room again, and the reactor asks whoever waits for that; what became of the connection."""
        self.system.room = room
        return self.socket.doWrite() if self.socket in self.socket.reactor.getWriters() else None


class SharedCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.turn = Turn(self.clock)
        self.ends = [End(self.clock, self.turn) for _ in range(3)]
        self.outboxes = [end.outbox for end in self.ends]
        self.block: Block | None = None

    def share(self, line: bytes) -> None:
        if self.block is None or not self.block.add(line):
            self.block = Block(line, self.turn)
            for outbox in self.outboxes:
                outbox.add_block(self.block)

    def end_turn(self) -> None:
        """Until nothing more is to do at once."""
        while any(call.getTime() <= self.clock.seconds() for call in self.clock.getDelayedCalls()):
            self.clock.advance(0)  # and not the patience of a wire that closes


class SharedSendingTests(SharedCase):
    """Three sockets."""

    def test_block_stays(self) -> None:
        """While nothing else is sent, one block serves turn after turn: each line once, and counted."""
        line, blocks = b"x" * (block_module.MAX_WRITE_BYTES // 2), set()
        for _ in range(3):
            self.share(line)
            self.share(b"more")
            blocks.add(id(self.block))
            self.end_turn()
        self.assertEqual(len(blocks), 1)
        self.assertEqual([end.said for end in self.ends], [[line, b"more"] * 3] * 3)
        self.assertEqual([end.wire.sent for end in self.ends], [3 * (len(line) + 6)] * 3)
        self.assertEqual([end.events for end in self.ends], [[]] * 3)

    def test_cut_short(self) -> None:
        """What one socket does not take holds up no other; the line that was cut goes on, and only then it is full."""
        self.ends[0].system.room, self.ends[1].system.room = 2, 0
        self.share(b"one")
        self.share(b"two")
        self.clock.advance(0)
        self.assertEqual([end.system.taken for end in self.ends], [b"on", b"", b"one\ntwo\n"])
        self.share(b"three")
        self.end_turn()
        self.assertEqual([end.events for end in self.ends], [["wire_full"], ["wire_full"], []])
        for end in self.ends:
            end.go_on(1000)
        self.assertEqual([end.said for end in self.ends], [[b"one", b"two", b"three"]] * 3)
        self.assertEqual([end.wire.sent for end in self.ends], [14] * 3)
        self.assertEqual([end.outbox.size for end in self.ends], [0] * 3)

    def test_failure(self) -> None:
        """A socket that fails in the middle disturbs none of the others; its transport meets the error and ends it."""
        self.ends[1].system.reset = True
        self.share(b"one")
        self.end_turn()
        self.share(b"two")
        self.end_turn()
        self.assertEqual([end.said for end in self.ends], [[b"one", b"two"], [], [b"one", b"two"]])
        self.assertIs(self.ends[1].go_on(1000), CONNECTION_LOST)

    def test_told_that_one_is_full(self) -> None:
        """Whoever is told of a full wire may close another whose line was cut, too: that line still leaves whole."""
        first, second, third = self.ends
        first.system.room, second.system.room = 1, 2
        full = first.wire_full

        def close_the_others() -> None:
            full()
            for end in (second, third):
                end.outbox.flush()
                end.wire.close()

        self.patch(first, "wire_full", close_the_others)
        self.share(b"one")
        self.clock.advance(0)
        self.clock.advance(0)
        for end in self.ends:
            end.go_on(1000)
        self.assertEqual([end.said for end in self.ends], [[b"one"]] * 3)

    def test_ended_meanwhile(self) -> None:
        """On a wire that is cut before the turn ends nothing is sent; what was closed orderly has sent it before."""
        for cut, closed, other in ((0, 1, 2), (1, 0, 2)):
            self.setUp()
            self.share(b"one")
            self.ends[cut].wire.abort()
            if closed:
                self.ends[closed].outbox.flush()
                self.ends[closed].wire.close()
            self.clock.advance(0)
            self.assertEqual([self.ends[at].said for at in (cut, closed, other)], [[], [b"one"], [b"one"]])

    def test_full_meanwhile(self) -> None:
        """A queue that is told to wait before the turn ends keeps what is shared, as all else."""
        self.share(b"one")
        self.ends[0].outbox.full()
        self.end_turn()
        self.share(b"two")
        self.end_turn()
        self.assertEqual([end.said for end in self.ends], [[], [b"one", b"two"], [b"one", b"two"]])
        self.ends[0].outbox.drained()
        self.assertEqual(self.ends[0].said, [b"one", b"two"])

    def test_forgotten(self) -> None:
        """A queue that lets go of what it has is sent what is shared afterwards."""
        self.share(b"one")
        self.ends[0].outbox.forget()
        self.share(b"two")
        self.end_turn()
        self.ends[1].outbox.forget()
        self.share(b"three")
        self.end_turn()
        every = [b"one", b"two", b"three"]
        self.assertEqual([end.said for end in self.ends], [every[1:], every, every])

    def test_others_among_them(self) -> None:
        """A wire that is no socket gets its lines in the same turn, whether it comes first or last."""
        for at in (0, 3):
            writes = Writes()
            writes.outbox = Outbox(writes, self.turn)
            self.outboxes, self.block = [end.outbox for end in self.ends], None
            self.outboxes.insert(at, writes.outbox)
            for line in (b"one", b"two"):
                self.share(line)
                self.clock.advance(0)
            self.assertEqual(writes.batches, [[b"one"], [b"two"]])
        self.assertEqual([end.said for end in self.ends], [[b"one", b"two"] * 2] * 3)


class AnyScheduleTests(SharedCase):
    @given(
        st.lists(
            st.tuples(
                st.sampled_from(
                    ["share", "share", "share", "push", "turn", "end", "room", "drain", "want", "settle", "close"]
                ),
                st.integers(0, 2),
                st.integers(0, 9),
            ),
            max_size=80,
        )
    )
    def test_order(self, steps: list[tuple[str, int, int]]) -> None:
        """Whatever the sockets take and whoever goes: each gets all its lines, whole, once and in order."""
        self.setUp()
        for module in (block_module, outbox_module):
            self.patch(module, "MAX_WRITE_LINES", 3)
        wanted = [list[bytes]() for _ in self.ends]
        closed: set[int] = set()
        for number, (step, at, amount) in enumerate(steps):
            line, end = b"%d" % number, self.ends[at]
            if step == "share":
                self.share(line)
                for each in set(range(3)) - closed:
                    wanted[each].append(line)
            elif step == "push" and end.outbox.push(line):
                wanted[at].append(line)
            elif step == "turn":
                self.clock.advance(0)
            elif step == "end":
                self.end_turn()
            elif step == "room":
                end.system.room = amount
            elif step == "drain":
                end.go_on(amount)
            elif step == "want":
                end.outbox.want_room()
            elif step == "settle":
                end.outbox.settle()
            elif step == "close" and amount == 0 and not end.outbox.size:
                end.outbox.flush()
                if not end.outbox.size:
                    closed.add(at)
                    end.outbox.close()
                    end.wire.close()
        for _ in range(2):
            for at, end in enumerate(self.ends):
                while end.go_on(1_000_000) is None and end.outbox.size and at not in closed:
                    self.clock.advance(0)
            self.clock.advance(0)
        self.assertEqual([end.said for end in self.ends], wanted)
        self.assertEqual([end.wire.sent for end in self.ends], [len(end.system.taken) for end in self.ends])

    @given(st.lists(st.tuples(st.sampled_from(["share", "share", "push", "turn", "end", "drain"]), st.integers(0, 30))))
    def test_pressure(self, steps: list[tuple[str, int]]) -> None:
        """Under pressure whole shared lines are dropped and counted, never a pushed one, nor one that has begun."""
        self.clock = Clock()
        self.turn = Turn(self.clock)
        self.block = None
        end = End(self.clock, self.turn, limit=60)
        self.outboxes = [end.outbox]
        end.system.room = 0
        shared, pushed = [], []
        for number, (step, amount) in enumerate(steps):
            line = b"%d:" % number + b"x" * amount
            if step == "share":
                self.share(line)
                shared.append(line)
            elif step == "push" and end.outbox.push(line):
                pushed.append(line)
            elif step == "turn":
                self.clock.advance(0)
            elif step == "end":
                self.end_turn()
            elif step == "drain":
                end.go_on(amount)
        for _ in range(2):
            while end.go_on(1_000_000) is None and end.outbox.size:
                self.clock.advance(0)
            self.clock.advance(0)
        numbers = [int(line.partition(b":")[0]) for line in end.said]
        self.assertEqual(numbers, sorted(set(numbers)))
        self.assertEqual([line for line in end.said if line in pushed], pushed)
        self.assertEqual(len(end.said) + end.outbox.dropped, len(shared) + len(pushed))
