"""Those who connect and say nothing, or a byte a second; on one ``Clock``, with every byte in our hands."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from ensemble.mesh import Ensemble, Policy
from ensemble.mesh.reading import Reason
from ensemble.protocols import InMemoryEndpoint, Level, Role, StreamWire
from ensemble.testing import House, World
from ensemble.tone import encode
from tests.protocols.handshaking import End, Humd as Shaker


class Socket(StringTransport):
    """A transport that closes as one of the reactor's does: in a later turn, with a word to its protocol."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self._world = world
        self.gone = False
        self.wire: Any = None

    def unregisterProducer(self) -> None:
        self.producer = self.streaming = None

    def loseConnection(self) -> None:
        self._world.clock.callLater(0, self._lost)

    abortConnection = loseConnection

    def _lost(self) -> None:
        if not self.gone:
            self.gone = True
            self.wire.connectionLost()


class SilenceTests(SynchronousTestCase):
    """What somebody costs who takes his time."""

    def setUp(self) -> None:
        self.world = World()
        self.house = House(self.world, policy=Policy(level=Level.OPEN))
        self.humd: Ensemble = self.house.ensemble
        self.friend = self.world.humd()
        self.world.link(self.friend, self.humd)
        self.idle = len(self.world.clock.getDelayedCalls())

    def connect(self, accepted: Callable[[StreamWire], None] | None = None) -> Socket:
        """One more connection that was accepted."""
        socket = Socket(self.world)

        def install(wire: StreamWire) -> None:
            self.humd.install(wire).addErrback(lambda _: None)

        socket.wire = StreamWire(self.world.clock, install if accepted is None else accepted)
        socket.wire.makeConnection(socket)
        self.world.settle()
        return socket

    def say(self, socket: Socket, data: bytes) -> None:
        """Bytes arrive, if they are read."""
        if not socket.gone and socket.producerState == "producing":
            socket.wire.dataReceived(data)
        self.world.settle()

    def trickle(self, socket: Socket, data: bytes, most: int) -> int:
        """One byte a second until it is cut off; how many seconds that took."""
        for second in range(most):
            if socket.gone:
                return second
            self.say(socket, data[second : second + 1])
            self.world.advance(1)
        return most

    def shake(self, socket: Socket) -> Shaker:
        """Link as an honest dialler does."""
        shaker = Shaker(self.world.key())
        end = End(shaker.shake(Role.DIALLER, self.humd.me))
        now = int(self.world.wall() * 1000)
        for line in end.start(now):
            self.say(socket, line + b"\n")
        for line in socket.value().splitlines():
            for answer in end.hear(line, now):
                self.say(socket, answer + b"\n")
        socket.clear()
        self.assertTrue(self.humd.linked(shaker.id))
        return shaker

    def assertNothingLeft(self) -> None:
        """No link, no timer and no byte is left of the attacker; the friend is there."""
        self.world.settle()
        self.assertEqual(self.humd.peers(), [self.friend.me])
        self.assertEqual((len(self.humd._links), self.humd.pending), (1, 0))
        self.assertLessEqual(len(self.world.clock.getDelayedCalls()), self.idle)
        self.assertEqual(self.humd.counters["peers.lost"], 0)

    def test_silent(self) -> None:
        """A connection that says nothing is gone after ten seconds, sixty of them at once too."""
        sockets = [self.connect() for _ in range(60)]
        self.world.advance(9.5)
        self.assertFalse(any(socket.gone for socket in sockets))
        self.world.advance(1)
        self.assertTrue(all(socket.gone for socket in sockets))
        self.assertNothingLeft()

    def test_a_byte_a_second(self) -> None:
        """Bytes that trickle in do not extend the ten seconds of a pending link, empty lines neither."""
        for data in (b'{"chi":"hello","rid":"hello-humd_139e3940e64b"', b"\n" * 30, b"\r\n" * 30):
            self.assertLessEqual(self.trickle(self.connect(), data, 30), 11)
        self.assertEqual(self.humd.counters["handshake.timeout"], 3)
        self.assertNothingLeft()

    def test_a_flood_of_nothing(self) -> None:
        """Empty lines count: a pending connection has 16 KiB, whatever it fills them with."""
        for data in (b"\n", b"\r\n", b"x", b"{"):
            socket = self.connect()
            for _ in range(40):
                self.say(socket, data * 1000)
            self.assertTrue(socket.gone, data)
            self.assertLessEqual(socket.wire.received, 18_000)
        self.assertNothingLeft()

    def test_a_hello_and_then_nothing(self) -> None:
        """Who stops half-way through the handshake has the same ten seconds."""
        socket = self.connect()
        hello = End(Shaker(self.world.key()).shake(Role.DIALLER, self.humd.me)).start()[0]
        self.world.advance(8)
        self.say(socket, hello + b"\n")
        self.assertEqual(len(socket.value().splitlines()), 2)
        self.world.advance(2.5)
        self.assertTrue(socket.gone)
        self.assertNothingLeft()

    def test_a_line_that_never_ends(self) -> None:
        """Linked, a line unfinished for sixty seconds ends the link, though a byte came every second."""
        socket = self.connect()
        self.shake(socket)
        seconds = self.trickle(socket, b'{"chi":"x' * 20, 120)
        self.assertLessEqual(60, seconds)
        self.assertLessEqual(seconds, 63)
        self.assertIn(b'"reason":"limit"', socket.value())
        self.humd.counters["peers.lost"] -= 1
        self.assertNothingLeft()

    def test_a_linked_peer_that_falls_silent(self) -> None:
        """A linked peer that answers no ping is gone within 45 seconds, and its timers with it."""
        socket = self.connect()
        self.shake(socket)
        self.world.advance(46)
        self.assertTrue(socket.gone)
        self.assertIn(b'"chi":"ping"', socket.value())
        self.humd.counters["peers.lost"] -= 1
        self.assertNothingLeft()

    def test_paused_and_flooded(self) -> None:
        """A link that we do not read for a while holds one chunk, whatever its peer goes on sending."""
        socket = self.connect()
        shaker = self.shake(socket)
        link = self.humd.link_to(shaker.id)
        assert link is not None
        link.reading.pause(Reason.SETTLING)
        for _ in range(1000):
            self.say(socket, (encode({"chi": "x", "s": "y" * 1000}) + b"\n") * 60)
        self.assertEqual((len(link.reading._held), socket.wire.received < 100_000), (0, True))
        received = self.humd.counters["tones.received"]
        link.reading.resume(Reason.SETTLING)
        self.world.settle()
        self.say(socket, b'{"chi":"x"}\n')
        self.assertEqual(self.humd.counters["tones.received"], received + 1)

    def test_a_program_that_dawdles(self) -> None:
        """On the thrum socket, too, a line has sixty seconds; a program may be silent as long as it likes."""
        socket = self.connect(self.house.thrum.accepted)
        self.world.advance(600, step=10)
        self.assertFalse(socket.gone)
        self.assertLessEqual(self.trickle(socket, b'{"chi":"x' * 20, 120), 67)
        self.assertTrue(socket.gone)
        self.assertEqual(self.house.thrum.sessions, {})

    def test_endless_lines_share_a_budget(self) -> None:
        """Many endless lines together hold no more than the budget: the longest goes, the others stay."""
        sockets = []
        budget = self.humd.budget
        for _ in range(20):
            wires: list[StreamWire] = []
            factory: Any = self.humd.factory()
            protocol = factory.buildProtocol(None)
            socket = Socket(self.world)
            socket.wire = protocol
            protocol.makeConnection(socket)
            wires.append(protocol)
            self.world.settle()
            self.shake(socket)
            sockets.append(socket)
        for _ in range(40):
            for number, socket in enumerate(sockets):
                self.say(socket, b"x" * (100_000 - number))
            self.assertLessEqual(budget.total, budget.limit)
        gone = [socket.gone for socket in sockets]
        self.assertTrue(gone[0])
        self.assertGreaterEqual(gone.count(False), 15)
        for socket in sockets:
            socket.loseConnection()
        self.world.settle()
        self.assertEqual(budget.total, 0)
        self.humd.counters["peers.lost"] = 0
        self.assertNothingLeft()

    def test_memory_wires_have_ten_seconds_too(self) -> None:
        """The same silence on a memory wire ends the same way."""
        _, far = InMemoryEndpoint.pair(self.world.key().humd_id(), None, self.humd.me, None, self.world.clock)
        done = self.humd.install(far)
        done.addErrback(lambda _: None)
        self.world.advance(11)
        self.assertTrue(done.called)
        self.assertNothingLeft()
