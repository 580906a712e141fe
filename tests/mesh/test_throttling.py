"""A peer that sends more than it may is read slower: nothing is lost, and nothing else is undone."""

from __future__ import annotations

from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from ensemble.mesh import KnownPeer, Limits, Policy
from ensemble.mesh.allowance import MALFORMED_AT_ONCE, MALFORMED_PER_SECOND
from ensemble.mesh.inbound import REFUSED, SEARCHED
from ensemble.mesh.limits import UNPACED
from ensemble.mesh.reading import Reason
from ensemble.testing import World
from tests.mesh.diary import Diary
from tests.mesh.plain_peer import PlainPeer

SLOW = Limits(stranger_tones_per_second=10, burst_seconds=1, known_tones_per_second=0, known_bytes_per_second=0)


class ThrottlingTests(SynchronousTestCase):
    """An ensemble that gives strangers ten tones a second."""

    def setUp(self) -> None:
        self.world = World()
        self.humd = self.world.humd(limits=SLOW)
        self.diary = Diary(self.humd)
        self.peer = self.linked()

    def linked(self) -> PlainPeer:
        peer = PlainPeer(self.world, self.humd)
        peer.say(peer.hello(features=["ping-1", "bye-1"]))
        return peer

    @property
    def came(self) -> list[int]:
        """The numbers of the tones that came."""
        return [int(what[1]) for what in self.diary.told if what[0] == "tone"]

    def flood(self, begin: int, end: int, peer: PlainPeer | None = None) -> None:
        """One chunk of tones."""
        speaker = peer if peer is not None else self.peer
        speaker.say(*({"chi": "x", "rid": str(number)} for number in range(begin, end)))

    def test_slowed_and_nothing_lost(self) -> None:
        """After the burst the next chunk waits until the debt is paid; all tones come, in order, each pause counts."""
        with capturedLogs() as events:
            self.flood(0, 30)  # 20 in debt, and the hello
            self.assertEqual(self.came, list(range(30)))
            self.flood(30, 31)
            self.assertEqual(len(self.came), 30)
            self.world.advance(1.9, step=0.1)
            self.assertEqual(len(self.came), 30)
            self.world.advance(0.3, step=0.1)
        self.assertEqual(self.came, list(range(31)))
        link = self.humd.link_to(self.peer.id)
        assert link is not None and link.reading.allowance is not None
        self.assertEqual(self.humd.counters["links.throttled"], link.reading.allowance.throttled)
        told, *_ = [event for event in events if event.get("counter") == "links.throttled"]
        self.assertEqual((told["event"], told["peer"]), ("slowed", self.peer.id.full))
        self.assertIn("--limit stranger_tones_per_second=", told["mend"])

    def test_others_are_not_slowed(self) -> None:
        """What one peer did is not counted against another."""
        other = self.linked()
        self.flood(0, 1000)
        self.flood(1000, 1005, other)
        self.assertEqual(self.came[-1], 1004)

    def test_a_row_gives_another_pace(self) -> None:
        """A peer with a row has the pace of the known; when the rules change, so does its pace, at once."""
        self.humd.judge_again(Policy(known=(KnownPeer(self.peer.id),)))
        for chunk in range(0, 3000, 100):
            self.flood(chunk, chunk + 100)
        self.assertEqual(self.came, list(range(3000)))
        self.humd.judge_again(Policy())
        self.flood(3000, 3020)
        self.flood(3020, 3021)
        self.assertEqual(len(self.came), 3020)

    def test_rules_that_stay_forgive_nothing(self) -> None:
        """Whose place in the rules is what it was still owes what it sent before they were read again."""
        self.flood(0, 100)
        self.humd.judge_again(Policy(known=(KnownPeer(self.world.key().humd_id()),)))
        self.flood(100, 101)
        self.world.settle()
        self.assertEqual(len(self.came), 100)

    def test_a_row_ends_a_pause(self) -> None:
        """A stranger that is not read because of what it owes is read at once when it gets a row, in order."""
        self.flood(0, 1000)
        self.flood(1000, 1001)
        self.humd.judge_again(Policy(known=(KnownPeer(self.peer.id),)))
        self.assertEqual(len(self.came), 1000)
        self.world.settle()
        self.flood(1001, 1002)
        self.assertEqual(self.came, list(range(1002)))
        self.world.advance(12)  # as long as the handshake's timer may take
        self.assertEqual(self.humd.counters["links.throttled"], 1)

    def test_a_second_link_pays_no_debt(self) -> None:
        """Whoever links again still owes what it sent on the link before."""
        self.flood(0, 100)
        second = PlainPeer(self.world, self.humd, self.peer.key)
        second.say(second.hello(features=["ping-1", "bye-1"]))
        link = self.humd.link_to(self.peer.id)
        assert link is not None
        self.assertIsNotNone(self.peer.lost)  # it was replaced
        self.flood(100, 101, second)
        self.assertFalse(link.reading.on)

    def test_pace_that_comes_later(self) -> None:
        """A peer that had no limit at all while it had a row gets one when the row is gone."""
        humd = self.world.humd(limits=SLOW, policy=Policy(known=(KnownPeer(self.peer.id),)))
        peer = PlainPeer(self.world, humd, self.peer.key)
        peer.say(peer.hello(features=["ping-1", "bye-1"]))
        link = humd.link_to(peer.id)
        assert link is not None
        self.assertIsNone(link.reading.allowance)
        humd.judge_again(Policy())
        self.assertIsNotNone(link.reading.allowance)

    def test_what_came_before_is_free(self) -> None:
        """Bytes that came while there was no pace are not owed when there is one."""
        limits = Limits(known_tones_per_second=0, known_bytes_per_second=0, stranger_bytes_per_second=1000)
        humd = self.world.humd(limits=limits, policy=Policy(known=(KnownPeer(self.peer.id),)))
        peer = PlainPeer(self.world, humd, self.peer.key)
        peer.say(peer.hello())
        peer.say({"chi": "x", "text": "x" * 100_000})
        humd.judge_again(Policy())
        peer.say({"chi": "x"})
        self.assertEqual(humd.counters["links.throttled"], 0)

    def test_shreds_count(self) -> None:
        """A piece of a line costs us as much as a short line: whoever sends bytes one by one is slowed, too."""
        link = self.humd.link_to(self.peer.id)
        assert link is not None
        for _ in range(11):
            link.bytes_trickled()
        self.assertEqual(self.humd.counters["links.throttled"], 1)

    def test_no_limits_no_allowance(self) -> None:
        """A program that sets no limits slows nobody, and keeps no count."""
        humd = self.world.humd()
        self.assertIs(humd.limits, UNPACED)
        peer = PlainPeer(self.world, humd)
        peer.say(peer.hello())
        link = humd.link_to(peer.id)
        assert link is not None
        self.assertIsNone(link.reading.allowance)

    def test_all_lines_count(self) -> None:
        """Lines that are no tones, pings and the like are not free."""
        for line in (b"{", b'{"chi":"ping","rid":"p"}', b'{"chi":"pong"}'):
            peer = self.linked()
            before = self.humd.counters["links.throttled"]
            peer.say(*[line] * 30)
            self.assertEqual(self.humd.counters["links.throttled"], before + 1, line)

    def test_bytes_count(self) -> None:
        """A stranger with few tones and many bytes is slowed as well."""
        humd = self.world.humd(limits=Limits(stranger_bytes_per_second=1000, burst_seconds=1))
        diary, peer = Diary(humd), PlainPeer(self.world, humd)
        peer.say(peer.hello())
        peer.say({"chi": "x", "rid": "0", "text": "x" * 5000})
        peer.say({"chi": "x", "rid": "1"})
        self.assertEqual([what[1] for what in diary.told if what[0] == "tone"], ["0"])
        self.world.advance(6)
        self.assertEqual([what[1] for what in diary.told if what[0] == "tone"], ["0", "1"])

    def test_bytes_alone_count(self) -> None:
        """A pace in bytes holds where there is none in tones."""
        limits = Limits(stranger_tones_per_second=0, stranger_bytes_per_second=1000, burst_seconds=1)
        self.humd = self.world.humd(limits=limits)
        self.diary = Diary(self.humd)
        peer = self.linked()
        peer.say({"chi": "x", "rid": "0", "content": "y" * 3000})
        self.flood(1, 2, peer)
        self.assertEqual(self.came, [0])
        self.world.advance(5)
        self.assertEqual(self.came, [0, 1])

    def test_no_pause_is_endless(self) -> None:
        """Whatever is owed, the next chunk is read after a minute: it may be a goodbye."""
        self.flood(0, 10_000)  # a thousand seconds
        self.flood(10_000, 10_001)
        self.world.advance(59.5, step=0.5)
        self.assertEqual(len(self.came), 10_000)
        self.world.advance(1)
        self.assertEqual(len(self.came), 10_001)

    def test_silence_does_not_count(self) -> None:
        """While it is not read the peer is pinged every three seconds, and is not given up."""
        self.flood(0, 1210)
        before = len(self.peer.heard)
        self.world.advance(58)
        self.assertEqual([tone["chi"] for tone in self.peer.heard[before:]], ["ping"] * 19)
        self.assertTrue(self.humd.linked(self.peer.id))

    def test_silence_counts_again(self) -> None:
        """Once it is read again a peer that says nothing more is given up like any other."""
        self.flood(0, 30)
        self.world.advance(55, step=1)
        self.assertFalse(self.humd.linked(self.peer.id))

    def test_loss_leaves_no_timer(self) -> None:
        """When a link that is not read ends, it is over at once."""
        self.world.advance(11)  # the handshake's own timer
        self.flood(0, 1000)
        self.peer.wire.abort()
        self.world.settle()
        self.assertEqual((self.humd.peers(), self.world.clock.getDelayedCalls()), ([], []))

    def test_goodbye_is_not_slowed(self) -> None:
        """A link that we leave is read to its end."""
        self.peer.wire.pause()
        self.humd.remove_peer(self.peer.id)
        self.flood(0, 100)
        self.assertEqual(self.humd.counters["links.throttled"], 0)


class MalformedTests(SynchronousTestCase):
    """A peer that may send tones as fast as it likes, and says what is none."""

    def setUp(self) -> None:
        self.world = World()
        self.humd = self.world.humd(limits=Limits(stranger_bytes_per_second=0, stranger_tones_per_second=10**9))
        self.diary = Diary(self.humd)
        self.peer = PlainPeer(self.world, self.humd)
        self.peer.say(self.peer.hello())

    def counted(self) -> tuple[int, int]:
        return self.humd.counters["tones.malformed"], self.humd.counters["links.throttled"]

    def came(self) -> list[str]:
        return [what[1] for what in self.diary.told if what[0] == "tone"]

    def test_one_chunk(self) -> None:
        """Of a chunk of bad lines a few are handled before anything else is; none is lost, nor the tones among them."""
        bad, good = [b"x"] * 2 * MALFORMED_PER_SECOND, [b'{"chi":"x","rid":"%d"}' % number for number in range(3)]
        with capturedLogs() as events:
            self.peer.say(good[0], *bad, good[1], *bad, good[2])
        self.assertEqual((self.counted(), self.came()), ((MALFORMED_AT_ONCE + 1, 1), ["0"]))
        [told] = [event for event in events if event.get("counter") == "links.throttled"]
        self.assertEqual((told["event"], told["peer"]), ("slowed", self.peer.id.full))
        self.assertIn("no tones", told["cause"])
        for second in (1, 2, 3):
            self.world.advance(1, step=0.05)
            self.assertLessEqual(self.counted()[0], MALFORMED_AT_ONCE + second * MALFORMED_PER_SECOND + 1)
        self.assertEqual(self.came(), ["0", "1"])
        self.world.advance(2, step=0.05)
        self.assertEqual((self.counted()[0], self.came()), (2 * len(bad), ["0", "1", "2"]))
        self.assertEqual(self.humd.peers(), [self.peer.id])

    def test_what_came_later_waits(self) -> None:
        """What comes behind a chunk of bad lines comes after what was in it."""
        self.peer.say(*[b"x"] * 3 * MALFORMED_AT_ONCE, {"chi": "x", "rid": "0"})
        self.peer.say({"chi": "x", "rid": "1"})
        self.assertEqual(self.came(), [])
        self.world.advance(1, step=0.05)
        self.assertEqual(self.came(), ["0", "1"])

    def test_the_work_counts(self) -> None:
        """Lines that are searched for somebody to answer cost more: fewer of them are handled at once."""
        self.peer.say(*[b'{"rid":"r","x":[' + b"," * 1000] * MALFORMED_AT_ONCE)
        self.assertEqual(self.counted(), (MALFORMED_AT_ONCE // SEARCHED + 1, 1))
        self.assertEqual(len([tone for tone in self.peer.heard if tone["chi"] == "error"]), self.counted()[0])

    def test_refused_tones(self) -> None:
        """A tone that is for somebody else, or says that it is somebody else's, is work for nothing as well."""
        stranger = self.world.key().humd_id().full
        for wrong in ({"to": stranger}, {"from": stranger}):
            peer = PlainPeer(self.world, self.humd)
            peer.say(peer.hello())
            self.world.advance(1)
            self.peer, before = peer, self.humd.counters["links.throttled"]
            peer.say(*[{"chi": "x", "rid": "r", **wrong}] * MALFORMED_AT_ONCE, {"chi": "x", "rid": "0"})
            answered = MALFORMED_AT_ONCE // REFUSED + 1
            self.assertEqual(len([tone for tone in peer.heard if tone["chi"] == "error"]), answered)
            self.assertEqual((self.humd.counters["links.throttled"] - before, self.came()), (1, []))
            self.world.advance(1, step=0.05)
            self.assertEqual(self.came(), ["0"])
            self.diary.told.clear()

    def test_a_few_are_free(self) -> None:
        """A peer with a few bad lines is not slowed."""
        self.peer.say(*[b'{"chi":7,"rid":"r"}'] * 20)
        self.assertEqual(self.counted(), (20, 0))

    def test_bad_lines_do_not_shorten_a_pause(self) -> None:
        """Too many tones are waited for as long as ever, also where bad lines among them made a short pause."""
        humd = self.world.humd(limits=SLOW)
        peer = PlainPeer(self.world, humd)
        peer.say(peer.hello())
        peer.say(*[b"x"] * (MALFORMED_AT_ONCE + 5), *[b'{"chi":"x"}'] * 20)
        self.world.advance(50, step=1)
        self.assertEqual(humd.counters["tones.received"], 0)
        self.world.advance(11, step=1)
        self.assertEqual(humd.counters["tones.received"], 20)
        self.assertEqual(humd.counters["links.throttled"], 1)

    def test_a_crowd_of_strangers(self) -> None:
        """All strangers share what is done with their bad lines, and one who comes back has no more of it."""
        crowd = [self.peer] + [PlainPeer(self.world, self.humd) for _ in range(9)]
        for peer in crowd[1:]:
            peer.say(peer.hello())
        for peer in crowd:
            peer.say(*[b"x"] * MALFORMED_AT_ONCE)
        self.assertEqual(self.counted(), (MALFORMED_AT_ONCE + 9, 9))
        self.humd.judge_again(self.humd.policy)
        self.world.advance(0)
        self.assertEqual(self.counted()[0], MALFORMED_AT_ONCE + 9, "the same rules fill no bucket")
        crowd[1].wire.close()
        again = PlainPeer(self.world, self.humd, crowd[1].key)
        again.say(again.hello(), *[b"x"] * MALFORMED_AT_ONCE)
        self.assertEqual(self.counted()[0], MALFORMED_AT_ONCE + 10)
        self.world.advance(1, step=0.05)
        self.assertLess(self.counted()[0], 1.2 * (MALFORMED_AT_ONCE + MALFORMED_PER_SECOND))

    def test_who_has_a_row_has_a_share_of_its_own(self) -> None:
        """What strangers send is not waited for by those whom the owner knows, nor what the one sends by the other."""
        known = [PlainPeer(self.world, self.humd) for _ in range(2)]
        self.humd.judge_again(Policy(known=tuple(KnownPeer(peer.id) for peer in known)))
        for peer in known:
            peer.say(peer.hello())
        for peer in (self.peer, *known):
            peer.say(*[b"x"] * MALFORMED_AT_ONCE)
        self.assertEqual(self.counted(), (3 * MALFORMED_AT_ONCE, 0))

    def test_no_limits_no_pause(self) -> None:
        """A program that sets no limits slows nobody for that either."""
        humd = self.world.humd()
        peer = PlainPeer(self.world, humd)
        peer.say(peer.hello(), *[b"x"] * 2 * MALFORMED_AT_ONCE)
        self.assertEqual(humd.counters["tones.malformed"], 2 * MALFORMED_AT_ONCE)


class MiddleTests(SynchronousTestCase):
    """A pause in the middle of a chunk."""

    def test_rest_of_the_chunk_waits(self) -> None:
        """Tones in hand when the reading is paused are handled when it goes on, before what came later."""
        world = World()
        humd = world.humd()
        diary, peer = Diary(humd), PlainPeer(world, humd)
        peer.say(peer.hello())
        link = humd.link_to(peer.id)
        assert link is not None
        tap = humd.subscribe()
        waiting = tap.get().addCallback(lambda _: link.reading.pause(Reason.SETTLING))
        peer.say(*({"chi": "x", "rid": str(number)} for number in range(5)))
        self.successResultOf(waiting)
        peer.say({"chi": "x", "rid": "5"})
        self.assertEqual(diary.told, [("up",), ("tone", "0")])
        link.reading.resume(Reason.SETTLING)
        world.settle()
        self.assertEqual([what[1] for what in diary.told[1:]], [str(number) for number in range(6)])
