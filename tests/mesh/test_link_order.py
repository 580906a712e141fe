"""Links that come up late, or are left in the wrong way: nothing is read that is older than what was read."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from ensemble.errors import LinkRefused
from ensemble.identity import HumdId
from ensemble.mesh import link_order
from ensemble.mesh.defaults import CROSSED_SECONDS, SETTLE_SECONDS
from ensemble.mesh.link_actions import (
    CloseDrained,
    CloseNow,
    GoodbyeReason,
    PauseReading,
    PeerLost,
    PeerUp,
    Refuse,
    ResumeReading,
    SayGoodbye,
    WriteOn,
)
from ensemble.mesh.link_order import RECENT_SECONDS, LinkOrder, PastOrders
from ensemble.protocols import PENDING_SECONDS
from ensemble.testing import World
from tests.mesh.crossing_world import LARGER, SMALLER
from tests.mesh.one_side import LOST, Side, follower_with_two, leader_with_two

OTHER = HumdId(b"\x03" * 32)
UNMADE = [WriteOn(None), PeerLost("two links to it could not be made one in time")]
DUPLICATE = SayGoodbye("ours", GoodbyeReason.DUPLICATE)


def up(*links: Any) -> list[Any]:
    """The first link of a peer comes up."""
    return [action(link) for link in links for action in (WriteOn, PeerUp)]


class HeardLoserTests(SynchronousTestCase):
    """Tones were read on the loser, and its end is no goodbye."""

    def test_follower_at_the_deadline(self) -> None:
        """The peer may have lost the winner before it spoke on the loser: that stays, and the winner is never read."""
        side = follower_with_two()
        side.heard.add("ours")
        self.assertEqual(side.after(SETTLE_SECONDS), [CloseNow("theirs")])
        self.assertEqual(side.lost("theirs"), [])
        self.assertEqual((side.links.links(), side.links.next_deadline()), (["ours"], None))

    def test_goodbye_on_what_stayed(self) -> None:
        """Where the peer had moved after all and its goodbye was slow, that is a loss, and told at once."""
        side = follower_with_two()
        side.heard.add("ours")
        side.after(SETTLE_SECONDS)
        gone = [WriteOn(None), PeerLost("the link that it moved to is gone")]
        self.assertEqual(side.read("ours"), [DUPLICATE, CloseDrained("ours"), *gone])

    def test_follower_that_wrote_on_the_winner(self) -> None:
        """What we wrote is lost with the winner; a loss that only we saw would leave the peer waiting, so both go."""
        side = Side(leads=False)
        side.up("theirs")
        side.up("ours")
        side.heard.add("ours")
        self.assertEqual(side.after(SETTLE_SECONDS), [CloseNow("theirs"), CloseNow("ours"), *UNMADE])

    def test_leader_at_the_deadline(self) -> None:
        """Our goodbye is said on the loser, so it cannot stay, and the winner may bring what is older."""
        side = leader_with_two()
        side.heard.add("theirs")
        self.assertEqual(side.after(SETTLE_SECONDS), [CloseNow("ours"), CloseNow("theirs"), *UNMADE])

    def test_leader_that_wrote_on_the_loser(self) -> None:
        """The same where that one was first."""
        side = Side(leads=True)
        side.up("theirs")
        side.heard.add("theirs")
        side.up("ours")
        self.assertEqual(side.after(SETTLE_SECONDS), [CloseNow("ours"), CloseNow("theirs"), *UNMADE])

    def test_it_breaks(self) -> None:
        """With it goes the winner, whoever leads."""
        for side, winner, loser in ((leader_with_two(), "ours", "theirs"), (follower_with_two(), "theirs", "ours")):
            side.heard.add(loser)
            self.assertEqual(side.lost(loser), [CloseNow(winner), *LOST])

    def test_goodbye(self) -> None:
        """With a goodbye all is well."""
        side = leader_with_two()
        side.heard.add("theirs")
        self.assertEqual(side.read("theirs"), [CloseDrained("theirs"), ResumeReading("ours")])


class HeardWinnerTests(SynchronousTestCase):
    """Tones were read on the winner before the loser came up."""

    def test_leader(self) -> None:
        """Who wrote there first says nothing more on the loser; if it lost that one, what it said there is old."""
        side = Side(leads=True)
        side.up("ours")
        side.heard.add("ours")
        self.assertEqual(side.up("theirs"), [Refuse("theirs")])
        self.assertEqual(side.lost("theirs"), [])
        self.assertEqual(side.links.links(), ["ours"])

    def test_other_links(self) -> None:
        """A follower, or a leader that heard the loser, makes two one as ever."""
        for leads, first, second in ((False, "theirs", "ours"), (True, "theirs", "ours"), (False, "ours", "theirs")):
            side = Side(leads)
            side.up(first)
            side.heard.add(first)
            self.assertIn(PauseReading("ours" if leads else "theirs"), side.up(second))


class LateTests(SynchronousTestCase):
    """A link that began before one that came up sooner, or before a loss."""

    def test_dialled_by_the_same(self) -> None:
        """Who dials has given up what it dialled before."""
        for leads in (True, False):
            for links in (("theirs", "theirs2"), ("ours", "ours2")):
                side = Side(leads)
                side.up(links[0], began=99.0)
                self.assertEqual(side.up(links[1], began=98.0), [Refuse(links[1])])
                self.assertIn(CloseNow(links[0]), side.up(links[1], began=99.0))

    def test_of_an_earlier_process(self) -> None:
        """The process whose link began later is the later one, whoever dialled."""
        side = Side(leads=True)
        side.up("ours", began=99.0, instance="b")
        self.assertEqual(side.up("theirs", began=98.0, instance="a"), [Refuse("theirs")])
        self.assertIn(CloseNow("ours"), side.up("theirs", began=99.5, instance="c"))

    def test_from_before_a_loss(self) -> None:
        """What began before a loss may have been lost as well; what began after it was not."""
        side = Side(leads=True)
        side.up("ours", began=99.0)
        side.now += 2.0
        side.lost("ours")
        side.now += 1.0
        self.assertEqual(side.up("theirs", began=101.9), [Refuse("theirs")])
        self.assertFalse(side.links.up)
        self.assertEqual(side.up("theirs2", began=102.1), up("theirs2"))

    def test_crossing_from_before_a_loss(self) -> None:
        """Also where another link is up by now."""
        side = Side(leads=True)
        side.up("theirs", began=99.0)
        side.lost("theirs")
        side.now += 2.0
        side.up("ours", began=101.0)
        self.assertEqual(side.up("theirs2", began=99.5), [Refuse("theirs2")])
        self.assertIn(PauseReading("ours"), side.up("theirs3", began=101.0))

    def test_beginning_unknown(self) -> None:
        """Where nobody says when a link began it is never late."""
        for first, second in ((None, 98.0), (99.0, None)):
            side = Side(leads=True)
            side.up("theirs", began=first)
            self.assertIn(CloseNow("theirs"), side.up("theirs2", began=second))

    def test_clock_set_back(self) -> None:
        """Where the clock was set back no link is late for it."""
        side = Side(leads=True)
        side.up("theirs", began=99.0)
        side.now = 50.0
        self.assertIn(CloseNow("theirs"), side.up("theirs2", began=49.0))
        side.now = 60.0
        side.lost("theirs2")
        side.now = 30.0
        self.assertEqual(side.up("ours", began=29.0), up("ours"))
        side.now = 70.0
        side.lost("ours")
        side.now = 40.0
        side.up("ours2", began=39.0)
        self.assertIn(PauseReading("ours2"), side.up("theirs3", began=39.5))

    def test_clock_set_back_meanwhile(self) -> None:
        """Nor is one where it was set back while the link before it was made."""
        side = Side(leads=True)
        side.up("theirs", began=3700.0)
        side.now += 300.0
        side.lost("theirs")
        self.assertEqual(side.up("theirs2", began=399.0), up("theirs2"))

    def test_of_two_made_one(self) -> None:
        """The second of two counts, and the winner that was waited for."""
        side = Side(leads=False)
        side.up("theirs", began=99.0)
        side.up("ours", began=99.2)
        self.assertEqual(side.up("ours2", began=99.1), [Refuse("ours2")])
        side = Side(leads=False)
        side.up("ours", began=99.0)
        side.read("ours")
        side.up("theirs", began=98.0)
        self.assertEqual(side.up("theirs2", began=97.0), [Refuse("theirs2")])

    def test_a_dial_that_waits(self) -> None:
        """A refused dial of ours was what the other link was held for."""
        side = Side(leads=False)
        side.links.dial_committed("ours", side.now)
        self.assertEqual(side.up("theirs", instance="b", began=99.0)[-1], PauseReading("theirs"))
        self.assertEqual(side.up("ours", began=98.0), [Refuse("ours"), ResumeReading("theirs")])


class OutlivedTests(SynchronousTestCase):
    """The leader's goodbye names a winner that was up here and is gone; the leader has yet to notice."""

    def goodbye(self, seconds: float, **changed: Any) -> list[Any]:
        """``theirs`` was up so long ago."""
        side = Side(leads=False)
        side.up("theirs", **changed)
        side.lost("theirs")
        side.now += seconds
        side.up("ours")
        return side.read("ours")

    def test_gone_lately(self) -> None:
        """An answer would have it read what we said on that one behind what we said here: the link breaks instead."""
        for seconds in (0.0, CROSSED_SECONDS + PENDING_SECONDS - 0.1):
            gone = [WriteOn(None), PeerLost("the link that it moved to is gone")]
            self.assertEqual(self.goodbye(seconds), [CloseNow("ours"), *gone])

    def test_gone_long_since(self) -> None:
        """The leader knows by now, and means another one, which is awaited."""
        self.assertEqual(self.goodbye(CROSSED_SECONDS + PENDING_SECONDS), [DUPLICATE, WriteOn(None)])

    def test_of_another_process(self) -> None:
        """What was up to another process of the leader is not what this one means."""
        self.assertEqual(self.goodbye(1.0, instance="b"), [DUPLICATE, WriteOn(None)])


class PastTests(SynchronousTestCase):
    """What is remembered of a peer without a link."""

    def lost(self, at: float) -> LinkOrder:
        """One that lost something."""
        order = LinkOrder()
        order.lost_at = at
        return order

    def test_taken(self) -> None:
        """It is there when the peer comes again, once."""
        past, order = PastOrders(), self.lost(1.0)
        past.keep(LARGER, order, 1.0)
        self.assertIsNot(past.take(SMALLER), order)
        self.assertIs(past.take(LARGER), order)
        self.assertIsNot(past.take(LARGER), order)

    def test_nothing_lost(self) -> None:
        """Of who was never linked there is nothing to remember."""
        past, order = PastOrders(), LinkOrder()
        past.keep(LARGER, order, 1.0)
        self.assertIsNot(past.take(LARGER), order)

    def test_for_so_long(self) -> None:
        """Nothing that is older than any late link is kept, or taken for one that is not."""
        past, orders = PastOrders(), [self.lost(1.0) for _ in range(3)]
        for seconds, peer, order in zip((0.0, 1.0, RECENT_SECONDS), (LARGER, SMALLER, OTHER), orders, strict=True):
            past.keep(peer, order, seconds)
        self.assertIsNot(past.take(LARGER), orders[0])
        self.assertEqual([past.take(peer) for peer in (SMALLER, OTHER)], orders[1:])

    def test_so_many(self) -> None:
        """Beyond a bound the oldest goes."""
        self.patch(link_order, "MOST_PAST", 2)
        past, orders = PastOrders(), [self.lost(1.0) for _ in range(3)]
        for peer, order in zip((LARGER, SMALLER, OTHER), orders, strict=True):
            past.keep(peer, order, 1.0)
        self.assertIsNot(past.take(LARGER), orders[0])
        self.assertEqual([past.take(peer) for peer in (SMALLER, OTHER)], orders[1:])


class RefusedTests(SynchronousTestCase):
    """In an ensemble: the follower's dial is up there, and its last handshake line is on its way to the leader."""

    def setUp(self) -> None:
        self.world = World()
        self.leader, self.follower = sorted((self.world.humd(), self.world.humd()), key=lambda humd: humd.me)
        self.late = self.world.join(self.follower, self.leader)
        self.late.delay(0.2)
        while not self.follower.linked(self.leader.me):
            self.world.advance(0.01)

    def test_whoever_waits_is_told(self) -> None:
        """A link that comes up behind a loss is none, and its ``install`` fails with the reason; the next one is."""
        self.world.link(self.leader, self.follower).near.abort()
        self.world.advance(1.0)
        told = self.failureResultOf(self.late.up[1], LinkRefused)
        self.assertIn("it came up late: a link to the same humd was lost meanwhile", str(told.value))
        self.assertEqual((self.leader.peers(), self.follower.peers()), ([], []))
        self.world.link(self.follower, self.leader)
        self.assertEqual(self.leader.peers(), [self.follower.me])

    def test_winner_that_was_heard(self) -> None:
        """A loser that comes up when tones were read on the winner is refused, and who waits for it is linked."""
        losing = self.follower.link_to(self.leader.me)
        assert losing is not None
        self.world.link(self.leader, self.follower)
        losing.wire_lost("cut off", False)  # which the leader does not notice
        self.follower.route({"chi": "perf-mark", "to": self.leader.me.full})
        self.world.advance(1.0)
        self.assertEqual(self.successResultOf(self.late.up[1]), self.follower.me)
        self.assertEqual((self.leader.counters["links.superseded"], self.leader.counters["peers.lost"]), (1, 0))
