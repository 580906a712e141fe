"""
The rules in force: what the owner wants of peers, and what statements of theirs about their keys make of that.

A handshake asks for them anew for every hello: the owner may have changed the rules meanwhile, or that very hello may
say whose heir it is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from attrs import evolve
from twisted.logger import Logger

from ensemble.identity import BadStatement, HumdId, Statement, statement_from
from ensemble.mesh.defaults import LINK_STATEMENTS, MAX_STATEMENTS
from ensemble.mesh.lineage import NOT_FINISHED, Learned, Lineage
from ensemble.mesh.link import Link
from ensemble.mesh.membership import Membership
from ensemble.mesh.policy import KnownPeer, Policy
from ensemble.mesh.proof_memory import ProofMemory
from ensemble.protocols import REFUSALS, REKEY_FEATURE
from ensemble.tone import BadDocument, read_document, write_document

EARLIER: Final = (
    "it has an earlier key of this humd: an old copy of it runs there, or somebody took that key; "
    "`ensemble revoke --yes --key` with the file of that key ends what it is worth elsewhere"
)


class Rules:
    """
    The policy of one ensemble, as it changes.

    :ivar policy: in force now.
    :ivar lineage: what is known of keys.
    :ivar changed: called after statements have changed `policy`, and links were judged by it.
    :ivar ours: what we say of our own keys on every link whose other end understands it.
    """

    log = Logger()

    def __init__(
        self,
        me: HumdId,
        policy: Policy,
        memory: ProofMemory,
        counters: Counter[str],
        members: Membership,
        earlier: Iterable[HumdId] = (),
    ) -> None:
        """:param earlier: ids that we went by: whoever comes as one of them has an old key of ours."""
        self.lineage = Lineage()
        self.changed: list[Callable[[], None]] = []
        self.ours: list[Statement] = []
        self._me, self._memory, self._counters, self._members = me, memory, counters, members
        self._earlier = dict.fromkeys(earlier, EARLIER)
        for text in memory.statements():
            self._remember(text)
        self.put_in_force(policy)

    def put_in_force(self, policy: Policy) -> None:
        """The owner's rules are these now."""
        self._wanted = policy
        judged = self.lineage.judge(policy, self._memory.ever_proven)
        self.policy = evolve(judged, named={**judged.named, **self._earlier})
        self._memory.keep(self.policy.known)

    # statements

    def came_up(self, link: Link) -> None:
        """Say what we have to say of our keys; and where an heir links, whom it goes on for is replaced."""
        for statement in self.ours:
            self._say(link, statement)
        if link.peer is not None and self.lineage.is_heir(link.peer):
            self._judge()

    def announce(self, statement: Statement) -> None:
        """Say something new of our own keys, on all links that are up or come up from now on."""
        # It is no news when it comes back, and an earlier key of ours that is revoked is refused here, too.
        if self.lineage.learn(statement, (), anybody=True) is Learned.NEW:
            self._judge()
        if statement not in self.ours:
            self.ours.append(statement)
            if self.lineage.is_revoked(self._me):
                self.log.error("the key of this humd is revoked: give it a new one, and everybody its new id")
            for peer in self._members.linked():
                self._say(peer.writing, statement)

    def heard(self, link: Link, tone: object) -> None:
        """A statement on a link that is up."""
        link.statements += 1
        if link.statements > LINK_STATEMENTS:
            self._counters["rekey.flood"] += 1
            return
        try:
            statement = statement_from(tone)
        except BadStatement as error:
            self._counters["rekey.bad"] += 1
            self.log.debug("{peer} sent a bad statement: {cause}", peer=link.peer_text, cause=str(error))
            return
        self.learn([statement])

    def learn(self, statements: Sequence[Statement], anybody: bool = False) -> Learned:
        """
        Take in what somebody says of keys; a wrong signature ends it.

        :param anybody: also of ids that have no row.
        :returns: what became of the last that was looked at.
        """
        outcome = Learned.KNOWN
        fresh: list[Statement] = []
        for statement in statements:
            outcome = self.lineage.learn(statement, self._wanted.known, anybody or statement.who == self._me)
            self._counters[outcome] += 1
            if outcome in (Learned.NEW, Learned.DISPUTED):
                self._memory.note_statement(write_document(statement.to_tone()))
                fresh.append(statement)
            elif outcome in (Learned.FORGED, Learned.FULL):
                if outcome is Learned.FULL and self._counters[outcome] == 1:
                    self.log.error(
                        "no more is learned of the keys of peers: {limit} statements are kept already, as many as fit",
                        limit=MAX_STATEMENTS,
                        event="rekey-full",
                    )
                break
        for statement in fresh:
            self._tell(statement)
        if fresh:
            self._judge()
        return outcome

    def lends_to(self, who: HumdId) -> bool:
        """A row that says ``follow`` ever led to ``who``, so that what it proved here is what keeps the old key out."""
        line, known = self.lineage.line, self._wanted.known.values()
        # Of each heir, too: in a circle one is an heir of its own.
        before = (each for row in known if row.follow for each in line(row.peer))
        return any(self.lineage.was_replaced(each, {who}.__contains__) for each in before)

    def remarks(self) -> list[str]:
        """One line, with the mend, for each row of the owner's that statements have something to say about."""
        return [remark for who in self._wanted.known if (remark := self._remark(who)) is not None]

    # inside

    def _judge(self) -> None:
        before = self.policy
        self.put_in_force(self._wanted)
        if self.policy != before:
            self._members.judge(self.policy)
            for tell in self.changed:
                tell()

    def _say(self, link: Link | None, statement: Statement) -> None:
        if link is not None and link.shaken is not None and REKEY_FEATURE in link.shaken.features:
            link.say(statement.to_tone())

    def _remember(self, text: str) -> None:
        try:
            outcome = self.lineage.learn(statement_from(read_document(text)), (), anybody=True)
        except (BadStatement, BadDocument):
            outcome = Learned.FORGED
        if outcome is not Learned.NEW and outcome is not Learned.DISPUTED:
            self.log.error(
                "a statement that was kept cannot be used ({outcome}): {text}", outcome=outcome.name.lower(), text=text
            )

    def _tell(self, statement: Statement) -> None:
        who = statement.who
        if who == self._me:
            self.log.error(
                "somebody else has the key of this humd: it signed a {what} that is not in our files; "
                "`ensemble revoke --yes`, then give this humd a new key and everybody its new id",
                what=statement.to_tone()["chi"],
                event="rekey-stolen",
            )
            return
        tell = self.log.error if self.lineage.is_disputed(who) else self.log.warn
        tell("{remark}", remark=self._remark(who), peer=who.full, event="rekey")

    def _remark(self, who: HumdId) -> str | None:
        row = self._wanted.known.get(who)
        name = who.full if row is None or row.alias is None else f"{row.alias} ({who.full})"
        line = self.lineage.line(who)
        dead = self.lineage.dead(line[-1])
        if dead is not None:
            whose = "is" if len(line) == 1 else f"goes on as {line[-1].full}, which is"
            return f"{name} {whose} refused: {dead}; ask its owner, by another way, which id to put into its row"
        if len(line) == 1:
            return None
        lent = row.follow if row is not None else self.lends_to(who)
        why = ", as its row does not say so" if row is not None else ""
        followed = "is followed" if lent else f"is not followed{why}"
        return f"{name} goes on as {line[-1].full} and {followed}" + (f"; {mend}" if (mend := self.mend(who)) else "")

    def mend(self, who: HumdId) -> str:
        """What makes the row of ``who`` that of its heir; empty where it has no row, or no heir that is alive."""
        row, heir = self._wanted.known.get(who), self.lineage.line(who)[-1]
        if row is None or heir == who or self.lineage.dead(heir) is not None:
            return ""
        line = self.handover(row, heir) or f"`ensemble untrust {who.full}`"  # the heir has a row of its own
        return f"ask its owner, by another way; when it has finished: {line}"

    def instead(self, row: KnownPeer, there: HumdId) -> tuple[str, bool]:
        """
        What is to be said where ``there`` was found in the place of whom ``row`` names.

        :returns: that, and whether it is a mend.
        """
        if there == self._me:
            return f"that is our own id: a copy of our key is there, or ourselves; {REFUSALS['own-id']}", True
        heir = self.policy.known.get(there)
        if heir is not None and heir.heir_of is not None and row.peer in self.lineage.line(heir.heir_of):
            return "it goes on as that one, and is followed", False
        if there in self.lineage.line(row.peer)[1:] and (mend := self.mend(row.peer)):
            return f"it goes on as that one; {mend}", True
        if row.peer in self.lineage.line(there)[1:]:
            return NOT_FINISHED.format(heir=row.peer.full), True
        line = self.handover(row, there)
        return REFUSALS["other-id"] + (f": {line}" if line else ""), True

    def handover(self, row: KnownPeer, heir: HumdId) -> str:
        """See `KnownPeer.handover`; empty where the heir has a row of its own, or is us, or dead."""
        if heir == self._me or heir in self._wanted.known or self.lineage.dead(heir) is not None:
            return ""
        if row.heir_of is not None:  # what is in the file is the row of that one
            row = self._wanted.known.get(row.heir_of, row)
        return row.handover(heir)
