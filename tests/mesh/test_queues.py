"""One budget over all that waits to be written: the greediest goes, whoever it is, and the others live."""

from __future__ import annotations

from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from ensemble.errors import SendFailed
from ensemble.mesh import KnownPeer, Limits, Policy
from ensemble.protocols import DEFAULT_QUEUE_BUDGET, Level
from ensemble.testing import House, World
from tests.mesh.diary import Diary
from tests.mesh.plain_peer import Ear, PlainPeer

MIB = 1024 * 1024
LINE = 16 * 1024  # a memory wire holds 256 of them, then it is full
IN_WIRE = 256


class Lazy(PlainPeer):
    """A peer that is linked and reads nothing more."""

    def __init__(self, world: World, house: House, bye: bool = True) -> None:
        super().__init__(world, house.ensemble)
        self.say(self.hello(features=["bye-1"] if bye else []))
        self.heard.clear()
        self.wire.pause()


class QueueTests(SynchronousTestCase):
    """A humd whose queues may hold two megabytes."""

    def setUp(self) -> None:
        self.world = World()
        self.house = House(self.world, limits=Limits(queues_bytes=2 * MIB))
        self.humd = self.house.ensemble
        self.diary = Diary(self.humd)

    def send(self, peer: PlainPeer, lines: int, at_once: bool = True) -> None:
        """Queue so many lines of 16 KiB for a peer; not ``at_once``: a turn for each."""
        for _ in range(lines):
            try:
                self.humd.route({"chi": "x", "to": peer.id.full, "s": "x" * (LINE - 200)})
            except SendFailed:
                break  # it was shed
            if not at_once:
                self.world.settle()
        self.world.settle()

    def filled(self, lines: int, at_once: bool = True) -> Lazy:
        """A peer whose wire is full, and whose queue holds so many lines."""
        lazy = Lazy(self.world, self.house)
        self.send(lazy, IN_WIRE, at_once=False)
        self.send(lazy, lines, at_once)
        return lazy

    def test_the_greediest_is_shed(self) -> None:
        """Of three that read nothing the one with the longest queue goes; it is told goodbye, and its loss is told."""
        small, greedy, last = self.filled(20), self.filled(70), self.filled(30)
        self.assertEqual(len(self.humd.peers()), 3)
        with capturedLogs() as events:
            self.send(last, 25)
        self.assertEqual(self.humd.peers(), [small.id, last.id])
        self.assertEqual(self.humd.counters["links.shed"], 1)
        self.assertEqual(self.diary.told.count(("lost",)), 1)
        (told,) = [event for event in events if event.get("counter") == "links.shed"]
        self.assertEqual((told["peer"], told["event"]), (greedy.id.full, "dropped"))
        self.assertIn("all queues together pass 2097152 bytes", told["cause"])
        self.assertIn("queues_bytes", told["mend"])
        greedy.wire.resume()
        self.world.settle()
        self.assertEqual((len(greedy.heard), greedy.heard[-1]["reason"]), (IN_WIRE + 1, "limit"))
        self.assertIsNotNone(greedy.lost)
        for lazy, lines in ((small, 20), (last, 55)):
            lazy.wire.resume()
            self.world.settle()
            self.assertEqual(len(lazy.heard), IN_WIRE + lines)
        self.assertEqual(self.humd.queues.total, 0)

    def test_within_one_turn(self) -> None:
        """What is queued faster than it can be written counts too, also where the wire is not full."""
        lazy = Lazy(self.world, self.house)
        for _ in range(127):
            self.humd.route({"chi": "x", "to": lazy.id.full, "s": "x" * LINE})
        self.assertTrue(self.humd.linked(lazy.id))
        with self.assertRaises(SendFailed):
            for _ in range(10):
                self.humd.route({"chi": "x", "to": lazy.id.full, "s": "x" * LINE})
        self.world.settle()
        self.assertFalse(self.humd.linked(lazy.id))
        lazy.wire.resume()
        self.world.settle()
        self.assertEqual([tone["chi"] for tone in lazy.heard], ["goodbye"])

    def test_without_goodbye(self) -> None:
        """A peer that knows no goodbye is closed all the same, within the patience of any close."""
        lazy = Lazy(self.world, self.house, bye=False)
        self.send(lazy, IN_WIRE, at_once=False)
        self.send(lazy, 140)
        self.assertEqual((self.humd.peers(), self.humd.counters["links.shed"]), ([], 1))
        self.world.advance(31)
        self.assertEqual(len(self.humd._links), 0)

    def test_one_that_we_left(self) -> None:
        """A link that drains behind our goodbye is cut at once where it holds the most."""
        left, other = self.filled(100), self.filled(1)
        self.humd.remove_peer(left.id)
        self.assertEqual(len(self.humd._links), 2)
        self.send(other, 40)
        self.assertEqual((self.humd.peers(), len(self.humd._links)), ([other.id], 1))

    def test_one_that_breaks_framing(self) -> None:
        """A peer that reads nothing and sends a line too long is cut at once: no goodbye would reach it."""
        self.filled(1).say(b"x" * (self.humd.max_tone + 1))
        self.assertEqual(len(self.humd._links), 0)

    def test_nothing_counts_while_it_drains(self) -> None:
        """A peer that we left and that does not read says nothing more, though its link has half a minute to drain."""
        lazy = self.filled(10)
        self.humd.remove_peer(lazy.id)
        told = list(self.diary.told)
        lazy.say({"chi": "x", "rid": "1"}, {"chi": "goodbye", "reason": "duplicate"})
        self.assertEqual((self.diary.told, told[-1]), (told, ("lost",)))
        lazy.wire.resume()
        self.world.settle()
        self.assertEqual((len(lazy.heard), lazy.heard[-1]["reason"]), (IN_WIRE + 11, "removed"))

    def test_it_does_not_drain_for_ever(self) -> None:
        """A peer that we left and that takes nothing is cut after half a minute, with all that waits for it."""
        lazy = self.filled(10)
        self.humd.remove_peer(lazy.id)
        self.world.advance(29)
        self.assertEqual(len(self.humd._links), 1)
        self.world.advance(2)
        self.assertEqual((len(self.humd._links), self.humd.queues.total), (0, 0))

    def test_gone_before_it_is_shed(self) -> None:
        """A link that ends in the same turn is lost once, and a newer one of its peer stays."""
        lazy = self.filled(100)
        link = self.humd.link_to(lazy.id)
        assert link is not None
        for _ in range(29):
            try:
                self.humd.route({"chi": "x", "to": lazy.id.full, "s": "x" * LINE})
            except SendFailed:
                break
        newer = PlainPeer(self.world, self.humd, lazy.key)
        link.abort()
        newer.say(newer.hello(features=["bye-1"]))
        self.assertEqual(self.humd.counters["links.shed"], 1)
        self.assertTrue(self.humd.linked(lazy.id))
        self.assertIsNot(self.humd.link_to(lazy.id), link)

    def test_what_waits_for_a_link(self) -> None:
        """What is held for a link that is coming is in the budget; as the greediest it is dropped, and each is told."""
        other = self.filled(30)
        peer = self.world.key().humd_id()
        far = PlainPeer(self.world, self.humd, dials=False)
        peer = far.id
        with capturedLogs() as events:
            for _ in range(110):
                self.humd.route({"chi": "x", "to": peer.full, "s": "x" * LINE})
            self.world.settle()
        undelivered = self.diary.told.count(("undelivered", "queue.full"))
        self.assertGreater(undelivered, 80)
        self.assertEqual(self.humd.counters["holds.shed"], 1)
        self.assertEqual([e["peer"] for e in events if "what waits" in e["log_format"]], [peer.full])
        self.assertTrue(self.humd.linked(other.id))

    def test_held_tones_leave_the_budget(self) -> None:
        """When the link comes, what was held is counted where it is now, and no more once it left."""
        far = PlainPeer(self.world, self.humd, dials=False)
        for _ in range(20):
            self.humd.route({"chi": "x", "to": far.id.full, "s": "x" * LINE})
        self.assertGreater(self.humd.queues.total, 20 * LINE)
        far.say(far.hello())
        self.assertEqual(self.humd.queues.total, 0)
        self.assertEqual(len([tone for tone in far.heard if tone["chi"] == "x"]), 20)

    def test_a_crowd_of_strangers(self) -> None:
        """Strangers that read nothing go, and not a peer with a row whose queue is longer than each of theirs."""
        friend = self.filled(0)
        self.humd.judge_again(Policy(Level.OPEN, known=[KnownPeer(friend.id)]))
        strangers = [self.filled(25) for _ in range(5)]
        self.send(friend, 50)
        self.assertEqual(self.humd.peers()[0], friend.id)
        self.assertEqual(self.humd.counters["links.shed"], 5 - len(self.humd.peers()) + 1)
        self.assertGreater(len([each for each in strangers if self.humd.linked(each.id)]), 2)
        self.humd.judge_again(Policy(Level.OPEN))  # it has no row any more, and is the greediest of the strangers
        self.send(strangers[-1], 60)
        self.assertFalse(self.humd.linked(friend.id))

    def test_a_program_that_is_the_greediest(self) -> None:
        """A local program that reads nothing is disconnected when its queue is the longest; a lazy peer stays."""
        lazy = self.filled(30)
        wire, ear = self.house.wire(), Ear()
        wire.start(ear)
        self.world.settle()
        wire.pause()
        (session,) = self.house.thrum.sessions.values()
        line = b'{"chi":"x","s":"' + b"x" * LINE + b'"}'
        with capturedLogs() as events:
            for _ in range(IN_WIRE):
                session.deliver(line)
                self.world.settle()
            taken = [session.deliver(line) for _ in range(110)]
            self.world.settle()
        self.assertEqual(taken, sorted(taken, reverse=True))
        self.assertFalse(taken[-1])
        self.assertEqual(self.house.thrum.sessions, {})
        self.assertEqual(self.house.thrum.counters["thrum.shed"], 1)
        self.assertEqual(self.house.thrum.counters["thrum.disconnected.slow"], 0)
        (told,) = [event for event in events if "disconnecting" in event["log_format"]]
        self.assertIn("all queues together", told["cause"])
        self.assertTrue(self.humd.linked(lazy.id))

    def test_a_program_that_goes_with_its_queue_full(self) -> None:
        """What a program had not read when it went is forgotten, and in no budget."""
        wire, ear = self.house.wire(), Ear()
        wire.start(ear)
        self.world.settle()
        wire.pause()
        (session,) = self.house.thrum.sessions.values()
        for _ in range(IN_WIRE + 40):
            session.deliver(b"x" * LINE)
            self.world.settle()
        self.assertGreater(self.humd.queues.total, 30 * LINE)
        wire.abort()
        self.world.settle()
        self.assertEqual(self.humd.queues.total, 0)

    def test_dropped_tones_are_counted(self) -> None:
        """What was dropped to make room is in the counters once its link is gone."""
        humd = self.world.humd(limits=Limits(peer_queue_bytes=64 * 1024))
        peer = PlainPeer(self.world, humd)
        peer.say(peer.hello())
        for _ in range(6):
            humd.send(peer.id, b'{"chi":"pulse","s":"' + b"x" * LINE + b'"}', droppable=True)
        peer.wire.abort()
        self.world.settle()
        self.assertEqual(humd.counters["links.dropped"], 3)

    def test_default(self) -> None:
        """With no limits given the budget is that of the wire page."""
        self.assertEqual(self.world.humd().queues.limit, DEFAULT_QUEUE_BUDGET)
