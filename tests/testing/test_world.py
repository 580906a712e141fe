"""The world of ``ensemble.testing``."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from ensemble.testing import World


class MemoryLinkTests(SynchronousTestCase):
    def test_delay(self) -> None:
        """A tone on a slow link takes its time, and so does a ping, there and back."""
        world = World()
        near, far = world.humd(), world.humd()
        world.link(near, far).delay(0.2)
        inbox, link = far.subscribe(), near.link_to(far.me)
        assert link is not None
        probed = link.probe()
        near.route({"chi": "prompt", "sid": "s", "to": far.me.full})
        coming = inbox.get()
        world.settle()  # it leaves at the end of the turn
        world.advance(0.19, step=0.01)
        self.assertNoResult(coming)
        world.advance(0.02, step=0.01)
        self.assertEqual(self.successResultOf(coming)["sid"], "s")
        world.advance(0.2, step=0.01)
        self.successResultOf(probed)
        assert link.round_trip is not None
        self.assertApproximates(link.round_trip, 0.4, 0.01)
