"""Dialling over TCP: hints, names, deadlines, refusals.  What all wires promise is in test_wires."""

from __future__ import annotations

import socket
import sys
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.error import ConnectionRefusedError
from twisted.internet.task import deferLater
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SkipTest, SynchronousTestCase, TestCase

from ensemble.errors import LinkRefused
from ensemble.identity import Hint, HumdAddr, HumdId
from ensemble.interfaces import IWire
from ensemble.protocols import Deadlines, LineBudget, StreamWire, TcpTransport
from tests.protocols.recording import RecordingSink
from tests.protocols.test_names import NamingReactor, Threads

BOB = HumdId.parse("humd_" + "bb" * 32)


def a_name_of_ours() -> str:
    """A name for the loopback, where the machine has one."""
    try:
        socket.getaddrinfo("localhost", None)
    except socket.gaierror:
        return "127.0.0.1"
    return "localhost"


class DialTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.reactor: Any = NamingReactor()
        self.threads = self.reactor.nameResolver = Threads()  # Twisted's name for it
        self.transport = TcpTransport(self.reactor, max_line=7)

    def dial(self, hint: str) -> Deferred[IWire]:
        return self.transport.connect(HumdAddr(BOB).with_hint("udp:192.0.2.1:1").with_hint(hint))

    def connect(self, number: int = 0) -> Any:
        """Complete one of the attempts."""
        factory = self.reactor.tcpClients[number][2]
        protocol = factory.buildProtocol(None)
        protocol.makeConnection(StringTransport())
        return protocol

    def refusal(self, dialling: Deferred[IWire]) -> str:
        return str(self.failureResultOf(dialling, LinkRefused).value)

    def assertNoTimers(self) -> None:
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_literals(self) -> None:
        """IP literals are dialled as they are, without asking for a name."""
        for number, (hint, place) in enumerate(
            [("tcp:192.0.2.7:14730", ("192.0.2.7", 14730)), ("tcp:[2001:db8::7]:1", ("2001:db8::7", 1))]
        ):
            dialling = self.dial(hint)
            self.assertEqual(self.reactor.tcpClients[number][:2], place)
            self.connect(number)
            wire = self.successResultOf(dialling)
            self.assertEqual((wire.dialled, wire.kind, wire.max_line), (True, "tcp", 7))
            self.assertEqual(wire.peer.hints[1], hint)  # type: ignore[union-attr]
        self.assertEqual(self.threads.busy, {})
        self.assertNoTimers()

    def test_names(self) -> None:
        """A name is dialled at each of its addresses, the next when the first is slow, and the first to answer wins."""
        dialling = self.dial("tcp:bob.example:14730")
        self.threads.answer("bob.example", "2001:db8::7", "192.0.2.7")
        self.assertEqual([client[0] for client in self.reactor.tcpClients], ["2001:db8::7"])
        self.reactor.advance(0.5)
        self.assertEqual([client[0] for client in self.reactor.tcpClients], ["2001:db8::7", "192.0.2.7"])
        self.connect(1)
        self.assertTrue(self.successResultOf(dialling).dialled)
        self.assertNoTimers()

    def test_link_local(self) -> None:
        """A link-local address leads nowhere without an interface, and where that is not one of this machine."""
        failure = self.failureResultOf(self.dial("tcp:[fe80::7]:1"), LinkRefused)
        self.assertEqual(failure.value.mend, "name this machine's behind it: tcp:[fe80::7%eth0]:1")
        self.assertEqual(self.reactor.tcpClients, [])
        dialling = self.dial("tcp:[fe80::7%nope]:1")
        self.reactor.tcpClients[0][2].clientConnectionFailed(None, Failure(socket.gaierror(-2, "not known")))
        self.assertEqual(self.refusal(dialling), "cannot reach tcp:[fe80::7%nope]:1: no interface nope here")
        dialling = self.dial("tcp:[fe80::7%eth0]:1")
        self.reactor.tcpClients[1][2].clientConnectionFailed(None, Failure(ConnectionRefusedError()))
        self.assertNotIn("no interface", self.refusal(dialling))

    def test_no_hint(self) -> None:
        """An address without a tcp: hint is refused with the mend."""
        self.assertIn("tcp:host:port", self.refusal(self.transport.connect(HumdAddr(BOB))))

    def test_unknown_name(self) -> None:
        """A name that does not resolve is refused by name."""
        dialling = self.dial("tcp:nobody.example:1")
        self.threads.answer("nobody.example")
        self.assertIn("nobody.example", self.refusal(dialling))
        self.assertNoTimers()

    def test_refused(self) -> None:
        """A connection that is refused says where to."""
        dialling = self.dial("tcp:192.0.2.7:14730")
        factory = self.reactor.tcpClients[0][2]
        factory.clientConnectionFailed(None, Failure(ConnectionRefusedError()))
        self.assertIn("tcp:192.0.2.7:14730", self.refusal(dialling))
        self.assertNoTimers()

    def test_bug(self) -> None:
        """What is nobody's refusal stays what it is."""
        dialling = self.dial("tcp:192.0.2.7:14730")
        self.reactor.tcpClients[0][2].clientConnectionFailed(None, Failure(ZeroDivisionError()))
        self.failureResultOf(dialling, ZeroDivisionError)

    def test_deadline(self) -> None:
        """Whoever does not answer in time is refused, the time for the name included, and no timer is left."""
        for hint in ("tcp:192.0.2.7:14730", "tcp:bob.example:14730"):
            dialling = self.dial(hint)
            self.reactor.advance(9.9)
            self.assertNoResult(dialling)
            self.reactor.advance(0.1)
            self.assertIn("10 s", self.refusal(dialling))
            self.assertNoTimers()
        self.assertEqual([connector.stoppedConnecting for connector in self.reactor.connectors], [True])

    def test_cancel(self) -> None:
        """A cancelled dial stops, while the name is asked for too."""
        for hint in ("tcp:192.0.2.7:14730", "tcp:bob.example:14730"):
            dialling = self.dial(hint)
            dialling.cancel()
            self.failureResultOf(dialling, CancelledError)
            self.assertNoTimers()
        self.threads.answer("bob.example", "192.0.2.8")
        self.assertEqual([client[0] for client in self.reactor.tcpClients], ["192.0.2.7"])
        self.assertTrue(self.reactor.connectors[0].stoppedConnecting)

    def test_shared_budget(self) -> None:
        """The wires of one transport share its budget."""
        budget = LineBudget(10)
        self.transport = TcpTransport(self.reactor, budget=budget)
        sinks = [RecordingSink(), RecordingSink()]
        for number, sink in enumerate(sinks):
            dialling = self.dial("tcp:192.0.2.7:14730")
            wire = self.connect(number)
            self.successResultOf(dialling).start(sink)
            wire.dataReceived(b"1234567")
        self.assertEqual(sorted(len(sink.errors) for sink in sinks), [0, 1])


class LoopbackTests(TestCase):
    """What only a real socket shows."""

    timeout = 20

    async def test_options(self) -> None:
        """A wire sends without delay, and probes a silent peer within minutes where asked to."""
        accepted: Deferred[StreamWire] = Deferred()
        transport = TcpTransport(reactor)
        port: Any = await transport.listen(TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1"), accepted.callback)
        self.addCleanup(port.stopListening)
        addr = HumdAddr(BOB).with_hint(f"tcp:{a_name_of_ours()}:{port.getHost().port}")
        wires: list[Any] = [await transport.connect(addr), await accepted]
        sinks = [RecordingSink(), RecordingSink()]
        for wire, sink in zip(wires, sinks, strict=True):
            wire.start(sink)
            handle = wire.transport.getHandle()
            self.assertTrue(handle.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
            self.assertFalse(handle.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE))
            wire.keep_alive(True)
            self.assertTrue(handle.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE))
            if hasattr(socket, "TCP_KEEPIDLE"):
                self.assertEqual(handle.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE), 60)
            wire.keep_alive(False)
            self.assertFalse(handle.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE))
        wires[0].close()
        for sink in sinks:
            await sink.told("wire_lost")

    async def test_refused(self) -> None:
        """A port where nobody listens is refused with a line that names it."""
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            hint = f"tcp:127.0.0.1:{unused.getsockname()[1]}"
        with self.assertRaisesRegex(LinkRefused, hint):
            await TcpTransport(reactor).dial(Hint.parse(hint), HumdAddr(BOB))

    async def pair(self) -> tuple[IWire, StreamWire]:
        """Both ends of a connection, ours and the accepted one, that do not close for long."""
        accepted: Deferred[StreamWire] = Deferred()
        transport = TcpTransport(reactor, deadlines=Deadlines(connection_close_seconds=1))
        port: Any = await transport.listen(TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1"), accepted.callback)
        self.addCleanup(port.stopListening)
        mine = await transport.dial(Hint.parse(f"tcp:127.0.0.1:{port.getHost().port}"), HumdAddr(BOB))
        return mine, await accepted

    async def test_arrived(self) -> None:
        """What the other end's system has taken is told, and what it has not, be it read there or not."""
        if sys.platform != "linux":
            raise SkipTest("only Linux tells")
        mine, theirs = await self.pair()
        my_sink = RecordingSink()
        mine.start(my_sink)
        began = mine.arrived()
        assert began is not None
        for lines in (1, 2):
            mine.write([bytes(99)])
            while (seen := mine.arrived()) is None or seen.size < began.size + 100 * lines:
                await deferLater(reactor, 0)
            self.assertEqual((seen.size - began.size, seen.waiting), (100 * lines, 0))
            self.assertLess(seen.ago, 60)
        mine.write([bytes(50_000_000)])  # more than the systems take of what nobody reads
        while (seen := mine.arrived()) is None or not seen.waiting:
            await deferLater(reactor, 0)
        theirs.abort()
        await my_sink.told("wire_lost")
        self.assertIsNone(mine.arrived())

    async def test_peer_that_does_not_read(self) -> None:
        """A peer that does not read holds a closed wire only for the patience of a close."""
        mine, theirs = await self.pair()
        my_sink, their_sink = RecordingSink(), RecordingSink()
        mine.start(my_sink)
        mine.write([bytes(50_000_000)])
        await my_sink.told("wire_full")
        mine.close()
        await my_sink.told("wire_lost")
        self.assertEqual(theirs.received, 0)
        theirs.start(their_sink)
        theirs.abort()
        await their_sink.told("wire_lost")
