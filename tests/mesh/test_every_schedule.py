"""The one-link rule against every short schedule (``every_schedule.py``): what ``test_crossing`` tries by chance."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import TypeAlias

from twisted.trial.unittest import SynchronousTestCase

from tests.mesh.every_schedule import Broken, Budget, Event, World

Path: TypeAlias = tuple[Event, "Path"] | None  # the last event, and those before it

# Both have dialled, and both dials are up at the dialler: its last handshake line is on its way.
CROSSED: tuple[Event, ...] = (
    ("dial", 0),
    ("dial", 1),
    ("read", 1, 1),
    ("read", 2, 0),
    ("read", 1, 0),
    ("read", 2, 1),
)


def explore(budget: Budget, *before: Event) -> tuple[int, str]:
    """
    Try all schedules, the short ones first.

    :param before: what has happened already.
    :returns: how many worlds there were, and the first broken promise with its schedule, or nothing.
    """
    start = World(budget)
    for event in before:
        start = start.after(event)
    seen = {start.key()}
    todo: deque[tuple[World, Path]] = deque([(start, None)])
    while todo:
        world, path = todo.popleft()
        must, may = world.next()
        event = ("judge",)
        try:
            if not must:
                world.judge()
            for event in must + may:
                after = world.after(event)
                key = after.key()
                if key not in seen:
                    seen.add(key)
                    todo.append((after, (event, path)))
        except Broken as broken:
            return len(seen), f"{broken}, after {list(schedule((event, path)))[::-1]}"
    return len(seen), ""


def schedule(path: Path) -> Iterator[Event]:
    """The last event first."""
    while path is not None:
        event, path = path
        yield event


class EveryScheduleTests(SynchronousTestCase):
    """Both sides are real, with one dial each; whoever is asked answers."""

    def promised(self, least: int, budget: Budget, *before: Event) -> None:
        worlds, broken = explore(budget, *before)
        self.assertEqual(broken, "")
        self.assertGreater(worlds, least)

    def test_smooth(self) -> None:
        """Where nothing breaks no loss is told, every tone is read, once and in order, and one link is left."""
        for proofs in (True, False):
            self.promised(1000, Budget(asks=(1, 1), proofs=proofs))

    def test_cut(self) -> None:
        """Whatever connection breaks when, and whoever sees it when, both have the same link in the end, or none."""
        for proofs in (True, False):
            self.promised(1000, Budget(asks=(0, 0), cuts=1, proofs=proofs))

    def test_cut_while_they_talk(self) -> None:
        """Nobody waits for ever then, or reads what is older than what was read."""
        for asks in ((1, 0), (0, 1)):
            self.promised(1000, Budget(asks=asks, cuts=1), *CROSSED)

    def test_slow(self) -> None:
        """Nor where lines are on their way while deadlines of the rule pass."""
        for asks in ((1, 0), (0, 1)):
            self.promised(300, Budget(asks=asks, late=2), *CROSSED)
