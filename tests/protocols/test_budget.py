"""One ceiling over all unfinished lines."""

from __future__ import annotations

from hypothesis import given, strategies as st
from twisted.trial.unittest import SynchronousTestCase

from ensemble.protocols import BudgetExceeded, LineBudget, Standing


class Holder:
    """Who holds something: a program of this machine."""

    def __init__(self) -> None:
        self.errors: list[BudgetExceeded] = []

    def budget_exceeded(self, error: BudgetExceeded) -> None:
        self.errors.append(error)


class Peer(Holder):
    """One that has a standing."""

    def __init__(self, standing: Standing) -> None:
        super().__init__()
        self.standing = standing


class LineBudgetTests(SynchronousTestCase):
    def test_within(self) -> None:
        """While the sum fits nobody is closed, and what is let go is free again."""
        budget, one, two = LineBudget(100), Holder(), Holder()
        budget.note(one, 60)
        budget.note(two, 40)
        budget.note(one, 0)
        budget.note(two, 100)
        self.assertEqual((budget.total, one.errors, two.errors), (100, [], []))

    def test_greediest_goes(self) -> None:
        """Past the limit the one that holds most goes, not the one that came last."""
        budget, greedy, modest = LineBudget(100), Holder(), Holder()
        budget.note(greedy, 80)
        budget.note(modest, 21)
        self.assertEqual([(error.pending, error.limit) for error in greedy.errors], [(80, 100)])
        self.assertEqual((modest.errors, budget.total), ([], 21))

    def test_as_many_as_needed(self) -> None:
        """One after the other goes until the rest fits, the newcomer too where it holds most."""
        budget, holders = LineBudget(100), [Holder() for _ in range(3)]
        for holder, pending in zip(holders, (40, 35, 90), strict=True):
            budget.note(holder, pending)
        self.assertEqual([len(holder.errors) for holder in holders], [0, 0, 1])
        budget.limit = 50
        budget.note(holders[0], 41)
        self.assertEqual([len(holder.errors) for holder in holders], [1, 0, 1])

    def test_told_once(self) -> None:
        """Who was closed and then says that it holds nothing changes nothing."""
        budget, holder = LineBudget(10), Holder()
        budget.note(holder, 11)
        budget.note(holder, 0)
        self.assertEqual((budget.total, len(holder.errors)), (0, 1))

    def holders(self, budget: LineBudget, *held: tuple[Standing, int]) -> list[Peer]:
        """So many, of whom each holds so much."""
        peers = [Peer(standing) for standing, _ in held]
        for peer, (_, pending) in zip(peers, held, strict=True):
            budget.note(peer, pending)
        return peers

    def test_a_crowd_of_strangers(self) -> None:
        """Where strangers fill it with short lines, none of longer ones goes but theirs, and no more than need be."""
        for longer in (Peer(Standing.KNOWN), Holder()):
            budget = LineBudget(100)
            crowd = self.holders(budget, *[(Standing.STRANGER, 2)] * 50)
            budget.note(longer, 40)
            self.assertEqual((len(longer.errors), sum(len(each.errors) for each in crowd)), (0, 20))
            self.assertEqual(budget.total, 100)

    def test_a_crowd_with_rows(self) -> None:
        """Where peers with rows fill it, a program's long line stays, and so do strangers below their share."""
        budget, program = LineBudget(100), Holder()
        stranger, *crowd = self.holders(budget, (Standing.STRANGER, 20), *[(Standing.KNOWN, 8)] * 10)
        budget.note(program, 25)
        self.assertEqual((stranger.errors, program.errors), ([], []))
        self.assertEqual((sum(len(each.errors) for each in crowd), budget.total), (4, 93))
        (told,) = crowd[0].errors
        self.assertIn("peers with a row have more than their share", str(told))

    def test_within_its_share(self) -> None:
        """A stranger that is the greediest of all stays while strangers have no more than their quarter."""
        budget = LineBudget(100)
        stranger, *known = self.holders(budget, (Standing.STRANGER, 25), *[(Standing.KNOWN, 19)] * 4)
        self.assertEqual((stranger.errors, sum(len(each.errors) for each in known)), ([], 1))

    def test_standing_that_changes(self) -> None:
        """Whoever is known by now is judged as such, whatever it held before."""
        budget = LineBudget(100)
        one, other = self.holders(budget, (Standing.STRANGER, 50), (Standing.STRANGER, 40))
        one.standing = Standing.KNOWN
        budget.note(other, 51)
        self.assertEqual((len(one.errors), len(other.errors)), (0, 1))

    @given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 60))))
    def test_never_above_the_limit(self, notes: list[tuple[int, int]]) -> None:
        """Whoever notes what: the total is what the holders that remain said last, and never above the limit."""
        budget = LineBudget(100)
        holders = [Holder(), *map(Peer, Standing), Peer(Standing.STRANGER)]
        said = [0] * 5
        for number, pending in notes:
            told = [len(holder.errors) for holder in holders]
            said[number] = pending
            budget.note(holders[number], pending)
            said = [0 if len(holders[at].errors) > told[at] else said[at] for at in range(5)]
            self.assertEqual(budget.total, sum(said))
            self.assertLessEqual(budget.total, 100)
