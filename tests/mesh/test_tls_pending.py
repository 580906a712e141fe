"""Connections that are to speak TLS are pending from the moment that they were accepted (wire-0.8 section 2)."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from OpenSSL import SSL
from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone
from twisted.internet.testing import StringTransport
from twisted.logger import capturedLogs
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from ensemble.errors import LinkRefused
from ensemble.interfaces import IWire
from ensemble.mesh import Limits
from ensemble.mesh.pending import PendingLinks
from ensemble.protocols import TlsTransport
from ensemble.protocols.share import BURST_SECONDS, FLOW_BYTES, SPAN_SECONDS, FairQueue
from ensemble.testing import World
from tests.protocols.tls_peers import ALICE, Credential, Sessions


class Socket(StringTransport):
    """An accepted socket; its bytes go to whatever protocol is on it now."""

    protocol: Any

    def __init__(self, address: str) -> None:
        super().__init__(peerAddress=IPv4Address("TCP", address, 1))

    def setTcpNoDelay(self, enabled: bool) -> None:
        """As every TCP socket."""

    def unregisterProducer(self) -> None:
        """As every socket: nothing where there is none."""
        self.producer = None

    def end(self) -> None:
        """The system tells that it is closed."""
        self.protocol.connectionLost(Failure(ConnectionDone()))


class ManyAddressesTests(SynchronousTestCase):
    """The places and the turns together, where no two connections are of one /64."""

    def test_more_than_can_be_served(self) -> None:
        """
        Where four come for each that has its turn, and forty while one shakes hands, every eighth comes up.

        Would the oldest always be next, then nobody: it is also the next to go, before its handshake is done.
        """
        pending, queue = PendingLinks[int](256), FairQueue[int]()
        shaking: deque[int] = deque()
        up = 0
        for number in range(8000):
            address = f"2001:db8:0:{number:x}::1"
            evicted = pending.accepted(number, address, 0.0)
            queue.add(number, address)
            if evicted is not None:
                queue.discard(evicted[0])
            if number % 4 == 0:
                shaking.append(queue.next())
                if len(shaking) == 10:
                    done = shaking.popleft()
                    up += done in pending
                    pending.gone(done)
        self.assertGreater(up, 950)


class PendingTlsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.world = World()
        self.humd = self.world.humd(limits=Limits(pending_links=6, address_pending_links=4, handshake_percent=50))
        assert self.humd.key is not None
        self.factory: Any = TlsTransport(self.world.clock, self.humd.key).factory(
            self.built, failed=self.humd.refusals.refused, porch=self.humd.porch
        )
        self.links: list[str] = []

    def built(self, wire: IWire) -> None:
        self.humd.install(wire).addErrback(lambda failure: self.links.append(str(failure.trap(LinkRefused))))

    def accept(self, address: str = "192.0.2.1") -> Socket:
        socket = Socket(address)
        socket.protocol = self.factory.buildProtocol(None)
        socket.protocol.makeConnection(socket)
        return socket

    def shake(self, socket: Socket) -> None:
        """Complete the TLS handshake as a humd does, and say nothing more."""
        self.world.settle()
        client = SSL.Connection(Sessions(Credential.humd(ALICE))._new_context(), None)
        client.set_connect_state()
        for _ in range(2):
            try:
                client.do_handshake()
            except SSL.WantReadError:
                pass
            socket.protocol.dataReceived(client.bio_read(65536))
            if socket.value():
                client.bio_write(socket.value())
                socket.clear()

    def spend(self, seconds: float) -> None:
        """As time passes while we work: no timer fires meanwhile."""
        self.world.clock.rightNow += seconds

    def test_counted(self) -> None:
        """They count before a byte was read, and no more once they are gone."""
        sockets = [self.accept(f"192.0.2.{number}") for number in range(3)]
        self.assertEqual(self.humd.pending, 3)
        sockets[0].end()
        self.shake(sockets[1])
        self.assertEqual(self.humd.pending, 2)
        sockets[1].end()
        self.assertEqual(self.humd.pending, 1)

    def test_of_one_address(self) -> None:
        """Of one address the oldest goes beyond its part; the log names the limit."""
        with capturedLogs() as events:
            sockets = [self.accept() for _ in range(5)]
        (told,) = [event["mend"] for event in events if event.get("counter") == "pending.address"]
        self.assertIn("--limit address_pending_links=", told)
        self.assertEqual([socket.disconnecting for socket in sockets], [True] + [False] * 4)
        self.assertEqual((self.humd.pending, self.humd.counters["pending.address"]), (4, 1))

    def test_of_all(self) -> None:
        """Of all together the oldest of the largest crowd goes; whoever is evicted in TLS is a refusal once."""
        crowd = [self.accept() for _ in range(4)]
        others = [self.accept(f"192.0.2.{number}") for number in range(2, 5)]
        self.assertEqual([socket.disconnecting for socket in crowd + others], [True] + [False] * 6)
        crowd[0].end()
        counters = self.humd.counters
        self.assertEqual((self.humd.pending, counters["pending.limit"], counters["tls.handshake"]), (6, 1, 0))

    def test_of_one_address_where_all_is_full(self) -> None:
        """Where both limits are reached the one that made a link go is counted and named."""
        crowd = [self.accept() for _ in range(4)]
        for number in range(2, 4):
            self.accept(f"192.0.2.{number}")
        with capturedLogs() as events:
            self.accept()
        (told,) = [event["mend"] for event in events if "mend" in event]
        self.assertIn("--limit address_pending_links=", told)
        self.assertTrue(crowd[0].disconnecting)
        self.assertEqual((self.humd.counters["pending.address"], self.humd.counters["pending.limit"]), (1, 0))

    def test_one_place_all_along(self) -> None:
        """The link that comes of a connection has its place and its ten seconds, and is evicted as a link."""
        sockets = [self.accept()]
        self.world.advance(4)
        self.shake(sockets[0])
        self.assertEqual((self.humd.pending, len(self.humd._links)), (1, 1))
        sockets += [self.accept() for _ in range(4)]
        self.assertTrue(sockets[0].disconnecting)
        sockets[0].end()
        self.world.settle()
        self.assertEqual((self.humd.pending, len(self.humd._links), len(self.links)), (4, 0, 1))
        self.shake(sockets[1])
        self.world.advance(9.9)
        self.assertFalse(sockets[1].disconnecting)
        self.world.advance(0.2)
        self.assertEqual(self.humd.counters["handshake.timeout"], 1)

    def test_deadline(self) -> None:
        """After ten seconds without TLS they are gone, told once each; no timer stays."""
        idle = len(self.world.clock.getDelayedCalls())
        sockets = [self.accept() for _ in range(3)]
        self.world.advance(10.1)
        self.assertTrue(all(socket.disconnecting for socket in sockets))
        self.assertEqual((self.humd.pending, self.humd.counters["tls.late"]), (0, 3))
        self.assertEqual(self.humd.counters["handshake.timeout"], 0)
        self.assertLessEqual(len(self.world.clock.getDelayedCalls()), idle)

    def test_stopped(self) -> None:
        """A humd that stops drops them, too."""
        sockets = [self.accept() for _ in range(2)]
        self.shake(sockets[0])
        self.humd.stopService()
        self.world.settle()
        self.assertTrue(all(socket.disconnecting for socket in sockets))

    def test_waiting(self) -> None:
        """While tones flow and the share is used, nothing is read of who comes, and no TLS made; it has its turn."""
        other = self.world.humd()
        self.world.link(other, self.humd)
        self.humd.porch.accepting.wait(self.world.clock.seconds())  # the first look at the traffic
        other.route({"chi": "x", "to": self.humd.me.full, "pad": "x" * FLOW_BYTES})
        self.world.advance(0.1)
        self.humd.porch.work(lambda: self.spend(BURST_SECONDS + 0.1))
        first, second, third = (self.accept() for _ in range(3))
        self.assertEqual((len(self.humd.porch), self.humd.pending), (3, 3))
        self.assertEqual({each.producerState for each in (first, second, third)}, {"paused"})
        second.end()
        self.world.advance(0.19)
        self.assertEqual(len(self.humd.porch), 2)
        self.world.advance(0.02)
        self.assertEqual({each.producerState for each in (first, third)}, {"producing"})
        self.shake(first)
        self.assertEqual((self.humd.pending, len(self.humd.porch)), (2, 0))

    def test_no_turn(self) -> None:
        """Over TCP, too, who had no turn within ten seconds goes, counted and with its cause in the log."""
        other = self.world.humd()
        self.world.link(other, self.humd)
        self.humd.porch.accepting.wait(self.world.clock.seconds())
        socket = Socket("192.0.2.1")
        plain: Any = self.humd.factory()
        socket.protocol = plain.buildProtocol(None)

        def busy() -> None:
            other.route({"chi": "x", "to": self.humd.me.full, "pad": "x" * FLOW_BYTES})
            self.world.advance(0.1)
            self.humd.porch.work(lambda: self.spend(0.9))

        busy()
        socket.protocol.makeConnection(socket)
        with capturedLogs() as events:
            for _ in range(10):
                self.assertEqual((socket.producerState, self.humd.pending), ("paused", 1))
                busy()
            self.world.settle()
        self.assertEqual((self.humd.pending, len(self.humd.porch), socket.disconnecting), (0, 0, True))
        self.assertEqual(self.humd.counters["handshake.timeout"], 1)
        self.assertIn("it had no turn within 10 s", str([event.get("cause") for event in events]))

    def test_tones_cease(self) -> None:
        """What came once is tones for a second, and not whenever somebody looks."""
        other, share = self.world.humd(), self.humd.porch.accepting
        self.world.link(other, self.humd)
        share.wait(self.world.clock.seconds())
        other.route({"chi": "x", "to": self.humd.me.full, "pad": "x" * FLOW_BYTES})
        waits = []
        for _ in range(4):
            self.world.advance(0.6)
            share.spent(BURST_SECONDS + 0.5, self.world.clock.seconds())
            waits.append(share.wait(self.world.clock.seconds()) > 0.0)
        self.assertEqual(waits, [True, True, False, False])

    def test_links_are_no_tones(self) -> None:
        """However many links come and go: a crowd of honest peers would slow itself down."""
        humd = self.world.humd()
        share = humd.porch.accepting
        share.wait(self.world.clock.seconds())  # the first look at the traffic
        for number in range(90):
            other = self.world.humd()
            self.world.link(other, humd)
            if number % 3:
                other.remove_peer(humd.me)
                self.world.settle()
        kept = sum(link.wire.sent + link.wire.received for link in humd._links)
        self.assertGreater(kept, FLOW_BYTES * SPAN_SECONDS)
        self.world.advance(SPAN_SECONDS)
        share.spent(BURST_SECONDS + 0.5, self.world.clock.seconds())
        self.assertEqual(share.wait(self.world.clock.seconds()), 0.0)

    def test_the_end_counts(self) -> None:
        """What the end of a handshake costs is the share's to pay, too; that of one that never began is nothing."""
        sockets = [self.accept() for _ in range(2)]
        work, steps = self.humd.porch.work, []

        def counting(step: Callable[[], None]) -> None:
            steps.append(step)
            work(step)

        self.world.settle()
        waiting = self.accept()
        self.patch(self.humd.porch, "work", counting)
        sockets[0].end()
        self.assertEqual(len(steps), 1)
        waiting.end()
        self.assertEqual((len(steps), self.humd.counters["tls.handshake"]), (1, 2))

    def test_plain_ones(self) -> None:
        """Plain connections share the table with them."""
        self.accept()
        plain: Any = self.humd.factory()
        for _ in range(4):
            socket = Socket("192.0.2.1")
            socket.protocol = plain.buildProtocol(None)
            socket.protocol.makeConnection(socket)
        self.assertEqual((self.humd.pending, self.humd.counters["pending.address"]), (4, 1))
        self.assertFalse(self.humd.porch.has_room("192.0.2.1"))
        self.world.advance(2)
        self.assertTrue(self.humd.porch.has_room("192.0.2.1"))
