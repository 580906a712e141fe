"""The dusk of a tone: the moment after which nobody should act on it any more (mesh 3.4)."""

from __future__ import annotations


def dusk_in(now_ms: int, ms: int) -> int:
    """The dusk ``ms`` milliseconds after ``now_ms`` (both since the Unix epoch)."""
    return now_ms + ms


def is_expired(dusk: int | None, now_ms: int) -> bool:
    """
    Whether a tone with this dusk is past it.

    Strictly past: at its dusk a tone still lives.  An absent or a negative dusk never comes.
    """
    return dusk is not None and 0 <= dusk < now_ms
