"""
Every number of a humd that its operator may set, in one place: ``twistd humd --limit NAME=VALUE``.

A field of `Limits`, or of the `Deadlines` that it has, is all that a limit needs: name, default, range, unit and
meaning are written there and nowhere else; the option, its help, the status and the test of the documentation read them
from there.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from operator import attrgetter
from typing import Final

from attrs import fields, frozen

from ensemble.errors import ConfigurationError
from ensemble.mesh.defaults import ADDRESS_PENDING_LINKS, HOLD_BYTES, PENDING_DIALS, PENDING_LINKS
from ensemble.protocols import (
    ACCEPT_PERCENT,
    DEFAULT_LINE_BUDGET,
    DEFAULT_OUTBOX_LIMIT,
    DEFAULT_QUEUE_BUDGET,
    HANDSHAKE_PERCENT,
    About,
    Deadlines,
    about,
    limit,
)

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB

MOST_DIGITS = 18  # of a value that is read: the largest that makes sense has fewer


@frozen(kw_only=True)
class Limits(Deadlines):
    """
    What a humd takes upon itself, and how long it waits.

    :raises ConfigurationError: a value is out of its range; the text names the range.
    """

    pending_links: int = limit(
        PENDING_LINKS, "links", 1, 65536, "accepted links that may shake hands at once; beyond that one goes"
    )
    address_pending_links: int = limit(
        ADDRESS_PENDING_LINKS, "links", 1, 65536, "of them from one address (IPv6: /64); beyond that its oldest goes"
    )
    pending_dials: int = limit(
        PENDING_DIALS, "dials", 1, 65536, "of ours that may be under way at once; the others wait for their turn"
    )
    handshake_percent: int = limit(
        HANDSHAKE_PERCENT, "percent", 1, 100, "of the time for newcomers, over TLS and TCP, while many tones flow"
    )
    accept_percent: int = limit(
        ACCEPT_PERCENT, "percent", 1, 100, "of the time to accept connections, while many tones flow"
    )
    unfinished_lines_bytes: int = limit(
        DEFAULT_LINE_BUDGET, "bytes", 16 * MIB, 16 * GIB, "all unfinished lines together; beyond that one is closed"
    )
    thrum_max_tone_bytes: int = limit(
        16 * MIB, "bytes", 64 * KIB, GIB, "one tone of a local program, or --max-tone if more; then it is disconnected"
    )
    peer_queue_bytes: int = limit(
        DEFAULT_OUTBOX_LIMIT, "bytes", 64 * KIB, GIB, "tones that one link has not taken yet; then queue.full"
    )
    peer_hold_bytes: int = limit(
        HOLD_BYTES, "bytes", 64 * KIB, GIB, "tones that wait for a link to one peer; then queue.full"
    )
    client_queue_bytes: int = limit(
        DEFAULT_OUTBOX_LIMIT, "bytes", 64 * KIB, GIB, "what a local program has not read; then queue.full"
    )
    queues_bytes: int = limit(
        DEFAULT_QUEUE_BUDGET, "bytes", MIB, 64 * GIB, "all these queues together; beyond that the owner of one goes"
    )
    known_tones_per_second: int = limit(
        500_000, "tones per second", 0, 10**9, "from a peer that has a row; beyond that it is read slower; 0: no limit"
    )
    known_bytes_per_second: int = limit(
        GIB, "bytes per second", 0, 10**12, "from a peer that has a row; beyond that it is read slower; 0: no limit"
    )
    stranger_tones_per_second: int = limit(
        2_000, "tones per second", 0, 10**9, "from a peer without a row (--admit any); 0: no limit"
    )
    stranger_bytes_per_second: int = limit(
        2 * MIB, "bytes per second", 0, 10**12, "from a peer without a row (--admit any); 0: no limit"
    )
    burst_seconds: int = limit(2, "seconds", 1, 3600, "so much of its pace a peer may send at once after a rest")

    def pace(self, known: bool) -> tuple[int, int]:
        """Tones and bytes per second that a peer may send; 0 for no limit."""
        if known:
            return self.known_tones_per_second, self.known_bytes_per_second
        return self.stranger_tones_per_second, self.stranger_bytes_per_second

    @classmethod
    def parse(cls, settings: Iterable[str]) -> Limits:
        """
        The defaults, and what is set instead.

        :param settings: ``name=value`` each, the value a whole number in the unit of the limit; of two with the same
            name the later counts.
        :raises ConfigurationError: the text is no such thing, there is no such limit, or it is out of its range.
        """
        known = {one.name: one for one in cls.about()}
        values: dict[str, int] = {}
        for text in settings:
            name, _, value = text.partition("=")
            if name not in known:
                near = difflib.get_close_matches(name, known) or known
                raise ConfigurationError(f"there is no limit {name!r}; there is {', '.join(near)}")
            told, digits = known[name], value.removeprefix("-")
            if not digits.isascii() or not digits.isdigit():
                example = f"{name}={told.default}"
                raise ConfigurationError(f"the limit {name} needs a whole number of {told.unit}, as in {example}")
            if len(digits) > MOST_DIGITS:
                raise told.outside(f"a number of {len(digits)} digits")
            values[name] = int(value)
        return cls(**values)

    @classmethod
    def about(cls) -> list[About]:
        """What there is to say of each limit, in the order of the fields, the deadlines last."""
        return [about(one) for one in sorted(fields(cls), key=attrgetter("inherited"))]


UNPACED: Final = Limits(
    known_tones_per_second=0, known_bytes_per_second=0, stranger_tones_per_second=0, stranger_bytes_per_second=0
)
"""What a program gets that sets no limits: whom it links with and how fast they may be is for it to say."""
