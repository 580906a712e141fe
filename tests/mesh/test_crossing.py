"""
The one-link rule against chance: two humds in a world of delays (``crossing.py``), and one side against any input.

``CROSSING_SCHEDULES=60000`` tries more schedules than the suite does.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from hypothesis import given, settings, strategies as st
from twisted.trial.unittest import SynchronousTestCase

from ensemble.mesh.defaults import MOVE_SECONDS, SETTLE_SECONDS, WATCH_SECONDS
from ensemble.mesh.link_actions import (
    Action,
    CloseDrained,
    CloseNow,
    GoodbyeReason,
    PauseReading,
    PeerLost,
    PeerUp,
    Refuse,
    ResumeReading,
    SayGoodbye,
    TwoProcesses,
    WriteOn,
)
from ensemble.mesh.link_order import LinkOrder
from ensemble.mesh.peer_links import PeerLinks
from ensemble.protocols import DEADLINES
from tests.mesh.crossing import rough, smooth
from tests.mesh.crossing_world import LARGER, SMALLER

SCHEDULES = int(os.environ.get("CROSSING_SCHEDULES", "2000"))
REASONS = ["duplicate", "duplicate", "duplicate", "shutdown", "limit", "nonsense"]


class CrossingTests(SynchronousTestCase):
    """Both ends are real, so is the order of events; the seeds are always the same."""

    def broken(self, schedule: Callable[[int], list[str]], count: int) -> dict[int, list[str]]:
        return {seed: broken for seed in range(count) if (broken := schedule(seed))}

    def test_smooth(self) -> None:
        """Two humds that dial each other lose, double and reorder nothing, tell no loss, and end with one link."""
        self.assertEqual(self.broken(smooth, SCHEDULES), {})

    def test_rough(self) -> None:
        """Where links break, stall or restart meanwhile nobody waits for ever and nothing is read twice."""
        self.assertEqual(self.broken(rough, SCHEDULES // 4), {})


class Owner:
    """Executes actions as a real owner would, and checks each of them."""

    def __init__(self, case: SynchronousTestCase, leads: bool) -> None:
        self.case = case
        ids = (SMALLER, LARGER) if leads else (LARGER, SMALLER)
        self.heard: set[int] = set()
        self.links: PeerLinks[int] = PeerLinks(*ids, self.heard.__contains__, LinkOrder(), DEADLINES.link_close_seconds)
        self.now = 0.0
        self.up = False
        self.target: int | None = None
        self.silenced: set[int] = set()  # our goodbye is said
        self.closed: set[int] = set()  # nothing more is done to them
        self.draining: set[int] = set()
        self.paused: set[int] = set()
        self.came_up: set[int] = set()

    def do(self, actions: list[Action[int]]) -> None:
        for at, action in enumerate(actions):
            link = getattr(action, "link", None)
            if link is not None:
                self.case.assertNotIn(link, self.closed, f"{action} of a link that is closed")
            if isinstance(action, WriteOn):
                self.case.assertNotIn(action.link, self.silenced | self.draining)
                self.target = action.link
            elif isinstance(action, PeerUp):
                self.case.assertFalse(self.up, "told up twice")
                self.case.assertEqual(self.target, link)
                self.up = True
            elif isinstance(action, PeerLost):
                self.case.assertTrue(self.up, "told a loss twice")
                self.case.assertEqual(actions[at - 1], WriteOn(None))
                self.up = False
            elif isinstance(action, SayGoodbye):
                self.case.assertNotIn(action.link, self.silenced)
                self.silenced.add(action.link)
            elif isinstance(action, CloseDrained):
                self.draining.add(action.link)
            elif isinstance(action, CloseNow | Refuse):
                self.closed.add(action.link)
            elif isinstance(action, PauseReading):
                self.case.assertNotIn(action.link, self.paused)
                self.paused.add(action.link)
            elif isinstance(action, ResumeReading):
                self.case.assertIn(action.link, self.paused)
                self.paused.discard(action.link)
            else:
                self.case.assertIsInstance(action, TwoProcesses)
        self.check()

    def check(self) -> None:
        known = self.links.links()
        self.case.assertEqual(self.links.up, self.up)
        self.case.assertEqual(len(known), len(set(known)))
        self.case.assertEqual(set(known), self.came_up - self.closed, "a link was forgotten, or kept")
        if self.target is not None:
            self.case.assertIn(self.target, known)
            self.case.assertNotIn(self.target, self.silenced | self.draining)

    def tick(self, seconds: float) -> None:
        self.now += seconds
        self.do(self.links.tick(self.now))
        deadline = self.links.next_deadline()
        if deadline is not None:
            self.case.assertGreater(deadline, self.now, "what was due is not done")


LINK = st.integers(0, 5)
STEP = st.one_of(
    st.tuples(st.just("up"), st.booleans(), st.sampled_from([1, 2, 2, 2]), st.sampled_from(["a", "a", "a", "b", None])),
    st.tuples(st.just("bye"), LINK, st.sampled_from(REASONS), st.booleans()),
    st.tuples(st.just("lost"), LINK, st.booleans(), st.none()),
    st.tuples(st.just("heard"), LINK, st.none(), st.none()),
    st.tuples(st.just("dial"), st.none(), st.none(), st.none()),
    st.tuples(st.just("dial up"), st.sampled_from([1, 2, 2, 2]), st.none(), st.none()),
    st.tuples(st.just("tick"), st.sampled_from([0.0, 0.5, 3.0, 5.0, 10.0]), st.none(), st.none()),
    st.tuples(st.just("leave"), st.none(), st.none(), st.none()),
)


class AnyInputTests(SynchronousTestCase):
    """One side, and a peer and a network that do whatever they like."""

    @settings(max_examples=300)
    @given(st.booleans(), st.lists(STEP, max_size=25))
    def test_any_input(self, leads: bool, steps: list[tuple[str, object, object, object]]) -> None:
        """
        Whatever happens, in any order: no link is used after its end or after our last line there, up and lost take
        turns, and when all deadlines are past at most one link is left and it is read.
        """
        owner = Owner(self, leads)
        made: list[int] = []
        dials: list[int] = []
        for what, one, two, three in steps:
            links, now = owner.links, owner.now
            chosen = made[one % len(made)] if made and isinstance(one, int) else -1
            if what == "up":
                assert isinstance(two, int) and (three is None or isinstance(three, str))
                made.append(len(made))
                owner.came_up.add(made[-1])
                owner.do(links.came_up(made[-1], now, dialled=bool(one), level=two, instance=three, bye=two == 2))
            elif what == "bye":
                owner.do(links.goodbye_read(chosen, str(two), now, wrote=bool(three)))
            elif what == "lost":
                owner.closed.add(chosen)
                dials = [dial for dial in dials if dial != chosen]
                if chosen == owner.target:
                    owner.target = None
                owner.do(links.lost(chosen, now, clean=bool(two)))
            elif what == "heard":
                owner.heard.add(chosen)
            elif what == "dial":
                made.append(len(made))
                dials.append(made[-1])
                owner.do(links.dial_committed(made[-1], now))
            elif what == "dial up":
                if dials and dials[0] not in owner.closed:
                    assert isinstance(one, int)
                    owner.came_up.add(dials[0])
                    owner.do(links.came_up(dials.pop(0), now, dialled=True, level=one, instance="a", bye=True))
            elif what == "tick":
                assert isinstance(one, float)
                owner.tick(one)
            else:
                owner.do(links.leave(GoodbyeReason.SHUTDOWN, now))
        for seconds in (
            SETTLE_SECONDS,
            MOVE_SECONDS,
            WATCH_SECONDS,
            DEADLINES.link_close_seconds,
            DEADLINES.link_close_seconds,
        ):
            owner.tick(seconds)
        left = owner.links.links()
        self.assertLessEqual(len(left), 1)
        self.assertEqual(owner.paused & set(left), set())
        self.assertEqual([owner.target] if owner.target is not None else [], left)
        self.assertIsNone(owner.links.next_deadline())
