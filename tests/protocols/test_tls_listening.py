"""Listening over TLS: who is let in, who is dropped, and what both ends then share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from OpenSSL import SSL
from twisted.internet import reactor
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint
from twisted.internet.protocol import Factory
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase, TestCase

from ensemble.identity import BadCertificate, HumdAddr, HumdId, Succession, succeed
from ensemble.protocols import Deadlines, TlsTransport, tls
from ensemble.protocols.succeeds import carrier
from ensemble.protocols.tls_sessions import _in_words
from tests.protocols.promises import BOB as PROMISED
from tests.protocols.recording import RecordingSink
from tests.protocols.test_wires import RealTcpTests
from tests.protocols.tls_peers import ALICE, BOB, EVE, Credential, Sessions, Stranger, connect_as
from tests.protocols.tls_sealing import Copied


def _same(stranger: Stranger) -> Stranger:
    return stranger


class Hall:
    """What a listener was told."""

    def __init__(self, admits: Callable[[HumdId | None], str | None] | None = None) -> None:
        self.admits = admits
        self.came: Deferred[Any] = Deferred()
        self.failed: Deferred[tuple[str, str, str]] = Deferred()
        self.asked: list[HumdId | None] = []
        self.said: Sequence[Succession] = ()

    async def open(self, case: Any) -> int:
        """Listen as Bob until the test ends.  :returns: the port."""
        endpoint = TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1")
        port: Any = await TlsTransport(reactor, BOB).listen(
            endpoint,
            lambda wire: self.came.callback(wire),
            admits=self._asked,
            failed=lambda *told: self.failed.callback(told),
        )
        case.addCleanup(port.stopListening)
        return int(port.getHost().port)

    def _asked(self, leaf: HumdId | None, succeeds: Sequence[Succession]) -> str | None:
        self.asked.append(leaf)
        self.said = succeeds
        return None if self.admits is None else self.admits(leaf)


class AcceptedTests(TestCase):
    """Who comes in, and what is known of it."""

    timeout = 20

    async def come(self, sessions: Sessions) -> tuple[Any, Hall]:
        hall = Hall()
        return await self.come_to(await hall.open(self), sessions, hall), hall

    async def come_to(self, port: int, sessions: Sessions, hall: Hall) -> Any:
        hall.came, stranger = Deferred(), Stranger(b"hello\n")
        await connect_as(port, sessions, stranger)
        wire, sink = await hall.came, RecordingSink()
        self.assertFalse(hall.failed.called)
        wire.start(sink)
        await sink.count(1)
        self.assertEqual(sink.lines, [b"hello"])
        wire.write([b"welcome"])
        wire.close()
        await sink.told("wire_lost")
        await stranger.lost
        self.assertEqual(stranger.received, b"welcome\n")
        return wire

    async def test_a_humd(self) -> None:
        """A humd's leaf tells its id, and its owner is asked about that id once."""
        wire, hall = await self.come(Sessions(Credential.humd(ALICE)))
        self.assertEqual((wire.leaf, hall.asked), (ALICE.humd_id(), [ALICE.humd_id()]))
        self.assertEqual((wire.kind, wire.secure, wire.dialled, wire.address), ("tls", True, False, "127.0.0.1"))

    async def test_an_heir(self) -> None:
        """Its owner is told of the successions that lead to the leaf, once it is the peer's; others are passed over."""
        grown = succeed(EVE, ALICE, 1)
        for chain, credential, said in (
            ([grown], Credential.humd(ALICE), (grown,)),
            ([succeed(ALICE, EVE, 1)], Credential.humd(ALICE), ()),
            ([grown], Credential.ecdsa(), ()),
        ):
            behind = x509.load_der_x509_certificate(carrier(ALICE, chain))
            _, hall = await self.come(Sessions(credential, chain=[behind]))
            self.assertEqual((tuple(hall.said), len(hall.asked)), (said, 1))

    async def test_no_leaf(self) -> None:
        """Without a certificate, or with one of another kind of key, the owner is asked about nobody."""
        for credential in (None, Credential.ecdsa(), Credential.rsa()):
            wire, hall = await self.come(Sessions(credential))
            self.assertEqual((wire.leaf, hall.asked), (None, [None]))

    async def test_never_resumed(self) -> None:
        """A session that is offered again is not resumed: every handshake shows the certificate."""
        hall, sessions = Hall(), Sessions(Credential.humd(ALICE))
        port = await hall.open(self)
        await self.come_to(port, sessions, hall)
        sessions.resume = sessions.made[0].get_session()
        before = sessions.verified.count(0)
        wire = await self.come_to(port, sessions, hall)
        self.assertEqual(sessions.verified.count(0), 2 * before)
        self.assertEqual((wire.leaf, hall.asked), (ALICE.humd_id(), [ALICE.humd_id()] * 2))


class RefusedTests(TestCase):
    """Who does not come in, and that it gets nothing of ours."""

    timeout = 20

    async def refused(self, sessions: Sessions, hall: Hall) -> tuple[str, str, str]:
        stranger = Stranger(b"hello\n")
        await connect_as(await hall.open(self), sessions, stranger)
        told = await hall.failed
        await stranger.lost
        self.assertEqual(stranger.received, b"")
        self.assertFalse(hall.came.called)
        return told

    async def test_leaf_that_is_not_admitted(self) -> None:
        """A leaf that its owner refuses ends the connection; the cause is told with the address."""
        hall = Hall(lambda leaf: "no row" if leaf == EVE.humd_id() else None)
        told = await self.refused(Sessions(Credential.humd(EVE)), hall)
        self.assertEqual(told, ("tls.leaf", "no row", "127.0.0.1"))

    async def test_nobodys_key(self) -> None:
        """A leaf with a key that nobody can own is refused without asking."""

        def unreadable(_: bytes) -> None:
            raise BadCertificate("nobody's key")

        self.patch(tls, "leaf_id", unreadable)
        hall = Hall()
        told = await self.refused(Sessions(Credential.humd(ALICE)), hall)
        self.assertEqual((told[:2], hall.asked), (("tls.leaf", "nobody's key"), []))

    async def test_no_leaf_where_one_is_wanted(self) -> None:
        """A client without a certificate is refused where its owner wants one."""
        hall = Hall(lambda leaf: "a leaf is wanted" if leaf is None else None)
        told = await self.refused(Sessions(None), hall)
        self.assertEqual(told[:2], ("tls.leaf", "a leaf is wanted"))

    async def test_old_client(self) -> None:
        """A TLS 1.2 ClientHello is refused before any certificate."""
        hall, sessions = Hall(), Sessions(Credential.humd(ALICE), newest=SSL.TLS1_2_VERSION)
        counter, cause, _ = await self.refused(sessions, hall)
        self.assertEqual((counter, hall.asked, sessions.verified), ("tls.handshake", [], []))
        self.assertIn("unsupported protocol", cause)

    async def test_copied_certificate(self) -> None:
        """A client that shows another's certificate without its key is refused, and its owner is not even asked."""
        for sessions in (Copied(ALICE), Sessions(Credential.rsa().stolen())):
            hall = Hall()
            counter, cause, _ = await self.refused(sessions, hall)
            self.assertEqual((counter, hall.asked), ("tls.handshake", []))
            self.assertIn("signature", cause)

    async def test_dear_issuer(self) -> None:
        """A leaf that costs little is refused where a key signed it whose signatures cost ten handshakes to verify."""
        root = Credential.of(Credential.dear(exponent=2**2000 + 1).key, subject="root")
        leaf = Credential.of(ec.generate_private_key(ec.SECP256R1()), issuer=root)
        counter, cause, _ = await self.refused(Sessions(leaf, chain=[root.certificate]), Hall())
        self.assertEqual(counter, "tls.handshake")
        self.assertIn("certificate verify failed", cause)

    async def test_garbage(self) -> None:
        """What is no ClientHello ends the connection."""
        for garbage in (b'{"chi":"hello"}\n', b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x00\x05\x02\x00\x00\x01\x00"):
            hall, stranger = Hall(), Stranger(garbage)
            endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", await hall.open(self))
            await endpoint.connect(Factory.forProtocol(partial(_same, stranger)))
            counter, _, address = await hall.failed
            await stranger.lost
            self.assertEqual((counter, address, hall.came.called), ("tls.handshake", "127.0.0.1", False))

    async def test_gone_in_the_handshake(self) -> None:
        """A client that leaves before the handshake is complete is told as such, and makes no wire."""
        hall, stranger = Hall(), Stranger()
        endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", await hall.open(self))
        connected: Any = await endpoint.connect(Factory.forProtocol(lambda: stranger))
        connected.transport.loseConnection()
        counter, cause, _ = await hall.failed
        self.assertEqual((counter, hall.came.called), ("tls.handshake", False))
        self.assertIn("connection ended", cause)


class WordsTests(SynchronousTestCase):
    """What is said of a handshake that failed."""

    def test_wanted_another(self) -> None:
        """A dialler that wants another certificate than ours says it by an alert that tells nobody anything."""
        for alert in ("tlsv1 alert unknown ca", "ssl/tls alert bad certificate"):
            self.assertIn("wants another key than ours", _in_words(SSL.Error([("SSL routines", "", alert)])))
        error = SSL.Error([("SSL routines", "", "wrong version number")])
        self.assertEqual(_in_words(error), "wrong version number")


class DeadlineTests(SynchronousTestCase):
    """How long a handshake may take."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.told: list[tuple[str, str, str]] = []
        factory: Any = TlsTransport(self.clock, BOB).factory(self.fail, failed=lambda *told: self.told.append(told))
        self.protocol: Any = factory.buildProtocol(IPv4Address("TCP", "192.0.2.7", 1))
        self.transport: Any = StringTransport(peerAddress=IPv4Address("TCP", "192.0.2.7", 1))
        self.clock.advance(5)
        self.protocol.makeConnection(self.transport)
        self.clock.advance(0)

    def test_half_open(self) -> None:
        """A handshake that is not complete ten seconds after the connection came ends it; trickles do not help."""
        for byte in b"\x16\x03\x01\x01\x00\x01\x00\x00\xfc":
            self.clock.advance(1)
            self.protocol.dataReceived(bytes([byte]))
        self.assertFalse(self.transport.disconnected)
        self.clock.advance(1)
        self.assertTrue(self.transport.disconnected)
        self.assertEqual(self.told, [("tls.late", "no TLS handshake within 10 s", "192.0.2.7")])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_began(self) -> None:
        """A wire knows when it was connected, so that whoever admits it counts from there."""
        self.assertEqual(self.protocol.began, 5)

    def test_aborted_by_its_owner(self) -> None:
        """Who aborts a wire in its handshake is not told that it failed, and no timer stays."""
        self.protocol.abort()
        self.assertTrue(self.transport.disconnected)
        self.assertEqual((self.told, self.clock.getDelayedCalls()), ([], []))


class RealTlsTests(RealTcpTests):
    """TLS over loopback keeps every promise of a wire, back-pressure included."""

    async def pair(self) -> Any:
        """Bob's key stands for the id that the promises dial: their wires carry the pin."""
        accepted: Deferred[Any] = Deferred()
        # Who has not been started does not answer a close: it is waited for, here not for long.
        soon = Deadlines(connection_close_seconds=1)
        listening, dialling = TlsTransport(reactor, BOB, deadlines=soon), TlsTransport(reactor, ALICE, deadlines=soon)
        port: Any = await listening.listen(self.endpoint(), accepted.callback)
        self.addCleanup(port.stopListening)
        hints = (f"tls:127.0.0.1:{port.getHost().port}", f"tls-fp:{listening.fingerprint}")
        mine: Any = await dialling.connect(HumdAddr(PROMISED, hints))
        theirs = await accepted
        self.leave_clean(mine)
        self.leave_clean(theirs)
        return mine, theirs

    def test_ends(self) -> Any:
        """Both ends have the same binding, fresh for each connection; a pinned leaf does not say whose it is."""

        async def body() -> None:
            bindings = set()
            for _ in range(2):
                mine, theirs = await self.pair()
                self.assertEqual(mine.binding, theirs.binding)
                self.assertRegex(mine.binding, "^tls-[0-9a-f]{64}$")
                self.assertEqual((mine.leaf, theirs.leaf), (None, ALICE.humd_id()))
                self.assertEqual((mine.kind, mine.dialled, mine.peer.id), ("tls", True, PROMISED))
                mine.keep_alive(True)
                self.assertEqual((mine.send_now, theirs.send_now), (None, None), "what is sent there is in clear")
                bindings.add(mine.binding)
            self.assertEqual(len(bindings), 2)

        return self.run_to_end(body())


del RealTcpTests  # or its tests would run here once more
