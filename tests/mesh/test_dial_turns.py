"""How many dials are under way at once, and whose turn it is."""

from __future__ import annotations

from functools import partial

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionRefusedError
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from ensemble.identity import Hint, HumdAddr, HumdId, HumdKey
from ensemble.interfaces import IWire
from ensemble.mesh import Dialler, Ensemble, KnownPeer, Limits
from ensemble.mesh.defaults import PEER_DIALS, SPARE_SECONDS
from ensemble.mesh.dial_turns import DialTurns


class DialTurnsTests(SynchronousTestCase):
    """Whoever asks gets a turn; what may be spare is set by the test."""

    def setUp(self) -> None:
        self.clock, self.room, self.begun = Clock(), True, list[str]()
        self.turns = DialTurns(2, self.clock, lambda: self.room)

    def ask(self, *who: str) -> None:
        for each in who:
            self.turns.ask(each, partial(self.begun.append, each))

    def end(self, times: int) -> None:
        """So many dials end."""
        for _ in range(times):
            self.turns.ended()
        self.clock.advance(0)

    def test_order(self) -> None:
        """Two at once, then in the order in which they asked, each as often as it asked and was served."""
        self.ask("a", "b", "c", "c", "d")
        self.assertEqual(self.begun, ["a", "b"])
        self.turns.withdraw("c")
        self.turns.ended()
        self.assertEqual(self.begun, ["a", "b"])  # not from inside the call
        self.clock.advance(0)
        self.assertEqual(self.begun, ["a", "b", "d"])
        self.ask("c", "a")
        self.end(2)
        self.assertEqual(self.begun, ["a", "b", "d", "c", "a"])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_ended_before_it_began(self) -> None:
        """Dials that fail at once, by the thousand, neither fill the stack nor lose a turn."""

        def fails(number: int) -> None:
            self.begun.append(str(number))
            self.turns.ended()

        self.ask("a", "b")
        for number in range(5000):
            self.turns.ask(number, partial(fails, number))
        self.end(1)
        self.assertEqual(len(self.begun), 5002)
        self.end(1)
        self.ask("c", "d", "e")
        self.assertEqual(self.begun[-2:], ["c", "d"])

    def test_no_descriptor(self) -> None:
        """Where there is none to spare nobody is served; it is looked again each second, while somebody waits."""
        self.room = False
        self.ask("a", "b")
        self.clock.advance(SPARE_SECONDS)
        self.assertEqual((self.begun, len(self.clock.getDelayedCalls())), ([], 1))
        self.room = True
        self.clock.advance(SPARE_SECONDS)
        self.assertEqual((self.begun, self.clock.getDelayedCalls()), (["a", "b"], []))
        self.end(1)
        self.room = False
        self.ask("c")
        self.turns.withdraw("c")
        self.assertEqual(self.clock.getDelayedCalls(), [])


class DiallerTests(SynchronousTestCase):
    """A dialler of four dials at once, and hints that never answer."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.dialled: list[tuple[HumdId, Deferred[IWire]]] = []
        self.room = True
        me = HumdKey.generate().humd_id()
        self.ensemble = Ensemble(me, clock=self.clock, limits=Limits(pending_dials=4))
        self.dialler = Dialler(self.ensemble, {"tcp": self.dial}, self.clock, lambda: 0.0, lambda: self.room)
        self.dialler.startService()

    def dial(self, _: Hint, addr: HumdAddr) -> Deferred[IWire]:
        """Never answers, until the test does."""
        wire: Deferred[IWire] = Deferred()
        self.dialled.append((addr.id, wire))
        return wire

    def rows(self, count: int, hints: int = 1) -> list[KnownPeer]:
        """So many peers with so many hints each."""
        places = tuple(f"tcp:h{number}.test:1" for number in range(hints))
        return [KnownPeer(HumdKey.generate().humd_id(), places) for _ in range(count)]

    def whom(self) -> list[HumdId]:
        """Who was dialled, in order."""
        return [peer for peer, _ in self.dialled]

    def test_rows_that_lead_nowhere(self) -> None:
        """However many rows there are, four dials are under way; all of them have their turn, in order."""
        rows = self.rows(50)
        self.dialler.set_peers(rows)
        self.assertEqual(self.whom(), [row.peer for row in rows[:4]])
        for number in range(46):
            self.dialled[number][1].errback(ConnectionRefusedError())
            self.clock.advance(0)
        self.assertEqual(self.whom(), [row.peer for row in rows])

    def test_many_hints_of_one(self) -> None:
        """The hints of one peer are behind the first of each other peer that asked meanwhile."""
        greedy, *others = [*self.rows(1, hints=32), *self.rows(6)]
        self.dialler.set_peers([greedy])
        self.clock.pump([0.25] * 40)
        self.assertEqual(self.whom(), [greedy.peer] * 4)
        self.dialler.set_peers([greedy, *others])
        for number in range(3):
            self.dialled[number][1].errback(ConnectionRefusedError())
            self.clock.advance(0)
        self.assertEqual(self.whom()[4:], [greedy.peer, *(row.peer for row in others[:2])])

    def test_of_one_at_once(self) -> None:
        """One peer has eight dials at once where there is room for more; the next hint takes the place of one."""
        ensemble = Ensemble(self.ensemble.me, clock=self.clock)
        dialler = Dialler(ensemble, {"tcp": self.dial}, self.clock, lambda: 0.0)
        dialler.startService()
        dialler.set_peers(self.rows(1, hints=32))
        self.clock.pump([0.25] * 80)
        self.assertEqual(len(self.dialled), PEER_DIALS)
        self.dialled[0][1].errback(ConnectionRefusedError())
        self.assertEqual(len(self.dialled), PEER_DIALS + 1)
        self.clock.pump([0.25] * 80)
        self.assertEqual(len(self.dialled), PEER_DIALS + 1)

    def test_no_descriptor(self) -> None:
        """Nothing is dialled while there is no descriptor to spare, and all of it afterwards."""
        self.room = False
        self.dialler.set_peers(self.rows(3))
        self.assertEqual(self.dialled, [])
        self.room = True
        self.clock.advance(SPARE_SECONDS)
        self.assertEqual(len(self.dialled), 3)

    def test_end(self) -> None:
        """Rows that go, and the end, drop dials without beginning those that had waited for them."""
        rows = self.rows(20)
        self.dialler.set_peers(rows)
        self.dialler.set_peers(rows[8:10])
        self.clock.advance(0)
        self.assertEqual(self.whom(), [row.peer for row in (*rows[:4], *rows[8:10])])
        self.dialler.set_peers(rows)
        before = len(self.dialled)
        self.dialler.stopService()
        self.assertEqual((len(self.dialled), self.clock.getDelayedCalls()), (before, []))
