"""Links over TLS: proven and bound to their session, so that nobody in the middle can pass a proof on."""

from __future__ import annotations

from typing import Any

from twisted.internet import reactor as real_reactor
from twisted.internet.address import UNIXAddress
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.task import deferLater
from twisted.internet.testing import StringTransport
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase, TestCase

from ensemble.errors import LinkRefused
from ensemble.identity import HumdAddr, HumdId, HumdKey, succeed
from ensemble.mesh import Ensemble, KnownPeer, Policy
from ensemble.protocols import Level, StreamWire, TlsTransport
from ensemble.testing import World
from tests.protocols.tls_peers import ALICE, BOB, EVE, Credential, Sessions, Stranger, connect_as, listen_as

reactor: Any = real_reactor


class Relay(Stranger):
    """Passes on what it is sent, word for word, inside another TLS session."""

    other: Relay | None = None

    def dataReceived(self, data: bytes) -> None:
        super().dataReceived(data)
        if self.other is not None:
            self.other.transport.write(data)  # type: ignore[union-attr]


class Garbler(Stranger):
    """Answers with a record that nobody has sealed."""

    def dataReceived(self, data: bytes) -> None:
        below: Any = self.transport
        below.transport.write(b"\x17\x03\x03\x00\x20" + bytes(32))


class PendingTests(SynchronousTestCase):
    """The ten seconds of a link, TLS included."""

    def test_refused_without_address(self) -> None:
        """What is refused on a socket without an address has a name in the log, and is nobody's unhandled error."""
        world = World()
        protocol = world.humd().factory().buildProtocol(UNIXAddress(None))
        assert protocol is not None
        protocol.makeConnection(StringTransport(peerAddress=UNIXAddress(None)))
        world.settle()  # it had its turn
        with capturedLogs() as events:
            protocol.dataReceived(b"no tone\n")
        self.assertEqual([event["peer"] for event in events], ["a nameless socket"])

    def test_tls_counts(self) -> None:
        """A link that spent seven seconds on TLS has three left, also where a younger one came before it."""
        world = World()
        humd = world.humd()
        world.advance(7)
        transports = [StringTransport(), StringTransport()]
        for transport, began in zip(transports, (None, world.clock.seconds() - 7), strict=True):
            wire = StreamWire(world.clock)
            wire.makeConnection(transport)
            wire.began = began
            humd.install(wire).addErrback(lambda failure: failure.trap(LinkRefused) and None)
        world.advance(2.9)
        self.assertEqual([transport.disconnected for transport in transports], [False, False])
        world.advance(0.2)
        self.assertEqual([transport.disconnected for transport in transports], [False, True])
        world.advance(7)
        self.assertEqual([transport.disconnected for transport in transports], [True, True])


class TlsLinkTests(TestCase):
    timeout = 20

    def setUp(self) -> None:
        self.addCleanup(lambda: Deferred.fromCoroutine(self.closed(set(reactor.getReaders()))))

    async def closed(self, before: set[Any]) -> None:
        """All sockets are, but those that were there before: trial wants a clean reactor."""
        while set(reactor.getReaders()) - before:
            await deferLater(reactor, 0)

    def humd(self, key: HumdKey, policy: Policy) -> Ensemble:
        ensemble = Ensemble(key.humd_id(), clock=reactor, key=key, policy=policy)
        ensemble.startService()
        self.addCleanup(ensemble.stopService)
        return ensemble

    async def listening(self, ensemble: Ensemble, key: HumdKey) -> tuple[int, Deferred[str]]:
        """:returns: the port, and what becomes of the first link."""
        outcome: Deferred[str] = Deferred()

        def built(wire: Any) -> None:
            ensemble.install(wire).addCallbacks(lambda peer: peer.full, lambda failure: str(failure.value)).addCallback(
                outcome.callback
            )

        port: Any = await TlsTransport(reactor, key).listen(
            TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1"),
            built,
            admits=lambda leaf, _: ensemble.policy.admits_leaf(leaf),
        )
        self.addCleanup(port.stopListening)
        return port.getHost().port, outcome

    async def dialled(self, ensemble: Ensemble, key: HumdKey, wanted: HumdId, *hints: str) -> HumdId:
        return await ensemble.install(await TlsTransport(reactor, key).connect(HumdAddr(wanted, hints)))

    async def test_proven(self) -> None:
        """Two humds that know each other are linked over TLS, proven."""
        one = self.humd(ALICE, Policy(Level.PROVEN, False, [KnownPeer(BOB.humd_id())]))
        two = self.humd(BOB, Policy(Level.PROVEN, False, [KnownPeer(ALICE.humd_id())]))
        port, outcome = await self.listening(two, BOB)
        peer = await self.dialled(one, ALICE, BOB.humd_id(), f"tls:127.0.0.1:{port}")
        self.assertEqual((peer, await outcome), (BOB.humd_id(), ALICE.humd_id().full))
        link: Any = one.link_to(peer)
        self.assertEqual((link.wire.kind, link.wire.secure, link.shaken.level), ("tls", True, Level.PROVEN))

    async def test_pinned_leaf_of_another_key(self) -> None:
        """A pinned certificate may be of any key, of another humd's, too; the proof says who it is."""
        one, two = self.humd(ALICE, Policy(Level.PROVEN)), self.humd(BOB, Policy(Level.PROVEN))
        port: Any = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(
            two.factory(TlsTransport(reactor, EVE))
        )
        self.addCleanup(port.stopListening)
        hint = f"tls:127.0.0.1:{port.getHost().port}"
        with self.assertRaisesRegex(LinkRefused, EVE.humd_id().full):
            await self.dialled(one, ALICE, BOB.humd_id(), hint)
        peer = await self.dialled(one, ALICE, BOB.humd_id(), hint, Credential.humd(EVE).pin)
        link: Any = one.link_to(peer)
        self.assertEqual((peer, link.shaken.level), (BOB.humd_id(), Level.PROVEN))

    async def test_relayed_proof(self) -> None:
        """
        A proof is worth nothing in another session.

        Eve, whose certificate Alice pinned for Bob's, sits between them and passes every line on.  Bob lets in peers
        without a certificate, for Eve cannot show Alice's.
        """
        one = self.humd(ALICE, Policy(Level.PROVEN))
        two = self.humd(BOB, Policy(Level.PROVEN, known=[KnownPeer(EVE.humd_id(), level=Level.OPEN)]))
        port, outcome = await self.listening(two, BOB)
        eve, near, far = Credential.ecdsa(), Relay(), Relay()
        near.other, far.other = far, near
        await connect_as(port, Sessions(None), far)
        hint = await listen_as(self, Sessions(eve), near)
        with self.assertRaisesRegex(LinkRefused, "proof"):
            await self.dialled(one, ALICE, BOB.humd_id(), hint, eve.pin)
        self.assertIn(b'"hello-proof"', far.received)  # Bob's was there, and was passed on
        self.assertNotIn(b'"hello-proof"', near.received)
        await near.lost
        far.transport.loseConnection()  # type: ignore[union-attr]
        self.assertNotEqual(await outcome, ALICE.humd_id().full)
        await far.lost

    async def test_our_own_key(self) -> None:
        """Whoever shows the certificate of our own key is refused for what that means, and not for want of a row."""
        two = self.humd(BOB, Policy(Level.PROVEN, False))
        endpoint = TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1")
        port: Any = await endpoint.listen(two.factory(TlsTransport(reactor, BOB)))
        self.addCleanup(port.stopListening)
        claim = b'{"chi":"hello","humd_id":"%s","proto_version":"0.8.0"}\n' % BOB.humd_id().full.encode()
        stranger = await connect_as(port.getHost().port, Sessions(Credential.humd(BOB)), Stranger(claim))
        await stranger.lost
        self.assertEqual((two.counters["handshake.own-id"], two.counters["tls.leaf"]), (1, 0))

    async def test_broken_records(self) -> None:
        """Where a dial ends because its records cannot be read, no missing row of the other side is named."""
        one, eve = self.humd(ALICE, Policy(Level.PROVEN)), Garbler()
        hint = await listen_as(self, Sessions(Credential.humd(BOB)), eve)
        with self.assertRaises(LinkRefused) as raised:
            await self.dialled(one, ALICE, BOB.humd_id(), hint)
        self.assertIn("TLS failed", str(raised.exception))
        self.assertNotIn("peers.json", str(raised.exception))
        await eve.lost

    async def test_factory(self) -> None:
        """
        What the factory accepts over TLS is linked where the policy in force admits it.

        Whom it refuses ends before any hello, counted, and is nobody's unhandled error.
        """
        two = self.humd(BOB, Policy(Level.PROVEN, False))
        port: Any = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(
            two.factory(TlsTransport(reactor, BOB))
        )
        self.addCleanup(port.stopListening)
        one, hint = self.humd(ALICE, Policy(Level.PROVEN)), f"tls:127.0.0.1:{port.getHost().port}"
        with self.assertRaises(LinkRefused):
            await self.dialled(one, ALICE, BOB.humd_id(), hint)
        self.assertEqual((two.counters["tls.leaf"], two.counters["handshake.refused"]), (1, 0))
        two.policy = Policy(Level.PROVEN, False, [KnownPeer(ALICE.humd_id())])
        await self.dialled(one, ALICE, BOB.humd_id(), hint)
        stranger = await connect_as(port.getHost().port, Sessions(Credential.humd(ALICE)), Stranger(b"no hello\n"))
        await stranger.lost
        self.assertEqual(two.peers(), [ALICE.humd_id()])

    async def test_heir(self) -> None:
        """Who shows by its certificate that it is a known peer under a new key is let in where its row says follow."""
        await self.heir_comes(follow=True, refused=1)

    async def test_heir_that_is_not_followed(self) -> None:
        """Elsewhere it is refused, and the log tells whose heir it is."""
        await self.heir_comes(follow=False, refused=2)

    async def heir_comes(self, follow: bool, refused: int) -> None:
        two = self.humd(BOB, Policy(Level.PROVEN, False, [KnownPeer(EVE.humd_id(), follow=follow)]))
        endpoint = TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1")
        port: Any = await endpoint.listen(two.factory(TlsTransport(reactor, BOB)))
        self.addCleanup(port.stopListening)
        one, there = self.humd(ALICE, Policy(Level.PROVEN)), f"tls:127.0.0.1:{port.getHost().port}"
        with self.assertRaises(LinkRefused):
            await self.dialled(one, ALICE, BOB.humd_id(), there)
        told: Deferred[bool] = Deferred()
        two.watch(lambda _, up: told.callback(up) if up else None)
        transport = TlsTransport(reactor, ALICE, succeeds=[succeed(EVE, ALICE, 1)])
        with capturedLogs() as events:
            linking = one.install(await transport.connect(HumdAddr(BOB.humd_id(), (there,))))
            if follow:
                await linking
                await told
            else:
                with self.assertRaises(LinkRefused):
                    await linking
        self.assertEqual(two.peers(), [ALICE.humd_id()] if follow else [])
        (remark,) = [event["remark"] for event in events if event.get("event") == "rekey"]
        self.assertIn(f"goes on as {ALICE.humd_id().full} and is {'' if follow else 'not '}followed", remark)
        self.assertEqual(two.counters["tls.leaf"], refused)

    async def test_anothers_hello(self) -> None:
        """Who shows its own certificate and says another's hello is refused, whatever the level."""
        two = self.humd(BOB, Policy(Level.OPEN))
        port, outcome = await self.listening(two, BOB)
        claim = b'{"chi":"hello","humd_id":"%s","proto_version":"0.7.0"}\n' % ALICE.humd_id().full.encode()
        stranger = await connect_as(port, Sessions(Credential.humd(EVE)), Stranger(claim))
        text = await outcome
        for part in (ALICE.humd_id().full, EVE.humd_id().full, "certificate"):
            self.assertIn(part, text)
        await stranger.lost
        self.assertEqual((stranger.received, two.counters["handshake.other-leaf"]), (b"", 1))
