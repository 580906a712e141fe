"""What `ensemble.mesh.backoff` promises."""

from __future__ import annotations

from hypothesis import given, strategies as st
from twisted.trial.unittest import SynchronousTestCase

from ensemble.mesh.backoff import Backoff
from ensemble.mesh.defaults import REDIAL_FIRST_SECONDS, REDIAL_LAST_SECONDS, STEADY_SECONDS


class BackoffTests(SynchronousTestCase):
    """Delays between dials of one peer."""

    def test_doubles(self) -> None:
        """Failed rounds wait 1 s, 2 s, 4 s and so on, up to a ceiling that leaves room for the jitter."""
        backoff = Backoff(lambda: 0.0)
        self.assertEqual([backoff.failed() for _ in range(8)], [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 40.0, 40.0])

    def test_jitter(self) -> None:
        """Each delay, the first too, is stretched by up to half of itself, as the random number says."""
        numbers = iter([0.5, 1.0, 0.0])
        backoff = Backoff(lambda: next(numbers))
        self.assertEqual([backoff.failed() for _ in range(3)], [1.25, 3.0, 4.0])

    def test_short_link(self) -> None:
        """A link that was up for less than a minute does not set the delay back."""
        backoff = Backoff(lambda: 0.0)
        backoff.failed()
        backoff.came_up(100.0)
        self.assertEqual(backoff.went_down(100.0 + STEADY_SECONDS - 0.01), 2.0)

    def test_steady_link(self) -> None:
        """A link that was up for a minute does."""
        backoff = Backoff(lambda: 0.0)
        for _ in range(5):
            backoff.failed()
        backoff.came_up(100.0)
        backoff.came_up(130.0)  # tones moved to another link: the peer was up all the while
        self.assertEqual(backoff.went_down(100.0 + STEADY_SECONDS), REDIAL_FIRST_SECONDS)
        self.assertEqual(backoff.failed(), 2.0)

    def test_old_link_counts_once(self) -> None:
        """A minute of being up is forgotten with the loss that it softened."""
        backoff = Backoff(lambda: 0.0)
        backoff.came_up(0.0)
        self.assertEqual(backoff.went_down(1000.0), 1.0)
        self.assertEqual([backoff.went_down(2000.0), backoff.went_down(3000.0)], [2.0, 4.0])

    @given(
        st.lists(st.tuples(st.sampled_from(["failed", "came_up", "went_down"]), st.floats(0, 100), st.floats(0, 0.999)))
    )
    def test_bounds(self, steps: list[tuple[str, float, float]]) -> None:
        """Whatever happens, no delay is under one second or over sixty."""
        now = 0.0
        jitters = [jitter for _, _, jitter in steps]
        backoff = Backoff(lambda: jitters.pop())
        for what, seconds, _ in steps:
            now += seconds
            delay = backoff.failed() if what == "failed" else getattr(backoff, what)(now)
            if delay is not None:
                self.assertTrue(REDIAL_FIRST_SECONDS <= delay <= REDIAL_LAST_SECONDS, delay)
