"""Refusals: each is counted, and at most one line per second and cause reaches the log."""

from __future__ import annotations

from collections import Counter

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger, LogLevel

from ensemble.mesh.chronicle import Chronicle

CAUSES = 256  # remembered at once; a cause is one of our own words, so this is never reached by a peer


class Refusals:
    """
    Counts what was refused, and says it without letting anyone flood the log.

    :ivar chronicle: for what was not refused.
    """

    log = Logger()

    def __init__(self, clock: IReactorTime, counters: Counter[str]) -> None:
        self._clock, self.counters, self.chronicle = clock, counters, Chronicle(clock)
        self._said: dict[str, tuple[float, int]] = {}

    def refused(
        self, counter: str, cause: str, peer: str, mend: str = "", did: str = "refused", level: LogLevel = LogLevel.warn
    ) -> None:
        """
        Count one refusal, and log it unless the same kind was logged within the second.

        :param counter: the counter's name, also the *kind* for the limit of one line a second.
        :param cause: what was wrong, for people.
        :param peer: who it was: an id or an address.
        :param did: what we did with it, in one word: also the name of the event in the log.
        """
        self.counters[counter] += 1
        self.say(counter, cause, peer, mend, did, level)

    def say(self, counter: str, cause: str, peer: str, mend: str, did: str, level: LogLevel) -> None:
        """As `refused`, of what was counted already: a flood costs hardly more than its counter."""
        now = self._clock.seconds()
        last, more = self._said.get(counter, (now - 1.0, 0))
        if now - last < 1.0:
            self._said[counter] = (last, more + 1)
            return
        if len(self._said) >= CAUSES:
            self._said.clear()
        self._said[counter] = (now, 0)
        self.log.emit(
            level,
            "{event} {peer}: {cause}"
            + ("; {mend}" if mend else "")
            + (" ({more} more of this kind since)" if more else ""),
            event=did,
            peer=peer,
            cause=cause,
            counter=counter,
            mend=mend,
            more=more,
        )
