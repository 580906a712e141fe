"""What follows from statements about keys: each rule of the page, then all of them over random schedules."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from random import Random

from twisted.trial.unittest import SynchronousTestCase

from ensemble.identity import MAX_CHAIN, HumdId, HumdKey, Revocation, Statement, Succession, revoke, succeed
from ensemble.mesh import MAX_STATEMENTS, KnownPeer, Learned, Policy
from ensemble.mesh.lineage import Lineage
from ensemble.protocols import Level

KEYS = [HumdKey.from_seed(bytes([number]) * 32) for number in range(24)]
OLD, NEW, THIEF, LATER = KEYS[:4]
PIN = "tls-fp:" + "a" * 64


def row(key: HumdKey, follow: bool = True, **more: object) -> KnownPeer:
    return KnownPeer(key.humd_id(), follow=follow, **more)  # type: ignore[arg-type]


class LineageTestCase(SynchronousTestCase):
    """One peer: its rows, what it learned, who proved itself here."""

    def setUp(self) -> None:
        self.lineage = Lineage()
        self.rows: list[KnownPeer] = [row(OLD)]
        self.proven: set[HumdId] = {OLD.humd_id()}

    def learn(self, statement: Statement) -> Learned:
        return self.lineage.learn(statement, {each.peer for each in self.rows})

    def policy(self, admit_any: bool = False) -> Policy:
        return self.lineage.judge(Policy(Level.PROVEN, admit_any, self.rows), self.proven.__contains__)

    def let_in(self, *keys: HumdKey, among: Iterable[HumdKey] = KEYS) -> None:
        """Exactly these are admitted."""
        policy = self.policy()
        found = {key for key in among if policy.admits(key.humd_id(), wire_secure=True) is None}
        self.assertEqual(found, set(keys))


class LearningTests(LineageTestCase):
    """What is kept."""

    def test_first(self) -> None:
        """A statement about a row's id is learned once; the same again, also of another time, is no news."""
        self.assertEqual(self.learn(succeed(OLD, NEW, 1)), Learned.NEW)
        self.assertEqual(self.learn(succeed(OLD, NEW, 1)), Learned.KNOWN)
        self.assertEqual(self.learn(succeed(OLD, NEW, 2)), Learned.KNOWN)
        self.assertEqual(self.learn(revoke(OLD, 1)), Learned.NEW)
        self.assertEqual(self.learn(revoke(OLD, 2)), Learned.KNOWN)
        self.assertEqual((self.lineage._size, len(self.lineage._revoked)), (1, 1))

    def test_uncovered(self) -> None:
        """Of an id that no row leads to nothing is kept, and no signature is looked at; the operator may."""
        forged = Revocation(NEW.public, 1, bytes(64))
        for statement in (succeed(NEW, LATER, 1), revoke(NEW, 1), forged):
            self.assertEqual(self.learn(statement), Learned.UNCOVERED)
        self.assertEqual(self.lineage.learn(revoke(NEW, 1), (), anybody=True), Learned.NEW)
        self.assertEqual(self.lineage.learn(forged, (), anybody=True), Learned.KNOWN)

    def test_forged(self) -> None:
        """What the keys did not sign is not kept, whoever says it."""
        good = succeed(OLD, NEW, 1)
        for forged in (
            Succession(OLD.public, NEW.public, 2, good.old_signature, good.new_signature),
            Succession(OLD.public, THIEF.public, 1, good.old_signature, succeed(OLD, THIEF, 1).new_signature),
            Revocation(OLD.public, 1, revoke(NEW, 1).signature),
        ):
            self.assertEqual(self.learn(forged), Learned.FORGED)
        self.assertEqual(self.learn(good), Learned.NEW)
        self.let_in(OLD, NEW)

    def test_chain_length(self) -> None:
        """Eight successions lead on from a row, not nine; the last heir may still be revoked."""
        for at in range(MAX_CHAIN):
            self.assertEqual(self.learn(succeed(KEYS[at], KEYS[at + 1], 1)), Learned.NEW)
        self.assertEqual(self.learn(succeed(KEYS[8], KEYS[9], 1)), Learned.UNCOVERED)
        self.let_in(*KEYS[:9])
        self.assertEqual(self.learn(revoke(KEYS[8], 1)), Learned.NEW)
        self.assertEqual(self.learn(revoke(KEYS[9], 1)), Learned.UNCOVERED)
        self.let_in(*KEYS[:8])

    def test_chain_from_elsewhere(self) -> None:
        """Where more statements are known, because other rows led to them, a row still lends to eight heirs at most."""
        self.rows = [row(key) for key in KEYS[:3]]
        for at in range(10):
            self.assertEqual(self.learn(succeed(KEYS[at], KEYS[at + 1], 1)), Learned.NEW)
        self.rows = [row(OLD)]
        self.let_in(*KEYS[:9])

    def test_third(self) -> None:
        """Two that differ are enough: a third is no news, and takes no room."""
        self.assertEqual(self.learn(succeed(OLD, NEW, 1)), Learned.NEW)
        self.assertEqual(self.learn(succeed(OLD, THIEF, 1)), Learned.DISPUTED)
        self.assertEqual(self.learn(succeed(OLD, LATER, 1)), Learned.KNOWN)
        self.assertEqual(self.lineage._size, 2)
        self.assertEqual(self.learn(succeed(NEW, LATER, 1)), Learned.UNCOVERED)

    def test_full(self) -> None:
        """There is a ceiling for each kind, so that no flood of successions keeps a revocation out."""
        self.lineage._size = MAX_STATEMENTS
        self.assertEqual(self.learn(succeed(OLD, NEW, 1)), Learned.FULL)
        self.assertEqual(self.learn(revoke(OLD, 1)), Learned.NEW)
        self.lineage._revoked = dict.fromkeys(map(HumdId, map(self.digest, range(MAX_STATEMENTS))), revoke(NEW, 1))
        self.assertEqual(self.learn(revoke(OLD, 1)), Learned.FULL)

    def digest(self, number: int) -> bytes:
        return number.to_bytes(32, "big")


class FollowingTests(LineageTestCase):
    """Who is let in."""

    def test_not_configured(self) -> None:
        """Without ``follow`` a succession changes nothing for anybody."""
        self.rows = [row(OLD, follow=False)]
        self.learn(succeed(OLD, NEW, 1))
        self.proven.add(NEW.humd_id())
        self.let_in(OLD)
        self.assertEqual(self.lineage.heir(OLD.humd_id()), NEW.humd_id())

    def test_switch(self) -> None:
        """Both are let in until the heir has proved itself; then the old one never again, nor under ``any``."""
        self.learn(succeed(OLD, NEW, 1))
        self.let_in(OLD, NEW)
        self.proven.add(NEW.humd_id())
        self.let_in(NEW)
        self.assertIn("new key", self.policy(admit_any=True).admits(OLD.humd_id(), True) or "")
        self.assertIsNone(self.policy(admit_any=True).admits(THIEF.humd_id(), True))

    def refusal(self, key: HumdKey) -> str:
        return self.policy().admits(key.humd_id(), wire_secure=True) or ""

    def test_refusals(self) -> None:
        """The refusal of an id without a row says what is known of it, and never how to trust a thief."""
        self.rows = [row(OLD, follow=False)]
        self.learn(succeed(OLD, NEW, 1))
        self.assertIn(f"{OLD.humd_id().full} goes on as it", self.refusal(NEW))
        self.rows = [row(NEW)]
        self.assertIn(f"it goes on as {NEW.humd_id().full}, which has a row", self.refusal(OLD))
        self.assertNotIn("ensemble trust", self.refusal(OLD))
        for follow in (True, False):
            self.rows = [row(OLD, follow=follow)]
            self.learn(succeed(OLD, THIEF, 1))
            for key in (NEW, THIEF):
                self.assertIn("may be a thief's: ask its owner", self.refusal(key))
                self.assertNotIn("ensemble trust", self.refusal(key))
            self.assertIn("no row in peers.json", self.refusal(LATER))

    def test_heir_that_died(self) -> None:
        """Whoever went on under a key that was revoked since is refused with both told."""
        self.learn(succeed(OLD, NEW, 1))
        self.proven.add(NEW.humd_id())
        self.learn(revoke(NEW, 1))
        cause = self.policy().barred[OLD.humd_id()]
        self.assertIn(f"that one, {NEW.humd_id().full}, is refused, too: its key was revoked", cause)

    def test_row_of_the_heir(self) -> None:
        """An heir has the row but for the pins, the level, which is ``proven``, and until it has linked the alias."""
        hints = ("tls:192.0.2.1:1", PIN)
        self.rows = [row(OLD, hints=hints, alias="beta", level=Level.OPEN, relays=True, plain=True)]
        self.learn(succeed(OLD, NEW, 1))
        heir = self.policy().known[NEW.humd_id()]
        self.assertEqual((heir.hints, heir.alias, heir.level), (hints[:1], None, Level.PROVEN))
        self.assertEqual((heir.relays, heir.plain, heir.heir_of), (True, True, OLD.humd_id()))
        self.assertEqual(self.policy().known[OLD.humd_id()], self.rows[0])
        self.proven.add(NEW.humd_id())
        self.assertEqual([each.alias for each in self.policy().known.values()], ["beta"])

    def test_secure_row(self) -> None:
        """An heir of a row with a secure hint gets in over no plain wire, nor with less than a proof."""
        self.rows = [row(OLD, hints=("tls:192.0.2.1:1", PIN), level=Level.OPEN)]
        self.learn(succeed(OLD, NEW, 1))
        heir = NEW.humd_id()
        self.assertIn("secure hint", self.policy().admits(heir, wire_secure=False) or "")
        self.assertIsNone(self.policy().admits(heir, wire_secure=True))
        self.assertIs(self.policy().level_for(heir), Level.PROVEN)

    def test_heirs_of_heirs(self) -> None:
        """Whoever comes later replaces all before it, also where those between never linked."""
        self.learn(succeed(OLD, NEW, 1))
        self.learn(succeed(NEW, LATER, 1))
        self.let_in(OLD, NEW, LATER)
        self.proven.add(LATER.humd_id())
        self.let_in(LATER)

    def test_own_row(self) -> None:
        """Where the heir has a row, that one counts, and its heirs get nothing; the old one is replaced as ever."""
        own = row(NEW, follow=False, level=Level.SIGNED)
        self.rows = [row(OLD), own]
        self.learn(succeed(OLD, NEW, 1))
        self.learn(succeed(NEW, LATER, 1))
        self.assertEqual(self.policy().known[NEW.humd_id()], own)
        self.let_in(OLD, NEW)
        self.proven.add(NEW.humd_id())
        self.let_in(NEW)

    def test_two_olds(self) -> None:
        """Two rows that lead to one heir lend it the first."""
        self.rows = [row(THIEF, alias="first"), row(OLD, alias="second")]
        self.learn(succeed(OLD, NEW, 1))
        self.learn(succeed(THIEF, NEW, 1))
        self.proven.add(NEW.humd_id())
        self.assertEqual([each.alias for each in self.policy().known.values()], ["first"])

    def test_circle(self) -> None:
        """An id that was replaced does not come back by a circle."""
        self.learn(succeed(OLD, NEW, 1))
        self.proven.add(NEW.humd_id())
        self.learn(succeed(NEW, OLD, 1))
        self.let_in()
        self.rows = [row(OLD, follow=False)]
        self.let_in(OLD)

    def test_line_into_a_circle(self) -> None:
        """A line ends before a circle, and names nobody twice."""
        for old, new in ((OLD, NEW), (NEW, LATER), (LATER, NEW)):
            self.learn(succeed(old, new, 1))
        for line in ((OLD, NEW, LATER), (NEW, LATER), (LATER, NEW)):
            self.assertEqual(self.lineage.line(line[0].humd_id()), [key.humd_id() for key in line])


class DeadTests(LineageTestCase):
    """Who is refused."""

    def test_order(self) -> None:
        """Of the owner's succession, the thief's and a revocation each pair ends it, in either order."""
        said: list[Statement] = [succeed(OLD, NEW, 1), succeed(OLD, THIEF, 1), revoke(OLD, 1)]
        for one in said:
            for two in said:
                if one is not two:
                    self.setUp()
                    self.learn(one)
                    self.learn(two)
                    self.let_in()
                    self.assertIsNone(self.lineage.heir(OLD.humd_id()))
                    self.assertTrue(self.policy(admit_any=True).admits(OLD.humd_id(), True))

    def test_without_follow(self) -> None:
        """A dead id is refused whether its row follows or not."""
        self.rows = [row(OLD, follow=False)]
        self.learn(revoke(OLD, 1))
        self.let_in()

    def test_death_of_an_heir(self) -> None:
        """It does not bring back the key before it, whoever of those behind it has linked, nor help those after it."""
        for linked in (NEW, LATER):
            for death in (revoke(NEW, 1), succeed(NEW, THIEF, 1)):
                self.setUp()
                self.learn(succeed(OLD, NEW, 1))
                self.learn(succeed(NEW, LATER, 1))
                self.proven.add(linked.humd_id())
                self.learn(death)
                self.let_in()

    def test_why(self) -> None:
        """A revoked key is said to be that, though its heir has linked; else its owner would look at the row."""
        self.learn(succeed(OLD, NEW, 1))
        self.proven.add(NEW.humd_id())
        self.learn(revoke(OLD, 1))
        self.assertEqual(self.policy().barred, {OLD.humd_id(): "its key was revoked"})

    def test_before_it_linked(self) -> None:
        """Where the heir died before it ever linked, the row says what it said before."""
        self.learn(succeed(OLD, NEW, 1))
        self.learn(revoke(NEW, 1))
        self.let_in(OLD)

    def test_thief_with_the_retired_key(self) -> None:
        """Whoever finds the old key can take away what follows from it, and gets nothing."""
        self.learn(succeed(OLD, NEW, 1))
        self.proven.add(NEW.humd_id())
        self.learn(succeed(OLD, THIEF, 1))
        self.let_in()
        self.rows = [row(NEW)]
        self.let_in(NEW)


class ScheduleTests(SynchronousTestCase):
    """Random schedules: who holds which key, what they say, what the operator and the humd do meanwhile."""

    def test_schedules(self) -> None:
        """
        Nobody has rights but by a row of the file or an unbroken line of statements from one that says ``follow``; the
        dead and the replaced have none; a thief is never in where anything else of the owner's is known; and a restart
        that learns the same in another order judges the same.
        """
        for seed in range(400):
            self.schedule(Random(seed))

    def schedule(self, random: Random) -> None:
        owner, thieves = KEYS[:5], KEYS[5:8]
        everything: list[Statement] = [succeed(old, new, 1) for old, new in pairwise(owner)]
        everything += [succeed(old, random.choice(thieves), 1) for old in owner[:3]]
        everything += [revoke(random.choice(owner), 1), succeed(random.choice(owner[1:]), owner[0], 1)]
        everything += [succeed(thieves[0], thieves[1], 1)]
        rows = [row(owner[0], follow=True)]
        lineage, proven, barred = Lineage(), {owner[0].humd_id()}, set[HumdId]()
        kept: list[Statement] = []
        for _ in range(30):
            step = random.random()
            if step < 0.5:
                statement = random.choice(everything)
                if lineage.learn(statement, {each.peer for each in rows}) in (Learned.NEW, Learned.DISPUTED):
                    kept.append(statement)
            elif step < 0.8:
                who = random.choice(owner + thieves).humd_id()
                if self.judged(lineage, rows, proven).admits(who, True) is None:
                    proven.add(who)
            elif step < 0.9:
                rows = [row(owner[0], follow=random.random() < 0.8)]
                if random.random() < 0.3:
                    rows.append(row(random.choice(owner[1:]), follow=random.random() < 0.5))
                barred = set()
            else:
                random.shuffle(kept)
                again = Lineage()
                for statement in kept:
                    again.learn(statement, (), anybody=True)
                self.assertEqual(self.judged(again, rows, proven).known, self.judged(lineage, rows, proven).known)
                lineage = again
            policy = self.judged(lineage, rows, proven)
            self.check(policy, kept, rows, thieves)
            self.assertEqual(barred & set(policy.known), set(), "it came back")
            barred |= set(policy.barred)

    def judged(self, lineage: Lineage, rows: list[KnownPeer], proven: set[HumdId]) -> Policy:
        return lineage.judge(Policy(Level.PROVEN, False, rows), proven.__contains__)

    def check(self, policy: Policy, kept: list[Statement], rows: list[KnownPeer], thieves: list[HumdKey]) -> None:
        said: dict[HumdId, set[HumdId]] = {}
        for each in kept:
            if isinstance(each, Succession):
                said.setdefault(each.who, set()).add(each.heir)
        revoked = {each.who for each in kept if isinstance(each, Revocation)}
        dead = revoked | {who for who, heirs in said.items() if len(heirs) > 1}
        may = {each.peer for each in rows}
        ahead = {each.peer for each in rows if each.follow}
        while ahead:
            ahead = {heir for who in ahead - dead for heir in said.get(who, ())} - may
            may |= ahead
        may -= dead
        self.assertLessEqual(set(policy.known), may)
        self.assertEqual(set(policy.known) & set(policy.barred), set())
        own = {each.peer for each in rows}
        for who, known in policy.known.items():
            self.assertTrue(who in own or known.level is Level.PROVEN)
        for thief in thieves:
            if thief.humd_id() in policy.known:
                line = [each for each in kept if isinstance(each, Succession) and each.heir == thief.humd_id()]
                self.assertTrue(any(each.who not in dead and len(said[each.who]) == 1 for each in line))
