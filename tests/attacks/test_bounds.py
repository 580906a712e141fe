"""What grows with what others do has a ceiling, also where nothing is sent over a wire."""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from ensemble.conversations import Output, Routes, ToPeer
from ensemble.errors import LinkRefused
from ensemble.hives import Roster
from ensemble.identity import HumdAddr
from ensemble.mesh import Ensemble, KnownPeer, Policy
from ensemble.mesh.tap import TAP_BYTES
from ensemble.protocols import LineBudget, Outbox, Standing, StreamWire, StreamWireFactory, TcpTransport, Turn
from ensemble.testing import World
from ensemble.tone import Qualifier, encode, peek
from tests.mesh.plain_peer import PlainPeer
from tests.protocols.recording import RecordingSink
from tests.protocols.test_outbox import Writes


class OutboxTests(SynchronousTestCase):
    """A queue that nobody empties."""

    def test_droppable_lines_for_ever(self) -> None:
        """However many lines are dropped while the wire takes nothing, the queue stays as small as its bound."""
        written = Writes()
        outbox = written.outbox = Outbox(written, Turn(Clock()), limit=10_000)
        outbox.full()
        for number in range(100_000):
            outbox.push(b"%09d" % number, droppable=number % 500 != 0)
        self.assertLess(len(outbox._lines), 5_000)
        kept = outbox.size // 10
        outbox.drained()
        numbers = [int(line) for line in written.lines]
        self.assertEqual(len(numbers), kept)
        self.assertEqual(numbers, sorted(numbers))
        self.assertEqual([number for number in numbers if number % 500 == 0], list(range(0, 100_000, 500)))
        self.assertEqual(numbers[-1], 99_999)
        self.assertEqual((outbox.size, outbox.dropped), (0, 100_000 - kept))

    def test_pushes_and_drops_between_writes(self) -> None:
        """A queue that was compacted in the middle of being written goes on in order."""
        written = Writes()
        outbox = written.outbox = Outbox(written, Turn(Clock()), limit=30_000)
        number = 0
        for _ in range(50):
            outbox.full()
            for _ in range(5000):
                outbox.push(b"%09d" % number, droppable=number % 100 != 0)
                number += 1
            outbox.drained()
        numbers = [int(line) for line in written.lines]
        self.assertEqual(numbers, sorted(set(numbers)))
        self.assertEqual(len([one for one in numbers if one % 100 == 0]), number // 100)


class BudgetTests(SynchronousTestCase):
    """Who shares a budget for unfinished lines, and that nobody is without."""

    def test_nobody_is_without(self) -> None:
        """Factories and transports that were given no budget have one."""
        clock: Any = Clock()
        wires: list[StreamWire] = []
        made: Any = StreamWireFactory(clock, wires.append).buildProtocol(None)
        made.makeConnection(StringTransport())
        wires.append(TcpTransport(clock)._wire(HumdAddr(World().key().humd_id())))
        self.assertTrue(all(wire._budget is not None for wire in wires))

    def test_whose_they_are(self) -> None:
        """A line of a Unix socket is a local program's; all else is a stranger's, until it proves that it has a row."""
        clock: Any = Clock()
        factories = [StreamWireFactory(clock, lambda _: None, kind=kind) for kind in ("unix", "tcp")]
        wires: list[Any] = [factory.buildProtocol(None) for factory in factories]
        self.assertEqual([wire.standing for wire in wires], [Standing.LOCAL, Standing.STRANGER])
        world = World()
        alice, bob, carol = (world.humd() for _ in range(3))
        alice.judge_again(Policy(known=[KnownPeer(bob.me)]))
        for peer in (bob, carol):
            world.link(peer, alice)
        links = [alice.link_to(peer.me) for peer in (bob, carol)]
        self.assertEqual([link.wire.standing for link in links if link], [Standing.KNOWN, Standing.STRANGER])
        alice.judge_again(Policy(known=[KnownPeer(carol.me)]))
        self.assertEqual([link.wire.standing for link in links if link], [Standing.STRANGER, Standing.KNOWN])

    def test_shared_by_what_is_accepted_and_dialled(self) -> None:
        """The wires that an ensemble's factory accepts share its budget with those of a transport that is given it."""
        clock: Any = Clock()
        budget = LineBudget(1000)
        key = World().key()
        ensemble = Ensemble(key.humd_id(), clock=clock, key=key, budget=budget)
        factory: Any = ensemble.factory()
        accepted = factory.buildProtocol(None)
        dialled = TcpTransport(clock, budget=ensemble.budget)._wire(HumdAddr(key.humd_id()))
        self.assertIs(accepted._budget, dialled._budget)
        self.assertIs(accepted._budget, budget)


class TapTests(SynchronousTestCase):
    """Somebody who watches and does not take what he sees."""

    def setUp(self) -> None:
        self.world = World()
        self.humd = self.world.humd()
        self.peer = PlainPeer(self.world, self.humd)
        self.peer.say(self.peer.hello())

    def test_bytes(self) -> None:
        """A tap that nobody reads holds 16 MiB, however long the tones of peers are, and tells what it lost."""
        tap = self.humd.subscribe()
        for number in range(20):
            self.peer.say({"chi": "x", "n": number, "s": "x" * 2_000_000})
        self.assertLessEqual(sum(map(len, tap._lines)), TAP_BYTES)
        self.assertEqual((self.successResultOf(tap.get())["n"], tap.lost), (12, 12))
        for _ in range(7):
            self.successResultOf(tap.get())
        self.assertEqual(tap._size, 0)

    def test_closed_while_told(self) -> None:
        """A reader that closes its tap at a tone takes that tone away from no other tap."""
        first, second = self.humd.subscribe(), self.humd.subscribe()
        first.get().addCallback(lambda _: first.close())
        self.peer.say({"chi": "x", "n": 1})
        self.assertEqual(self.successResultOf(second.get())["n"], 1)


class ProbeTests(SynchronousTestCase):
    """An operator who asks for signs of life of a peer that gives none."""

    def test_unanswered_probes(self) -> None:
        """A pong that never comes leaves nothing behind, and a later probe asks anew."""
        world = World()
        humd, other = world.humd(), world.humd()
        world.link(humd, other)
        link = humd.link_to(other.me)
        there = other.link_to(humd.me)
        assert link is not None and there is not None and link._pulse is not None
        for _ in range(15):  # more than are answered at once
            there._pulse._live.ping_received(world.clock.seconds())  # type: ignore[union-attr]
        for _ in range(100):
            probe = link.probe().addTimeout(0.01, world.clock)
            probe.addErrback(lambda _: None)
            world.advance(0.02)
        self.assertEqual(link._pulse._probes, [])
        world.advance(3)
        probe = link.probe()
        world.settle()
        self.successResultOf(probe)


class BugTests(SynchronousTestCase):
    """A sink with a bug: the wire ends, and says so."""

    def die(self, lines: list[bytes]) -> None:
        raise ZeroDivisionError

    def wire(self, clock: Clock) -> tuple[StreamWire, RecordingSink]:
        """A wire that is paused, and has something for its sink."""
        wire = StreamWire(clock)
        wire.makeConnection(StringTransport())
        sink = RecordingSink(self.die)
        wire.pause()
        wire.start(sink)
        wire.dataReceived(b"line\nhalf")
        return wire, sink

    def test_at_what_was_held_back(self) -> None:
        """A sink that dies of a line that had been held back loses the wire, instead of a wire that stays mute."""
        clock = Clock()
        wire, _ = self.wire(clock)
        wire.resume()
        clock.advance(0)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertTrue(wire.transport.disconnecting or wire.transport.disconnected)

    def test_at_the_last_lines(self) -> None:
        """A sink that dies of the last lines is told of the loss all the same, and no timer is left."""
        clock = Clock()
        wire, sink = self.wire(clock)
        wire.resume()
        wire.connectionLost()
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(len(sink.reasons), 1)
        self.assertEqual(clock.getDelayedCalls(), [])


class ClosingTests(SynchronousTestCase):
    """A link that closes while its peer reads slowly."""

    def test_a_ping_does_not_hold_it_open(self) -> None:
        """A ping that falls due while a link is being drained changes nothing: once all has left, it closes."""
        world = World()
        humd = world.humd()
        peer = PlainPeer(world, humd)
        peer.say(peer.hello(features=["ping-1", "bye-1"]))
        link = humd.link_to(peer.id)
        assert link is not None
        humd.set_waiting(peer.id, True)
        link.wire_full()
        humd.route({"chi": "x", "to": peer.id.full})
        humd.remove_peer(peer.id)
        world.advance(5)
        self.assertIsNone(peer.lost)
        link.wire_drained()
        world.settle()
        self.assertIsNotNone(peer.lost)
        self.assertEqual([tone["chi"] for tone in peer.heard[-2:]], ["x", "goodbye"])


class StoppedTests(SynchronousTestCase):
    """A humd that has said goodbye."""

    def test_no_link_afterwards(self) -> None:
        """Who connects while a humd stops, or later, is not linked, and leaves no timer."""
        world = World()
        humd, other = world.humd(), world.humd()
        stopped = humd.stopService()
        links = world.link(other, humd), world.link(humd, other)
        self.successResultOf(stopped)
        for up in (*links[0].up, *links[1].up):
            self.failureResultOf(up, LinkRefused)
        world.advance(11)
        self.assertEqual((humd.peers(), other.peers(), world.clock.getDelayedCalls()), ([], [], []))
        humd.startService()
        world.link(other, humd)
        self.assertEqual(humd.peers(), [other.me])


class DeliveryTests(SynchronousTestCase):
    """What a peer can make the delivery remember, in characters and bytes: its keys may have 4,096 each."""

    def setUp(self) -> None:
        world = World()
        self.peer = world.key().humd_id()
        self.routes = Routes(world.key().humd_id(), Roster(), lambda: 0)
        hello = encode({"chi": "hello", "hive": "w", "bee": ["worker"], "models": ["m"]})
        self.routes.from_client("worker", peek(hello), hello, 0.0)

    def prompt(self, number: int, model: str = "m") -> list[Output]:
        """A prompt of the peer with keys as long as they may be."""
        keys = {name: f"{number:04}{name:\N{HONEYBEE}<4092}" for name in ("rid", "sid", "callId")}
        line = encode({"chi": "prompt", "modelId": model, **keys})
        return self.routes.from_peer(self.peer, peek(line), line, 0.0)

    def test_open_asks(self) -> None:
        """Long keys fill the book of an asker sooner: the next is told so, until one has ended."""
        told = [out for number in range(300) for out in self.prompt(number) if isinstance(out, ToPeer)]
        self.assertLess(self.routes.known_asks, 180)
        self.assertEqual(len(told) + self.routes.known_asks, 300)
        self.assertIn(b"queue.full", told[0].line)
        self.routes.peer_lost(self.peer, "cut off")
        self.assertLess(self.routes.known_asks, 180)
        for number in range(1000):
            self.prompt(1000 + number)
            self.routes.peer_lost(self.peer, "cut off")
        self.assertLess(self.routes.known_asks, 180)
        self.routes.client_left("worker")
        self.assertEqual((self.routes.known_asks, self.routes._book._orphaned), (0, 0))

    def test_owed_errors(self) -> None:
        """Errors that a peer has no room for are kept up to 4 MiB, and given when it has."""
        for number in range(1000):
            for out in self.prompt(number, model="none"):
                assert isinstance(out, ToPeer)
                self.routes.delivery_failed(out, Qualifier.QUEUE_FULL, "full")
        owed = self.routes.peer_has_room(self.peer)
        size = sum(len(out.line) for out in owed if isinstance(out, ToPeer))
        self.assertTrue(3 * 1024 * 1024 < size <= 4 * 1024 * 1024)
        self.assertEqual(self.routes.counters["errors.lost"], 1000 - len(owed))
        self.assertEqual(self.routes._owed.size, 0)
