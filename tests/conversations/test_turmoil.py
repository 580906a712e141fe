"""Two whole humds in any turmoil: whoever waits gets one end, nobody hears what is not his, and nothing is left."""

from __future__ import annotations

from hypothesis import example, given, settings, strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.conversations.turmoil import LIMITS, Play, Step

STEPS = ("ask", "ask", "answer", "answer", "link", "wire", "wire", "wire", "time", "time", "time", "further", "further")
MORE_STEPS = ("cancel", "diligence", "reading", "reading", "leave", "join", "dials", "rules", "remove", "news")
ANY_STEP = st.tuples(st.sampled_from((*STEPS, *MORE_STEPS)), st.integers(0, 11), st.integers(0, 71))


class TurmoilTests(SynchronousTestCase):
    """With queues and paces that are soon full."""

    @settings(max_examples=250)
    @given(st.lists(ANY_STEP, min_size=20, max_size=60))
    @example([("ask", 0, 1), ("further", 0, 0)])
    def test_all_is_well_that_ends(self, steps: list[Step]) -> None:
        """
        Every ask of a program that stays ends once, whole or with an error; the humds link again, and in the end no
        ask, no timer, no link is left.
        """
        play = Play()
        for what, who, how in steps:
            getattr(play, what)(who, how)
            for house in play.houses:
                self.assertLessEqual(house.ensemble.queues.total, LIMITS.queues_bytes)
        self.assertEqual([[tone["chi"] for tone in wish.ends] for wish in play.recover()], [["finish"]] * 4)
        self.assertEqual([len(house.ensemble._links) for house in play.houses], [1, 1])
        play.dismiss()
        stayed = [bee for bee in play.bees if bee.lost is None]
        self.assertEqual([wish for bee in stayed for wish in bee.wishes if len(wish.ends) != 1], [])
        play.stop()
        for house, judge in zip(play.houses, play.judges, strict=True):
            humd, routes = house.ensemble, house.node.routes
            self.assertEqual((judge.up, list(humd._members), len(humd._links)), (set(), [], 0))
            self.assertEqual((humd.pending, humd.queues.total, house.node._paused), (0, 0, {}))
            self.assertEqual((house.node.clients, routes.known_asks, routes.asks_size), ({}, 0, 0))
        self.assertEqual(play.world.clock.getDelayedCalls(), [])
