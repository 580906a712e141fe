"""
What one peer may send: token buckets for its tones, its bytes, and its lines that are no tones.

A bucket holds what may come at once and fills at its pace.  What has come is always taken, also where the bucket runs
into debt: the answer is to read nothing more until the debt is paid, so nothing is lost, and the sender is slowed
by its own full buffers.  Time is an argument; one call for each chunk that was read, never one for each tone.  Only
lines that are no tones are taken one by one: the first that is too much ends what is done with a chunk.
"""

from __future__ import annotations

from typing import Final

from ensemble.protocols import DEADLINES, Bucket

LEAST_PAUSE: Final = 0.1  # seconds; a shorter one would cost more turns than it slows, and the bucket fills meanwhile

# What is no tone is paid for by its work, in lines that are only counted (some four microseconds each): to look for a
# rid costs up to forty times that.  Who is honest sends none, so these are the same for all: whatever the pace of a
# peer, such lines take us milliseconds at once and few percent of the time, and 64 KiB of them eight seconds or so.
# Strangers have one bucket together, for there can be many.
MALFORMED_PER_SECOND: Final = 4000
MALFORMED_AT_ONCE: Final = 500


def malformed_bucket(now: float) -> Bucket:
    """:returns: a full one, for lines that are no tones."""
    return Bucket(MALFORMED_PER_SECOND, MALFORMED_AT_ONCE, now)


class Allowance:
    """
    The tones and bytes of one peer, over all its links.

    :ivar throttled: how often its reading was paused.
    """

    __slots__ = ("_bytes", "_malformed", "_most_pause", "_tones", "throttled")

    def __init__(self, most_pause: float = DEADLINES.throttled_seconds) -> None:
        """
        Without a pace.

        :param most_pause: seconds; then the next chunk is read, debt or not: it may be a goodbye.
        """
        self._most_pause = most_pause
        self._tones: Bucket | None = None
        self._bytes: Bucket | None = None
        self._malformed: Bucket | None = None
        self.throttled = 0

    def set_pace(self, tones: int, size: int, burst: int, malformed: Bucket, now: float) -> None:
        """
        Begin anew, with full buckets.

        :param tones: per second; 0 for no limit.
        :param size: bytes per second; 0 for no limit.
        :param burst: seconds of it that may come at once.
        :param malformed: for lines that are no tones, where there is any limit; it may be shared.
        """
        self._tones = Bucket(tones, tones * burst, now) if tones else None
        self._bytes = Bucket(size, size * burst, now) if size else None
        self._malformed = malformed if tones or size else None

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
        return self._bounded(pause)

    def spend_malformed(self, work: int, now: float) -> float:
        """
        One of the lines that were read was no tone.

        :param work: with it, in lines that are only counted.
        :returns: as `spend`.
        """
        return self._bounded(self._malformed.take(work, now)) if self._malformed is not None else 0.0

    def _bounded(self, pause: float) -> float:
        return min(max(pause, LEAST_PAUSE), self._most_pause) if pause else 0.0
