"""One other humd: racing and crossing links, replacement, what waits, and what an ensemble does with it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import CancelledError
from twisted.logger import LogLevel, capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from ensemble.errors import LinkRefused, QueueFull, SendFailed
from ensemble.identity import HumdId
from ensemble.interfaces import Arrived
from ensemble.mesh import Ensemble, GoodbyeReason, KnownPeer, Policy
from ensemble.mesh.defaults import CONTESTED_SECONDS
from ensemble.protocols import InMemoryEndpoint, Level
from ensemble.testing import World
from ensemble.tone import IllegalTone
from tests.mesh.diary import Diary
from tests.mesh.plain_peer import PlainPeer


class ManyLinksTests(SynchronousTestCase):
    """More than one link to the same humd."""

    def setUp(self) -> None:
        self.world = World()
        self.a, self.b = self.world.humd(), self.world.humd()
        self.diary = Diary(self.a)

    def test_only_one_of_racing_dials_gets_our_proof(self) -> None:
        """Of three dials at once one comes up, the others are dropped, and every install fires with the id."""
        races = [self.world.join(self.a, self.b) for _ in range(3)]
        self.world.settle()
        self.assertEqual([self.successResultOf(race.up[0]) for race in races], [self.b.me] * 3)
        self.assertEqual((self.a.peers(), self.diary.told), ([self.b.me], [("up",)]))
        for race in races:
            self.flush(race)

    def test_too_late_to_give_up(self) -> None:
        """Whoever is told of a link first may cancel its install, and the link stays: it is up."""
        link = self.world.join(self.a, self.b)
        self.a.watch(lambda *_: link.up[0].cancel())
        self.world.settle()
        self.failureResultOf(link.up[0], CancelledError)
        self.assertTrue(self.a.linked(self.b.me) and self.b.linked(self.a.me))

    def test_a_dial_began_before_tls(self) -> None:
        """The ten seconds of a dial count from its connect, though it is installed when TLS is done."""
        self.patch(InMemoryEndpoint, "began", self.world.clock.seconds() - 4.0)
        dial = PlainPeer(self.world, self.a, dials=False)
        self.world.advance(5.9)
        self.assertIsNone(dial.lost)
        self.world.advance(0.2)
        self.assertIsNotNone(dial.lost)

    def flush(self, race: Any) -> None:
        """The other side's ends of dropped dials fail, and that is no news."""
        race.up[1].addErrback(lambda failure: failure.trap(LinkRefused))

    def test_crossed_dials_lose_nothing(self) -> None:
        """Both dial at once and talk at once: one link stays, every tone arrives once and in order."""
        heard = Diary(self.b)
        links = [self.world.join(self.a, self.b), self.world.join(self.b, self.a)]
        for number in range(50):
            self.a.route({"chi": "perf-mark", "rid": str(number), "to": self.b.me.full})
            self.b.route({"chi": "perf-mark", "rid": str(number), "to": self.a.me.full})
            self.world.clock.advance(0)
        self.world.advance(60)
        for diary in (self.diary, heard):
            self.assertEqual([what[1] for what in diary.told if what[0] == "tone"], [str(n) for n in range(50)])
            self.assertNotIn(("lost",), diary.told)
        for link in links:
            for up in link.up:
                self.successResultOf(up)

    def test_new_rules_judge_both(self) -> None:
        """Of two links that were dialled at once, new rules also judge the one that nothing is written on yet."""
        keys = sorted((self.world.key(), self.world.key()), key=lambda key: key.humd_id())
        humd = self.world.humd(keys[1])
        both = [PlainPeer(self.world, humd, keys[0], dials=dials) for dials in (False, True)]
        for peer in both:
            peer.say(peer.hello(features=["bye-1"], instance="0" * 32))
        plain = humd.link_to(keys[0].humd_id())
        self.patch(InMemoryEndpoint, "secure", property(lambda wire: plain is not None and wire is plain.wire))
        self.assertEqual([peer.lost for peer in both], [None, None])
        row = KnownPeer(keys[0].humd_id(), ("tls:192.0.2.1:14731",))
        humd.judge_again(Policy(level=Level.OPEN, known=[row]))
        self.world.settle()
        self.assertEqual(humd.peers(), [])

    def test_a_restarted_peer_replaces_its_old_link(self) -> None:
        """A newer link of another process is a loss of the older, told before the newer's first tone."""
        self.world.link(self.a, self.b)
        again = self.world.humd(self.b.key)
        self.world.link(again, self.a)
        again.route({"chi": "perf-mark", "rid": "new", "to": self.a.me.full})
        self.world.settle()
        self.assertEqual(self.diary.told, [("up",), ("lost",), ("up",), ("tone", "new")])
        self.assertEqual(self.b.peers(), [])

    def test_two_processes_with_one_key_are_noticed(self) -> None:
        """Three replacements within a minute are worth a warning."""
        with capturedLogs() as events:
            for _ in range(4):
                self.world.link(self.world.humd(self.b.key), self.a)
        warned = [event for event in events if event["log_level"] is LogLevel.warn]
        self.assertIn("do two processes share its key", warned[0]["log_format"])
        self.a.remove_peer(self.b.me)
        self.world.advance(30)
        self.assertEqual(
            (self.a.peers(), self.a.history.contested(self.b.me), self.a.history.contested(self.a.me)),
            ([], True, False),
        )
        self.world.advance(CONTESTED_SECONDS)
        self.assertFalse(self.a.history.contested(self.b.me))

    def test_who_is_told_may_act(self) -> None:
        """A listener that removes the peer inside the news of its loss does not break the order of things."""
        self.world.link(self.a, self.b)
        self.diary.on_lost = self.a.remove_peer
        self.world.link(self.world.humd(self.b.key), self.a)
        self.world.advance(60)
        self.assertEqual((self.a.peers(), self.diary.told[:2]), ([], [("up",), ("lost",)]))

    def test_who_is_told_after_them(self) -> None:
        """Where somebody parts from a peer as it comes, whoever is told next hears that it came, then that it went."""
        told: list[bool] = []
        self.a.watch(lambda peer, up: self.a.remove_peer(peer) if up else None)
        self.a.watch(lambda _, up: told.append(up))
        self.world.link(self.a, self.b)
        self.assertEqual(told, [True, False])

    def test_other_dials_without_proofs(self) -> None:
        """A dial of ours is dropped for a link of a peer that knows no goodbye, but not for another dial of ours."""
        for dials in (False, True):
            pending = PlainPeer(self.world, self.a, dials=False)
            linked = PlainPeer(self.world, self.a, pending.key, dials=dials)
            linked.say(linked.hello() if dials else linked.hello(features=["bye-1"]))
            self.assertEqual((linked.lost, pending.lost is None), (None, not dials))
            if not dials:  # our hello may have been the last line of it: it was up there as soon as that was read
                pending.say(pending.hello(features=["bye-1"]))
                self.assertEqual((linked.lost is None, pending.lost), (False, None))

    def test_a_dial_that_may_be_up_there(self) -> None:
        """Where both could be made one it is not."""
        pending = PlainPeer(self.world, self.a, dials=False)
        linked = PlainPeer(self.world, self.a, pending.key)
        linked.say(linked.hello(features=["bye-1"]))
        self.assertEqual((linked.lost, pending.lost), (None, None))


class WaitingTests(SynchronousTestCase):
    """Tones that cannot leave yet, or not at all."""

    def setUp(self) -> None:
        self.world = World()
        self.a = self.world.humd()
        self.diary = Diary(self.a)

    def test_what_waits_has_a_bound(self) -> None:
        """While a link is being made eight megabytes wait for it; what is more is refused at once."""
        b = self.world.humd()
        self.world.join(self.a, b)
        tone = {"chi": "prompt", "to": b.me.full, "text": "x" * 1_000_000}
        for _ in range(8):
            self.a.route(tone)
        self.assertRaises(QueueFull, self.a.route, tone)
        self.world.settle()
        self.assertEqual(self.a.peers(), [b.me])

    def test_too_large_once_the_limit_is_known(self) -> None:
        """A tone that waited and is too large for the peer is told when that is known; the next one leaves."""
        small = self.world.humd(max_tone=2000)
        heard = Diary(small)
        self.world.join(self.a, small)
        for rid, text in (("large", "x" * 3000), ("small", "x")):
            self.a.route({"chi": "prompt", "rid": rid, "to": small.me.full, "text": text})
        self.world.settle()
        self.assertIn(("undelivered", "tone.too-large"), self.diary.told)
        self.assertEqual([what for what in heard.told if what[0] == "tone"], [("tone", "small")])

    def test_broadcast_tells_whom_it_missed(self) -> None:
        """A peer whose queue is full is named; a tone without anything in it is nobody's."""
        b = self.world.humd()
        self.world.link(self.a, b)
        link = self.a.link_to(b.me)
        assert link is not None
        link.wire_full()
        missed = [self.a.broadcast({"chi": "prompt", "text": "x" * 3_000_000}) for _ in range(3)]
        self.assertEqual(missed, [[], [], [b.me]])
        self.assertRaises(IllegalTone, self.a.broadcast, {"to": b.me.full})

    def test_nothing_behind_our_goodbye(self) -> None:
        """A link that we have said goodbye on takes no tone, and says so."""
        b = self.world.humd()
        self.world.link(self.a, b)
        link = self.a.link_to(b.me)
        assert link is not None
        link.say_goodbye(GoodbyeReason.LIMIT)
        self.assertRaises(SendFailed, link.send, b'{"chi":"x"}')

    def test_an_answer_to_somebody_gone(self) -> None:
        """An error for a peer that left meanwhile is counted, and nothing else happens."""
        self.a.answer(self.world.key().humd_id(), {"chi": "error"})
        self.assertEqual(self.a.counters["answer.lost"], 1)

    def test_stop_does_not_wait_for_who_does_not_read(self) -> None:
        """A peer that takes nothing more holds up a stop for a second and a half, not longer."""
        b = self.world.humd()
        link = self.world.link(self.a, b)
        mine = self.a.link_to(b.me)
        assert mine is not None
        mine.wire_full()
        self.a.route({"chi": "prompt", "to": b.me.full})
        link.cut()
        stopped = self.a.stopService()
        self.world.settle()
        self.assertNoResult(stopped)
        self.world.advance(1.6)
        self.successResultOf(stopped)


class RulesTests(SynchronousTestCase):
    """Rules that change while links are up or on their way."""

    def setUp(self) -> None:
        self.world = World()
        self.a, self.b = self.world.humd(), self.world.humd()

    def test_no_longer_known(self) -> None:
        """A peer whose row goes is told `removed`; one that keeps its row stays."""
        c = self.world.humd()
        for other in (self.b, c):
            self.world.link(self.a, other)
        self.a.judge_again(Policy(admit_any=False, known=[KnownPeer(peer=c.me)]))
        self.world.settle()
        self.assertEqual((self.a.peers(), self.b.peers(), c.peers()), ([c.me], [], [self.a.me]))

    def test_more_proof_wanted(self) -> None:
        """An unproven link ends with `auth` when its id must prove itself from now on."""
        peer = PlainPeer(self.world, self.a)
        peer.say(peer.hello())
        self.assertEqual(self.a.peers(), [peer.id])
        self.a.judge_again(Policy(level=Level.PROVEN))
        self.world.settle()
        self.assertEqual(self.a.peers(), [])
        self.assertIsNotNone(peer.lost)

    def test_reasons(self) -> None:
        """The last line of whoever parts says why, in a word of the wire and in one for people."""

        def too_long(peer: PlainPeer, humd: Ensemble) -> None:
            peer.say(b"x" * (4 * 1024 * 1024 + 1))

        ends: dict[str, list[Callable[[PlainPeer, Ensemble], object]]] = {
            "shutdown": [lambda peer, humd: humd.stopService()],
            "removed": [
                lambda peer, humd: humd.remove_peer(peer.id),
                lambda peer, humd: humd.judge_again(Policy(admit_any=False)),
            ],
            "auth": [lambda peer, humd: humd.judge_again(Policy(level=Level.SIGNED))],
            "limit": [too_long],
        }
        for reason, ways in ends.items():
            for part in ways:
                humd = self.world.humd()
                peer = PlainPeer(self.world, humd)
                peer.say(peer.hello(features=["bye-1"]))
                self.assertEqual(humd.peers(), [peer.id])
                part(peer, humd)
                self.world.settle()
                self.assertEqual((peer.heard[-1]["chi"], peer.heard[-1]["reason"]), ("goodbye", reason))
                self.assertTrue(peer.heard[-1]["message"])
                self.assertIsNotNone(peer.lost)

    def test_changed_in_the_middle_of_a_handshake(self) -> None:
        """A link that comes up under rules that no longer admit it is refused."""
        asked: list[HumdId] = []

        class Fickle(Policy):
            def admits(self, claimed: HumdId, wire_secure: bool) -> str | None:
                asked.append(claimed)
                return None if len(asked) == 1 else "the rules changed"

        self.a.policy = Fickle()
        link = self.world.link(self.b, self.a)
        self.failureResultOf(link.up[1], LinkRefused)
        self.assertEqual((self.a.peers(), len(asked)), ([], 2))

    def test_strict_auth(self) -> None:
        """The name of the requirement texts: strict wants a signature, not strict wants none."""
        for strict, level in ((True, Level.SIGNED), (False, Level.OPEN)):
            made = Ensemble.with_strict_auth(self.a.me, strict, clock=self.world.clock)
            self.assertEqual((made.policy.level, made.listener), (level, None))


class PingTests(SynchronousTestCase):
    """Pings that we choose to send, and those of others."""

    def setUp(self) -> None:
        self.world = World()
        self.a, self.b = self.world.humd(), self.world.humd()

    def test_no_ping_to_who_knows_none(self) -> None:
        """A 0.7.0 peer cannot be probed, and the probe says so."""
        peer = PlainPeer(self.world, self.a)
        peer.say(peer.hello())
        link = self.a.link_to(peer.id)
        assert link is not None
        self.failureResultOf(link.probe(), LinkRefused)
        peer.say({"chi": "ping"}, {"chi": "pong", "rid": "nobody-asked"}, {"chi": "goodbye", "reason": 7})
        self.assertEqual(peer.heard[-1]["chi"], "pong")
        self.assertNotIn("rid", peer.heard[-1])

    def test_keep_alive_where_there_are_no_pings(self) -> None:
        """The system below watches over a peer that cannot be pinged, and only over such a one."""
        asked: list[bool] = []
        self.patch(InMemoryEndpoint, "keep_alive", lambda wire, on: asked.append(on))
        self.world.link(self.a, self.b)
        self.assertEqual(asked, [])
        peer = PlainPeer(self.world, self.a)
        peer.say(peer.hello())
        self.assertEqual(asked, [True])

    def test_slow_line(self) -> None:
        """A peer whose system takes what is before the ping is not given up for the seconds that this needs."""
        arrived = [0]
        self.patch(InMemoryEndpoint, "arrived", lambda wire: Arrived(arrived[0], 100 - arrived[0], 0.0))
        link = self.world.link(self.a, self.b)
        self.a.set_waiting(self.b.me, True)
        link.cut()
        for _ in range(30):
            arrived[0] += 1
            self.world.advance(1)
        self.assertTrue(self.a.linked(self.b.me))
        self.world.advance(9)
        self.assertFalse(self.a.linked(self.b.me))

    def test_pong_that_is_too_long(self) -> None:
        """A peer gets no line that is longer than it takes, be it made of its own words."""
        peer = PlainPeer(self.world, self.a)
        peer.say(peer.hello(features=["ping-1"], max_tone=1024))
        before = len(peer.heard)
        peer.say({"chi": "ping", "rid": "r" * 2000}, {"chi": "ping", "rid": "short"})
        self.assertEqual([tone.get("rid") for tone in peer.heard[before:]], ["short"])

    def test_no_pong_behind_our_goodbye(self) -> None:
        """A goodbye is our last line: a ping behind it is not answered."""
        peer = PlainPeer(self.world, self.a)
        peer.say(peer.hello(features=["bye-1", "ping-1"]))
        link = self.a.link_to(peer.id)
        assert link is not None
        link.say_goodbye(GoodbyeReason.LIMIT)
        peer.say({"chi": "ping", "rid": "p"})
        self.assertEqual(peer.heard[-1]["chi"], "goodbye")

    def test_a_probe_ends_with_its_link(self) -> None:
        """Whoever waits for a probe is told when the link goes; a link that is gone cannot be probed."""
        joined = self.world.link(self.a, self.b)
        link = self.a.link_to(self.b.me)
        assert link is not None
        joined.cut()
        probe = link.probe()
        link.abort()
        self.world.settle()
        self.failureResultOf(probe, LinkRefused)
        self.failureResultOf(link.probe(), LinkRefused)

    def test_a_probe_behind_our_goodbye(self) -> None:
        """A link that we are leaving cannot be probed: nobody waits until it is gone to hear that."""
        self.world.link(self.a, self.b)
        link = self.a.link_to(self.b.me)
        assert link is not None
        link.say_goodbye(GoodbyeReason.LIMIT)
        self.failureResultOf(link.probe(), LinkRefused)

    def test_the_other_side_is_gone(self) -> None:
        """A link that the peer cut takes no tone, and says so; nor can it be probed."""
        joined = self.world.link(self.a, self.b)
        link = self.a.link_to(self.b.me)
        assert link is not None
        joined.far.abort()
        self.world.settle()
        said = self.assertRaises(SendFailed, link.send, b'{"chi":"x"}')
        self.assertNotIsInstance(said, QueueFull)
        self.failureResultOf(link.probe(), LinkRefused)
