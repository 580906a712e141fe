"""What a library user sees of an ensemble."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from ensemble.errors import LinkRefused, LocalWireError, QueueFull, ToneTooLarge, UnknownPeer, Untargeted
from ensemble.mesh import Ensemble, GoodbyeReason, Policy, TapClosed, ensemble as ensemble_module
from ensemble.protocols import InMemoryEndpoint, PeerCapabilities
from ensemble.testing import World
from ensemble.tone import encode
from tests.mesh.diary import Diary
from tests.mesh.plain_peer import PlainPeer


class LinkTests(SynchronousTestCase):
    """Two ensembles on one wire."""

    def setUp(self) -> None:
        self.world = World()
        self.a, self.b = self.world.humd(), self.world.humd()

    def test_both_ends_come_up(self) -> None:
        """Both installs fire with the other's id, and each lists the other."""
        link = self.world.link(self.a, self.b)
        self.assertEqual([self.successResultOf(up) for up in link.up], [self.b.me, self.a.me])
        self.assertEqual((self.a.peers(), self.b.peers()), ([self.b.me], [self.a.me]))

    def test_capabilities_arrive(self) -> None:
        """What the other said of itself is known once it is linked, and nothing of strangers."""
        self.b.capabilities = PeerCapabilities(nests=("claude-cli",))
        self.world.link(self.a, self.b)
        known = self.a.peer_caps(self.b.me)
        assert known is not None
        self.assertEqual(known.nests, ("claude-cli",))
        self.assertIsNone(self.a.peer_caps(self.world.key().humd_id()))

    def test_capabilities_that_no_hello_can_say(self) -> None:
        """
        Capabilities over the ceiling of a hello are refused where they are set, with size, limit and mend, and no link
        is the worse for it; the most that is taken fits into the longest hello.
        """
        too_many = PeerCapabilities(nests=["n" * 95] * 122)
        refusal = r"our hello has 1\d+ bytes, limit 12288: advertise fewer nests and hosts"
        with self.assertRaisesRegex(LocalWireError, refusal):
            self.b.capabilities = too_many
        self.assertRaisesRegex(LocalWireError, refusal, self.world.humd, capabilities=too_many)
        wire, _ = InMemoryEndpoint.pair(self.b.me, None, self.a.me, None, self.world.clock)
        self.assertRaisesRegex(LocalWireError, refusal, self.b.install, wire, too_many)
        self.assertEqual(self.b.capabilities, PeerCapabilities())
        much = 0
        with self.assertRaises(LocalWireError):
            for much in range(11_000, 12_288):
                self.b.capabilities = PeerCapabilities(nests=("n" * much,))
        link = self.world.link(self.b, self.a)
        self.assertEqual([self.successResultOf(up) for up in link.up], [self.a.me, self.b.me])
        known = self.a.peer_caps(self.b.me)
        assert known is not None
        self.assertEqual(known.nests, ("n" * (much - 1),))

    def test_the_key_of_somebody_else(self) -> None:
        """An ensemble with a key that is not that of its id is not made: each of its links would fail."""
        with self.assertRaisesRegex(LocalWireError, "the key is not that of humd_"):
            Ensemble(self.a.me, clock=self.world.clock, key=self.world.key())

    def test_somebody_who_is_told_dies(self) -> None:
        """A bug of the listener or of a watcher is logged; the link stays, and the next watcher hears all of it."""
        told: list[bool] = []

        def dies(*_: object) -> None:
            raise ZeroDivisionError

        diary: Any = Diary(self.b)
        diary.on_lost = diary.peer_has_room = diary.garbled = dies
        self.b.watch(dies)
        self.b.watch(lambda peer, up: told.append(up))
        link = self.world.join(self.a, self.b)
        self.b.route({"chi": "log", "to": self.a.me.full})  # what waited has left: there is room
        self.world.settle()
        self.assertEqual((told, self.a.peers(), self.b.peers()), ([True], [self.b.me], [self.a.me]))
        link.near.write([b'{"chi":"chunk","sid":"s","rid":7}'])
        self.world.settle()
        self.assertEqual(self.b.peers(), [self.a.me])
        link.near.abort()
        self.world.settle()
        self.assertEqual((told, self.b.peers()), ([True, False], []))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 5)

    def test_a_dialled_wire_without_a_peer(self) -> None:
        """A wire that was dialled to nobody in particular is refused at once, and stays the caller's."""
        wire, _ = InMemoryEndpoint.pair(self.b.me, None, self.a.me, None, self.world.clock)
        wire.peer = None
        self.assertRaisesRegex(LocalWireError, "must say whom", self.b.install, wire)
        self.assertEqual(self.world.clock.getDelayedCalls(), [])

    def test_a_key_that_makes_the_hello_longer(self) -> None:
        """Capabilities that fitted while there was no key are looked at again where a link is given one."""
        key = self.world.key()
        much = PeerCapabilities(nests=("n" * 11_600,))
        bare = Ensemble(key.humd_id(), clock=self.world.clock, capabilities=much)
        wire, _ = InMemoryEndpoint.pair(bare.me, None, self.a.me, None, self.world.clock)
        self.assertRaisesRegex(LocalWireError, "limit 12288", bare.install, wire, key=key)

    def test_a_tone_arrives_stamped(self) -> None:
        """A routed tone arrives once, `from` and `to` in full whatever the caller wrote, all else untouched."""
        self.world.link(self.a, self.b)
        tap = self.b.subscribe()
        tone = {"chi": "prompt", "rid": "p1", "content": "Hello, peer.", "x": [1]}
        full = {"from": self.a.me.full, "to": self.b.me.full}
        bare = self.b.me.digest.hex()
        for said in ({"to": bare}, {"to": bare, "from": full["from"]}, {"to": full["to"], "from": full["to"]}, full):
            self.a.route({**tone, **said})
            self.world.settle()
            self.assertEqual(self.successResultOf(tap.get()), {**tone, **full})
        self.assertNoResult(tap.get())

    def test_route_has_three_errors(self) -> None:
        """No target, no link and a queue that takes no more each raise their own error, at once."""
        self.world.link(self.a, self.b)
        for to in (None, 7, "market-maker", "humd_abc"):
            self.assertRaises(Untargeted, self.a.route, {"chi": "prompt", "to": to})
        for stranger in (self.world.key().humd_id().full, self.a.me.full, self.b.me.short):
            self.assertRaises(UnknownPeer, self.a.route, {"chi": "prompt", "to": stranger})
        self.assertRaisesRegex(UnknownPeer, "only the beginning", self.a.route, {"chi": "x", "to": self.b.me.short})
        tone = {"chi": "prompt", "to": self.b.me.full, "text": "x" * 1_000_000}
        for _ in range(8):
            self.a.route(tone)
        self.assertRaises(QueueFull, self.a.route, tone)

    def test_too_large_for_the_peer(self) -> None:
        """A tone one byte above what the peer accepts is refused to its sender; one just as long arrives."""
        small = self.world.humd(max_tone=2000)
        self.world.link(self.a, small)
        tap = small.subscribe()
        tone = {"chi": "prompt", "from": self.a.me.full, "to": small.me.full, "text": ""}
        tone["text"] = "x" * (2001 - len(encode(tone)))
        self.assertRaises(ToneTooLarge, self.a.route, tone)
        self.assertRaises(ToneTooLarge, self.a.send, small.me, encode(tone))
        tone["text"] = tone["text"][1:]
        self.a.route(tone)
        self.world.settle()
        self.assertEqual(self.successResultOf(tap.get()), tone)

    def test_too_large_for_us(self) -> None:
        """What we said that we accept is what we accept, be it less or more than usual; one byte more ends the link."""
        for most in (2000, 5 * 1024 * 1024):
            humd = self.world.humd(max_tone=most)
            tap = humd.subscribe()
            peer = PlainPeer(self.world, humd)
            peer.say(peer.hello())
            line = encode({"chi": "perf-mark", "from": peer.id.full, "text": ""})
            peer.say(line.replace(b'""', b'"%s"' % (b"x" * (most - len(line)))))
            self.successResultOf(tap.get())
            self.assertIsNone(peer.lost)
            peer.say(line.replace(b'""', b'"%s"' % (b"x" * (most - len(line) + 1))))
            self.assertNoResult(tap.get())
            self.assertIsNotNone(peer.lost)
            self.assertIsNone(peer.last("goodbye"))  # which a peer from before 0.8 does not know

    def test_tones_wait_for_a_link_that_is_being_made(self) -> None:
        """What is routed between install and up arrives first, in order."""
        tap = self.b.subscribe()
        self.world.join(self.a, self.b)
        for number in range(3):
            self.a.route({"chi": "perf-mark", "to": self.b.me.full, "n": number})
        self.world.settle()
        self.assertEqual([self.successResultOf(tap.get())["n"] for _ in range(3)], [0, 1, 2])

    def test_held_tones_are_not_lost_silently(self) -> None:
        """When the link never comes up, each tone that waited for it is told."""
        diary = Diary(self.a)
        self.b.policy = Policy(admit_any=False)
        link = self.world.join(self.a, self.b)
        self.a.route({"chi": "prompt", "to": self.b.me.full})
        self.world.settle()
        for up in link.up:
            self.failureResultOf(up, LinkRefused)
        self.assertEqual([what for what, *_ in diary.told], ["undelivered"])

    def test_no_link_to_ourselves(self) -> None:
        """A wire that is said to lead to our own id is refused before a word is said."""
        link = self.world.join(self.a, self.a)
        for up in link.up:
            self.failureResultOf(up, LinkRefused)
        self.assertEqual(self.a.peers(), [])

    def test_broadcast_encodes_once(self) -> None:
        """A tone to many peers is encoded once; each gets it with its own id in `to`."""
        others = [self.world.humd() for _ in range(5)]
        for other in others:
            self.world.link(self.a, other)
        taps = [other.subscribe() for other in others]
        encoded: list[object] = []

        def counting(tone: Mapping[str, Any]) -> bytes:
            encoded.append(tone)
            return encode(tone)

        self.patch(ensemble_module, "encode", counting)
        missed = self.a.broadcast({"chi": "perf-mark", "n": 1}, [*[other.me for other in others], self.b.me])
        self.world.settle()
        self.assertEqual((missed, len(encoded)), ([self.b.me], 1))
        for tap, other in zip(taps, others, strict=True):
            tone = {"from": self.a.me.full, "to": other.me.full, "chi": "perf-mark", "n": 1}
            self.assertEqual(self.successResultOf(tap.get()), tone)

    def test_one_goodbye_a_link(self) -> None:
        """Of a peer that says nothing but goodbye the log has one line, with and without ``bye-1``."""
        for features in ([], ["bye-1"]):
            peer = PlainPeer(self.world, self.a)
            peer.say(peer.hello(features=features))
            with capturedLogs() as events:
                peer.say(*[{"chi": "goodbye", "reason": "shutdown", "message": "bye " * 60}] * 50)
            self.assertEqual(len([event for event in events if "goodbye" in event["log_format"]]), 1, features)

    def test_a_long_goodbye(self) -> None:
        """Of what a goodbye says no more than 256 characters each reach the log, however much it is."""
        peer = PlainPeer(self.world, self.a)
        peer.say(peer.hello())
        with capturedLogs() as events:
            peer.say({"chi": "goodbye", "reason": "r" * 300_000, "message": "m" * 300_000})
        (told,) = [event for event in events if "goodbye" in event["log_format"]]
        self.assertEqual((told["reason"], told["text"]), ("r" * 256, "m" * 256))

    def test_nothing_behind_its_goodbye(self) -> None:
        """A goodbye is a peer's last line on a link: what it says behind that is nobody's, moved or not."""
        keys = sorted((self.world.key(), self.world.key()), key=lambda key: key.humd_id())
        humd = self.world.humd(keys[1])
        heard = Diary(humd)
        peer = PlainPeer(self.world, humd, keys[0], dials=False)
        peer.say(peer.hello(features=["bye-1"]), {"chi": "x", "rid": "before"})
        peer.say({"chi": "goodbye", "reason": "duplicate"}, {"chi": "x", "rid": "behind"})
        peer.say({"chi": "x", "rid": "later"})
        self.assertEqual([what for what in heard.told if what[0] == "tone"], [("tone", "before")])
        self.assertTrue(humd.linked(peer.id))

    def test_nothing_is_kept_of_who_is_gone(self) -> None:
        """A peer that said it moved to another link, and did not, is lost after ten seconds, and forgotten."""
        keys = sorted((self.world.key(), self.world.key()), key=lambda key: key.humd_id())
        humd = self.world.humd(keys[1])
        peer = PlainPeer(self.world, humd, keys[0], dials=False)
        peer.say(peer.hello(features=["bye-1"]), {"chi": "goodbye", "reason": "duplicate"})
        peer.wire.close()
        self.world.advance(9.9)
        self.assertTrue(humd.linked(peer.id))
        self.world.advance(0.2)
        self.assertFalse(humd.linked(peer.id))
        self.assertEqual(list(humd._members), [])

    def test_remove_peer_says_goodbye(self) -> None:
        """A removed peer is gone on both sides, and the other knows why."""
        self.world.link(self.a, self.b)
        diary = Diary(self.b)
        self.a.remove_peer(self.b.me)
        self.world.settle()
        self.assertEqual((self.a.peers(), self.b.peers()), ([], []))
        self.assertEqual((diary.told, diary.losses), ([("lost",)], [(self.a.me, "it said goodbye: removed")]))

    def test_remove_peer_never_for_another_link(self) -> None:
        """Whoever is told ``duplicate`` waits for another link, and there is none: it is refused, and nothing ends."""
        self.world.link(self.a, self.b)
        for peer in (self.b.me, self.world.key().humd_id()):
            with self.assertRaisesRegex(LocalWireError, "another reason"):
                self.a.remove_peer(peer, GoodbyeReason.DUPLICATE)
        self.assertEqual((self.a.peers(), self.b.peers()), ([self.b.me], [self.a.me]))

    def test_stop_says_goodbye(self) -> None:
        """Stopping fires once every link is closed; the other side sees a shutdown, and no timer is left."""
        self.world.link(self.a, self.b)
        diary = Diary(self.b)
        stopped = self.a.stopService()
        self.world.settle()
        self.successResultOf(stopped)
        self.assertEqual((diary.told, diary.losses), ([("lost",)], [(self.a.me, "it said goodbye: shutdown")]))
        self.world.advance(60)
        self.assertEqual(self.world.clock.getDelayedCalls(), [])

    def test_stopped_twice(self) -> None:
        """Whoever stops it while it stops already is told when that is done, as the first one is."""
        self.world.link(self.a, self.b)
        stopped = [self.a.stopService(), self.a.stopService()]
        self.world.settle()
        for each in (*stopped, self.a.stopService()):
            self.successResultOf(each)

    def test_a_silent_peer_is_given_up(self) -> None:
        """A link that is cut without a word is gone on both sides within 45 seconds, not earlier."""
        link = self.world.link(self.a, self.b)
        link.cut()
        self.world.advance(40)
        self.assertEqual(self.a.peers(), [self.b.me])
        self.world.advance(6)
        self.assertEqual((self.a.peers(), self.b.peers()), ([], []))

    def test_a_silent_peer_is_given_up_sooner_while_somebody_waits(self) -> None:
        """With an answer outstanding, nine seconds are enough."""
        link = self.world.link(self.a, self.b)
        self.a.set_waiting(self.b.me, True)
        link.cut()
        self.world.advance(8)
        self.assertEqual(self.a.peers(), [self.b.me])
        self.world.advance(2)
        self.assertEqual(self.a.peers(), [])

    def test_an_idle_link_lives(self) -> None:
        """Nothing to say is no reason to part: pings keep an idle link for an hour."""
        self.world.link(self.a, self.b)
        self.world.advance(3600, step=5)
        self.assertEqual((self.a.peers(), self.b.peers()), ([self.b.me], [self.a.me]))

    def test_probe_tells_distance_and_skew(self) -> None:
        """A probe answers with a round trip and the difference of the clocks."""
        other = World(seed=1)
        other.clock, other.wall_offset = self.world.clock, self.world.wall_offset + 90
        late = other.humd()
        self.world.link(self.a, late)
        link = self.a.link_to(late.me)
        assert link is not None
        probe = link.probe()
        self.world.settle()
        self.successResultOf(probe)
        self.assertEqual((link.round_trip, link.skew_ms), (0.0, 90_000))


class TapTests(SynchronousTestCase):
    """The view of arriving tones."""

    def setUp(self) -> None:
        self.world = World()
        self.a, self.b = self.world.humd(), self.world.humd()
        self.world.link(self.a, self.b)

    def send(self, count: int) -> None:
        """So many numbered tones to b."""
        for number in range(count):
            self.a.route({"chi": "perf-mark", "to": self.b.me.full, "n": number})
        self.world.settle()

    def test_a_slow_reader_loses_the_oldest(self) -> None:
        """The 257th untaken tone pushes out the first, and the tap says how many went."""
        tap = self.b.subscribe()
        self.send(300)
        self.assertEqual((self.successResultOf(tap.get())["n"], tap.lost), (44, 44))

    def test_a_closed_tap_ends(self) -> None:
        """Whoever waits on a tap that closes is told, and nothing more is kept for it."""
        tap = self.b.subscribe()
        waiting = tap.get()
        tap.close()
        tap.close()
        self.failureResultOf(waiting, TapClosed)
        self.send(1)
        self.failureResultOf(tap.get(), TapClosed)

    def test_a_cancelled_read_takes_nothing(self) -> None:
        """A read that was given up leaves the next tone to the next read."""
        tap = self.b.subscribe()
        given_up, kept = tap.get(), tap.get()
        given_up.addErrback(lambda _: None)
        given_up.cancel()
        self.send(1)
        self.assertEqual(self.successResultOf(kept)["n"], 0)

    def test_iteration_ends_when_the_ensemble_stops(self) -> None:
        """`async for` over a tap ends without an error when the ensemble stops."""
        tap, seen = self.b.subscribe(), []

        async def read() -> None:
            async for tone in tap:
                seen.append(tone["n"])

        done = Deferred.fromCoroutine(read())
        self.send(2)
        self.b.stopService()
        self.world.settle()
        self.successResultOf(done)
        self.assertEqual(seen, [0, 1])
