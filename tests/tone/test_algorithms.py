"""The small algorithms of mesh 3.4, with all of its vectors."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from ensemble.tone import MAX_WANE, RidMinter, WaneTracker, base36, dusk_in, is_expired, rid, sigil


class SigilTests(SynchronousTestCase):
    """Public names of sessions."""

    def test_vectors(self) -> None:
        """Every vector of the specification."""
        for sid, nest, expected in (
            ("hum-X", "claude-repl", "d6560b664845"),
            ("hum-X", "claude-cli", "a841e5b0d39f"),
            ("abc", "claude", "2ce06946efc0"),
            ("", "", "e7ac0786668e"),
            ("séance-1", "claude-cli", "5305995be347"),
            ("hum:colon", "a:b", "a9a3551ee10f"),
        ):
            self.assertEqual(sigil(sid, nest), expected)


class RidTests(SynchronousTestCase):
    """Request ids."""

    def test_vectors(self) -> None:
        """Every vector of the specification."""
        for now_ms, counter, expected in (
            (0, 0, "0-0"),
            (1700000000000, 0, "loyw3v28-0"),
            (1700000000000, 35, "loyw3v28-z"),
            (1700000000000, 36, "loyw3v28-10"),
            (1779868800000, 1295, "mpnrxfk0-zz"),
            (1779868800000, 1296, "mpnrxfk0-100"),
        ):
            self.assertEqual(rid(now_ms, counter), expected)

    def test_base36_reads_back(self) -> None:
        """Python reads every base-36 text as the number it was made from; negative numbers have none."""
        for number in (0, 1, 35, 36, 36**5 - 1, 36**5, 2**64):
            self.assertEqual(int(base36(number), 36), number)
        self.assertRaises(ValueError, base36, -1)

    def test_minter_counts(self) -> None:
        """A minter counts from 0, after use."""
        mint = RidMinter(lambda: 1700000000000)
        self.assertEqual([mint(), mint(), mint()], ["loyw3v28-0", "loyw3v28-1", "loyw3v28-2"])

    def test_minter_never_repeats(self) -> None:
        """A clock that stands, steps back or is before the epoch makes no rid twice."""
        times = iter([5, 5, 4, -1, 0, 5, 6])
        mint = RidMinter(lambda: next(times))
        minted = [mint() for _ in range(7)]
        self.assertEqual(len(set(minted)), 7)
        self.assertEqual(minted[3], "0-3")


class DuskTests(SynchronousTestCase):
    """When a tone is over."""

    def test_vectors(self) -> None:
        """At its dusk a tone lives, a millisecond later it is expired."""
        self.assertEqual(dusk_in(1000, 500), 1500)
        self.assertFalse(is_expired(1000, 1000))
        self.assertTrue(is_expired(1000, 1001))

    def test_never(self) -> None:
        """An absent or negative dusk never comes; zero came long ago."""
        self.assertFalse(is_expired(None, 2**62))
        self.assertFalse(is_expired(-1, 2**62))
        self.assertTrue(is_expired(0, 1))


class WaneTests(SynchronousTestCase):
    """Who is how far."""

    def test_get_tick_set(self) -> None:
        """A key starts at 0, a tick moves it one on and says where it is, a pin may lower it."""
        wane = WaneTracker()
        self.assertEqual(wane.get("a"), 0)
        self.assertEqual((wane.tick("a"), wane.tick("a"), wane.get("a")), (1, 2, 2))
        wane.set("a", 1)
        self.assertEqual((wane.get("a"), wane.snapshot()), (1, {"a": 1}))

    def test_behind(self) -> None:
        """Behind is who stands strictly lower."""
        wane = WaneTracker()
        wane.set("a", 3)
        self.assertEqual([wane.behind("a", value) for value in (2, 3, 4)], [False, False, True])
        self.assertEqual([wane.behind("b", value) for value in (0, 1)], [False, True])
        self.assertEqual(wane.snapshot(), {"a": 3})

    def test_merge_vector(self) -> None:
        """The vector of the specification: the larger wins, and what moved on is counted."""
        wane = WaneTracker()
        wane.set("a", 3)
        self.assertEqual(wane.merge({"a": 2, "b": 5}), 1)
        self.assertEqual(wane.snapshot(), {"a": 3, "b": 5})

    def test_merge_creates_at_zero(self) -> None:
        """An unknown key is created even at 0, which is no move."""
        wane = WaneTracker()
        self.assertEqual(wane.merge({"a": 0}), 0)
        self.assertEqual(wane.snapshot(), {"a": 0})

    def test_merge_skips_nonsense(self) -> None:
        """Values that are no unsigned 64-bit integers are skipped."""
        wane = WaneTracker()
        remote = {"a": -1, "b": 1.0, "c": "1", "d": None, "e": True, "f": 2**64, "g": [1], "h": MAX_WANE}
        self.assertEqual(wane.merge(remote), 1)
        self.assertEqual(wane.snapshot(), {"h": MAX_WANE})

    def test_merge_is_bounded(self) -> None:
        """A peer cannot make a tracker grow beyond its bound; known keys still move, and so do our own."""
        wane = WaneTracker(max_keys=2)
        self.assertEqual(wane.merge({"a": 1, "b": 1, "c": 1}), 2)
        self.assertEqual(wane.merge({"c": 1, "a": 9}), 1)
        self.assertEqual(wane.tick("mine"), 1)
        self.assertEqual(wane.snapshot(), {"a": 9, "b": 1, "mine": 1})

    def test_top_of_the_range(self) -> None:
        """A counter at the largest value stays there: what we send is always legal."""
        wane = WaneTracker()
        wane.merge({"a": MAX_WANE})
        self.assertEqual(wane.tick("a"), MAX_WANE)

    def test_set_checks_its_range(self) -> None:
        """A pin outside of 64 unsigned bits is refused, and changes nothing."""
        wane = WaneTracker()
        for value in (-1, MAX_WANE + 1, True):
            self.assertRaises(ValueError, wane.set, "a", value)
        self.assertEqual(wane.snapshot(), {})

    def test_snapshot_is_a_copy(self) -> None:
        """What the caller does to a snapshot leaves the tracker alone."""
        wane = WaneTracker()
        wane.snapshot()["a"] = 5
        self.assertEqual(wane.get("a"), 0)
