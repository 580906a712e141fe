"""
Is a link read?  Not while there is a reason against it: its tones are to wait for those of another link
(`ensemble.mesh.peer_links`), or its peer has sent more than its `Allowance`.  Each reason comes and goes without
regard to the other.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Flag, auto
from typing import TYPE_CHECKING

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from ensemble.interfaces import IWire
from ensemble.mesh.allowance import Allowance

if TYPE_CHECKING:
    from ensemble.mesh.pulse import Pulse


class Reason(Flag):
    """Why a link is not read."""

    SETTLING = auto()
    THROTTLED = auto()


_NONE = Reason(0)
_PACK = 256  # lines that are held as one: a chunk of short ones would else take many times its size, for seconds


class Reading:
    """
    The reading of one link.

    :ivar on: True while it is read.
    :ivar pulse: told of every pause, for silence does not count then; None before the link is up.
    :ivar allowance: of the peer; None for no limit.
    """

    __slots__ = ("_against", "_clock", "_handle", "_held", "_spent", "_timer", "_wire", "allowance", "on", "pulse")

    def __init__(self, wire: IWire, clock: IReactorTime, handle: Callable[[list[bytes]], None]) -> None:
        """:param handle: takes the lines that were in hand when the reading was paused."""
        self.on = True
        self.pulse: Pulse | None = None
        self.allowance: Allowance | None = None
        self._wire, self._clock, self._handle = wire, clock, handle
        self._against = _NONE
        self._held: list[bytes] = []
        self._timer: IDelayedCall | None = None
        self._spent = 0  # of the wire's bytes, those that were counted, stuffing too

    def pause(self, why: Reason) -> None:
        """Read nothing more for now; its silence does not count against the peer."""
        self._against |= why
        if self.on:
            self.on = False
            self._wire.pause()
            if self.pulse is not None:
                self.pulse.paused()

    def resume(self, why: Reason) -> None:
        """This reason is gone.  Where it was the last: handle what was held, then read on."""
        self._against &= ~why
        if self.on or self._against:
            return
        self.on = True
        if self.pulse is not None:
            self.pulse.resumed()
        held, self._held = self._held, []
        while held and self.on:
            self._handle(held.pop(0).split(b"\n"))
        self._held += held
        if self.on:
            self._wire.resume()

    def hold(self, lines: list[bytes]) -> None:
        """These were in hand when it was paused."""
        self._held += (b"\n".join(lines[at : at + _PACK]) for at in range(0, len(lines), _PACK))

    def count_for(self, allowance: Allowance | None) -> None:
        """From now on what is read is spent from ``allowance``, None: no limit; what was owed before is forgotten."""
        self.allowance, self._spent = allowance, self._wire.received + self._wire.stuffing
        if self._timer is not None:
            self._timer.reset(0)  # not now: somebody is in the middle of new rules

    def spend(self, tones: int) -> bool:
        """
        Count what was read, and pause where it was too much.

        :param tones: lines, or one for a piece of a line; the bytes are the wire's to tell.
        :returns: True where it paused.
        """
        assert self.allowance is not None
        came = self._wire.received + self._wire.stuffing
        size, self._spent = came - self._spent, came
        now = self._clock.seconds()
        return self._wait(self.allowance.spend(tones, size, now), now)

    def spend_malformed(self, work: int) -> bool:
        """
        Count a line that is no tone; where it was too much, those that are in hand behind it wait as well.

        :param work: with it, in lines that are only counted.
        :returns: True where it paused.
        """
        if self.allowance is None:
            return False
        now = self._clock.seconds()
        return self._wait(self.allowance.spend_malformed(work, now), now)

    def _wait(self, seconds: float, now: float) -> bool:
        if not seconds:
            return False
        if self._timer is not None:  # paused in the middle of a chunk, and the whole of it owes more
            if now + seconds > self._timer.getTime():
                self._timer.reset(seconds)
            return False
        assert self.allowance is not None
        self.allowance.throttled += 1
        self.pause(Reason.THROTTLED)
        self._timer = self._clock.callLater(seconds, self._paid)
        return True

    def stop(self) -> None:
        """The wire is gone."""
        self._held = []
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()

    def _paid(self) -> None:
        self._timer = None
        self.resume(Reason.THROTTLED)
