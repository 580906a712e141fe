"""TLS handshakes that must come to nothing, with whole humds: the counter, the cause in the log, and nothing else."""

from __future__ import annotations

from datetime import datetime
from functools import partial

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from OpenSSL import SSL
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.logger import capturedLogs

from ensemble.errors import LinkRefused
from ensemble.identity import HumdAddr
from ensemble.mesh import KnownPeer, Policy
from ensemble.protocols import Level
from tests.attacks.arena import RealRogue, reactor
from tests.attacks.scene import Scene
from tests.attacks.test_crowds import MEGABYTE, CrowdTests, Silent, resident
from tests.attacks.tls_arena import TlsArena, TlsHouse
from tests.protocols.handshaking import changed
from tests.protocols.tls_peers import ALICE, BOB, EVE, Credential, Sessions, Stranger, listen_as
from tests.protocols.tls_sealing import Copied

CROWD = 1500  # each a third
LONG_AGO, FAR_OFF = datetime(1991, 1, 1), datetime(2090, 1, 1)


class ListenerTests(Scene):
    """Those who dial us; each way to fail has one counter and one line in the log."""

    make_arena = TlsArena
    arena: TlsArena
    victim: TlsHouse

    async def refused(self, counter: str, cause: str, says: bytes = b"", sessions: Sessions | None = None) -> None:
        """An attacker that is cut off without one byte of ours inside TLS, and nothing else happens."""
        before = self.victim.ensemble.counters.copy()
        with capturedLogs() as events:
            rogue: RealRogue
            if says:
                rogue = self.arena.keep(RealRogue())
                await connectProtocol(TCP4ClientEndpoint(reactor, "127.0.0.1", self.victim.port), rogue)
                rogue.raw(says)
            else:
                rogue = shaken = await self.arena.rogue(self.victim, sessions=sessions)
                if shaken.sealer is not None:
                    rogue.say({"chi": "x-evil"})
            await self.arena.until(lambda: rogue.lost)
        self.assertEqual(rogue.lines, [])
        self.assertEqual(self.victim.ensemble.counters - before, {counter: 1})
        (said,) = [event["cause"] for event in events if event.get("counter") == counter]
        self.assertIn(cause, said)
        self.nothing_leaked()
        await self.all_is_well()

    async def test_garbage(self) -> None:
        """What is no ClientHello."""
        await self.refused("tls.handshake", "TLS handshake failed", b'{"chi":"hello"}\n')

    async def test_tls_1_2(self) -> None:
        """A ClientHello that offers TLS 1.2 at most."""
        sessions = Sessions(Credential.humd(ALICE), newest=SSL.TLS1_2_VERSION)
        await self.refused("tls.handshake", "unsupported protocol", sessions=sessions)
        self.assertEqual(sessions.verified, [])

    async def test_copied_certificate(self) -> None:
        """That of a humd that is let in, without its key."""
        self.victim.ensemble.policy = Policy(Level.PROVEN, False, [KnownPeer(ALICE.humd_id())])
        await self.refused("tls.handshake", "signature", sessions=Copied(ALICE))

    async def test_long_chain(self) -> None:
        """A chain of certificates that would take a megabyte here, for as long as its owner likes."""
        sessions = Sessions(Credential.humd(ALICE), chain=[Credential.humd(ALICE).certificate] * 400)
        await self.refused("tls.long", "12288 bytes, and no end", sessions=sessions)

    async def test_long_key(self) -> None:
        """An RSA key so long that a signature costs many handshakes to verify."""
        sessions = Sessions(Credential.dear(power=4))
        await self.refused("tls.handshake", "certificate verify failed", sessions=sessions)

    async def test_dear_exponent(self) -> None:
        """One whose public exponent does that."""
        sessions = Sessions(Credential.dear(exponent=2**2000 + 1))
        await self.refused("tls.handshake", "certificate verify failed", sessions=sessions)

    async def test_not_admitted(self) -> None:
        """A certificate of somebody who has no row, where rows are wanted; its hello is not read."""
        self.victim.ensemble.policy = Policy(Level.PROVEN, False, [KnownPeer(self.friend.ensemble.me)])
        await self.refused("tls.leaf", "no row in peers.json", sessions=Sessions(Credential.humd(EVE)))

    async def test_no_certificate(self) -> None:
        """None at all, where everybody has to prove who they are."""
        self.victim.ensemble.policy = Policy(Level.PROVEN)
        await self.refused("tls.leaf", "shows no certificate of a humd", sessions=Sessions(None))

    async def test_anothers_hello(self) -> None:
        """A certificate of one's own, and the hello of another."""
        rogue = await self.arena.rogue(self.victim, sessions=Sessions(Credential.humd(EVE)))
        hello = self.dialler(ALICE, rogue.binding).start(self.arena.now_ms())[0]
        with capturedLogs() as events:
            rogue.say(hello, {"chi": "x-evil"})
            await self.arena.until(lambda: rogue.lost)
        self.assertEqual((rogue.lines, self.counted("handshake.other-leaf")), ([], 1))
        (cause,) = [event["cause"] for event in events if event.get("counter") == "handshake.other-leaf"]
        for key in (EVE, ALICE):
            self.assertIn(key.humd_id().full, cause)
        self.nothing_leaked()
        await self.all_is_well()

    async def test_stripped_features(self) -> None:
        """A hello without proof-1 links nobody who proved itself before, nor anybody where all must."""
        rogue = await self.arena.rogue(self.victim, sessions=Sessions(Credential.humd(ALICE)))
        rogue.key = ALICE
        await self.shake(rogue, self.dialler(ALICE, rogue.binding))
        await self.arena.until(lambda: self.victim.ensemble.linked(rogue.id))
        rogue.leave()
        await self.arena.until(lambda: not self.victim.ensemble.linked(rogue.id))
        self.losses += 1
        for key, counter in ((ALICE, "handshake.downgraded"), (BOB, "handshake.unproven")):
            rogue = await self.arena.rogue(self.victim, sessions=Sessions(Credential.humd(key)))
            hello = self.dialler(key, rogue.binding).start(self.arena.now_ms())[0]
            rogue.say(changed(hello, features=[]), {"chi": "x-evil"})
            await self.arena.until(lambda: rogue.lost)  # noqa: B023
            self.assertEqual((rogue.lines, self.counted(counter)), ([], 1))
            self.victim.ensemble.policy = Policy(Level.PROVEN)  # for the second
        self.nothing_leaked()
        await self.all_is_well()

    async def test_dates(self) -> None:
        """A certificate of long ago, or of a time to come, is as good as any: its key alone counts."""
        for begins, ends in ((datetime(1990, 1, 1), LONG_AGO), (FAR_OFF, datetime(2100, 1, 1))):
            key = ec.generate_private_key(ec.SECP256R1())
            rogue = await self.arena.rogue(self.victim, sessions=Sessions(Credential.of(key, ends, begins=begins)))
            await self.linked(rogue)
            self.assertFalse(rogue.lost)
            own = self.key()
            leaf = Credential.of(Ed25519PrivateKey.from_private_bytes(own.seed), ends, begins=begins)
            rogue = await self.arena.rogue(self.victim, sessions=Sessions(leaf))
            await self.shake(rogue, self.dialler(own, rogue.binding))
            await self.arena.until(partial(self.victim.ensemble.linked, own.humd_id()))
        await self.all_is_well()


class DiallerTests(Scene):
    """Those whom we dial; the attacker has the address and learns no id."""

    make_arena = TlsArena
    arena: TlsArena
    victim: TlsHouse

    async def refused(self, cause: str, sessions: Sessions, *pins: str) -> None:
        """Dial Bob at the address of an impostor."""
        stranger = Stranger(b'{"chi":"x-evil"}\n')
        hint = await listen_as(self, sessions, stranger)
        with self.assertRaisesRegex(LinkRefused, cause):
            await self.victim.ensemble.install(
                await self.victim.transport.connect(HumdAddr(BOB.humd_id(), (hint, *pins)))
            )
        await stranger.lost
        self.assertEqual(stranger.received, b"")
        self.assertIsNone(sessions.made[0].get_peer_certificate())
        self.assertEqual(self.victim.ensemble.peers(), [self.friend.ensemble.me])
        self.nothing_leaked()
        await self.all_is_well()

    async def test_wrong_pin(self) -> None:
        """A certificate that is not the pinned one."""
        shown, pin = Credential.ecdsa(), Credential.ecdsa().pin
        await self.refused(f"{shown.pin}.*{pin}", Sessions(shown), pin)

    async def test_another_humd(self) -> None:
        """The certificate of another humd, also where that pin is not ours."""
        await self.refused(EVE.humd_id().full, Sessions(Credential.humd(EVE)))

    async def test_copied_certificate(self) -> None:
        """The right pin, and not the key."""
        owner = Credential.rsa()
        await self.refused("signature", Sessions(owner.stolen()), owner.pin)

    async def test_tls_1_2(self) -> None:
        """The right certificate inside TLS 1.2."""
        await self.refused("version", Sessions(Credential.humd(BOB), newest=SSL.TLS1_2_VERSION))


class TlsCrowdTests(CrowdTests):
    """The crowds, over TLS: those that never read, and those that never finish a handshake."""

    make_arena = TlsArena
    arena: TlsArena
    victim: TlsHouse

    async def test_thousands_at_once(self) -> None:
        """
        1,500 connections that say nothing, half a ClientHello, or all of it and then nothing.

        An honest peer links meanwhile, a link keeps its tones, and when they leave nothing of them stays.
        """
        session = Sessions(None).clientConnectionForTLS(None)  # type: ignore[arg-type]
        session.set_connect_state()
        self.assertRaises(SSL.WantReadError, session.do_handshake)
        hello = session.bio_read(2**16)
        crowd: set[Silent] = set()
        before = resident()
        async with self.flow():
            for _ in range(CROWD // 3):
                for says in (b"", hello[: len(hello) // 2], hello):
                    crowd.add(Silent(self.victim.port, crowd.discard, says=says))
            honest = self.arena.house()
            await self.arena.link(honest, self.victim)
            await self.linked(await self.arena.rogue(self.victim, source="127.0.0.2"))
            self.assertEqual(len(self.victim.ensemble.peers()), 3)
        self.assertLess(resident() - before, 150 * MEGABYTE)
        await self.disperse(crowd)


del Scene, CrowdTests
