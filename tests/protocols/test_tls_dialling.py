"""Dialling over TLS, on real sockets: whose certificate is accepted, and that nothing leaves before."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from OpenSSL import SSL
from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.protocol import Factory
from twisted.internet.task import Clock
from twisted.trial.unittest import TestCase

from ensemble.errors import LinkRefused
from ensemble.identity import BadCertificate, HumdAddr, succeed
from ensemble.protocols import SomebodyElse, TlsTransport, tls
from ensemble.protocols.succeeds import carrier
from tests.protocols.recording import RecordingSink
from tests.protocols.tls_peers import ALICE, BOB, EVE, Credential, Sessions, Stranger, dial, listen_as
from tests.protocols.tls_sealing import Copied


def _unreadable(_: bytes) -> None:
    raise BadCertificate("nobody's key")


class AcceptedLeafTests(TestCase):
    timeout = 20

    async def assertAccepted(self, sessions: Sessions, *pins: str) -> Any:
        """Dial, say one line, see that it arrived."""
        stranger = Stranger(b'{"chi":"hello"}\n')
        wire: Any = await dial(ALICE, BOB, await listen_as(self, sessions, stranger), *pins)
        sink = RecordingSink()
        wire.start(sink)
        wire.write([b"hello"])
        await sink.count(1)
        wire.close()
        await sink.told("wire_lost")
        await stranger.lost
        self.assertEqual((stranger.received, sink.lines), (b"hello\n", [b'{"chi":"hello"}']))
        return wire

    async def test_its_own_key(self) -> None:
        """The leaf with the wanted id's own key needs no pin, and its id is told."""
        wire = await self.assertAccepted(Sessions(Credential.humd(BOB)))
        self.assertEqual((wire.leaf, wire.secure, wire.kind), (BOB.humd_id(), True, "tls"))

    async def test_its_own_key_and_a_pin_of_before(self) -> None:
        """The wanted id's own key is accepted whatever else the address pins."""
        await self.assertAccepted(Sessions(Credential.humd(BOB)), "tls-fp:" + "00" * 32)

    async def test_pinned(self) -> None:
        """
        ECDSA and RSA leaves are accepted by their fingerprint, in any case, and name nobody; nor does an Ed25519 one,
        for the key of a humd's TLS need not be the key of that humd.
        """
        for credential in (Credential.ecdsa(), Credential.rsa(), Credential.humd(ALICE)):
            pin = f"tls-fp:{credential.pin[7:].upper()}"
            wire = await self.assertAccepted(Sessions(credential), "tls-fp:" + "00" * 32, pin)
            self.assertIsNone(wire.leaf)

    async def test_pinned_and_unreadable(self) -> None:
        """A pin is enough even where we cannot read what it names."""
        self.patch(tls, "leaf_id", _unreadable)
        credential = Credential.ecdsa()
        self.assertIsNone((await self.assertAccepted(Sessions(credential), credential.pin)).leaf)

    async def test_dates_do_not_matter(self) -> None:
        """A certificate that expired long ago, or is of a time to come, is as good as its pin, or its key."""
        for year in (1990, 2090):
            begins, until = datetime(year, 1, 1), datetime(year + 1, 1, 1)
            pinned = Credential.of(ec.generate_private_key(ec.SECP256R1()), until, begins=begins)
            await self.assertAccepted(Sessions(pinned), pinned.pin)
            own = Credential.of(Ed25519PrivateKey.from_private_bytes(BOB.seed), until, begins=begins)
            self.assertEqual((await self.assertAccepted(Sessions(own))).leaf, BOB.humd_id())

    async def test_a_chain(self) -> None:
        """The leaf alone counts where a peer sends a chain."""
        root = Credential.rsa()
        leaf = Credential.of(ec.generate_private_key(ec.SECP256R1()), issuer=root)
        await self.assertAccepted(Sessions(leaf, chain=[root.certificate]), leaf.pin)


class RefusedLeafTests(TestCase):
    timeout = 20

    async def refusal(self, sessions: Sessions, *pins: str) -> LinkRefused:
        """Dial, be refused, and see that the other end learned nothing."""
        stranger = Stranger()
        dialling = dial(ALICE, BOB, await listen_as(self, sessions, stranger), *pins)
        with self.assertRaises(LinkRefused) as caught:
            await dialling
        await stranger.lost
        self.assertEqual(stranger.received, b"")
        self.assertIsNone(sessions.made[0].get_peer_certificate(), "an impostor learned who we are")
        refusal: LinkRefused = caught.exception
        self.assertTrue(str(refusal).endswith(refusal.mend))
        return refusal

    async def test_another_key(self) -> None:
        """The leaf of another id is refused; the message names both, and the error has the new one."""
        refusal = await self.refusal(Sessions(Credential.humd(EVE)))
        old, new = BOB.humd_id().full, EVE.humd_id().full
        for part in (new, old, Credential.humd(EVE).pin, "tls:127.0.0.1:"):
            self.assertIn(part, str(refusal))
        assert isinstance(refusal, SomebodyElse)
        self.assertEqual(refusal.found, EVE.humd_id())

    async def test_long_chain(self) -> None:
        """A listener that says more in its handshake than any chain needs is refused."""
        many = [Credential.humd(BOB).certificate] * 400
        self.assertIn("12288 bytes, and no end", str(await self.refusal(Sessions(Credential.humd(BOB), chain=many))))

    async def test_its_heir(self) -> None:
        """What the owner of the leaf says of who it was is told with the refusal, where it leads to that leaf."""
        grown = succeed(BOB, EVE, 1)
        ours = x509.load_der_x509_certificate(carrier(EVE, [grown]))
        theirs = x509.load_der_x509_certificate(carrier(EVE, [succeed(EVE, BOB, 1)]))
        other, humd = Credential.rsa().certificate, Credential.humd(EVE)
        for leaf, chain, told in (
            (humd, [ours], (grown,)),
            (humd, [other, ours], (grown,)),
            (humd, [ours, other], ()),
            (humd, [theirs], ()),
            (Credential(ours, humd.key), [], ()),  # not behind the leaf
        ):
            refusal = await self.refusal(Sessions(leaf, chain=chain))
            assert isinstance(refusal, SomebodyElse)
            self.assertEqual((refusal.found, tuple(refusal.succeeds)), (EVE.humd_id(), told))

    async def test_wrong_pin(self) -> None:
        """A leaf that is not the pinned one is refused; the message names both fingerprints, and the new pin."""
        shown, pin = Credential.ecdsa(), Credential.ecdsa().pin
        refusal = await self.refusal(Sessions(shown), pin)
        self.assertIn(shown.pin, str(refusal))
        self.assertIn(pin, str(refusal))
        self.assertIn(f"`ensemble trust {BOB.humd_id().full} {shown.pin}`", refusal.mend)

    async def test_no_pin(self) -> None:
        """A leaf that names nobody is refused where nothing pins it; that it is no humd's is said first."""
        text = str(await self.refusal(Sessions(Credential.rsa())))
        self.assertLess(text.index("it is no humd of protocol 0.8, perhaps a web server"), text.index("ensemble trust"))
        self.assertNotIn("web server", str(await self.refusal(Sessions(Credential.humd(EVE)))))

    async def test_copied_certificate(self) -> None:
        """The right pin without the private key is refused: possession is verified."""
        victim = Credential.rsa()
        text = str(await self.refusal(Sessions(victim.stolen()), victim.pin))
        self.assertIn("signature", text)

    async def test_copied_key(self) -> None:
        """A certificate with the wanted id's public key is refused from who has not the secret half."""
        text = str(await self.refusal(Copied(BOB)))
        self.assertIn("signature", text)
        itself = await dial(ALICE, EVE, await listen_as(self, Copied(EVE), Stranger()))
        itself.abort()

    async def test_nobodys_key(self) -> None:
        """A leaf with a key that nobody can own is refused as such."""
        self.patch(tls, "leaf_id", _unreadable)
        self.assertIn("nobody's key", str(await self.refusal(Sessions(Credential.humd(BOB)))))

    async def test_old_version(self) -> None:
        """A listener that knows only TLS 1.2 is refused."""
        credential = Credential.humd(BOB)
        text = str(await self.refusal(Sessions(credential, newest=SSL.TLS1_2_VERSION)))
        self.assertIn("version", text)


class Timers(Clock):
    """The reactor, but for its time, which stands still."""

    def __getattr__(self, name: str) -> Any:
        return getattr(reactor, name)


class SilentListenerTests(TestCase):
    """Listeners that do not speak TLS."""

    timeout = 20

    async def listen(self, stranger: Stranger) -> str:
        endpoint = TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1")
        port: Any = await endpoint.listen(Factory.forProtocol(lambda: stranger))
        self.addCleanup(port.stopListening)
        return f"tls:127.0.0.1:{port.getHost().port}"

    async def test_garbage(self) -> None:
        """A plain humd on the port is refused, and got a ClientHello and nothing of ours inside."""
        stranger = Stranger(b'{"chi":"hello"}\n')
        hint = await self.listen(stranger)
        with self.assertRaisesRegex(LinkRefused, hint):
            await dial(ALICE, BOB, hint)
        await stranger.lost
        self.assertEqual(stranger.received[:1], b"\x16")

    async def test_no_answer(self) -> None:
        """A listener that never answers holds a dial only until its deadline; the connection is dropped."""
        timers, hello = Timers(), Deferred[None]()

        class Hearing(Stranger):
            def dataReceived(self, data: bytes) -> None:
                if not self.received:
                    hello.callback(None)
                super().dataReceived(data)

        stranger = Hearing()
        hint = await self.listen(stranger)
        dialling = TlsTransport(timers, ALICE).connect(HumdAddr(BOB.humd_id(), (hint,)), timeout=3)
        await hello
        timers.advance(2.9)
        self.assertNoResult(dialling)
        timers.advance(0.1)
        with self.assertRaisesRegex(LinkRefused, r"accepts connections, and no TLS within 3 s: .*large packets"):
            await dialling
        await stranger.lost

    async def test_cancelled(self) -> None:
        """A dial that is cancelled in the handshake drops its connection, and nothing is told twice."""
        stranger = Stranger()
        came: Deferred[None] = Deferred()
        stranger.connectionMade = lambda: came.callback(None)  # type: ignore[method-assign]
        dialling = dial(ALICE, BOB, await self.listen(stranger))
        await came
        dialling.cancel()
        await stranger.lost
        with self.assertRaises(CancelledError):
            await dialling

    async def test_no_hint(self) -> None:
        """An address without a tls: hint is refused with the mend."""
        with self.assertRaisesRegex(LinkRefused, "tls:host:port"):
            await dial(ALICE, BOB, "tcp:127.0.0.1:1")

    async def test_nobody_listens(self) -> None:
        """A port where nobody listens is refused by name."""
        endpoint = TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1")
        port: Any = await endpoint.listen(Factory())
        hint = f"tls:127.0.0.1:{port.getHost().port}"
        await port.stopListening()
        with self.assertRaisesRegex(LinkRefused, f"cannot reach {hint}"):
            await dial(ALICE, BOB, hint)
