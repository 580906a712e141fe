"""
Keeps the configured peers linked: wire-0.8 section 3, first and last bullet.

The hints of a peer race with staggered starts (after RFC 8305); a hint that failed goes to the back, a secure one not
behind a plain one; when all have failed, or the link was lost, the peer is dialled again after a jittered back-off.  Of
the racing dials only one gets our proof: the ensemble sees to that.  Each dial waits for its turn among those of all
peers.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from ensemble.errors import EnsembleError, LinkRefused
from ensemble.identity import MAX_HINTS, SECURE_SCHEMES, Hint, HumdAddr, HumdId
from ensemble.interfaces import IWire
from ensemble.mesh.backoff import Backoff
from ensemble.mesh.defaults import PEER_DIALS, STAGGER_SECONDS
from ensemble.mesh.dial_turns import DialTurns
from ensemble.mesh.ensemble import Ensemble
from ensemble.mesh.policy import KnownPeer
from ensemble.protocols import SomebodyElse

Dial = Callable[[Hint, HumdAddr], "Deferred[IWire]"]
"""
Opens a wire to a hint of whom the address names; fires with one that is connected and not started, and is cancelled
where a link came up otherwise.
"""


class Redial:
    """One configured peer: dials until it is linked, and again when the link is lost."""

    log = Logger()

    def __init__(
        self,
        row: KnownPeer,
        ensemble: Ensemble,
        dials: Mapping[str, Dial],
        clock: IReactorTime,
        random: Callable[[], float],
        turns: DialTurns,
    ) -> None:
        self.row, self.last_failure, self.mend = row, "", ""
        self._ensemble, self._dials, self._clock, self._turns = ensemble, dials, clock, turns
        self._failures: dict[Hint, tuple[str, str]] = {}  # of each hint the last: the cause, and the mend
        self._backoff = Backoff(random)
        self._order = row.dial_order(dials)
        self._waiting: list[Hint] = []  # of this race, not started yet
        self._racing: dict[Deferred[Any], bool] = {}  # True while it connects; then the ensemble shakes hands on it
        self._timer: IDelayedCall | None = None
        self._running = self._told = self._held = False

    @property
    def redial_in(self) -> float | None:
        """Seconds until its hints are dialled again; None where nobody waits for that."""
        pause = None if self._racing or self._waiting else self._timer
        return max(0.0, pause.getTime() - self._clock.seconds()) if pause is not None and pause.active() else None

    @property
    def waits(self) -> bool:
        """Is none of its hints being dialled for want of a turn?"""
        return not self._racing and self._turns.waits(self)

    @property
    def dials(self) -> bool:
        """Is there a hint that can be dialled, and may it be now?"""
        return bool(self._order) and not self._held

    def start(self) -> None:
        """Dial now, unless there is a link or nothing to dial, or it is held."""
        self._running = True
        self._judge_hints()
        if self._is_wanted():
            self._race()

    def hold(self, held: bool) -> None:
        """Do not dial while ``held``; afterwards it is as if a link had been lost."""
        if held == self._held:
            return
        self._held = held
        if held:
            self._backoff.came_up(self._clock.seconds())
            self._settle(True)
        else:
            self.went_down()

    def stop(self) -> None:
        """Dial no more; dials under way are dropped."""
        self._running = False
        self._settle(True)

    def came_up(self) -> None:
        """There is a link: nothing to dial."""
        self.last_failure = self.mend = ""
        self._failures.clear()
        self._backoff.came_up(self._clock.seconds())
        self._settle(False)

    def went_down(self) -> None:
        """The link was lost."""
        delay = self._backoff.went_down(self._clock.seconds())
        if self._is_wanted():
            self._judge_hints()
            self._again(delay)

    def _is_wanted(self) -> bool:
        return self._running and not self._held and not self._ensemble.linked(self.row.peer)

    def _judge_hints(self) -> None:
        """Say so, once, where the row has hints and none of them can be dialled."""
        if self._order or not self.row.hints:
            return
        self.last_failure = f"none of its hints can be dialled from here: {' '.join(self.row.hints)}"
        if self.row.needs_secure:
            self.mend = (
                f"one is secure, so plain ones are tried only after `ensemble trust {self.row.peer.full} --plain`"
            )
            self.last_failure += f"; {self.mend}"
        if not self._told:
            self._told = True
            self.log.info("cannot link {peer}: {cause}", peer=self.row.peer.full, cause=self.last_failure)

    def _settle(self, connected: bool) -> None:
        """
        End the race.

        :param connected: the dials that shake hands are dropped, too.  Where a link came up that is the ensemble's to
            do: one that has said all it has to say may be up at the other side.
        """
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._waiting = []
        self._turns.withdraw(self)
        racing, self._racing = self._racing, {}
        for dial, connects in racing.items():
            if connects or connected:
                dial.cancel()

    def _again(self, delay: float) -> None:
        self._settle(True)
        if self._order:
            self._timer = self._clock.callLater(delay, self._race)

    def _race(self) -> None:
        self._timer = None
        self._waiting = list(self._order)
        self._next()

    def _next(self) -> None:
        """Have the next hint of the race started when it is our turn."""
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None
        if self._waiting and len(self._racing) < PEER_DIALS:
            self._turns.ask(self, self._begin)

    def _begin(self) -> None:
        """Start the next hint of the race, and arm the start of the one behind it."""
        hint = self._waiting.pop(0)
        if self._waiting:
            self._timer = self._clock.callLater(STAGGER_SECONDS, self._next)
        pins = [text for text in self.row.hints if hint.scheme == "tls" and text.startswith("tls-fp:")]
        addr = HumdAddr(self.row.peer, (str(hint), *pins[: MAX_HINTS - 1]))
        attempt: Deferred[Any] = maybeDeferred(self._dials[hint.scheme], hint, addr)
        self._racing[attempt] = True
        attempt.addCallback(self._connected, attempt)
        attempt.addErrback(self._failed, hint, attempt)
        attempt.addBoth(self._ended, attempt)

    def _connected(self, wire: IWire, attempt: Deferred[Any]) -> Deferred[HumdId]:
        self._racing[attempt] = False
        return self._ensemble.install(wire)

    def _failed(self, failure: Failure, hint: Hint, attempt: Deferred[Any]) -> None:
        if isinstance(failure.value, SomebodyElse):
            self._ensemble.rules.learn(failure.value.succeeds)  # it may end this very race
        if attempt not in self._racing:
            return  # settled already
        if hint in self._order:
            self._order.remove(hint)
            self._order.append(hint)
            self._order.sort(key=lambda each: each.scheme not in SECURE_SCHEMES)
        self._ensemble.counters["dials.failed"] += 1
        cause = failure.getErrorMessage()
        mend = failure.value.mend if isinstance(failure.value, LinkRefused) else ""
        if isinstance(failure.value, SomebodyElse):
            said, is_mend = self._ensemble.rules.instead(self.row, failure.value.found)
            cause, mend = cause.removesuffix(mend) + said, said if is_mend else ""
        if self._failures.pop(hint, None) != (cause, mend):  # the same cause again and again is one line
            tell = self.log.warn if mend else self.log.info
            over = "" if str(hint) in cause.partition(";")[0] else " over {hint}"  # behind the semicolon is a mend
            tell("cannot link {peer}" + over + ": {cause}", peer=self.row.peer.full, hint=str(hint), cause=cause)
        self._failures[hint] = cause, mend
        # What somebody can mend counts before what comes and goes: a changed key is not hidden by a dead address.
        self.last_failure, self.mend = next((each for each in self._failures.values() if each[1]), (cause, mend))
        if not failure.check(EnsembleError, OSError) and not failure.type.__module__.startswith("twisted.internet"):
            self.log.failure("a dial died", failure=failure)

    def _ended(self, result: object, attempt: Deferred[Any]) -> None:
        self._turns.ended()
        if isinstance(result, Failure):
            self.log.failure("what was to be done about a dial that failed died", failure=result)
        if attempt not in self._racing:
            return  # settled already
        del self._racing[attempt]
        if self._waiting:
            self._next()
        elif not self._racing:
            self._again(self._backoff.failed())


class Dialler(Service):
    """
    The configured peers; give it the rows again when they change.

    It dials while it is started.  A stop drops the dials under way; the links are the ensemble's, and stay.
    """

    def __init__(
        self,
        ensemble: Ensemble,
        dials: Mapping[str, Dial],
        clock: IReactorTime,
        random: Callable[[], float],
        spare: Callable[[], bool] = lambda: True,
    ) -> None:
        """
        :param ensemble: its limits say how many dials may be under way at once.
        :param dials: by scheme, how to open a wire to a hint; a scheme of your own counts as plain.  What comes must
            say ``dialled`` and ``peer``; what it fails with, `LinkRefused` for instance, is told and dialled again.
        :param clock: the reactor, or the ensemble's ``Clock`` in tests.
        :param random: uniform in [0, 1), for the jitter.
        :param spare: are there descriptors for one more dial?
        """
        self._turns = DialTurns(ensemble.limits.pending_dials, clock, spare)
        self._ensemble, self._dials, self._clock, self._random = ensemble, dials, clock, random
        self._redials: dict[HumdId, Redial] = {}
        ensemble.watch(self._changed)

    def set_peers(self, rows: Iterable[KnownPeer], held: Container[HumdId] = ()) -> None:
        """
        Dial the new rows, drop the removed ones; a row that did not change is left alone, our own passed over.

        Links stay: `Ensemble.judge_again` ends those of rows that are gone.

        :param held: those that are not to be dialled for the time being: somebody else is known to be there.
        """
        wanted = {row.peer: row for row in rows if row.peer != self._ensemble.me}
        for peer, redial in list(self._redials.items()):
            if wanted.get(peer) != redial.row:
                self._redials.pop(peer).stop()
        new = [
            Redial(row, self._ensemble, self._dials, self._clock, self._random, self._turns)
            for peer, row in wanted.items()
            if peer not in self._redials
        ]
        self._redials.update((redial.row.peer, redial) for redial in new)
        for peer, redial in self._redials.items():
            redial.hold(peer in held)
        if self.running:
            self._start(new)

    def dials(self, peer: HumdId) -> bool:
        """True where ``peer`` is one of those, is not held, and a hint of it is for a wire that we have and may use."""
        redial = self._redials.get(peer)
        return redial is not None and redial.dials

    def waits(self, peer: HumdId) -> bool:
        """True where ``peer`` would be dialled now, and it is not its turn yet."""
        redial = self._redials.get(peer)
        return redial is not None and redial.waits

    def last_failure(self, peer: HumdId) -> str:
        """Why the last dial of ``peer`` failed; empty where none did since it was linked."""
        redial = self._redials.get(peer)
        return "" if redial is None else redial.last_failure

    def redial_in(self, peer: HumdId) -> float | None:
        """Seconds until ``peer`` is dialled again; None where it is linked, or being dialled, or never is."""
        redial = self._redials.get(peer)
        return None if redial is None else redial.redial_in

    def mend(self, peer: HumdId) -> str:
        """What the operator can do about it, as far as that is known."""
        redial = self._redials.get(peer)
        return "" if redial is None else redial.mend

    def startService(self) -> None:
        super().startService()
        self._start(list(self._redials.values()))

    def stopService(self) -> None:
        super().stopService()
        for redial in self._redials.values():
            redial.stop()

    def _start(self, redials: Iterable[Redial]) -> None:
        for redial in redials:
            if self._redials.get(redial.row.peer) is redial:  # what one before it found may have changed the rows
                redial.start()

    def _changed(self, peer: HumdId, up: bool) -> None:
        redial = self._redials.get(peer)
        if redial is None:
            return
        if up:
            redial.came_up()
        else:
            redial.went_down()
