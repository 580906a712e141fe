"""Who may say hello, by what its certificate proved."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from ensemble.identity import HumdId
from ensemble.mesh import KnownPeer, Policy
from ensemble.protocols import Level

ALICE = HumdId.parse("humd_" + "aa" * 32)
BOB = HumdId.parse("humd_" + "bb" * 32)


class LeafTests(SynchronousTestCase):
    def test_known(self) -> None:
        """Under C{known} only a leaf whose id has a row says hello; the refusal shows what lets it in."""
        policy = Policy(Level.PROVEN, admit_any=False, known=[KnownPeer(ALICE)])
        self.assertIsNone(policy.admits_leaf(ALICE))
        self.assertIn(f"`ensemble trust {BOB.full}`", str(policy.admits_leaf(BOB)))

    def test_any(self) -> None:
        """Under C{any} every leaf says hello."""
        self.assertIsNone(Policy(Level.PROVEN).admits_leaf(BOB))

    def test_none(self) -> None:
        """Without a leaf nobody says hello where every peer must be proven, by default and by row."""
        rows = [KnownPeer(ALICE), KnownPeer(BOB, level=Level.PROVEN)]
        self.assertIn("no certificate", str(Policy(Level.PROVEN, known=rows).admits_leaf(None)))

    def test_none_tolerated(self) -> None:
        """One row below C{proven}, or such a default, and a peer without a leaf may say hello."""
        for level in (Level.OPEN, Level.SIGNED):
            self.assertIsNone(Policy(level).admits_leaf(None))
            self.assertIsNone(Policy(Level.PROVEN, known=[KnownPeer(BOB, level=level)]).admits_leaf(None))
