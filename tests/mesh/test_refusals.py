"""Refusals are counted one by one, and logged at most once a second for each kind."""

from __future__ import annotations

from collections import Counter

from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from ensemble.mesh.refusals import CAUSES, Refusals


class RefusalTests(SynchronousTestCase):
    """One humd's refusals."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.counters: Counter[str] = Counter()
        self.refusals = Refusals(self.clock, self.counters)

    def said(self, *kinds: str) -> list[str]:
        """Refuse these; what is logged meanwhile."""
        with capturedLogs() as events:
            for kind in kinds:
                self.refusals.refused(kind, "too much", "somebody", "send less")
        return [str(formatEvent(event)) for event in events]

    def test_once_a_second(self) -> None:
        """Of one kind the first in a second is said, with the mend; the next one says how many there were."""
        self.assertEqual(self.said("a", "a", "a", "b"), ["refused somebody: too much; send less"] * 2)
        self.clock.advance(0.9)
        self.assertEqual(self.said("a"), [])
        self.clock.advance(0.1)
        self.assertEqual(self.said("a"), ["refused somebody: too much; send less (3 more of this kind since)"])
        self.assertEqual(self.counters, {"a": 5, "b": 1})

    def test_in_other_words(self) -> None:
        """What was done need not be a refusal, and names the event; a mend need not be known."""
        with capturedLogs() as events:
            self.refusals.refused("a", "too fast", "somebody", did="slowed")
            self.refusals.refused("b", "too much", "somebody")
        self.assertEqual(
            [(event["event"], formatEvent(event)) for event in events],
            [("slowed", "slowed somebody: too fast"), ("refused", "refused somebody: too much")],
        )

    def test_fields(self) -> None:
        """For programs each part of the line stands for itself."""
        with capturedLogs() as events:
            for _ in range(2):
                self.refusals.refused("a", "too much", "somebody", "send less")
            self.clock.advance(1)
            self.refusals.refused("a", "too much", "somebody")
        self.assertEqual([(event["mend"], event["more"]) for event in events], [("send less", 0), ("", 1)])

    def test_bounded(self) -> None:
        """However many kinds there are, no more than so many are remembered."""
        for number in range(CAUSES + 10):
            self.said(str(number))
        self.assertEqual(len(self.refusals._said), 10)
