"""Peers of 0.7.0, and those that never say a word."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from ensemble.mesh import Ensemble, KnownPeer, Limits, Policy
from ensemble.protocols import Level
from ensemble.testing import World
from tests.mesh.plain_peer import PlainPeer


class PlainPeerTests(SynchronousTestCase):
    """Peers that know nothing of 0.8."""

    def ensemble(self, level: Level) -> Ensemble:
        """One with this default level."""
        return self.world.humd(policy=Policy(level=level))

    def setUp(self) -> None:
        self.world = World()

    def test_unsigned_where_open(self) -> None:
        """At `open` an unsigned 0.7.0 peer is linked, dialling or dialled."""
        for dials in (True, False):
            humd = self.ensemble(Level.OPEN)
            peer = PlainPeer(self.world, humd, dials=dials)
            peer.say(peer.hello())
            self.assertEqual(humd.peers(), [peer.id])
            hello = peer.heard[0]
            self.assertEqual((hello["chi"], hello["humd_id"]), ("hello", humd.me.full))
            self.assertIn("signature", hello)

    def test_signed_where_signed(self) -> None:
        """At `signed` a signed hello links, once; an unsigned one never does."""
        humd = self.ensemble(Level.SIGNED)
        unsigned = PlainPeer(self.world, humd)
        unsigned.say(unsigned.hello())
        self.assertIsNotNone(unsigned.lost)
        signed = PlainPeer(self.world, humd)
        hello = signed.hello(signed=True)
        signed.say(hello)
        self.assertEqual(humd.peers(), [signed.id])
        replayed = PlainPeer(self.world, humd)
        replayed.say(hello)
        self.assertIsNotNone(replayed.lost)

    def test_nobody_unproven_where_proven(self) -> None:
        """At `proven` neither gets in, and nothing is said to them: no hello to collect."""
        humd = self.ensemble(Level.PROVEN)
        for signed in (False, True):
            peer = PlainPeer(self.world, humd)
            peer.say(peer.hello(signed=signed))
            self.assertEqual((peer.heard, peer.lost is None), ([], False))
        self.assertEqual(humd.peers(), [])

    def test_nothing_is_kept_of_them(self) -> None:
        """Of those who come and are refused, and of those who come and go, nothing stays behind."""
        humd = self.ensemble(Level.SIGNED)
        for signed in (False, True):
            peer = PlainPeer(self.world, humd)
            peer.say(peer.hello(signed=signed))
            peer.wire.close()
            self.world.settle()
        reception = humd._reception
        self.assertEqual((len(reception), reception._links, reception._waiting), (0, {}, {}))

    def test_first_tone_before_the_hello(self) -> None:
        """The existing daemon writes its first tone before its hello: it is handled once the peer is in."""
        humd = self.ensemble(Level.OPEN)
        tap = humd.subscribe()
        peer = PlainPeer(self.world, humd)
        peer.say({"chi": "perf-mark", "n": 1})
        first, second = tap.get(), tap.get()
        self.assertNoResult(first)
        peer.say(peer.hello(), {"chi": "perf-mark", "n": 2})
        self.assertEqual([self.successResultOf(tone)["n"] for tone in (first, second)], [1, 2])

    def test_early_tones_of_others(self) -> None:
        """Who knows 0.8 should have waited with its first tone: it is dropped and counted, and the link comes up."""
        humd = self.ensemble(Level.OPEN)
        tap = humd.subscribe()
        peer = PlainPeer(self.world, humd)
        peer.say({"chi": "perf-mark", "n": 1}, peer.hello(features=["ping-1"]), {"chi": "perf-mark", "n": 2})
        self.assertEqual((self.successResultOf(tap.get())["n"], humd.peers()), (2, [peer.id]))
        self.assertEqual(humd.counters["handshake.early"], 1)

    def test_all_early_tones_count(self) -> None:
        """Each tone of each peer that should have waited is one more."""
        humd = self.ensemble(Level.OPEN)
        for _ in range(2):
            peer = PlainPeer(self.world, humd)
            peer.say({"chi": "perf-mark"}, {"chi": "perf-mark"}, peer.hello(features=["ping-1"]))
        self.assertEqual(humd.counters["handshake.early"], 4)

    def test_known_only(self) -> None:
        """Where only known ids are admitted a stranger is refused, and hears nothing; one with a row is not."""
        stranger, friend = self.world.key(), self.world.key()
        humd = self.world.humd(
            policy=Policy(level=Level.OPEN, admit_any=False, known=[KnownPeer(peer=friend.humd_id())])
        )
        for key, linked in ((stranger, []), (friend, [friend.humd_id()])):
            peer = PlainPeer(self.world, humd, key)
            peer.say(peer.hello())
            self.assertEqual(humd.peers(), linked)
            able = PlainPeer(self.world, humd, key)
            able.say(able.hello(pubkey=key.public.hex(), features=["proof-1"], nonce="11" * 32))
            self.assertEqual([tone["chi"] for tone in able.heard], ["hello", "hello-proof"] if linked else [])
        self.assertEqual(humd.counters["handshake.not-admitted"], 2)

    def test_our_own_id_is_refused(self) -> None:
        """A hello with our own id links nothing, on either side."""
        humd = self.ensemble(Level.OPEN)
        assert humd.key is not None
        peer = PlainPeer(self.world, humd, humd.key)
        peer.say(peer.hello())
        self.assertEqual((humd.peers(), peer.lost is None), ([], False))

    def test_silence_has_ten_seconds(self) -> None:
        """A peer that connects and says nothing is dropped after ten seconds, its trickle included."""
        humd = self.ensemble(Level.OPEN)
        peer = PlainPeer(self.world, humd)
        self.world.advance(9.5)
        self.assertIsNone(peer.lost)
        self.world.advance(1)
        self.assertIsNotNone(peer.lost)
        self.assertEqual(humd.counters["handshake.timeout"], 1)

    def test_a_crowd_of_silent_connects(self) -> None:
        """A crowd of silent connects leaves 256 pending, and an honest peer still gets in."""
        humd = self.world.humd(policy=Policy(level=Level.OPEN), limits=Limits(address_pending_links=256))
        crowd = [PlainPeer(self.world, humd) for _ in range(300)]
        honest = PlainPeer(self.world, humd)
        honest.say(honest.hello())
        self.assertEqual(humd.peers(), [honest.id])
        self.assertEqual(sum(peer.lost is None for peer in crowd), 255)
        self.assertGreater(humd.counters["pending.limit"], 40)

    def test_who_spoke_stays(self) -> None:
        """Where too many are pending whoever has shown an admissible hello stays, though it came first."""
        humd = self.world.humd(limits=Limits(pending_links=2))
        spoke = PlainPeer(self.world, humd)
        said = {"features": ["proof-1"], "nonce": "ab" * 32, "instance": "cd" * 16, "pubkey": spoke.key.public.hex()}
        spoke.say(spoke.hello() | said)
        self.assertEqual([tone["chi"] for tone in spoke.heard], ["hello", "hello-proof"])
        silent = [PlainPeer(self.world, humd) for _ in range(2)]
        self.assertEqual([peer.lost is None for peer in (spoke, *silent)], [True, False, True])
