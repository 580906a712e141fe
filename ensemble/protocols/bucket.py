"""One token bucket: no clock in here, time is an argument, in seconds, and may stand still or go back."""

from __future__ import annotations


class Bucket:
    """What may come, or be done, at once and in the long run."""

    __slots__ = ("_at", "_holds", "_left", "_rate")

    def __init__(self, rate: float, holds: float, now: float) -> None:
        """
        A full one.

        :param rate: tokens that come in each second, more than 0.
        :param holds: tokens at most.
        """
        self._rate, self._holds, self._left, self._at = rate, holds, holds, now

    def take(self, tokens: float, now: float) -> float:
        """
        Take them, into debt where there are not so many.

        :returns: seconds until it is out of debt; 0.0 where it is in none.
        """
        self._fill(now)
        self._left -= tokens
        return -self._left / self._rate if self._left < 0 else 0.0

    def drain(self, tokens: float, now: float) -> None:
        """Take them, or as many as there are."""
        self._fill(now)
        self._left = min(self._left, max(0.0, self._left - tokens))

    def afford(self, now: float) -> bool:
        """Take one where it is there; else nothing, and False."""
        self._fill(now)
        if self._left < 1:
            return False
        self._left -= 1
        return True

    def _fill(self, now: float) -> None:
        self._left = min(self._holds, self._left + max(0.0, now - self._at) * self._rate)
        self._at = now
