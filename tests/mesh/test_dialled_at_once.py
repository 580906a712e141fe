"""Two links that both sides dialled at once, one situation at a time.  Races are tried out in ``test_crossing``."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from ensemble.mesh.defaults import CROSSED_SECONDS, MOVE_SECONDS, SETTLE_SECONDS, WATCH_SECONDS
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
from ensemble.protocols import DEADLINES
from ensemble.testing import World
from tests.mesh.one_side import LOST, Side, follower_with_two, leader_with_two

DUPLICATE = GoodbyeReason.DUPLICATE


class LeaderTests(SynchronousTestCase):
    """Dialled at once, our id is the smaller: ``ours`` wins."""

    def test_winner_first(self) -> None:
        """With both up the winner is not read, and the goodbye on the loser is ours to say."""
        side = Side(leads=True)
        side.up("ours")
        self.assertEqual(side.up("theirs"), [PauseReading("ours"), SayGoodbye("theirs", DUPLICATE), WriteOn("ours")])

    def test_loser_first(self) -> None:
        """What we wrote on the loser is ended by our goodbye before anything is written on the winner."""
        side = Side(leads=True)
        side.up("theirs")
        self.assertEqual(side.up("ours"), [PauseReading("ours"), SayGoodbye("theirs", DUPLICATE), WriteOn("ours")])

    def test_just_in_time(self) -> None:
        """Just under fifteen seconds by our clock the two count as dialled at once."""
        side = Side(leads=True)
        side.up("ours")
        side.now += CROSSED_SECONDS - 0.01
        self.assertIn(SayGoodbye("theirs", DUPLICATE), side.up("theirs"))

    def test_answered(self) -> None:
        """The answer closes the loser in order and lets the winner be read; nothing was lost."""
        side = leader_with_two()
        self.assertEqual(side.read("theirs"), [CloseDrained("theirs"), ResumeReading("ours")])
        self.assertEqual(side.lost("theirs", clean=False), [])
        self.assertEqual(side.links.links(), ["ours"])

    def test_answered_twice(self) -> None:
        """A second answer changes nothing."""
        side = leader_with_two()
        side.read("theirs")
        self.assertEqual(side.read("theirs"), [])

    def test_never_answered(self) -> None:
        """After five seconds the winner is read again and the loser is cut: we wrote nothing there, so lost nothing."""
        side = leader_with_two()
        self.assertEqual(side.links.next_deadline(), side.now + SETTLE_SECONDS)
        self.assertEqual(side.after(SETTLE_SECONDS - 0.01), [])
        self.assertEqual(side.after(0.01), [CloseNow("theirs"), ResumeReading("ours")])
        self.assertIsNone(side.links.next_deadline())

    def test_never_answered_where_we_wrote(self) -> None:
        """Where we had written on the loser, its end without an answer is a loss, told before the winner is read."""
        side = Side(leads=True)
        side.up("theirs")
        side.up("ours")
        expected = [CloseNow("theirs"), WriteOn(None), PeerLost("two links to it could not be made one in time")]
        self.assertEqual(
            side.after(SETTLE_SECONDS), [*expected, WriteOn("ours"), PeerUp("ours"), ResumeReading("ours")]
        )

    def test_loser_lost(self) -> None:
        """A loser that breaks before its answer lets the winner be read; a loss only where we had written on it."""
        self.assertEqual(leader_with_two().lost("theirs"), [ResumeReading("ours")])
        side = Side(leads=True)
        side.up("theirs")
        side.up("ours")
        self.assertEqual(side.lost("theirs"), [*LOST, WriteOn("ours"), PeerUp("ours"), ResumeReading("ours")])

    def test_winner_lost(self) -> None:
        """The winner's loss while the loser drains is that of both: our last line on the loser is said."""
        side = leader_with_two()
        self.assertEqual(side.lost("ours"), [CloseNow("theirs"), *LOST])
        self.assertEqual(side.links.links(), [])

    def test_winner_lost_where_we_wrote(self) -> None:
        """The loser, on which we have said our goodbye, cannot stay where the winner breaks, though it was first."""
        side = Side(leads=True)
        side.up("theirs")
        side.up("ours")
        self.assertEqual(side.lost("ours"), [CloseNow("theirs"), *LOST])

    def test_duplicate_out_of_turn(self) -> None:
        """A goodbye duplicate that only we may begin costs the peer all its links."""
        side = Side(leads=True)
        side.up("theirs")
        lost = PeerLost("it said goodbye to the link that stays")
        self.assertEqual(side.read("theirs"), [CloseNow("theirs"), WriteOn(None), lost])

    def test_duplicate_on_the_only_link_of_ours(self) -> None:
        """Our own dial is the winner: a goodbye duplicate on it is out of turn, too."""
        side = Side(leads=True)
        side.up("ours")
        gone = [CloseNow("ours"), WriteOn(None), PeerLost("it said goodbye to the link that stays")]
        self.assertEqual(side.read("ours"), gone)
        self.assertFalse(side.links.up)

    def test_duplicate_on_the_winner(self) -> None:
        """A goodbye duplicate on the winner costs the peer both links."""
        side = leader_with_two()
        lost = PeerLost("it said goodbye to the link that stays")
        self.assertEqual(side.read("ours"), [CloseNow("ours"), CloseNow("theirs"), WriteOn(None), lost])

    def test_shutdown_while_two(self) -> None:
        """A goodbye of another kind on either link is that of the peer."""
        for link in ("ours", "theirs"):
            side = leader_with_two()
            actions = side.read(link, "shutdown")
            self.assertEqual(actions[-1], PeerLost("it said goodbye: shutdown"))
            self.assertFalse(side.links.up)


class FollowerTests(SynchronousTestCase):
    """Dialled at once, our id is the larger: ``theirs`` wins, ``ours`` loses."""

    def test_both_up(self) -> None:
        """With both up the winner is not read, and we say nothing and go on writing where we wrote first."""
        side = Side(leads=False)
        side.up("ours")
        self.assertEqual(side.up("theirs"), [PauseReading("theirs")])

    def test_goodbye_read(self) -> None:
        """The leader's goodbye is answered, then tones go to the winner, and only then it is read."""
        side = follower_with_two()
        self.assertEqual(side.read("ours"), [SayGoodbye("ours", DUPLICATE), WriteOn("theirs"), ResumeReading("theirs")])
        self.assertEqual(side.links.links(), ["theirs", "ours"])
        self.assertEqual(side.lost("ours"), [])
        self.assertEqual(side.links.links(), ["theirs"])

    def test_nothing_written(self) -> None:
        """Where no tone of ours is on the loser it is closed at once."""
        side = follower_with_two()
        actions = side.read("ours", wrote=False)
        self.assertEqual(
            actions,
            [SayGoodbye("ours", DUPLICATE), WriteOn("theirs"), CloseDrained("ours"), ResumeReading("theirs")],
        )
        self.assertEqual(side.lost("ours", clean=False), [])

    def test_leader_does_not_close(self) -> None:
        """A loser that the leader leaves open costs both links: it may have cut its end without reading ours."""
        side = follower_with_two()
        side.read("ours")
        self.assertEqual(side.after(WATCH_SECONDS - 0.01), [])
        lost = [WriteOn(None), PeerLost("the link that it moved from was not closed in time")]
        self.assertEqual(side.after(0.01), [CloseNow("ours"), CloseNow("theirs"), *lost])
        self.assertEqual((side.links.links(), side.links.next_deadline()), ([], None))

    def test_leader_does_not_close_after_a_loss(self) -> None:
        """Where a loss was told meanwhile nothing is at stake: it is closed by us, first in order, then by force."""
        side = follower_with_two()
        side.read("ours")
        self.assertEqual(side.lost("theirs"), LOST)
        self.assertEqual(side.after(WATCH_SECONDS), [CloseDrained("ours")])
        self.assertEqual(side.after(DEADLINES.link_close_seconds), [CloseNow("ours")])

    def test_loser_breaks_after_our_answer(self) -> None:
        """An unclean end of the loser means that the leader may not have read all: both sides tell a loss."""
        side = follower_with_two()
        side.read("ours")
        actions = side.lost("ours", clean=False)
        self.assertEqual(actions[:2], [CloseNow("theirs"), WriteOn(None)])
        self.assertIsInstance(actions[2], PeerLost)

    def test_loser_breaks_after_a_loss(self) -> None:
        """Where a loss was told meanwhile, the loser's unclean end tells nothing more."""
        for seconds in (0.0, WATCH_SECONDS):
            side = follower_with_two()
            side.read("ours")
            self.assertEqual(side.lost("theirs"), LOST)
            side.after(seconds)
            self.assertEqual(side.lost("ours", clean=False), [])

    def test_goodbye_before_the_winner(self) -> None:
        """Where the winner is not up yet tones are held, and go there once it is; that is no loss."""
        for before in (1.0, 0.0):
            side = Side(leads=False)
            side.up("ours")
            self.assertEqual(side.read("ours"), [SayGoodbye("ours", DUPLICATE), WriteOn(None)])
            self.assertTrue(side.links.up)
            self.assertEqual(side.up("theirs", began=side.now - before), [WriteOn("theirs")])
            self.assertTrue(side.links.up)

    def test_winner_never_comes(self) -> None:
        """Tones are held for ten seconds, then it is a loss."""
        side = Side(leads=False)
        side.up("ours")
        side.read("ours")
        side.lost("ours")
        self.assertEqual(side.links.next_deadline(), side.now + MOVE_SECONDS)
        self.assertEqual(side.after(MOVE_SECONDS - 0.01), [])
        self.assertEqual(side.after(0.01), [WriteOn(None), PeerLost("the link that it moved to did not come up")])
        self.assertFalse(side.links.up)

    def test_another_link_than_the_winner(self) -> None:
        """While tones wait for the winner any other link is a new one, and a loss comes first."""
        for link, changed in (
            ("ours again", {}),
            ("theirs", {"instance": "b"}),
            ("theirs", {"began": 100.5}),  # dialled after the leader had moved: its winner is gone
        ):
            side = Side(leads=False)
            side.up("ours")
            side.read("ours")
            side.now += 1.0
            actions = side.up(link, **changed)
            lost = PeerLost("a newer link replaced the older")
            self.assertEqual(actions, [WriteOn(None), lost, WriteOn(link), PeerUp(link)])

    def test_leader_says_nothing(self) -> None:
        """Without the leader's goodbye the loser is cut after five seconds, a loss for what we wrote there."""
        side = follower_with_two()
        lost = [CloseNow("ours"), WriteOn(None), PeerLost("two links to it could not be made one in time")]
        self.assertEqual(
            side.after(SETTLE_SECONDS), [*lost, WriteOn("theirs"), PeerUp("theirs"), ResumeReading("theirs")]
        )

    def test_loser_lost(self) -> None:
        """A loser that breaks before the goodbye is a loss, told before the first tone of the winner is read."""
        side = follower_with_two()
        self.assertEqual(side.lost("ours"), [*LOST, WriteOn("theirs"), PeerUp("theirs"), ResumeReading("theirs")])

    def test_winner_lost(self) -> None:
        """A winner that breaks before anything was read or written on it is no loss; the loser stays."""
        side = follower_with_two()
        self.assertEqual(side.lost("theirs"), [])
        self.assertEqual(side.links.links(), ["ours"])
        self.assertEqual(side.lost("ours"), LOST)

    def test_winner_lost_then_goodbye(self) -> None:
        """The leader's goodbye behind a broken winner leaves no link to move to: a loss at once."""
        side = follower_with_two()
        side.lost("theirs")
        lost = PeerLost("the link that it moved to is gone")
        self.assertEqual(side.read("ours"), [SayGoodbye("ours", DUPLICATE), CloseDrained("ours"), WriteOn(None), lost])

    def test_winner_lost_where_we_wrote(self) -> None:
        """Where we wrote on the winner first its loss is that of both."""
        side = Side(leads=False)
        side.up("theirs")
        self.assertEqual(side.up("ours"), [PauseReading("theirs")])
        self.assertEqual(side.lost("theirs"), [CloseNow("ours"), *LOST])

    def test_duplicate_on_the_winner(self) -> None:
        """A goodbye duplicate on the link that stays costs the peer both links."""
        side = follower_with_two()
        lost = PeerLost("it said goodbye to the link that stays")
        self.assertEqual(side.read("theirs"), [CloseNow("theirs"), CloseNow("ours"), WriteOn(None), lost])

    def test_duplicate_on_the_only_link_of_theirs(self) -> None:
        """A goodbye duplicate on a link that the leader dialled is out of turn."""
        side = Side(leads=False)
        side.up("theirs")
        self.assertIn(PeerLost("it said goodbye to the link that stays"), side.read("theirs"))

    def test_leave_with_two(self) -> None:
        """We have said nothing of an end on either link, so there is a goodbye on both, and both are drained."""
        side = follower_with_two()
        said = [
            action
            for link in ("theirs", "ours")
            for action in (SayGoodbye(link, GoodbyeReason.SHUTDOWN), CloseDrained(link))
        ]
        self.assertEqual(side.links.leave(GoodbyeReason.SHUTDOWN, side.now)[:4], said)
        self.assertEqual(side.links.links(), ["theirs", "ours"])

    def test_late_tick(self) -> None:
        """A tick that comes late does all that is due by then, of links that are closing and of those that are up."""
        side = follower_with_two()
        side.read("ours")
        side.links.leave(GoodbyeReason.SHUTDOWN, side.now)
        for link in ("ours too", "theirs too"):
            side.up(link)
        due = [CloseDrained("ours"), CloseNow("theirs"), CloseNow("ours too")]
        self.assertEqual(side.after(DEADLINES.link_close_seconds)[:3], due)


class CommittedDialTests(SynchronousTestCase):
    """Without proofs the listener is up first: a dial of ours may be up at the other side already."""

    def held(self) -> Side:
        side = Side(leads=False)
        side.links.dial_committed("ours", side.now)
        side.up("theirs")
        return side

    def test_winner_waits_for_the_dial(self) -> None:
        """The winner is not read while a dial of ours is out, whichever of the two comes first."""
        side = Side(leads=False)
        self.assertEqual(side.links.dial_committed("ours", side.now), [])
        self.assertEqual(side.up("theirs"), [WriteOn("theirs"), PeerUp("theirs"), PauseReading("theirs")])
        side = Side(leads=False)
        side.up("theirs")
        self.assertEqual(side.links.dial_committed("ours", side.now), [PauseReading("theirs")])
        self.assertEqual(side.links.dial_committed("ours too", side.now), [])

    def test_dial_comes_up(self) -> None:
        """The dial comes up as the loser, and the winner stays unread until the goodbye."""
        side = self.held()
        self.assertEqual(side.up("ours"), [])
        self.assertIn(ResumeReading("theirs"), side.read("ours"))

    def test_dial_fails(self) -> None:
        """Once no dial of ours is out the winner is read; nothing was lost."""
        side = self.held()
        side.links.dial_committed("ours too", side.now)
        self.assertEqual(side.lost("ours"), [])
        self.assertEqual(side.lost("ours too"), [ResumeReading("theirs")])
        self.assertIsNone(side.links.next_deadline())

    def test_dial_is_refused(self) -> None:
        """A dial that comes up weaker is refused, and the winner is read."""
        side = self.held()
        actions = side.up("ours", level=1)
        self.assertIsInstance(actions[0], Refuse)
        self.assertEqual(actions[1:], [ResumeReading("theirs")])

    def test_dial_hangs(self) -> None:
        """A dial that hangs for five seconds is given up."""
        side = self.held()
        self.assertEqual(side.links.next_deadline(), side.now + SETTLE_SECONDS)
        self.assertEqual(side.after(SETTLE_SECONDS), [CloseNow("ours"), ResumeReading("theirs")])

    def test_nobody_else_waits(self) -> None:
        """The leader reads on, and so does whoever has a link that cannot be the winner."""
        for leads, link, bye in ((True, "theirs", True), (False, "ours", True), (False, "theirs", False)):
            side = Side(leads)
            side.links.dial_committed("ours too", side.now)
            self.assertEqual(side.up(link, bye=bye), [WriteOn(link), PeerUp(link)])


class StillNetworkTests(SynchronousTestCase):
    """In an ensemble: the loser's connection stands still from the moment that the follower wrote on it."""

    def test_tone_on_the_loser(self) -> None:
        """The leader cuts the loser unread, which the follower does not see: it tells a loss, as the leader does."""
        world = World()
        leader, follower = sorted((world.humd(), world.humd()), key=lambda humd: humd.me)
        loser, winner = world.join(follower, leader), world.join(leader, follower)
        loser.delay(0.2)
        winner.delay(0.2)
        while not follower.linked(leader.me):
            world.advance(0.1)
        loser.near.partition(True)  # behind its proof
        follower.route({"chi": "perf-mark", "to": leader.me.full})
        world.advance(0.5)
        loser.far.partition(True)  # behind the leader's goodbye
        world.advance(SETTLE_SECONDS)
        self.assertEqual([humd.counters["peers.lost"] for humd in (leader, follower)], [0, 0])
        world.advance(WATCH_SECONDS)
        loser.heal()
        world.settle()
        self.assertEqual([humd.counters["peers.lost"] for humd in (leader, follower)], [1, 1])
        self.assertEqual(leader.counters["tones.received"], 0)
