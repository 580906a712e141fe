"""A porch in any turmoil: who enters has one turn or leaves, each address has its turn, and the share holds."""

from __future__ import annotations

from typing import TypeAlias

from attrs import define
from hypothesis import example, given, settings, strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from ensemble.interfaces import IWire
from ensemble.protocols import Porch
from ensemble.protocols.share import BURST_SECONDS, FLOW_BYTES, FLOW_SECONDS, SPAN_SECONDS
from ensemble.protocols.stream import StreamWire

PART = 0.2
PLACES = 12
ADDRESSES = ("192.0.2.1", "192.0.2.2", "::ffff:192.0.2.2", "2001:db8::1", "2001:db8::2", "fe80::1%eth0", "", "bus")
CROWDS = (0, 1, 1, 2, 2, 3, 4, 5)
COSTS = (0.0, 0.001, 0.01, 0.3)  # seconds

Step: TypeAlias = tuple[str, int, int]  # what, who, how


@define(eq=False)
class Guest:
    """A connection on the porch."""

    play: Play
    wire: IWire
    crowd: int
    plan: int
    waits: bool = True
    told: int = 0

    def shake(self) -> None:
        self.play.has_turn(self)


class Play:
    """One porch, and a clock that goes on while work is done."""

    def __init__(self, flowing: bool) -> None:
        self.clock, self.flowing = Clock(), flowing
        self.porch = Porch(self.clock, self, traffic=self._traffic, handshake_percent=round(PART * 100))
        self.always, self.cost, self.plan = flowing, 0.001, 0
        self.guests: list[Guest] = []
        self.patience: dict[int, int] = {}  # crowd: turns of others at most, until it has one
        self.spent: list[tuple[float, float, float]] = []  # when each began and ended, what it cost
        self.porch.work(lambda: None)  # the first look at the traffic
        self.clock.advance(1.0)

    def _traffic(self) -> int:
        return self.flowing * FLOW_BYTES

    def _waiting(self, crowd: int | None = None) -> list[Guest]:
        return [guest for guest in self.guests if guest.waits and crowd in (None, guest.crowd)]

    # Host

    def has_room(self, address: str) -> bool:
        return True

    def came(self, wire: IWire) -> None:
        (guest,) = [guest for guest in self.guests if guest.wire is wire]
        assert not guest.told, "told twice"
        guest.told = 1
        waiting = self._waiting()
        if len(waiting) > PLACES:
            self.go(waiting[0])
        if self._waiting(guest.crowd) == [guest]:
            self._joins(guest.crowd)

    def gone(self, wire: IWire) -> None:
        (guest,) = [guest for guest in self.guests if guest.wire is wire]
        assert guest.told
        guest.told = 2

    # steps

    def come(self, who: int, how: int) -> None:
        wire = StreamWire(self.clock)
        wire.address = ADDRESSES[who % len(ADDRESSES)]
        guest = Guest(self, wire, CROWDS[who % len(ADDRESSES)], how)
        self.guests.append(guest)
        self.porch.enter(wire, guest.shake)

    def _joins(self, crowd: int) -> None:
        """Those that are before it have a turn at most, and as many go to newcomers."""
        self.patience[crowd] = 2 * len({guest.crowd for guest in self._waiting()} - {crowd}) + 1

    def go(self, guest: Guest) -> None:
        guest.waits = False
        self.porch.leave(guest.wire, guest.shake)

    def has_turn(self, guest: Guest) -> None:
        assert guest.waits, "it had its turn, or left"
        assert guest is self._waiting(guest.crowd)[0], "another of its address is older"
        guest.waits = False
        began, others = self.clock.seconds(), {other.crowd for other in self._waiting()} - {guest.crowd}
        for crowd in others:
            self.patience[crowd] -= 1
            assert self.patience[crowd] >= 0, "others go first again and again"
        self._joins(guest.crowd)
        if self.always:
            for at, (since, _, _) in enumerate(self.spent):
                done = sum(cost for _, _, cost in self.spent[at:])
                assert done <= PART * (began - since) + BURST_SECONDS + 1e-9 or began == since, (done, began - since)
        self._work()
        match guest.plan % 6:
            case 1:
                raise ZeroDivisionError
            case 2:
                self.go(guest)
            case 3 if self._waiting():
                self.go(self._waiting()[-1])
            case 4:
                self.come(guest.plan // 6, 0)
            case 5:
                for other in self._waiting():
                    self.go(other)

    def _work(self) -> None:
        began = self.clock.seconds()
        self.clock.rightNow += self.cost
        self.spent.append((began, self.clock.seconds(), self.cost))

    def leave(self, who: int, how: int) -> None:
        """Whoever is there; to be told so twice is nothing."""
        if self.guests:
            self.go(self.guests[-1 - who % len(self.guests)])

    def work(self, who: int, how: int) -> None:
        """Of those that have begun."""
        self.porch.work(self._work)

    def costs(self, who: int, how: int) -> None:
        self.cost = COSTS[how % len(COSTS)]

    def tones(self, who: int, how: int) -> None:
        """They begin to flow, or cease to."""
        if not self.always:
            self.flowing = not self.flowing

    def time(self, who: int, how: int) -> None:
        self.advance((0.0, 0.0, 0.01, 0.1, 1.0, 3.0)[how % 6])

    def advance(self, seconds: float) -> None:
        until = self.clock.seconds() + seconds
        while True:
            try:
                self.clock.advance(max(0.0, until - self.clock.seconds()))
                return
            except ZeroDivisionError:
                pass  # as the reactor does

    def look(self) -> None:
        """Does it say what is so?  One timer, while somebody waits."""
        waiting = len(self._waiting())
        assert (len(self.porch), len(self.clock.getDelayedCalls())) == (waiting, min(1, waiting))


STEPS = ("come", "come", "come", "come", "leave", "work", "costs", "tones", "time", "time", "time")
ANY_STEP = st.tuples(st.sampled_from(STEPS), st.integers(0, 15), st.integers(0, 47))


class TurmoilTests(SynchronousTestCase):
    """With handshakes that die, leave, and have others come and leave."""

    @settings(max_examples=200)
    @example(True, [("costs", 0, 3), ("come", 1, 1), ("come", 0, 0), ("time", 0, 0)])  # what raises costs, too
    @example(False, [("costs", 0, 3), ("tones", 0, 0), ("time", 0, 3), ("work", 0, 0), ("work", 0, 0), ("come", 0, 0)])
    @given(st.booleans(), st.lists(ANY_STEP, min_size=20, max_size=100))
    def test_all_have_their_turn(self, always: bool, steps: list[Step]) -> None:
        """
        Whoever enters has one turn or leaves; the oldest of an address first, and each address in time; where tones
        flow always the share holds whenever one begins, and where none flow all are served at once.
        """
        play = Play(always)
        for what, who, how in steps:
            getattr(play, what)(who, how)
            play.look()
        play.flowing = play.always = False
        for _ in range(4):
            play.advance(SPAN_SECONDS)
            play.advance((FLOW_SECONDS + SPAN_SECONDS) / 2)
            play.look()
        for _ in play.guests:
            play.advance(0)
        self.assertEqual((play._waiting(), len(play.porch), play.clock.getDelayedCalls()), ([], 0, []))
        self.assertEqual([guest for guest in play.guests if not guest.told], [])
