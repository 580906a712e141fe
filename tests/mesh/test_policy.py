"""Who may say hello, by what its certificate proved."""

from __future__ import annotations

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from ensemble.config import parse_peers
from ensemble.identity import BadHint, HumdId
from ensemble.mesh import KnownPeer, Policy
from ensemble.protocols import Level

ALICE = HumdId.parse("humd_" + "aa" * 32)
BOB = HumdId.parse("humd_" + "bb" * 32)
CAROL = HumdId.parse("humd_" + "cc" * 32)
DAVE = HumdId.parse("humd_" + "dd" * 32)


class RowTests(SynchronousTestCase):
    """What one row says."""

    def test_a_hint_that_cannot_be_read(self) -> None:
        """A hint that cannot be read is passed over; the others are dialled, secure ones first and alone."""
        hints = ("tcp:a:1", "nonsense", "tls:b:2")
        row = KnownPeer(ALICE, hints)
        self.assertEqual([str(hint) for hint in row.parsed_hints()], ["tcp:a:1", "tls:b:2"])
        self.assertEqual([str(hint) for hint in row.dial_order({"tcp", "tls"})], ["tls:b:2"])
        self.assertEqual(row.dial_order({"tcp", "udp"}), [])
        plain = KnownPeer(ALICE, hints, plain=True)
        self.assertEqual([str(hint) for hint in plain.dial_order({"tcp", "tls"})], ["tls:b:2", "tcp:a:1"])
        self.assertFalse(KnownPeer(ALICE, hints[:2]).needs_secure)
        onion = f"onion:{'a' * 56}.onion:1"
        many = KnownPeer(ALICE, (onion, "tls:a:1", "tcp:a:1", "udp:a:1", "tls:b:1")).dial_order({"onion", "tls", "udp"})
        self.assertEqual([str(hint) for hint in many], ["udp:a:1", "tls:a:1", "tls:b:1", onion])

    def test_a_wire_of_somebody_elses(self) -> None:
        """A scheme that is not ours is dialled where there is a way to: after what is secure, and as what is plain."""
        row = KnownPeer(ALICE, ("carrier:pigeon", "tcp:a:1", "other:b"))
        self.assertEqual([str(hint) for hint in row.dial_order({"carrier", "tcp"})], ["carrier:pigeon", "tcp:a:1"])
        secure = KnownPeer(ALICE, ("carrier:pigeon", "tls:a:1"))
        self.assertEqual([str(hint) for hint in secure.dial_order({"carrier", "tls"})], ["tls:a:1"])
        both = evolve(secure, plain=True)
        self.assertEqual([str(hint) for hint in both.dial_order({"carrier", "tls"})], ["tls:a:1", "carrier:pigeon"])

    def test_one_hint_is_a_sequence_too(self) -> None:
        """A text in the place of the hints is refused: each character of it would be a hint that nobody can read."""
        with self.assertRaisesRegex(BadHint, "a row has a sequence"):
            KnownPeer(ALICE, "tls:a:1")
        hints = ["tls:a:1"]
        self.assertEqual(KnownPeer(ALICE, hints), KnownPeer(ALICE, ("tls:a:1",)))

    def test_a_row_of_the_file(self) -> None:
        """What a row of the file says the mesh has, too."""
        said = (
            f'{{"humd_id":"{ALICE.full}","hints":["tls:a:1"],"alias":"al","auth":"signed","plain":true,"follow":true}}'
        )
        (row,) = parse_peers(f'{{"peers":[{said}]}}'.encode()).rows
        wanted = KnownPeer(ALICE, ("tls:a:1",), "al", Level.SIGNED, plain=True, secure=True, follow=True)
        self.assertEqual(KnownPeer.of(row), wanted)
        (row,) = parse_peers(f'{{"peers":[{{"humd_id":"{BOB.full}"}}]}}'.encode()).rows
        self.assertEqual(KnownPeer.of(row), KnownPeer(BOB))

    def test_a_secure_hint_that_cannot_be_read(self) -> None:
        """A secure hint with a slip in it, or left out of the row for one, keeps plain wires out all the same."""
        for row in (KnownPeer(ALICE, ("tcp:a:1", "tls://b:2")), KnownPeer(ALICE, ("tcp:a:1",), secure=True)):
            self.assertEqual(row.dial_order({"tcp", "tls"}), [])
            self.assertIn("--plain`", str(Policy(known=[row]).admits(ALICE, wire_secure=False)))
            self.assertIsNone(Policy(known=[row]).admits(ALICE, wire_secure=True))
            self.assertFalse(evolve(row, plain=True).needs_secure)


class PolicyTests(SynchronousTestCase):
    """Who may link, and who may stay."""

    def test_rows_either_way(self) -> None:
        """Rows may come as a list or by id; it is the same policy."""
        row = KnownPeer(ALICE)
        self.assertEqual(Policy(known=[row]), Policy(known={ALICE: row}))

    def test_who_may_not_stay(self) -> None:
        """A link that is up goes where it would not be admitted now, or showed less than is wanted now."""
        rows = [KnownPeer(ALICE, level=Level.SIGNED), KnownPeer(BOB, ("tls:b:2",))]
        policy = Policy(Level.OPEN, admit_any=False, known=rows, barred={CAROL: "its key was revoked"})
        self.assertIsNone(policy.denies(ALICE, Level.SIGNED, wire_secure=False))
        self.assertIsNone(policy.denies(BOB, Level.OPEN, wire_secure=True))
        for peer, level, secure, why in (
            (ALICE, Level.OPEN, True, "less than is wanted"),
            (BOB, Level.PROVEN, False, f"`ensemble trust {BOB.full} --plain`"),
            (CAROL, Level.PROVEN, True, "its key was revoked; take its row out"),
            (DAVE, Level.PROVEN, True, f"`ensemble trust {DAVE.full}`"),
        ):
            self.assertIn(why, str(policy.denies(peer, level, secure)))

    def test_a_row_goes_before_the_default(self) -> None:
        """The level of a row counts, lower or higher than the default; without one the default does."""
        rows = [KnownPeer(ALICE, level=Level.OPEN), KnownPeer(BOB)]
        policy = Policy(Level.SIGNED, known=rows)
        levels = [policy.level_for(peer) for peer in (ALICE, BOB, CAROL)]
        self.assertEqual(levels, [Level.OPEN, Level.SIGNED, Level.SIGNED])


class LeafTests(SynchronousTestCase):
    def test_known(self) -> None:
        """Under ``known`` only a leaf whose id has a row says hello; the refusal shows what lets it in."""
        policy = Policy(Level.PROVEN, admit_any=False, known=[KnownPeer(ALICE)])
        self.assertIsNone(policy.admits_leaf(ALICE))
        self.assertIn(f"`ensemble trust {BOB.full}`", str(policy.admits_leaf(BOB)))

    def test_secure_hint(self) -> None:
        """A row that wants secure wires lets its leaf in, for a wire that shows one is secure."""
        policy = Policy(Level.PROVEN, admit_any=False, known=[KnownPeer(ALICE, ("tls:a:1",))])
        self.assertIsNone(policy.admits_leaf(ALICE))

    def test_any(self) -> None:
        """Under ``any`` every leaf says hello."""
        self.assertIsNone(Policy(Level.PROVEN).admits_leaf(BOB))

    def test_none(self) -> None:
        """Without a leaf nobody says hello where every peer must be proven, by default and by row."""
        rows = [KnownPeer(ALICE), KnownPeer(BOB, level=Level.PROVEN)]
        self.assertIn("no certificate", str(Policy(Level.PROVEN, known=rows).admits_leaf(None)))

    def test_none_tolerated(self) -> None:
        """One row below ``proven``, or such a default, and a peer without a leaf may say hello."""
        for level in (Level.OPEN, Level.SIGNED):
            self.assertIsNone(Policy(level).admits_leaf(None))
            self.assertIsNone(Policy(Level.PROVEN, known=[KnownPeer(BOB, level=level)]).admits_leaf(None))

    def test_one_row_below(self) -> None:
        """One such row among others is enough."""
        rows = [KnownPeer(ALICE), KnownPeer(BOB, level=Level.SIGNED), KnownPeer(CAROL, level=Level.PROVEN)]
        self.assertIsNone(Policy(Level.PROVEN, known=rows).admits_leaf(None))
