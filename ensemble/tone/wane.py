"""
Wane: how far along a conversation is, as a Lamport counter per key (mesh 3.4).

Two humds that compare their counters know who is behind, and by how much.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, TypeGuard

MAX_WANE: Final = 2**64 - 1
"""The largest value on the wire.  A counter that a peer pinned here stays here."""

DEFAULT_MAX_KEYS: Final = 65_536
"""How many keys a tracker takes over from others."""


class WaneTracker:
    """
    Counters by key; a key that was never seen stands at 0.

    :param max_keys: `merge` creates no key beyond this many, whatever a peer sends.  Our own `tick` and `set`
        always work.
    """

    def __init__(self, max_keys: int = DEFAULT_MAX_KEYS) -> None:
        self._values: dict[str, int] = {}
        self._max_keys = max_keys

    def get(self, key: str) -> int:
        """Where ``key`` stands."""
        return self._values.get(key, 0)

    def tick(self, key: str) -> int:
        """Move ``key`` one on, and return where it now stands."""
        value = min(self._values.get(key, 0) + 1, MAX_WANE)
        self._values[key] = value
        return value

    def set(self, key: str, value: int) -> None:
        """
        Pin ``key`` to ``value``, up or down.

        :raises ValueError: ``value`` does not fit 64 unsigned bits.
        """
        if not _is_wane(value):
            raise ValueError(f"a wane is a whole number from 0 to 2**64-1, not {value!r}")
        self._values[key] = value

    def behind(self, key: str, remote: int) -> bool:
        """Whether somebody who stands at ``remote`` is further than we are."""
        return remote > self._values.get(key, 0)

    def snapshot(self) -> dict[str, int]:
        """Every key and where it stands; the caller owns the copy."""
        return dict(self._values)

    def merge(self, remote: Mapping[str, object]) -> int:
        """
        Take the larger value of each key.

        :param remote: straight off a wire.  What is no 64-bit unsigned integer is skipped; an unknown key is created
            even at 0.
        :returns: how many keys moved on.
        """
        values = self._values
        advanced = 0
        for key, value in remote.items():
            if not _is_wane(value):
                continue
            mine = values.get(key)
            if mine is None:
                if len(values) >= self._max_keys:
                    continue
                values[key] = mine = 0
            if value > mine:
                values[key] = value
                advanced += 1
        return advanced


def _is_wane(value: object) -> TypeGuard[int]:
    # bool is an int to Python and not a number to JSON.
    return type(value) is int and 0 <= value <= MAX_WANE
