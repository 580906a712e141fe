"""What `ensemble.mesh.peer_links` promises, one situation at a time.  Races are tried out in ``test_crossing``."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from ensemble.identity import HumdId
from ensemble.mesh.defaults import CROSSED_SECONDS, REPLACED_SECONDS
from ensemble.mesh.link_actions import (
    CloseDrained,
    CloseNow,
    GoodbyeReason,
    PeerLost,
    PeerUp,
    Refuse,
    SayGoodbye,
    TwoProcesses,
    WriteOn,
)
from ensemble.mesh.link_order import LinkOrder
from ensemble.mesh.peer_links import PeerLinks
from ensemble.protocols import DEADLINES
from tests.mesh.crossing_world import SMALLER
from tests.mesh.one_side import LOST, Side, follower_with_two, leader_with_two


class OneLinkTests(SynchronousTestCase):
    """A link, and no second one."""

    def test_first_link(self) -> None:
        """The first link that comes up is written on, and the peer is up."""
        side = Side(leads=True)
        self.assertFalse(side.links.up)
        self.assertEqual(side.up("theirs"), [WriteOn("theirs"), PeerUp("theirs")])
        self.assertTrue(side.links.up)
        self.assertEqual(side.links.links(), ["theirs"])
        self.assertIsNone(side.links.next_deadline())

    def test_lost(self) -> None:
        """The loss of the only link is a loss, once, with the reason that the owner gave."""
        side = Side(leads=True)
        side.up("ours")
        self.assertEqual(side.lost("ours"), LOST)
        self.assertFalse(side.links.up)
        self.assertEqual(side.lost("ours"), [])

    def test_unknown_link(self) -> None:
        """What happens to a link that never came up here changes nothing, in no state."""
        for side in (Side(leads=True), leader_with_two(), follower_with_two()):
            self.assertEqual(side.lost("a stranger", clean=False), [])
            self.assertEqual(side.read("a stranger"), [])
            self.assertEqual(side.read("a stranger", "shutdown"), [])
        self.assertEqual(leader_with_two().links.links(), ["ours", "theirs"])
        side = follower_with_two()
        side.lost("a stranger")
        self.assertEqual(side.links.links(), ["theirs", "ours"])

    def test_equal_ids(self) -> None:
        """There are no links to ourselves: nobody could lead."""
        self.assertRaises(ValueError, PeerLinks, SMALLER, HumdId(b"\x01" * 32), bool, LinkOrder(), 30)

    def test_goodbye_is_a_loss(self) -> None:
        """Every goodbye but a duplicate's closes the link at once and is a loss that names the reason."""
        for reason in ("shutdown", "removed", "auth", "limit"):
            side = Side(leads=False)
            side.up("ours")
            expected = [CloseNow("ours"), WriteOn(None), PeerLost(f"it said goodbye: {reason}")]
            self.assertEqual(side.read("ours", reason), expected)
            self.assertEqual(side.links.links(), [])

    def test_goodbye_with_an_unknown_reason(self) -> None:
        """A reason that we do not know is a loss too, and its text goes nowhere."""
        side = Side(leads=False)
        side.up("ours")
        self.assertEqual(
            side.read("ours", "x" * 10_000), [CloseNow("ours"), WriteOn(None), PeerLost("it said goodbye")]
        )

    def test_goodbye_without_the_feature(self) -> None:
        """A goodbye of a peer without bye-1 means nothing."""
        side = Side(leads=False)
        side.up("ours", bye=False)
        self.assertEqual(side.read("ours"), [])
        self.assertEqual(side.read("ours", "shutdown"), [])
        self.assertTrue(side.links.up)

    def test_leave(self) -> None:
        """We part with a goodbye and an orderly close, which is a loss for whoever waits."""
        side = Side(leads=True)
        side.up("ours")
        self.assertEqual(
            side.links.leave(GoodbyeReason.REMOVED, side.now),
            [
                SayGoodbye("ours", GoodbyeReason.REMOVED),
                CloseDrained("ours"),
                WriteOn(None),
                PeerLost("we said goodbye: removed"),
            ],
        )
        self.assertFalse(side.links.up)
        self.assertEqual(side.links.leave(GoodbyeReason.SHUTDOWN, side.now), [])

    def test_leave_without_the_feature(self) -> None:
        """A peer without bye-1 gets an orderly close and no goodbye."""
        side = Side(leads=True)
        side.up("ours", bye=False)
        self.assertEqual(side.links.leave(GoodbyeReason.SHUTDOWN, side.now)[0], CloseDrained("ours"))

    def test_leave_with_two(self) -> None:
        """Nothing is said on the loser after our last line there."""
        side = leader_with_two()
        goodbye = [SayGoodbye("ours", GoodbyeReason.SHUTDOWN), CloseDrained("ours"), CloseNow("theirs")]
        self.assertEqual(side.links.leave(GoodbyeReason.SHUTDOWN, side.now)[:3], goodbye)
        self.assertEqual(side.links.links(), ["ours"])

    def test_close_has_an_end(self) -> None:
        """A link that the peer does not let us close in order is cut after thirty seconds, and that is no loss."""
        side = Side(leads=True)
        side.up("ours")
        side.links.leave(GoodbyeReason.SHUTDOWN, side.now)
        self.assertEqual(side.links.next_deadline(), side.now + DEADLINES.link_close_seconds)
        self.assertEqual(side.after(DEADLINES.link_close_seconds - 0.1), [])
        self.assertEqual(side.after(0.1), [CloseNow("ours")])
        self.assertEqual(side.links.links(), [])
        self.assertIsNone(side.links.next_deadline())


class ReplaceTests(SynchronousTestCase):
    """A second link that is not the same meeting twice."""

    REPLACED = [CloseNow("ours"), WriteOn(None), PeerLost("a newer link replaced the older")]

    def assert_replaced(self, second: str, wait: float = 0.0, **changed: Any) -> None:
        side = Side(leads=True)
        side.up("ours")
        side.now += wait
        self.assertEqual(side.up(second, **changed), [*self.REPLACED, WriteOn(second), PeerUp(second)])
        self.assertEqual(side.links.links(), [second])

    def test_same_direction(self) -> None:
        """A second link from the same side replaces the first: whoever dialled it had lost the first."""
        self.assert_replaced("ours again")

    def test_another_instance(self) -> None:
        """A peer that restarted replaces its link, and the loss is told before anything of the new one."""
        self.assert_replaced("theirs", instance="b")

    def test_no_instance(self) -> None:
        """Two links that name no instance are not known to be of one."""
        side = Side(leads=True)
        side.up("ours", instance=None)
        self.assertEqual(side.up("theirs", instance=None)[:3], self.REPLACED)

    def test_without_bye(self) -> None:
        """Where a goodbye cannot be said the newer replaces, however alike the two are."""
        self.assert_replaced("theirs", bye=False)
        side = Side(leads=True)
        side.up("ours", bye=False)
        self.assertEqual(side.up("theirs")[:3], self.REPLACED)

    def test_first_up_for_long(self) -> None:
        """After fifteen seconds by our clock two links were not dialled at once."""
        self.assert_replaced("theirs", wait=CROSSED_SECONDS)

    def test_stronger(self) -> None:
        """A better proved link replaces a weaker one that says it is of the same instance; no id can save that one."""
        self.assert_replaced("theirs", level=3)

    def test_weaker_is_refused(self) -> None:
        """A weaker link never touches the one that is up, nor two that are being made one, nor one being waited for."""
        for side in (leader_with_two(), follower_with_two()):
            [refused] = side.up("weak", dialled=False, level=1, instance="b")
            self.assertIsInstance(refused, Refuse)
        waiting = Side(leads=False)
        waiting.up("ours")
        waiting.read("ours")
        [refused] = waiting.up("theirs", level=1)
        self.assertIsInstance(refused, Refuse)
        self.assertNotIn("theirs", waiting.links.links())

    def test_thrice_in_a_minute(self) -> None:
        """The third replacement within a minute says that two processes may share a key; so does the sixth."""
        for pause in (20.0, REPLACED_SECONDS / 2):
            side = Side(leads=True)
            side.up("ours")
            told = []
            for number in range(1, 7):
                side.now += pause
                told.append(TwoProcesses() in side.up(f"theirs {number}", instance=str(number)))
            self.assertEqual(told, [False, False, True, False, False, True])

    def test_one_process(self) -> None:
        """A peer that loses its links before we notice is one process, up to a point; who does not say may be two."""
        for instance, which in (("a", 5), (None, 2)):
            side = Side(leads=True)
            side.up("theirs", instance=instance)
            told = [TwoProcesses() in side.up(f"theirs {number}", instance=instance) for number in range(6)]
            self.assertEqual(told.index(True), which)

    def test_seldom(self) -> None:
        """Replacements that are more than a minute apart say nothing of a second process."""
        side = Side(leads=True)
        side.up("ours")
        for number in range(10):
            side.now += REPLACED_SECONDS / 2 + 1.0
            self.assertNotIn(TwoProcesses(), side.up(f"theirs {number}", instance=str(number)))

    def test_third_while_two(self) -> None:
        """A third link while two are being made one replaces both."""
        for side in (leader_with_two(), follower_with_two()):
            actions = side.up("theirs again")
            self.assertEqual({action.link for action in actions if isinstance(action, CloseNow)}, {"ours", "theirs"})
            lost = PeerLost("a newer link replaced the older")
            self.assertEqual(actions[2:], [WriteOn(None), lost, WriteOn("theirs again"), PeerUp("theirs again")])
            self.assertIsNone(side.links.next_deadline())
