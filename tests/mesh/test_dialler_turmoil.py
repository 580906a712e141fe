"""A dialler in any order of rows, holds, links, losses, answers and stops: it dials whom it should, and nobody else."""

from __future__ import annotations

from collections import Counter
from random import Random
from typing import Any

from twisted.internet.defer import Deferred, fail
from twisted.internet.error import ConnectionRefusedError
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from ensemble.errors import LinkRefused
from ensemble.identity import Hint, HumdAddr, HumdId, HumdKey
from ensemble.mesh import Dialler, KnownPeer, Limits
from ensemble.protocols import SomebodyElse

ME, *PEERS = (HumdKey.from_seed(bytes([number]) * 32).humd_id() for number in range(5))
HINTS = ((), ("udp:x.test:1",), ("tls:a.test:1",), ("tls:a.test:1", "tls:b.test:1", "tls:c.test:1"))
SCHEDULES = 600
STEPS = 60
DEEP = 4  # of what happens inside what happens


class Play:
    """One schedule, and what a dialler needs of an ensemble: who is linked, and what becomes of a wire."""

    me = ME

    def __init__(self, seed: int) -> None:
        self.random, self.clock = Random(seed), Clock()
        self.rules, self.counters = self, Counter[str]()
        self.up: set[HumdId] = set()
        self.rows: dict[HumdId, KnownPeer] = {}
        self.held: set[HumdId] = set()
        self.waiting: list[tuple[HumdId, Deferred[Any]]] = []  # dials, and links that shake hands
        self.running, self.depth, self.dials = False, 0, 0
        self.limits = Limits(pending_dials=self.random.choice((1, 2, 128)))
        ensemble: Any = self  # all of one that a dialler asks
        self.dialler = Dialler(ensemble, {"tls": self.dial}, self.clock, self.random.random)

    # of the ensemble

    def watch(self, watcher: Any) -> None:
        self.watcher = watcher

    def linked(self, peer: HumdId) -> bool:
        return peer in self.up

    def instead(self, row: KnownPeer, there: HumdId) -> tuple[str, bool]:
        return "another", True

    def learn(self, chain: Any) -> None:
        """What was found may change the rows, there and then."""
        if chain:
            self.inside(0.7)

    def install(self, peer: HumdId) -> Deferred[Any]:
        if self.random.random() < 0.2:
            return fail(LinkRefused("no"))
        return self.wait(peer)

    def dial(self, _: Hint, addr: HumdAddr) -> Deferred[Any]:
        assert self.running and addr.id in self.rows and addr.id not in self.held | self.up
        self.dials += 1
        return fail(self.error()) if self.random.random() < 0.3 else self.wait(addr.id)

    def wait(self, peer: HumdId) -> Deferred[Any]:
        waits: Deferred[Any] = Deferred(self.drop)
        self.waiting.append((peer, waits))
        return waits

    def drop(self, waits: Deferred[Any]) -> None:
        self.waiting = [each for each in self.waiting if each[1] is not waits]

    def error(self) -> Exception:
        chains: tuple[Any, ...] = ((), ("a succession",))
        return self.random.choice(
            [ConnectionRefusedError(), LinkRefused("no"), *(SomebodyElse("other", PEERS[0], each) for each in chains)]
        )

    # what happens

    def inside(self, chance: float) -> None:
        if self.depth < DEEP and self.random.random() < chance:
            self.depth += 1
            self.change_rows()
            self.depth -= 1

    def change_rows(self) -> None:
        rows, peer = dict(self.rows), self.random.choice(PEERS)
        if self.random.random() < 0.3:
            rows.pop(peer, None)
        else:
            rows[peer] = KnownPeer(peer, self.random.choice(HINTS))
        self.rows, self.held = rows, {each for each in PEERS if self.random.random() < 0.35}
        self.dialler.set_peers(list(rows.values()), self.held)

    def change_link(self) -> None:
        peer = self.random.choice(PEERS)
        self.up ^= {peer}
        ended = [each for each in self.waiting if each[0] == peer]  # the ensemble ends what shakes hands
        self.waiting = [each for each in self.waiting if each[0] != peer]
        self.watcher(peer, peer in self.up)
        for _, waits in ended:
            if not waits.called:
                waits.errback(LinkRefused("superseded"))
        self.inside(0.4)

    def answer(self) -> None:
        if self.waiting:
            peer, waits = self.waiting.pop(self.random.randrange(len(self.waiting)))
            if self.random.random() < 0.7:
                waits.errback(self.error())
            else:
                waits.callback(peer)

    def switch(self) -> None:
        self.running = not self.running
        if self.running:
            self.dialler.startService()
        else:
            self.dialler.stopService()

    def pass_time(self) -> None:
        self.clock.advance(self.random.choice((0, 0.1, 0.25, 1, 2, 61)))

    def step(self) -> None:
        all_of_it = self.change_rows, self.change_link, self.answer, self.pass_time, self.switch
        (what,) = self.random.choices(all_of_it, (3, 2, 5, 4, 1))
        what()

    def check(self) -> None:
        """What must be so after each step."""
        redials, turns = self.dialler._redials, self.dialler._turns
        assert {peer: redial.row for peer, redial in redials.items()} == self.rows
        timers = 0
        for peer, redial in redials.items():
            can = any(hint.startswith("tls:") for hint in redial.row.hints)
            assert self.dialler.dials(peer) == (can and peer not in self.held)
            wanted = self.running and peer not in self.held | self.up
            busy = redial._timer or redial._racing or redial in turns._waiting
            assert bool(busy) == (wanted and can), (peer, wanted, can)
            assert not wanted or can or not redial.row.hints or redial.last_failure
            timers += redial._timer is not None
        assert {peer for peer, _ in self.waiting} <= self.rows.keys() - self.held
        assert self.running or not self.waiting
        assert turns._waiting.keys() <= set(redials.values())
        assert len(self.waiting) == turns._taken <= self.limits.pending_dials
        assert len(self.clock.getDelayedCalls()) == timers + (turns._timer is not None)
        assert not turns._waiting or turns._timer or turns._taken == self.limits.pending_dials


class TurmoilTests(SynchronousTestCase):
    def test_any_schedule(self) -> None:
        """
        Nobody is dialled who is held, linked or not wanted, and whoever is wanted is being dialled, or will be.

        No timer is left, and what a dial finds may change the rows while it is being told.
        """
        dials = 0
        for seed in range(SCHEDULES):
            play = Play(seed)
            play.switch()
            for _ in range(STEPS):
                play.step()
                play.check()
            if play.running:
                play.switch()
            play.check()
            dials += play.dials
        self.assertGreater(dials, SCHEDULES)
