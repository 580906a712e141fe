"""Request ids: short, sortable by time, unique within one process (mesh 3.4)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from ensemble.tone.codec import Envelope

_DIGITS: Final = "0123456789abcdefghijklmnopqrstuvwxyz"


def base36(number: int) -> str:
    """``number``, which is not negative, in lowercase base 36; zero is ``"0"``."""
    if number < 0:
        raise ValueError("only numbers from 0 up have a base-36 form here")
    text = ""
    while True:
        number, digit = divmod(number, 36)
        text = _DIGITS[digit] + text
        if not number:
            return text


def rid(now_ms: int, counter: int) -> str:
    """The rid of the ``counter``-th request (from 0) of a process, made at ``now_ms``."""
    return f"{base36(now_ms)}-{base36(counter)}"


class RidMinter:
    """
    Rids of one process: ``minter()`` returns a fresh one each time.

    :param wall_ms: milliseconds since the Unix epoch.  The counter alone keeps rids apart, so a clock that stands
        still or steps back does no harm.
    """

    def __init__(self, wall_ms: Callable[[], int]) -> None:
        self._wall_ms = wall_ms
        self._counter = 0

    def __call__(self) -> str:
        """A rid that this minter never gave out before."""
        counter = self._counter
        self._counter = counter + 1
        return rid(max(self._wall_ms(), 0), counter)


def is_about(envelope: Envelope, sid: str | None, call_id: str | None) -> bool:
    """
    Whether a tone that has the ``rid`` of another is about that one, which has this sid and this callId.

    Sids and callIds are random, but many choose rids, and may count them from one: so where both tones have a sid or a
    callId these have to agree, and only a sid does not agree with only a callId.
    """
    shared = [one == other for one, other in ((sid, envelope.sid), (call_id, envelope.call_id)) if one and other]
    return all(shared) if shared else not (sid or call_id) or not (envelope.sid or envelope.call_id)
