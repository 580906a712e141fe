"""
What is known of the keys of others, and what follows from it: ``docs/rekeying.rst``.

A core without links and clocks.  It holds a set of verified statements, which only grows, and every answer depends on
that set alone, never on the order in which it came together.
"""

from __future__ import annotations

from collections.abc import Callable, Container
from enum import StrEnum
from typing import Final

from attrs import evolve

from ensemble.identity import MAX_CHAIN, HumdId, Revocation, Statement, Succession
from ensemble.mesh.defaults import MAX_STATEMENTS
from ensemble.mesh.policy import KnownPeer, Policy
from ensemble.protocols import Level

NOT_FINISHED: Final = (
    "it goes on as {heir}, which has a row: it comes as that one when its owner has finished "
    "(ensemble rotate --finish over there, and a restart)"
)
NOT_FOLLOWED: Final = (
    "{old} goes on as it, and that one's row does not say to follow; "
    "ask its owner, by another way; when it has finished: {line}"
)
RIVAL: Final = (
    "it is one of the successors that the key of {old} named, which may be a thief's: "
    "ask its owner, by another way, which id to trust"
)


class Learned(StrEnum):
    """What became of a statement; the value is its counter."""

    NEW = "rekey.learned"
    DISPUTED = "rekey.disputed"  # a second, different succession: learned, and the id is dead
    KNOWN = "rekey.known"
    UNCOVERED = "rekey.uncovered"  # about an id that no row leads to
    FORGED = "rekey.forged"
    FULL = "rekey.full"


class Lineage:
    """The statements that we keep."""

    def __init__(self) -> None:
        self._successions: dict[HumdId, list[Succession]] = {}  # by the old id; one, or two that differ
        self._revoked: dict[HumdId, Revocation] = {}
        self._before: dict[HumdId, set[HumdId]] = {}  # by the new id: who named it
        self._size = 0  # successions

    def learn(self, statement: Statement, rows: Container[HumdId], anybody: bool = False) -> Learned:
        """
        Take in a statement, of whoever it came from.  What costs is done last.

        :param rows: the ids that we care for.
        :param anybody: the operator vouches that it is of use: about any id.
        """
        who = statement.who
        if self._holds(statement, who):
            return Learned.KNOWN
        if not anybody and not self.leads_to(who, rows, isinstance(statement, Succession)):
            return Learned.UNCOVERED
        if (len(self._revoked) if isinstance(statement, Revocation) else self._size) >= MAX_STATEMENTS:
            return Learned.FULL
        if not statement.is_signed():
            return Learned.FORGED
        if isinstance(statement, Revocation):
            self._revoked[who] = statement
            return Learned.NEW
        self._size += 1
        said = self._successions.setdefault(who, [])
        said.append(statement)
        self._before.setdefault(statement.heir, set()).add(who)
        return Learned.NEW if len(said) == 1 else Learned.DISPUTED

    def is_revoked(self, who: HumdId) -> bool:
        """Its key is not to be trusted any more."""
        return who in self._revoked

    def is_disputed(self, who: HumdId) -> bool:
        """Its key has named two different successors."""
        return len(self._successions.get(who, ())) > 1

    def dead(self, who: HumdId) -> str | None:
        """None, or why nothing that ``who`` says or said counts."""
        if who in self._revoked:
            return "its key was revoked"
        said = self._successions.get(who, ())
        if len(said) > 1:
            return f"its key named {said[0].heir.full} and {said[1].heir.full} as its successors: is it stolen?"
        return None

    def heir(self, who: HumdId) -> HumdId | None:
        """The one id that ``who`` goes on as, if there is one."""
        said = self._successions.get(who)
        return said[0].heir if said is not None and self.dead(who) is None else None

    def line(self, who: HumdId) -> list[HumdId]:
        """``who``, its heir, the heir of that and so on; it ends with a dead id, before a circle, or after 8 heirs."""
        line, heir = [who], self.heir(who)
        while heir is not None and heir not in line and len(line) <= MAX_CHAIN:
            line.append(heir)
            heir = self.heir(heir)
        return line

    def was_replaced(self, who: HumdId, proven: Callable[[HumdId], bool]) -> bool:
        """
        Has an id that ``who`` ever led to, alive or dead, proved itself here?

        The dead count too: the death of an heir must not bring back the key before it.
        """
        seen, ahead = {who}, [who]
        for _ in range(MAX_CHAIN):
            ahead = [said.heir for each in ahead for said in self._successions.get(each, ()) if said.heir not in seen]
            if any(map(proven, ahead)):
                return True
            seen.update(ahead)
        return False

    def leads_to(self, who: HumdId, rows: Container[HumdId], further: bool = False) -> bool:
        """
        Is ``who`` an id of ``rows``, or does one lead to it, over nobody who is dead?

        :param further: with room for one more succession.
        """
        behind, seen = {who}, {who}
        for _ in range(MAX_CHAIN if further else MAX_CHAIN + 1):
            if any(each in rows for each in behind):
                return True
            named = set().union(*(self._before.get(each, ()) for each in behind)) - seen
            behind = {each for each in named if self.dead(each) is None}
            seen |= named
        return False

    def is_heir(self, who: HumdId) -> bool:
        """Somebody named it."""
        return who in self._before

    def judge(self, policy: Policy, proven: Callable[[HumdId], bool]) -> Policy:
        """
        What the statements make of the owner's rules.

        :param proven: did this id ever complete ``proof-1`` here?
        """
        involved = self._successions.keys() | self._revoked.keys()
        dead = {who: cause for who in involved if (cause := self.dead(who)) is not None}
        barred = dict(dead)
        heirs: dict[HumdId, KnownPeer] = {}
        named: dict[HumdId, str] = {}
        for who in self._successions:
            heir = next((each for each in self.line(who)[1:] if each in policy.known), None)
            if heir is not None:
                named[who] = NOT_FINISHED.format(heir=heir.full)
        for row in policy.known.values():
            if row.peer not in self._successions:
                continue
            line = self.line(row.peer)
            named |= dict.fromkeys(self._rivals(line[-1]), RIVAL.format(old=line[-1].full))
            if not row.follow:
                named[line[-1]] = NOT_FOLLOWED.format(old=row.peer.full, line=row.handover(line[-1]))
                continue
            for who in line:
                if who in dead or (who != row.peer and who in policy.known):
                    break
                if self.was_replaced(who, proven):
                    barred[who] = "it goes on under a new key, which has linked since, and its row says to follow"
                    if line[-1] in dead:
                        barred[who] += f"; that one, {line[-1].full}, is refused, too: {dead[line[-1]]}"
                elif who != row.peer:
                    heirs.setdefault(who, _heir_row(row, who, proven(who)))
        known = [row for row in (*policy.known.values(), *heirs.values()) if row.peer not in barred]
        return evolve(policy, known=known, barred=barred, named=named)

    def _rivals(self, who: HumdId) -> list[HumdId]:
        """Whom a key has named that named more than one."""
        said = self._successions.get(who, ())
        return [each.heir for each in said] if len(said) > 1 else []

    def _holds(self, statement: Statement, who: HumdId) -> bool:
        if isinstance(statement, Revocation):
            return who in self._revoked
        said = self._successions.get(who, ())
        return len(said) > 1 or any(each.new_key == statement.new_key for each in said)


def _heir_row(row: KnownPeer, heir: HumdId, has_linked: bool) -> KnownPeer:
    """The row as the heir has it: without what was about the old key, and never with less than a proof."""
    return evolve(
        row,
        peer=heir,
        hints=tuple(hint for hint in row.hints if not hint.startswith("tls-fp:")),
        alias=row.alias if has_linked else None,
        level=Level.PROVEN,
        heir_of=row.peer,
    )
