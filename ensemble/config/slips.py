"""Slips of the pen in the keys of what people write."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from functools import lru_cache
from typing import Any, Final

_ALIKE: Final = 0.76  # of difflib's ratio: above that of two words of four letters, one of which differs


def nearly_known(value: Any, known: Sequence[str]) -> list[tuple[str, str]]:
    """Keys that a slip of the pen parts from one that is read, and that one."""
    unread = [key for key in value if key not in known] if isinstance(value, dict) else []
    return [(key, meant) for key in unread if (meant := _meant(key, known))]


@lru_cache(maxsize=1024)  # the same few in every row
def _meant(key: str, known: Sequence[str]) -> str | None:
    """The known key that this one is nearly: capitals, a plural, a letter more or less or in another place."""
    small = key.lower()
    for each in known:
        if each in (small, f"{small}s", small.removesuffix("s"), small.removesuffix("es")):
            return each
    # Not of another length, nor with another letter in a short word: "author" and "path" are words of somebody's own.
    alike = [each for each in known if abs(len(each) - len(small)) <= 1]
    close = get_close_matches(small, alike, 1, _ALIKE)
    return next((each for each in (*close, *alike) if each in close or sorted(each) == sorted(small)), None)
