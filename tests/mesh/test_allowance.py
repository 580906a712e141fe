"""Token buckets: what a peer may send, and for how long it is not read when it sent more."""

from __future__ import annotations

from hypothesis import given, strategies as st
from twisted.trial.unittest import SynchronousTestCase

from ensemble.mesh.allowance import LEAST_PAUSE, MALFORMED_AT_ONCE, MALFORMED_PER_SECOND, Allowance, malformed_bucket
from ensemble.protocols import DEADLINES, Bucket


class BucketTests(SynchronousTestCase):
    """One bucket."""

    def test_burst_then_pace(self) -> None:
        """A full bucket is spent at once; after that each token costs its time."""
        bucket = Bucket(10, 20, 100.0)
        self.assertEqual(bucket.take(20, 100.0), 0.0)
        self.assertEqual(bucket.take(5, 100.0), 0.5)
        self.assertEqual(bucket.take(0, 100.25), 0.25)
        self.assertEqual(bucket.take(0, 100.5), 0.0)

    def test_rest_fills_it_once(self) -> None:
        """However long the rest, no more than the burst may come at once."""
        bucket = Bucket(10, 20, 0.0)
        bucket.take(20, 0.0)
        self.assertEqual(bucket.take(20, 1e6), 0.0)
        self.assertEqual(bucket.take(10, 1e6), 1.0)

    def test_clock_that_steps_back(self) -> None:
        """Time that goes backwards takes nothing away, and gives nothing."""
        bucket = Bucket(10, 20, 100.0)
        bucket.take(15, 100.0)
        self.assertEqual(bucket.take(5, 50.0), 0.0)
        self.assertEqual(bucket.take(10, 50.0), 1.0)

    @given(
        st.integers(1, 1000),
        st.integers(1, 100),
        st.lists(st.tuples(st.integers(0, 500), st.floats(0, 3)), max_size=50),
    )
    def test_never_more_than_pace(self, rate: int, holds: int, chunks: list[tuple[int, float]]) -> None:
        """Whoever waits as told never has more through than the burst, the pace and the last chunk."""
        bucket, now, through = Bucket(rate, holds, 0.0), 0.0, 0
        for tokens, rest in chunks:
            now += rest
            self.assertLessEqual(through, holds + rate * now + 1e-6)
            through += tokens
            now += bucket.take(tokens, now)


class AllowanceTests(SynchronousTestCase):
    """Tones and bytes together."""

    def setUp(self) -> None:
        self.allowance = Allowance()

    def test_none(self) -> None:
        """Without a pace nothing is ever too much, and 0 is no pace."""
        self.assertEqual(self.allowance.spend(10**9, 10**12, 0.0), 0.0)
        self.allowance.set_pace(0, 0, 1, malformed_bucket(0.0), 0.0)
        self.assertEqual(self.allowance.spend(10**9, 10**12, 0.0), 0.0)
        self.assertEqual(self.allowance.spend_malformed(10**9, 0.0), 0.0)

    def test_the_longer_counts(self) -> None:
        """Tones and bytes are counted each for itself; the debt that takes longer is waited for."""
        self.allowance.set_pace(10, 1000, 2, malformed_bucket(0.0), 0.0)
        self.assertEqual(self.allowance.spend(30, 100, 0.0), 1.0)
        self.assertEqual(self.allowance.spend(0, 4900, 1.0), 2.9)

    def test_only_one_of_them(self) -> None:
        """A pace for bytes alone leaves tones alone, and the other way round."""
        self.allowance.set_pace(0, 1000, 1, malformed_bucket(0.0), 0.0)
        self.assertEqual(self.allowance.spend(10**6, 1000, 0.0), 0.0)
        self.allowance.set_pace(10, 0, 1, malformed_bucket(0.0), 0.0)
        self.assertEqual(self.allowance.spend(10, 10**9, 0.0), 0.0)

    def test_malformed_whatever_the_pace(self) -> None:
        """The work with what is no tone is the same for all, counted for itself, and waited for like the rest."""
        for pace in ((1, 0), (0, 1), (10**9, 10**12)):
            self.allowance.set_pace(*pace, 1, malformed_bucket(0.0), 0.0)
            self.assertEqual(self.allowance.spend_malformed(MALFORMED_AT_ONCE, 0.0), 0.0)
            self.assertEqual(self.allowance.spend_malformed(1, 0.0), LEAST_PAUSE)
            self.assertEqual(self.allowance.spend_malformed(2 * MALFORMED_PER_SECOND - 1, 0.0), 2.0)
            self.assertEqual(self.allowance.spend(1, 1, 0.0), 0.0)

    def test_pauses_have_bounds(self) -> None:
        """A pause of a moment would cost more than it slows; one without end could hide a goodbye."""
        self.allowance.set_pace(1000, 0, 1, malformed_bucket(0.0), 0.0)
        self.assertEqual(self.allowance.spend(1001, 0, 0.0), LEAST_PAUSE)
        self.assertEqual(self.allowance.spend(10**9, 0, 0.0), DEADLINES.throttled_seconds)
