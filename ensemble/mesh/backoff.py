"""
How long to wait before a peer is dialled again: 1 s, doubling up to 60 s (wire-0.8 section 3).

Every delay is stretched by up to half of itself at random, within the 60 s.  The first one too: two humds that lost
each other in the same instant would otherwise dial in the same instant, again and again.

A link that comes up does not by itself set the delay back: a peer that admits us and hangs up at once would then be
dialled once a second for ever.  Only one that was up for 60 s does.
"""

from __future__ import annotations

from collections.abc import Callable

from ensemble.mesh.defaults import (
    REDIAL_FIRST_SECONDS,
    REDIAL_GROWTH,
    REDIAL_JITTER,
    REDIAL_LAST_SECONDS,
    STEADY_SECONDS,
)

_HIGHEST = REDIAL_LAST_SECONDS / (1 + REDIAL_JITTER)  # seconds; leaves room for the jitter below the ceiling


class Backoff:
    """The delays of one peer.  All of them are within 1 s and 60 s."""

    __slots__ = ("_next", "_random", "_up_at")

    def __init__(self, random: Callable[[], float]) -> None:
        """:param random: uniform in [0, 1)."""
        self._random = random
        self._next = REDIAL_FIRST_SECONDS
        self._up_at: float | None = None

    def came_up(self, now: float) -> None:
        """A link is up.  A second call without a loss between changes nothing."""
        if self._up_at is None:
            self._up_at = now

    def went_down(self, now: float) -> float:
        """
        The link was lost.

        :returns: seconds to wait before the next dial.
        """
        up_at, self._up_at = self._up_at, None
        if up_at is not None and now - up_at >= STEADY_SECONDS:
            self._next = REDIAL_FIRST_SECONDS
        return self._delay()

    def failed(self) -> float:
        """
        No dial of a round led to a link.

        :returns: seconds to wait before the next dial.
        """
        self._up_at = None
        return self._delay()

    def _delay(self) -> float:
        nominal = self._next
        self._next = min(_HIGHEST, nominal * REDIAL_GROWTH)
        return nominal * (1 + REDIAL_JITTER * self._random())
