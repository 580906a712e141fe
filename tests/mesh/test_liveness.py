"""What `ensemble.mesh.liveness` promises."""

from __future__ import annotations

from hypothesis import given, strategies as st
from twisted.trial.unittest import SynchronousTestCase

from ensemble.interfaces import Arrived
from ensemble.mesh.defaults import PONG_SECONDS, PONGS_AT_ONCE
from ensemble.mesh.liveness import Gone, Liveness, SendPing
from ensemble.protocols import DEADLINES, Deadlines

EARLY = 0.001  # seconds


class LivenessTests(SynchronousTestCase):
    """The peer of one link, which came up at 100 s."""

    def setUp(self) -> None:
        self.live = Liveness(100.0, has_ping=True)

    def assert_due(self, when: float, what: type[SendPing | Gone], live: Liveness | None = None) -> None:
        """Nothing happens just before ``when``; exactly then it does."""
        live = self.live if live is None else live
        deadline = live.next_deadline()
        assert deadline is not None
        self.assertLessEqual(deadline, when)
        self.assertIsNone(live.tick(when - EARLY))
        self.assertEqual(live.next_deadline(), when)
        self.assertIsInstance(live.tick(when), what)

    def test_quiet_peer_is_pinged(self) -> None:
        """After fifteen silent seconds a ping goes out."""
        self.assert_due(115.0, SendPing)

    def test_gone(self) -> None:
        """Thirty silent seconds after the ping left, the peer is gone; the time in our buffer does not count."""
        self.live.tick(115.0)
        self.live.ping_left(120.0)
        self.assert_due(150.0, Gone)

    def test_somebody_waits(self) -> None:
        """While somebody waits it is three seconds and six."""
        self.live.someone_waits(True, 100.0)
        self.assert_due(103.0, SendPing)
        self.live.ping_left(103.5)
        self.assert_due(109.5, Gone)

    def test_somebody_begins_to_wait(self) -> None:
        """A silence that is long enough already is asked about at once."""
        self.live.someone_waits(True, 110.0)
        self.assertEqual(self.live.next_deadline(), 103.0)
        self.assertEqual(self.live.tick(110.0), SendPing())

    def test_waiting_never_takes_longer(self) -> None:
        """Where somebody waits it is no later than where nobody does, however the two are set."""
        live = Liveness(100.0, True, Deadlines(ping_after_seconds=1, gone_after_seconds=5))
        live.someone_waits(True, 100.0)
        self.assertEqual(live.next_deadline(), 101.0)

    def test_waiting_begins_behind_a_ping(self) -> None:
        """The six seconds of an unanswered ping begin no earlier than the waiting."""
        self.live.tick(115.0)
        self.live.ping_left(115.0)
        self.live.someone_waits(True, 130.0)
        self.live.someone_waits(True, 134.0)  # one more; the first counts
        self.assert_due(136.0, Gone)

    def test_waiting_never_prolongs(self) -> None:
        """Who begins to wait at the very end gets no more than the thirty seconds."""
        self.live.tick(115.0)
        self.live.ping_left(115.0)
        self.live.someone_waits(True, 144.0)
        self.assert_due(145.0, Gone)

    def test_nobody_waits_any_more(self) -> None:
        """When the wait is over the long times hold again."""
        self.live.someone_waits(True, 100.0)
        self.live.tick(103.0)
        self.live.ping_left(103.0)
        self.live.someone_waits(False, 104.0)
        self.assert_due(133.0, Gone)

    def test_heard(self) -> None:
        """Any byte begins the fifteen seconds anew."""
        self.live.heard(114.0)
        self.assertIsNone(self.live.tick(115.0))
        self.assert_due(129.0, SendPing)

    def test_answer(self) -> None:
        """Any byte answers a ping, one that arrives at the instant in which it left as well."""
        for left in (115.0, 116.0):
            live = Liveness(100.0, has_ping=True)
            live.tick(115.0)
            live.ping_left(left)
            live.heard(116.0)
            self.assertEqual(live.tick(160.0), SendPing())
            self.assertIsNone(live.tick(160.0))

    def test_heard_before_the_ping_left(self) -> None:
        """What arrived while the ping was in our buffer is no answer to it."""
        self.live.tick(115.0)
        self.live.heard(118.0)
        self.live.ping_left(120.0)
        self.assert_due(150.0, Gone)

    def test_one_ping_waits_at_most(self) -> None:
        """No second ping is queued while one has not left, whoever waits."""
        self.live.tick(115.0)
        self.live.someone_waits(True, 115.0)
        self.live.heard(120.0)
        self.assertIsNone(self.live.tick(170.0))

    def test_stuck(self) -> None:
        """A ping that cannot leave for a minute, with no sign of life meanwhile, means that the peer is gone."""
        self.live.tick(115.0)
        self.live.heard(130.0)
        self.assert_due(130.0 + DEADLINES.stuck_ping_seconds, Gone)

    def test_stuck_in_silence(self) -> None:
        """The minute counts from when the ping was queued, not from the silence before it."""
        self.live.tick(115.0)
        self.assert_due(115.0 + DEADLINES.stuck_ping_seconds, Gone)

    def test_drained(self) -> None:
        """A full buffer that goes on is a sign of life, and answers a ping that had left before."""
        self.live.drained(110.0)
        self.assert_due(125.0, SendPing)
        self.live.ping_left(126.0)
        self.live.drained(130.0)
        self.assert_due(145.0, SendPing)

    def test_a_ping_does_not_answer_itself(self) -> None:
        """The drain by which a ping leaves is not its answer, in whichever order the two are told."""
        self.live.tick(115.0)
        self.live.ping_left(120.0)
        self.live.drained(120.0)
        self.assert_due(150.0, Gone)

    def test_slow_drain(self) -> None:
        """A buffer that goes on every now and then keeps the link while the ping waits behind it."""
        self.live.tick(115.0)
        for now in (150.0, 200.0, 250.0):
            self.live.drained(now)
            self.assertIsNone(self.live.tick(now + DEADLINES.stuck_ping_seconds - EARLY))

    def test_paused(self) -> None:
        """While we do not read the peer hears a ping every three seconds, and its silence does not count."""
        self.live.paused_reading(101.0)
        for now in (104.0, 107.0, 110.0):
            self.assert_due(now, SendPing)
            self.live.ping_left(now)
            self.live.paused_reading(now)  # said again: changes nothing
        self.assertEqual(self.live.tick(1000.0), SendPing())

    def test_paused_and_stuck(self) -> None:
        """While we do not read and the peer does not either, one ping waits and nobody is gone."""
        self.live.paused_reading(101.0)
        self.assertEqual(self.live.tick(104.0), SendPing())
        for now in range(107, 300, 3):
            self.assertIsNone(self.live.tick(float(now)))

    def test_resumed(self) -> None:
        """Reading again, the silence counts from then: the peer's answers lay unread."""
        self.live.paused_reading(101.0)
        self.live.resumed_reading(112.0)
        self.live.resumed_reading(114.0)
        self.assertIsNone(self.live.tick(112.0))
        self.assert_due(127.0, SendPing)

    def test_resumed_behind_a_ping(self) -> None:
        """An unanswered ping gets its whole time after the pause."""
        self.live.tick(115.0)
        self.live.ping_left(116.0)
        self.live.paused_reading(117.0)
        self.live.resumed_reading(119.0)
        self.assert_due(149.0, Gone)

    def test_without_the_feature(self) -> None:
        """A peer without ping-1 is never pinged and never judged here."""
        live = Liveness(100.0, has_ping=False)
        live.someone_waits(True, 100.0)
        self.assertIsNone(live.next_deadline())
        self.assertIsNone(live.tick(10_000.0))
        live.paused_reading(10_000.0)
        self.assertIsNone(live.tick(20_000.0))

    def test_left_without_a_ping(self) -> None:
        """A ping that was never sent cannot leave."""
        self.live.ping_left(101.0)
        self.assert_due(115.0, SendPing)

    def test_clock_steps_back(self) -> None:
        """A clock that steps back makes nothing due and nothing undone."""
        self.live.heard(110.0)
        self.live.drained(50.0)
        self.assertIsNone(self.live.tick(40.0))
        self.assert_due(125.0, SendPing)

    @given(
        st.lists(
            st.tuples(
                st.sampled_from(["heard", "drained", "left", "wait", "rest", "pause", "resume"]), st.floats(0, 40)
            ),
            max_size=30,
        )
    )
    def test_lazy_timer(self, steps: list[tuple[str, float]]) -> None:
        """
        An owner that looks at the deadline only after a tick and after what may make it earlier misses nothing, and
        what a tick leaves is not due any more.
        """
        live, now = Liveness(0.0, has_ping=True), 0.0
        timer = live.next_deadline()
        methods = {
            "heard": live.heard,
            "drained": live.drained,
            "left": live.ping_left,
            "wait": lambda at: live.someone_waits(True, at),
            "rest": lambda at: live.someone_waits(False, at),
            "pause": live.paused_reading,
            "resume": live.resumed_reading,
        }
        for what, seconds in steps:
            now += seconds
            while timer is not None and timer <= now:
                if isinstance(live.tick(timer), Gone):
                    return
                due = live.next_deadline()
                assert due is not None
                self.assertGreater(due, timer, "the timer would spin")
                timer = due
            methods[what](now)
            due = live.next_deadline()
            assert due is not None and timer is not None
            if what in ("heard", "drained"):
                self.assertGreaterEqual(due, timer - 1e-9, "life makes nothing due earlier")
            else:
                timer = due


class UnderWayTests(SynchronousTestCase):
    """Pings behind megabytes that the system below has taken, and a line that is slow."""

    def setUp(self) -> None:
        self.live = Liveness(100.0, has_ping=True)
        self.live.someone_waits(True, 100.0)
        self.live.tick(103.0)
        self.live.ping_left(103.0, Arrived(1000, 500, 0.0))

    def look(self, size: int, now: float, ago: float = 0.0) -> SendPing | Gone | None:
        self.assertTrue(self.live.is_under_way)
        self.live.arrived(Arrived(size, 1500 - size, ago), now)
        return self.live.tick(now)

    def test_looked_at(self) -> None:
        """It is looked at every second until it has arrived."""
        self.assertEqual(self.live.next_deadline(), 104.0)
        self.assertIsNone(self.look(1000, 104.0))
        self.assertEqual(self.live.next_deadline(), 105.0)
        self.assertIsNone(self.look(1500, 105.0))
        self.assertEqual(self.live.next_deadline(), 108.0)

    def test_slow(self) -> None:
        """While something arrives the peer is there, and has six seconds from then."""
        self.assertIsNone(self.look(1001, 106.0))
        self.assertIsNone(self.look(1002, 111.9, ago=2.0))
        self.assertIsNone(self.live.tick(115.8))
        self.assertIsInstance(self.live.tick(115.9), Gone)

    def test_nothing_arrives(self) -> None:
        """Where nothing does nobody is waited for longer."""
        self.assertIsNone(self.look(1000, 106.0))
        self.assertIsInstance(self.look(1000, 109.0), Gone)

    def test_ping_arrived(self) -> None:
        """From when the ping has arrived its six seconds count, whatever else arrives behind it."""
        self.assertIsNone(self.look(1500, 106.0, ago=2.5))
        self.assertFalse(self.live.is_under_way)
        self.live.arrived(Arrived(9000, 0, 0.0), 109.0)
        self.assertIsNone(self.live.tick(109.4))
        self.assertIsInstance(self.live.tick(109.5), Gone)

    def test_unknown(self) -> None:
        """Where nobody can tell any more, it is as if the ping had arrived when it left."""
        self.live.arrived(None, 106.0)
        self.assertFalse(self.live.is_under_way)
        self.assertIsInstance(self.live.tick(109.0), Gone)

    def test_answered(self) -> None:
        """Of a ping that was answered nothing is kept."""
        for answer in (Liveness.heard, Liveness.drained):
            self.setUp()
            answer(self.live, 104.0)
            self.assertFalse(self.live.is_under_way)
            self.assertIsNone(self.live._under_way)

    def test_old_word(self) -> None:
        """What arrived before the ping left makes nothing due earlier."""
        self.assertIsNone(self.look(1001, 104.0, ago=50.0))
        self.assertIsNone(self.live.tick(108.9))
        self.assertIsInstance(self.live.tick(109.0), Gone)


class PongTests(SynchronousTestCase):
    """Answers to the peer's pings."""

    def test_honest(self) -> None:
        """A peer that pings every three seconds gets every answer."""
        live = Liveness(0.0, has_ping=True)
        self.assertTrue(all(live.ping_received(3.0 * n) for n in range(1000)))

    def test_flood(self) -> None:
        """A flood of pings gets ten answers at once and one a second; the rest is ignored."""
        live = Liveness(0.0, has_ping=True)
        self.assertEqual(sum(live.ping_received(0.0) for _ in range(10_000)), PONGS_AT_ONCE)
        self.assertEqual(sum(live.ping_received(30 * PONG_SECONDS * n / 10_000) for n in range(10_000)), 29)

    def test_pings_are_answered_without_the_feature(self) -> None:
        """Whoever pings us gets its answer: that we understand it is what our hello said."""
        self.assertTrue(Liveness(0.0, has_ping=False).ping_received(1.0))

    def test_clock_steps_back(self) -> None:
        """A clock that steps back gives no answers away."""
        live = Liveness(100.0, has_ping=True)
        answered = sum(live.ping_received(100.0 - n) for n in range(100))
        self.assertEqual(answered, PONGS_AT_ONCE)
