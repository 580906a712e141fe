"""
Is the peer of one link still there?  wire-0.8 section 4, the row of ``ping`` and ``pong``.

=====================  ==================  =============================================
while                  ping after silence  gone, counted from when the ping left us
=====================  ==================  =============================================
nobody waits           15 s                30 s
somebody waits         3 s                 6 s, and 6 s since the waiting began
we have stopped        every 3 s,          never: we would not hear it.  The pings tell
reading                silence or not      the peer that *we* are there
=====================  ==================  =============================================

*Silence* ends with any byte that arrives, and with our own write buffer going on after it was full: then the peer's
side has taken something.  A write that was swallowed at once proves nothing, for a kernel does that for dead peers
as well; the owner does not tell us of it.

A ping that waits in a full buffer is not yet a question, so the seconds count from when it left.  At most one waits.
The system's buffer is one, too, of megabytes where the line was fast once: while the peer's system acknowledges what is
before the ping, or the ping, they count from when it did.
One that cannot leave for 60 s, with nothing heard meanwhile, ends the link too: by then the other side, if there is
one, has given up the line that it got a part of.

Hearing something must be cheap, for it happens with every segment: `Liveness.heard` stores one number.  Nothing that
arrives or drains makes `Liveness.next_deadline` earlier, so the owner's timer stays as it is, fires at the old time,
finds nothing to do and is set to the new one.  The other methods may make it earlier: look at it again after them.

Without ``ping-1`` there are no pings and no verdict; the owner has set the TCP keep-alive.
"""

from __future__ import annotations

from typing import Final

from attrs import frozen

from ensemble.interfaces import Arrived
from ensemble.mesh.defaults import ARRIVAL_SECONDS, PING_SECONDS_PAUSED, PONG_SECONDS, PONGS_AT_ONCE
from ensemble.protocols import DEADLINES, Bucket, Deadlines

_NEVER: Final = float("-inf")


@frozen
class SendPing:
    """Queue a ping, and say `Liveness.ping_left` when it left the last buffer that we see."""


@frozen
class Gone:
    """
    The peer is not there any more: close the link undrained.

    :ivar cause: for people.
    """

    cause: str


class Liveness:
    """The rule for one link that is up.  Feed it what happens; call `tick` when it is due."""

    __slots__ = (
        "_deadlines",
        "_heard",
        "_left",
        "_life",
        "_looked",
        "_paused",
        "_pings",
        "_pongs",
        "_queued",
        "_under_way",
        "_waits_since",
    )

    def __init__(self, now: float, has_ping: bool, deadlines: Deadlines = DEADLINES) -> None:
        """
        :param now: when the link came up, which counts as a sign of life.
        :param has_ping: both sides have ``ping-1``.
        """
        self._pings, self._deadlines = has_ping, deadlines
        self._heard = _NEVER  # the last byte since we last looked; the one thing that heard() touches
        self._life = now  # the last sign of life, as far as we looked
        self._looked = now  # the last tick
        self._queued: float | None = None  # a ping waits in our buffer since
        self._left: float | None = None  # a ping is unanswered since
        self._under_way: tuple[int, int] | None = None  # bytes that have arrived, and that will have with that ping
        self._paused: float | None = None  # not reading since, or since the last ping while not reading
        self._waits_since: float | None = None
        self._pongs = Bucket(1 / PONG_SECONDS, PONGS_AT_ONCE, now)

    # what happened

    def heard(self, now: float) -> None:
        """Bytes arrived, whole lines or not (of a line that is younger than 60 s)."""
        self._heard = now

    def drained(self, now: float) -> None:
        """Our write buffer, which had been full, takes more."""
        self._look()
        self._life = max(self._life, now)
        if self._left is not None and now > self._left:  # at the same instant it is the ping itself that drained
            self._left = self._under_way = None

    def ping_left(self, now: float, seen: Arrived | None = None) -> None:
        """
        The last `SendPing` has left our buffers: from now the peer is asked.  Nothing where none waits.

        :param seen: what has arrived by now, the ping not among it; None where nobody can tell.
        """
        if self._queued is not None:
            self._look()
            self._queued, self._left = None, now
            self._under_way = (seen.size, seen.size + seen.waiting) if seen is not None else None

    @property
    def is_under_way(self) -> bool:
        """The ping may not have arrived: say `arrived` before `tick`."""
        self._look()
        return self._left is not None and self._under_way is not None

    def arrived(self, seen: Arrived | None, now: float) -> None:
        """What has arrived meanwhile."""
        if self._left is None or self._under_way is None:
            return
        before, with_ping = self._under_way
        if seen is not None and seen.size > before:
            self._left, before = max(self._left, now - seen.ago), seen.size
        self._under_way = None if seen is None or before >= with_ping else (before, with_ping)

    def someone_waits(self, waits: bool, now: float) -> None:
        """Somebody waits for an answer over this link, or nobody does any more."""
        if not waits:
            self._waits_since = None
        elif self._waits_since is None:
            self._waits_since = now

    def paused_reading(self, now: float) -> None:
        """We have stopped to read the link."""
        if self._paused is None:
            self._look()
            self._paused = now

    def resumed_reading(self, now: float) -> None:
        """We read it again.  Its silence counts from now, that after an unanswered ping too."""
        if self._paused is not None:
            self._paused = None
            self._life = now
            if self._left is not None:
                self._left = now

    def ping_received(self, now: float) -> bool:
        """
        The peer pinged.

        A pong answers one ping, but any byte of ours is a sign of life as good, so nobody needs many: ten at once and
        one a second are answered, the rest is ignored.

        :returns: whether to answer with a pong.
        """
        return self._pongs.afford(now)

    # what to do

    def tick(self, now: float) -> SendPing | Gone | None:
        """What is due.  After a `Gone` the object is of no more use."""
        self._looked = now
        due = self._due()
        if due is None or now < due:
            return None
        if self._paused is not None:
            self._paused = now
            return self._ping(now)
        if self._queued is not None:
            most = self._deadlines.stuck_ping_seconds
            return Gone(f"a ping could not leave for {most} s: the peer takes nothing more, or too slowly")
        if self._left is not None:
            return Gone(f"no answer to a ping within {now - self._left:.1f} s")
        return self._ping(now)

    def next_deadline(self) -> float | None:
        """When to call `tick`: never later than something is due, sometimes earlier.  None without pings."""
        due = self._due()
        if due is None or self._left is None or self._paused is not None:
            return due
        if self._under_way is not None:
            return min(due, max(self._left, self._looked) + ARRIVAL_SECONDS)
        # An answer that comes right after we looked, and silence after that, would make the next ping due here.
        return min(due, max(self._left, self._looked) + self._ping_after)

    def _due(self) -> float | None:
        if not self._pings:
            return None
        self._look()
        if self._paused is not None:
            return self._paused + PING_SECONDS_PAUSED
        if self._queued is not None:
            return max(self._queued, self._life) + self._deadlines.stuck_ping_seconds
        waits = self._waits_since
        if self._left is not None:
            idle = self._left + self._deadlines.gone_after_seconds
            while_waited_for = self._deadlines.waited_for_gone_after_seconds
            return idle if waits is None else min(idle, max(self._left, waits) + while_waited_for)
        return self._life + self._ping_after

    @property
    def _ping_after(self) -> float:
        idle, waited_for = self._deadlines.ping_after_seconds, self._deadlines.waited_for_ping_after_seconds
        return idle if self._waits_since is None else min(idle, waited_for)

    def _ping(self, now: float) -> SendPing | None:
        if self._queued is not None:
            return None  # the one before has not left yet: a second says no more
        self._queued, self._left = now, None
        return SendPing()

    def _look(self) -> None:
        """Take over what heard() stored.  Times are not compared with that of the ping: a clock may be coarse."""
        if self._heard != _NEVER:
            self._life = max(self._life, self._heard)
            self._heard = _NEVER
            self._left = self._under_way = None
