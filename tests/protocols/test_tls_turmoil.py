"""TLS wires in any turmoil: whoever comes is accounted for once, what is told makes sense, and nothing is left."""

from __future__ import annotations

from hypothesis import example, given, settings, strategies as st
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from tests.protocols.tls_turmoil import Owner, Planned, Play, Step

STEPS = (
    "come",
    "come",
    "expect",
    "carry",
    "give",
    *("flow",) * 4,
    *("say",) * 4,
    "long_line",
    "message",
    "alert",
    "pieces",
    "pieces",
)
MORE_STEPS = ("empty", "garbage", "end", "stall", "stall", "wire", "wire", "write", "write", "time", "tones")
ANY_STEP = st.tuples(st.sampled_from((*STEPS, *MORE_STEPS)), st.integers(0, 11), st.integers(0, 71))
UP: list[Step] = [("come", 0, 2), ("flow", 0, 0)]


class TurmoilTests(SynchronousTestCase):
    """On Twisted's own transport."""

    @settings(max_examples=100)
    @example([("expect", 0, 5), ("come", 0, 2), ("flow", 0, 0)])  # aborted by whoever is asked about the leaf
    @example([*UP, ("message", 0, 2), ("flow", 0, 0), ("write", 0, 1), ("wire", 0, 4)])  # a message that never ends
    @example([*UP, ("pieces", 0, 5), ("write", 0, 1), ("write", 0, 0), ("flow", 0, 0)])  # one in pieces
    @example([*UP, ("pieces", 0, 5), ("write", 0, 0), ("wire", 0, 4), ("flow", 0, 0)])  # closed meanwhile
    @example([*UP, ("stall", 0, 0), ("write", 0, 1), ("pieces", 0, 5), ("pieces", 0, 7), ("flow", 0, 0)])
    @example([*UP, ("say", 0, 1), ("alert", 0, 1), ("flow", 0, 0)])  # an end behind a user_canceled
    @example([*UP, ("message", 0, 30), ("alert", 0, 2), ("flow", 0, 0)])  # the same, then the end
    @example([("come", 0, 1), ("carry", 0, 40), ("stall", 0, 0), ("say", 0, 1)])  # full before it is built
    @example([("expect", 3, 2), *UP, ("say", 0, 2), ("alert", 0, 1), ("flow", 0, 0), ("wire", 0, 3), UP[1]])
    @given(st.lists(ANY_STEP, min_size=20, max_size=60))
    def test_all_is_well_that_ends(self, steps: list[Step]) -> None:
        """
        Each wire is built or failed, once, unless it was aborted; its lines come in order, and after a clean end all
        of them; it is lost once; what it says arrives in order; and in the end nobody waits, and no timer.
        """
        play = Play()
        with capturedLogs() as events:
            for step in steps:
                play.step(*step)
            play.finish()
        bugs = [event["log_failure"] for event in events if "log_failure" in event]
        self.assertEqual([bug for bug in bugs if not bug.check(Planned)], [])
        self.assertEqual((play.clock.getDelayedCalls(), len(play.porch), play.here), ([], 0, set()))
        self.assertEqual((play.clock.readers, play.clock.writers, play.budget.total), (set(), set(), 0))
        for owner in play.owners:
            self.judge(owner)

    def judge(self, owner: Owner) -> None:
        """One that ended."""
        told = {event: owner.events.count(event) for event in ("built", "failed", "wire_lost")}
        if not owner.left:
            self.assertEqual(told["built"] + told["failed"], 1)
        self.assertLessEqual(told["built"] + told["failed"], 1)
        self.assertEqual(told["wire_lost"], told["built"])
        if not told["built"]:
            self.assertEqual(owner.far.heard, b"")
        self.assertTrue(owner.written.startswith(owner.far.heard))
        said = owner.far.said.split(b"\n")
        if owner.clean and not said[-1]:
            said.pop()
        elif not owner.clean:
            said = said[:-1]  # what is unfinished
        self.assertEqual(owner.lines, said[: len(owner.lines)])
        if owner.clean and not owner.left and "line_refused" not in owner.events:
            self.assertTrue(owner.far.ended)
            self.assertEqual(owner.lines, said)
