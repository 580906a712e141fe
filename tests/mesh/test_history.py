"""What is remembered of peers that are away."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from ensemble.identity import HumdId
from ensemble.mesh import history
from ensemble.mesh.history import History, Loss
from ensemble.testing import World

ONE, TWO, THREE = (HumdId(bytes((number,)) * 32) for number in range(3))


class HistoryTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = World().clock
        self.history = History(self.clock)

    def test_loss(self) -> None:
        """The last loss is known until the peer is back."""
        self.assertIsNone(self.history.loss(ONE))
        self.history.lost(ONE, "cut off")
        self.clock.advance(5)
        self.history.lost(ONE, "aborted")
        self.assertEqual(self.history.loss(ONE), Loss("aborted", 5.0))
        self.history.came_up(ONE)
        self.history.came_up(TWO)
        self.assertIsNone(self.history.loss(ONE))

    def test_ceiling(self) -> None:
        """Of too many the one that was lost first is forgotten; the same again takes no further place."""
        self.patch(history, "LOSSES", 2)
        for peer in (ONE, TWO, ONE, THREE):
            self.history.lost(peer, "cut off")
        self.assertEqual([self.history.loss(peer) is not None for peer in (ONE, TWO, THREE)], [True, False, True])
