"""
What one peer may send: token buckets for its tones and its bytes.

A bucket holds what may come at once and fills at its pace.  What has come is always taken, also where the bucket runs
into debt: the answer is to read nothing more until the debt is paid, so nothing is lost, and the sender is slowed
by its own full buffers.  Time is an argument; one call for each chunk that was read, never one for each tone.
"""

from __future__ import annotations

from typing import Final

from ensemble.protocols import Bucket

LEAST_PAUSE: Final = 0.1  # seconds; a shorter one would cost more turns than it slows, and the bucket fills meanwhile
MOST_PAUSE: Final = 60.0  # seconds; then the next chunk is read, debt or not: it may be a goodbye


class Allowance:
    """
    The tones and bytes of one peer, over all its links.

    :ivar throttled: how often its reading was paused.
    """

    __slots__ = ("_bytes", "_tones", "throttled")

    def __init__(self) -> None:
        """Without a pace."""
        self._tones: Bucket | None = None
        self._bytes: Bucket | None = None
        self.throttled = 0

    def set_pace(self, tones: int, size: int, burst: int, now: float) -> None:
        """
        Begin anew, with full buckets.

        :param tones: per second; 0 for no limit.
        :param size: bytes per second; 0 for no limit.
        :param burst: seconds of it that may come at once.
        """
        self._tones = Bucket(tones, tones * burst, now) if tones else None
        self._bytes = Bucket(size, size * burst, now) if size else None

    def spend(self, tones: int, size: int, now: float) -> float:
        """
        So much was read.

        :param tones: lines, whatever they are, and pieces that ended none.
        :param size: bytes.
        :returns: seconds for which to read nothing more; 0.0 to go on.
        """
        pause = self._tones.take(tones, now) if self._tones is not None else 0.0
        if self._bytes is not None:
            pause = max(pause, self._bytes.take(size, now))
        if not pause:
            return 0.0
        self.throttled += 1
        return min(max(pause, LEAST_PAUSE), MOST_PAUSE)
