"""What `ensemble.protocols.share` promises: a bounded share of the time, and turns that are fair."""

from __future__ import annotations

from hypothesis import given, strategies as st
from twisted.trial.unittest import SynchronousTestCase

from ensemble.protocols.share import (
    BURST_SECONDS,
    FLOW_BYTES,
    FLOW_SECONDS,
    LONGEST_SECONDS,
    LOOK_SECONDS,
    SPAN_SECONDS,
    FairQueue,
    Flow,
    Share,
)


class Tones:
    """Bytes that a test has come and go."""

    def __init__(self) -> None:
        self.fresh = self.looks = 0

    def __call__(self) -> int:
        self.looks += 1
        fresh, self.fresh = self.fresh, 0
        return fresh


def always() -> Flow:
    """A flow that never ends."""
    return Flow(lambda: FLOW_BYTES)


class FlowTests(SynchronousTestCase):
    """When tones flow."""

    def test_many(self) -> None:
        """They flow for a second from when enough were seen to come and go."""
        tones = Tones()
        flow = Flow(tones)
        self.assertFalse(flow.flows(0.0))
        tones.fresh += FLOW_BYTES // 10 + 1
        self.assertTrue(flow.flows(0.1))
        self.assertTrue(flow.flows(1.0))
        self.assertFalse(flow.flows(0.1 + FLOW_SECONDS))

    def test_few(self) -> None:
        """Less than so many a second is no flow, however evenly it comes: it needs nobody else to wait."""
        tones = Tones()
        flow = Flow(tones)
        for step in range(100):
            self.assertFalse(flow.flows(step * 0.2))
            tones.fresh += FLOW_BYTES // 5 - 1

    def test_after_a_rest(self) -> None:
        """What came since a look long ago may have come just now."""
        tones = Tones()
        flow = Flow(tones)
        flow.flows(0.0)
        tones.fresh += FLOW_BYTES
        self.assertTrue(flow.flows(3600.0))

    def test_at_once(self) -> None:
        """Many are seen at the next look, and not when their second, or their tenth of one, is over."""
        tones = Tones()
        flow = Flow(tones)
        flow.flows(0.0)
        tones.fresh += int(FLOW_BYTES * SPAN_SECONDS) + 1
        self.assertFalse(flow.flows(LOOK_SECONDS * 0.9))
        self.assertTrue(flow.flows(LOOK_SECONDS))

    def test_whatever_the_clock_shows(self) -> None:
        """It is the same on a machine that has been up for a year."""
        for began in (0.0, 3e7):
            tones = Tones()
            flow = Flow(tones)
            flow.flows(began)
            tones.fresh += int(FLOW_BYTES * SPAN_SECONDS) + 1
            self.assertTrue(flow.flows(began + SPAN_SECONDS))

    def test_evenly(self) -> None:
        """They may come a few at each look."""
        tones = Tones()
        flow = Flow(tones)
        flow.flows(0.0)
        seen = []
        for step in range(1, 20):
            tones.fresh += int(FLOW_BYTES * LOOK_SECONDS * 1.5)
            seen.append(flow.flows(step * LOOK_SECONDS))
        self.assertTrue(any(seen[: round(SPAN_SECONDS / LOOK_SECONDS)]))
        self.assertTrue(all(seen[seen.index(True) :]))

    def test_seen_once(self) -> None:
        """What made a flow does not make it last: a look a second later, the next that anybody took, finds none."""
        tones = Tones()
        flow = Flow(tones)
        flow.flows(0.0)
        tones.fresh += FLOW_BYTES
        self.assertTrue(flow.flows(SPAN_SECONDS / 2))
        self.assertFalse(flow.flows(SPAN_SECONDS / 2 + FLOW_SECONDS))

    def test_a_short_burst(self) -> None:
        """What would be many a second, but is over at once, is no flow."""
        tones = Tones()
        flow = Flow(tones)
        for step in range(1000):
            now = step * LOOK_SECONDS
            if step % 10 == 5:
                tones.fresh += int(FLOW_BYTES * SPAN_SECONDS / 2)
            self.assertFalse(flow.flows(now))

    def test_a_clock_that_is_set_back(self) -> None:
        """Nobody waits for the hour to come round again: neither for tones to be seen, nor for them to cease."""
        tones = Tones()
        flow = Flow(tones)
        flow.flows(3600.0)
        tones.fresh += FLOW_BYTES
        self.assertTrue(flow.flows(0.0))
        self.assertFalse(flow.flows(FLOW_SECONDS))
        flow.flows(3600.0)
        tones.fresh += FLOW_BYTES
        self.assertTrue(flow.flows(3601.0))
        self.assertFalse(flow.flows(0.0))

    def test_looks_seldom(self) -> None:
        """The traffic is looked at fifty times a second, however often somebody asks."""
        tones = Tones()
        flow = Flow(tones)
        for step in range(1000):
            flow.flows(step * LOOK_SECONDS / 100)
        self.assertLessEqual(tones.looks, 11)


class ShareTests(SynchronousTestCase):
    """How much of the time work may take."""

    def test_a_clock_that_is_set(self) -> None:
        """An hour that passes within one piece of work (a suspend, or the clock was set) was not spent on it."""
        share = Share(0.2, always())
        share.wait(0.0)
        share.spent(3600.0, 3600.0)
        self.assertLessEqual(share.wait(3600.0), LONGEST_SECONDS / 0.2)

    @given(
        st.sampled_from([0.05, 0.25, 0.9]),
        st.lists(st.tuples(st.floats(0.0001, 0.02), st.floats(0.0, 0.1)), max_size=200),
    )
    def test_holds(self, part: float, schedule: list[tuple[float, float]]) -> None:
        """While tones flow no stretch of time holds more work than its share, the burst and one piece."""
        share, now = Share(part, always()), 0.0
        share.wait(-1.0)  # the first look at the traffic
        done: list[tuple[float, float, float]] = []  # from, to, cost
        for cost, idle in schedule:
            now += idle
            now += share.wait(now)
            done.append((now, now + cost, cost))
            now += cost
            share.spent(cost, now)
        for first, (begun, _, _) in enumerate(done):
            work = 0.0
            for _, ended, cost in done[first:]:
                work += cost
                self.assertLessEqual(work, part * (ended - begun) + BURST_SECONDS + 0.02 + 1e-9)

    def test_no_tones(self) -> None:
        """Where no tones flow, work waits for nothing, and owes nothing later."""
        tones = Tones()
        share = Share(0.25, Flow(tones))
        for now in range(100):
            self.assertEqual(share.wait(float(now)), 0.0)
            share.spent(1.0, now + 1.0)
        tones.fresh += FLOW_BYTES
        self.assertEqual(share.wait(101.0), 0.0)

    def test_no_rest(self) -> None:
        """A flood that was there before the tones has had its burst; whoever comes after a rest has it."""
        for spent, wait in ((BURST_SECONDS, 0.04), (0.0, 0.0)):
            tones = Tones()
            share = Share(0.25, Flow(tones))
            share.wait(0.0)
            share.spent(spent, 0.0)
            tones.fresh += FLOW_BYTES
            share.spent(0.01, 0.0 + LOOK_SECONDS)
            self.assertAlmostEqual(share.wait(LOOK_SECONDS), max(0.0, wait - LOOK_SECONDS))

    def test_debts_stay(self) -> None:
        """What was owed when the tones ceased is owed when they are back, less what was earned."""
        tones = Tones()
        share = Share(0.25, Flow(tones))
        tones.fresh = FLOW_BYTES
        share.spent(BURST_SECONDS + 0.75, 0.0)
        share.spent(1.0, FLOW_SECONDS)
        tones.fresh = FLOW_BYTES
        self.assertAlmostEqual(share.wait(FLOW_SECONDS + 1.0), 1.0)

    def test_not_idle(self) -> None:
        """Whoever waits as long as it is told may go on: the time is used."""
        share, now, done = Share(0.25, always()), 0.0, 0.0
        share.wait(-1.0)
        while now < 10.0:
            now += share.wait(now) + 0.001
            share.spent(0.001, now)
            done += 0.001
        self.assertLess(abs(done - 2.5), 0.1)

    def test_clock_that_goes_back(self) -> None:
        """A clock that is set back costs what was earned in the meantime, and nothing for ever."""
        share = Share(0.5, always())
        share.wait(99.0)
        share.spent(BURST_SECONDS + 0.5, 100.0)
        self.assertAlmostEqual(share.wait(100.0), 1.0)
        share.spent(0.0, 50.0)
        self.assertLessEqual(share.wait(51.1), 0.0)


class FairQueueTests(SynchronousTestCase):
    """Whose turn it is."""

    def test_turns(self) -> None:
        """Addresses take turns, every second time the one that came last; within one the oldest; a /64 is one."""
        queue: FairQueue[str] = FairQueue()
        for waiter, address in (
            ("a1", "192.0.2.1"),
            ("a2", "::ffff:192.0.2.1"),
            ("b1", "2001:db8::1"),
            ("a3", "192.0.2.1"),
            ("b2", "2001:db8::2"),
            ("c1", "192.0.2.2"),
        ):
            queue.add(waiter, address)
        self.assertEqual(len(queue), 6)
        self.assertEqual([queue.next() for _ in range(6)], ["a1", "c1", "b1", "a2", "b2", "a3"])
        self.assertEqual(len(queue), 0)

    def test_gone(self) -> None:
        """Who is gone has no turn; told twice, or of somebody who never waited, nothing changes."""
        queue: FairQueue[str] = FairQueue()
        for waiter in ("a1", "a2"):
            queue.add(waiter, "a")
        queue.add("b1", "b")
        for waiter in ("a1", "a1", "b1", "x"):
            queue.discard(waiter)
        self.assertEqual((len(queue), queue.next(), len(queue)), (1, "a2", 0))

    def test_gone_before_its_turn(self) -> None:
        """An address of which all have gone is no newcomer any more: the turn is that of one who waits."""
        queue: FairQueue[str] = FairQueue()
        for waiter in ("a1", "a2", "b1"):
            queue.add(waiter, waiter[0])
        queue.discard("b1")
        self.assertEqual([queue.next(), queue.next(), len(queue)], ["a1", "a2", 0])

    @given(st.lists(st.one_of(st.sampled_from("aaaaabbc"), st.just("next"), st.integers(0, 50)), max_size=200))
    def test_nobody_starves(self, steps: list[str | int]) -> None:
        """
        Until it is somebody's turn, nobody who came behind it at its address has one; and of three addresses each has
        one of any six turns, however the others come and go.
        """
        queue: FairQueue[int] = FairQueue()
        came: dict[int, str] = {}  # who waits, oldest first
        passed: dict[int, list[int]] = {}  # of who waits: who had a turn meanwhile
        for number, step in enumerate(steps):
            if isinstance(step, int):
                gone = next(iter(list(came)[step:]), -1)
                queue.discard(gone)
                came.pop(gone, None)
            elif step != "next":
                queue.add(number, step)
                came[number], passed[number] = step, []
            elif came:
                served = queue.next()
                address = came.pop(served)
                self.assertFalse([other for other, where in came.items() if where == address and other < served])
                for other in came:
                    passed[other].append(served)
                    mine = sum(1 for each in passed[other] if steps[each] == came[other])
                    self.assertLessEqual(len(passed[other]), 6 * mine + 5)
            self.assertEqual(len(queue), len(came))


class FloodTests(SynchronousTestCase):
    """Both together: a flood of many times what can be done."""

    @given(st.integers(1, 12), st.integers(1, 40), st.integers(0, 200))
    def test_an_honest_peer(self, addresses: int, each: int, late: int) -> None:
        """
        Twelve addresses that always have forty connections waiting delay another by two handshakes for each address.

        Tones have three quarters of the time meanwhile, but for the burst.
        """
        share, queue, now, cost, spent = Share(0.25, always()), FairQueue[int](), 0.0, 0.001, 0.0
        share.wait(-1.0)
        number, where = 1, {}
        for address in range(addresses):
            for _ in range(each):
                where[number] = address
                queue.add(number, f"192.0.2.{address}")
                number += 1
        came = 0.0
        for turn in range(late + 2 * addresses + 2):
            if turn == late:
                came = now
                queue.add(0, "198.51.100.1")
            now += share.wait(now)
            served = queue.next()
            now += cost
            spent += cost
            share.spent(cost, now)
            if not served:
                break
            where[number] = where[served]
            queue.add(number, f"192.0.2.{where[served]}")
            number += 1
        else:
            self.fail("it never had its turn")
        self.assertLessEqual(now - came, 2 * (addresses + 1) * cost / 0.25 + cost)
        self.assertLessEqual(spent, 0.25 * now + BURST_SECONDS + cost)
