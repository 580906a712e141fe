"""Whether one link is read: `ensemble.mesh.reading` by itself."""

from __future__ import annotations

from sys import getsizeof

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from ensemble.identity import HumdAddr
from ensemble.mesh.allowance import Allowance, malformed_bucket
from ensemble.mesh.reading import Reading, Reason
from ensemble.protocols import InMemoryEndpoint
from ensemble.testing import World
from tests.protocols.recording import RecordingSink


class ReadingTests(SynchronousTestCase):
    """Two reasons not to read."""

    def setUp(self) -> None:
        self.clock, world = Clock(), World()
        me, other = world.key().humd_id(), world.key().humd_id()
        self.far, near = InMemoryEndpoint.pair(other, None, me, None, self.clock)
        near.peer = HumdAddr(other)
        self.sink = RecordingSink()
        self.handled: list[bytes] = []
        self.reading = Reading(near, self.clock, self.handled.extend)
        near.start(self.sink)
        self.far.start(RecordingSink())
        self.far.write([b"1"])

    def arrived(self) -> bool:
        self.clock.advance(0)
        self.clock.advance(0)
        return bool(self.sink.lines)

    def paced(self, tones: int, size: int) -> Allowance:
        """:returns: of so many tones and bytes a second; 0 for no limit."""
        allowance = Allowance()
        allowance.set_pace(tones, size, 1, malformed_bucket(0.0), self.clock.seconds())
        return allowance

    def test_neither_undoes_the_other(self) -> None:
        """Read on only when the last reason is gone, in whichever order they came and went."""
        for first, second in (tuple(Reason), tuple(reversed(Reason))):
            for begins, ends in (((first, second), (first, second)), ((first, second), (second, first))):
                self.setUp()
                for why in begins:
                    self.reading.pause(why)
                self.reading.hold([b"held"])
                self.assertFalse(self.arrived())
                self.reading.resume(ends[0])
                self.assertFalse(self.arrived() or self.reading.on or self.handled)
                self.reading.resume(ends[1])
                self.assertTrue(self.arrived() and self.reading.on)
                self.assertEqual(self.handled, [b"held"])

    def test_resume_without_pause(self) -> None:
        """What was not paused is not resumed."""
        self.reading.resume(Reason.SETTLING)
        self.assertTrue(self.arrived())
        self.reading.pause(Reason.SETTLING)
        self.reading.resume(Reason.THROTTLED)
        self.assertFalse(self.reading.on)

    def test_paused_by_what_was_held(self) -> None:
        """Handling what was held may pause again: then nothing is read, and nothing is resumed twice."""
        again = Reading(self.reading._wire, self.clock, lambda lines: again.pause(Reason.SETTLING))
        again.pause(Reason.SETTLING)
        again.hold([b"held"])
        again.resume(Reason.SETTLING)
        self.assertFalse(again.on or self.arrived())

    def test_nothing_behind_the_end(self) -> None:
        """What was in hand when the wire ended is nobody's."""
        self.reading.pause(Reason.SETTLING)
        self.reading.hold([b"held"])
        self.reading.stop()
        self.reading.resume(Reason.SETTLING)
        self.assertEqual(self.handled, [])

    def test_held_small(self) -> None:
        """Lines that wait take hardly more than their bytes, however short they are, and keep their order."""
        lines = [b"%d" % number for number in range(20_000)] + [b"", b""]
        self.reading.pause(Reason.SETTLING)
        self.reading.hold(lines)
        held = self.reading._held
        self.assertLess(sum(map(getsizeof, held)) + getsizeof(held), 1.1 * sum(len(line) + 1 for line in lines))
        self.reading.resume(Reason.SETTLING)
        self.assertEqual(self.handled, lines)

    def test_held_again(self) -> None:
        """What handling leaves of what was held stays in front of the rest of it."""

        def handle(lines: list[bytes]) -> None:
            self.handled.extend(lines[:100])
            if lines[100:]:
                again.pause(Reason.SETTLING)
                again.hold(lines[100:])

        again = Reading(self.reading._wire, self.clock, handle)
        lines = [b"%d" % number for number in range(1000)]
        again.pause(Reason.SETTLING)
        again.hold(lines)
        for _ in range(20):
            again.resume(Reason.SETTLING)
        self.assertEqual((self.handled, again.on), (lines, True))

    def test_one_timer(self) -> None:
        """While a debt is being paid, more of it sets no second timer."""
        self.reading.allowance = self.paced(10, 0)
        self.assertTrue(self.reading.spend(20))
        self.assertFalse(self.reading.spend(20))
        self.assertEqual(self.reading.allowance.throttled, 1)
        self.assertEqual(len([call for call in self.clock.getDelayedCalls() if call.getTime() > 0]), 1)
        self.reading.stop()
        self.assertFalse([call for call in self.clock.getDelayedCalls() if call.getTime() > 0])

    def test_what_came_before_is_free(self) -> None:
        """Of what came before there was a pace nothing is owed, neither lines nor what TLS wrapped them in."""
        self.patch(InMemoryEndpoint, "stuffing", 50_000)
        self.reading.count_for(self.paced(0, 1000))
        self.assertFalse(self.reading.spend(1))
        self.patch(InMemoryEndpoint, "stuffing", 51_001)
        self.assertTrue(self.reading.spend(1))

    def test_no_limit(self) -> None:
        """Without a limit a line that is no tone makes no pause, and none is told of."""
        self.assertFalse(self.reading.spend_malformed(10**9))
        self.assertTrue(self.reading.on)
