"""
One link per peer: what happens when a second link to the same humd comes up (wire-0.8 section 3, docs/one-link.rst).

Theory of operation.  A peer has at most one link that tones are written on.  A second link that completes is

- *refused*, where its level is weaker than the first one's, or it may bring what is older than what was read
  (`LinkOrder`);
- *the same meeting twice*, where both sides dialled at once: dialled from the other side, by the same instance, on
  the same level, with ``bye-1``, and the first up for less than 15 s.  The two are made one without losing, doubling
  or reordering a tone, see below;
- *the newer*, in every other case, and replaces the older: the peer restarted, or lost the old link before we did.

Dialled at once.  The link that the smaller id dialled *wins*, the other *loses*; the smaller id *leads*::

    leads    both up: stop reading the winner; goodbye on the loser; write on the winner
    follows  both up: stop reading the winner; go on writing where we wrote first
             the leader's goodbye read: ours on the loser; write on the winner; read the winner
    leads    the follower's goodbye read: close the loser; read the winner
    follows  close the loser, after the leader

A goodbye is the last line of its side on the loser, so who has read it has read all that came before, and only then
reads what the other wrote next, on the winner.  The leader may speak first because it knows that the other has the
loser up: that side dialled it, and with proofs the dialler is up first.  Without proofs the listener is up first, so
a follower whose dial is out (`PeerLinks.dial_committed`) does not read the winner before it knows what became of
that dial.

Where it ends in another way, whoever wrote on the link that broke tells a loss, and nobody else: a side that forgets
the asks of the other without need leaves it waiting for ever.  The follower's answer is the one line whose fate its
writer could not see; so it lets the leader close first, and where the loser breaks instead, or the leader leaves it
open, it gives up both links.  A close of its own would look orderly here though the leader had cut its end unread.

Without a goodbye nobody knows where the other spoke first: if tones were read on the loser, the winner is not read.

No method knows a socket or a clock.  The owner executes the actions in the order in which it got them, before it
handles another line of any link of this peer.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from attrs import define, frozen

from ensemble.identity import HumdId
from ensemble.mesh.defaults import CROSSED_SECONDS, MOVE_SECONDS, SETTLE_SECONDS, WATCH_SECONDS
from ensemble.mesh.link_actions import (
    Action,
    CloseDrained,
    CloseNow,
    GoodbyeReason,
    PauseReading,
    PeerLost,
    PeerUp,
    Refuse,
    ResumeReading,
    SayGoodbye,
    TwoProcesses,
    WriteOn,
)
from ensemble.mesh.link_order import Contest, LinkOrder, Up

L = TypeVar("L", bound=Hashable)


class _Down:
    """No link."""

    held_until = None


@define(eq=False)
class _One(Generic[L]):
    """
    The one link.

    :ivar widowed: it was the loser, and the winner is gone: the other side may have left it already.
    :ivar held_until: its reading is paused, for a dial of ours may be up at the other side.
    """

    up: Up[L]
    widowed: bool = False
    held_until: float | None = None


@frozen(eq=False)
class _Two(Generic[L]):
    """Dialled at once: the winner is not read, the loser is.  ``first`` is the one that was up first here."""

    winner: Up[L]
    loser: Up[L]
    first: Up[L]
    held_until: float


@frozen(eq=False)
class _Moving(Generic[L]):
    """The loser is done with, the winner not up yet: tones are held."""

    loser: Up[L]
    since: float
    held_until: float


@define(eq=False)
class _Leaving:
    """A link on which all is said and read, not yet gone."""

    until: float
    closed: bool  # by us, in order
    at_stake: bool  # any end but an orderly one of theirs means that the other side may not have read all of ours


class PeerLinks(Generic[L]):
    """
    The links to one peer.

    ``L`` is the owner's link, hashable by identity.  Every method that may do something returns what is to be done.
    """

    def __init__(
        self, me: HumdId, peer: HumdId, heard: Callable[[L], bool], order: LinkOrder, close_seconds: float
    ) -> None:
        """
        :param heard: was a tone of the peer read on this link?
        :param order: of the links that there were before.
        :param close_seconds: an orderly close that takes longer is cut.
        :raises ValueError: the ids are equal; such a hello is to be refused before it gets here.
        """
        if me == peer:
            raise ValueError("a humd has no links to itself")
        self._heard, self._order, self._close_seconds = heard, order, close_seconds
        self._leads = me < peer
        self._state: _Down | _One[L] | _Two[L] | _Moving[L] = _Down()
        self._leaving: dict[L, _Leaving] = {}
        self._dials: dict[L, None] = {}  # committed, in order
        self._contest: Contest[L] = Contest()

    @property
    def up(self) -> bool:
        """The peer counts as linked: do not dial.  Also while tones move from one link to another."""
        return not isinstance(self._state, _Down)

    def links(self) -> list[L]:
        """The links that are up, then those that are only closing: none means that nothing is left to remember."""
        return [*(up.link for up in self._ups()), *self._leaving]

    # what happened

    def dial_committed(self, link: L, now: float) -> list[Action[L]]:
        """
        A dial of ours has sent its last handshake line and is not up: only for handshakes without ``proof-1``.

        Call it at the latest when another link to the peer comes up.  Its end must be told to `lost`.
        """
        self._dials[link] = None
        return self._hold(now)

    def came_up(
        self,
        link: L,
        now: float,
        *,
        dialled: bool,
        level: int,
        instance: str | None,
        bye: bool,
        began: float | None = None,
    ) -> list[Action[L]]:
        """
        The handshake of ``link`` is done; no line behind it was handled yet.

        :param level: how well the peer is proved; higher is better.
        :param instance: what its hello said; None where it said none.
        :param bye: both hellos list ``bye-1``.
        :param began: when it was accepted or dialled; None where that is not known.
        """
        self._dials.pop(link, None)
        known = began if began is not None and began <= now else None  # else the clock was set back
        new = Up(link, dialled, level, instance, bye, now, known)
        state = self._state
        if isinstance(state, _Down):
            return [Refuse(link)] if self._order.late(new) else self._begin(new, now)
        old = state.up if isinstance(state, _One) else state.winner if isinstance(state, _Two) else state.loser
        if level < old.level or self._order.late(new):  # on the one that is up the peer proved more, or spoke later
            return [Refuse(link), *self._release()]
        if isinstance(state, _One) and self._crossed(old, new) and now - old.since < CROSSED_SECONDS:
            if self._leads and old.dialled and self._heard(old.link):
                return [Refuse(link)]  # the other side writes on the winner; what it says here is older, if anything
            return self._cross(state, new, now)
        if isinstance(state, _Moving) and self._crossed(old, new) and (began is None or began <= state.since):
            self._order.came_up(new)
            self._state = _One(new)
            return [WriteOn(link)]
        return self._replace(new, now)

    def goodbye_read(self, link: L, reason: str, now: float, *, wrote: bool = True) -> list[Action[L]]:
        """
        The peer's last line on ``link``; the link may be any, and the reason anything.

        :param wrote: we wrote tones on ``link``.
        """
        state, up = self._state, self._find(link)
        if up is None or not up.bye:
            return []
        if reason != GoodbyeReason.DUPLICATE:
            known = reason in GoodbyeReason._value2member_map_
            return self._lose_all(f"it said goodbye: {reason}" if known else "it said goodbye", now)
        if isinstance(state, _Two) and up is state.loser:
            winner = state.winner.link
            self._state = _One(state.winner)
            end = self._close(link, now) if self._leads else self._answer(link, now, wrote, [WriteOn(winner)])
            return [*end, ResumeReading(winner)]
        if isinstance(state, _One) and up.dialled and not self._leads:
            if state.widowed:
                self._state = _Down()
                return [*self._answer(link, now, False, []), *self._tell("the link that it moved to is gone", now)]
            if self._order.outlived(up):
                return self._lose_all("the link that it moved to is gone", now)
            self._state = _Moving(up, now, now + MOVE_SECONDS)
            return self._answer(link, now, wrote, [WriteOn(None)])
        return self._lose_all("it said goodbye to the link that stays", now)

    def lost(
        self, link: L, now: float, *, reason: str = "the connection was lost", clean: bool = True
    ) -> list[Action[L]]:
        """
        ``link`` is gone, closed by us or not.  Nothing for a link that is not known here.

        :param clean: False where it was reset or cut: what we wrote last may not have been read.
        """
        leaving = self._leaving.pop(link, None)
        if leaving is not None:
            broke = leaving.at_stake and not clean
            return self._lose_all("the link that it moved from broke before it had read all", now) if broke else []
        if link in self._dials:
            del self._dials[link]
            return self._release()
        state, up = self._state, self._find(link)
        if isinstance(state, _Two) and up is state.loser and not self._heard(link):
            return self._keep(state, reason, now)
        if isinstance(state, _Two) and up is state.winner and state.first is state.loser and not self._leads:
            self._state = _One(state.loser, widowed=True)  # nothing was read or written on the winner: no loss yet
            return []
        return self._lose_all(reason, now, gone=link) if up is not None else []

    def leave(self, reason: GoodbyeReason, now: float, message: str = "") -> list[Action[L]]:
        """We part from the peer: goodbye where it may still be said, and an orderly close."""
        if not self.up:
            return []
        actions: list[Action[L]] = []
        for up in self._ups():
            if self._leads and isinstance(self._state, _Two) and up is self._state.loser:
                actions.append(CloseNow(up.link))  # an orderly end behind our goodbye would say that all is well
                continue
            if up.bye:
                actions.append(SayGoodbye(up.link, reason, message))
            actions += self._close(up.link, now)
        self._state = _Down()
        return actions + self._tell(f"we said goodbye: {reason.value}", now)

    # time

    def tick(self, now: float) -> list[Action[L]]:
        """What is due."""
        actions: list[Action[L]] = []
        for link, leaving in list(self._leaving.items()):
            if now < leaving.until:
                continue
            if not leaving.closed and not leaving.at_stake:
                leaving.closed, leaving.until = True, now + self._close_seconds
                actions.append(CloseDrained(link))
                continue
            del self._leaving[link]
            actions.append(CloseNow(link))
            if leaving.at_stake:
                actions += self._lose_all("the link that it moved from was not closed in time", now)
        state = self._state
        if state.held_until is None or now < state.held_until:
            return actions
        if isinstance(state, _One):
            actions += [CloseNow(dial) for dial in self._dials]
            self._dials.clear()
            return actions + self._release()
        if isinstance(state, _Two):
            return actions + self._part(state, "two links to it could not be made one in time", now)
        return actions + self._lose_all("the link that it moved to did not come up", now)

    def next_deadline(self) -> float | None:
        """When to call `tick`; None while nothing is due."""
        due = (self._state.held_until, *(leaving.until for leaving in self._leaving.values()))
        return min((until for until in due if until is not None), default=None)

    # inside

    def _ups(self) -> list[Up[L]]:
        state = self._state
        if isinstance(state, _One):
            return [state.up]
        return [state.winner, state.loser] if isinstance(state, _Two) else []

    def _find(self, link: L) -> Up[L] | None:
        return next((up for up in self._ups() if up.link == link), None)

    def _crossed(self, old: Up[L], new: Up[L]) -> bool:
        """Could both sides have dialled these two at once?  A stronger level could not: nothing weaker may win."""
        same = old.instance is not None and old.instance == new.instance and old.level == new.level
        return same and old.bye and new.bye and old.dialled is not new.dialled

    def _begin(self, new: Up[L], now: float) -> list[Action[L]]:
        self._order.came_up(new)
        self._state = _One(new)
        return [WriteOn(new.link), PeerUp(new.link), *self._hold(now)]

    def _cross(self, one: _One[L], new: Up[L], now: float) -> list[Action[L]]:
        self._order.came_up(new)
        old = one.up
        winner, loser = (new, old) if new.dialled is self._leads else (old, new)
        self._state = _Two(winner, loser, old, now + SETTLE_SECONDS)
        actions: list[Action[L]] = [] if one.held_until is not None else [PauseReading(winner.link)]
        if self._leads:
            actions += [SayGoodbye(loser.link, GoodbyeReason.DUPLICATE), WriteOn(winner.link)]
        return actions

    def _replace(self, new: Up[L], now: float) -> list[Action[L]]:
        olds = self._ups()
        actions: list[Action[L]] = [CloseNow(up.link) for up in olds]
        self._state = _Down()
        actions += [*self._tell("a newer link replaced the older", now), *self._begin(new, now)]
        return [*actions, TwoProcesses()] if self._contest.replaced(olds, new, now) else actions

    def _part(self, two: _Two[L], reason: str, now: float) -> list[Action[L]]:
        """No goodbye came on the loser in time."""
        if not self._heard(two.loser.link):
            return [CloseNow(two.loser.link), *self._keep(two, reason, now)]
        if two.first is two.winner or self._leads:
            return self._lose_all(reason, now)
        self._state = _One(two.loser, widowed=True)
        return [CloseNow(two.winner.link)]

    def _keep(self, two: _Two[L], reason: str, now: float) -> list[Action[L]]:
        """The loser ended in the wrong way: a loss for who wrote there."""
        self._state = _One(two.winner)
        told = self._tell(reason, now) if two.first is two.loser else []
        return [*told, ResumeReading(two.winner.link)]

    def _lose_all(self, reason: str, now: float, gone: L | None = None) -> list[Action[L]]:
        actions: list[Action[L]] = [CloseNow(up.link) for up in self._ups() if up.link != gone]
        self._state = _Down()
        return actions + self._tell(reason, now)

    def _tell(self, reason: str, now: float) -> list[Action[L]]:
        """A loss; the state says already what is left."""
        self._order.lost_at = now
        for leaving in self._leaving.values():
            leaving.at_stake = False
        left: list[Action[L]] = [action(up.link) for up in self._ups() for action in (WriteOn, PeerUp)]
        return [WriteOn(None), PeerLost(reason), *left]

    def _answer(self, loser: L, now: float, wrote: bool, move: list[Action[L]]) -> list[Action[L]]:
        actions: list[Action[L]] = [SayGoodbye(loser, GoodbyeReason.DUPLICATE), *move]
        if not wrote:
            return actions + self._close(loser, now)
        self._leaving[loser] = _Leaving(now + WATCH_SECONDS, closed=False, at_stake=True)
        return actions

    def _close(self, link: L, now: float) -> list[Action[L]]:
        self._leaving[link] = _Leaving(now + self._close_seconds, closed=True, at_stake=False)
        return [CloseDrained(link)]

    def _hold(self, now: float) -> list[Action[L]]:
        """A dial of ours may be up at the other side, which then wrote there first: wait with reading the winner."""
        state = self._state
        if not isinstance(state, _One) or state.held_until is not None or self._leads or not self._dials:
            return []
        if state.up.dialled or not state.up.bye:
            return []
        state.held_until = now + SETTLE_SECONDS
        return [PauseReading(state.up.link)]

    def _release(self) -> list[Action[L]]:
        state = self._state
        if not isinstance(state, _One) or state.held_until is None or self._dials:
            return []
        state.held_until = None
        return [ResumeReading(state.up.link)]
