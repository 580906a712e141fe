"""
Many humds in one process on one ``Clock``: real ensembles over memory wires, with no socket and no waiting.

Time stands still until `World.advance`; randomness is seeded; so a test that passed once passes always.
"""

from __future__ import annotations

from random import Random
from typing import Any

from attrs import frozen
from twisted.internet.defer import Deferred
from twisted.internet.testing import MemoryReactorClock

from ensemble.identity import HumdId, HumdKey
from ensemble.mesh import Ensemble
from ensemble.protocols import InMemoryEndpoint

EPOCH = 1_700_000_000.0  # wall time at which every world begins
TURNS = 10_000  # reactor turns of one settle: more means that something goes round for ever


class NeverSettles(Exception):
    """Something schedules itself at once again and again."""


@frozen
class MemoryLink:
    """
    Two ensembles joined by a memory wire.

    :ivar near: the end of the one that dialled.
    :ivar far: the other end.
    :ivar up: fires with the other's id once the link is up, for each side.
    """

    near: InMemoryEndpoint
    far: InMemoryEndpoint
    up: tuple[Deferred[HumdId], Deferred[HumdId]]

    def cut(self) -> None:
        """Cut both directions: what is written is kept up to 64 lines each."""
        self.near.partition(True)
        self.far.partition(True)

    def heal(self) -> None:
        """Undo `cut`."""
        self.near.partition(False)
        self.far.partition(False)

    def delay(self, seconds: float) -> None:
        """Have every line take so long, each way; while nothing is on its way."""
        self.near.latency = self.far.latency = seconds


class World:
    """
    A clock, a source of randomness, and the humds that live on them.

    :ivar clock: a ``MemoryReactorClock``, at 0 when the world begins.
    :ivar random: for whatever a test wants to be the same in every run.
    :ivar wall_offset: what the clock's seconds and the wall's are apart; settable, for a wall that jumps.
    """

    def __init__(self, seed: int = 0) -> None:
        """:param seed: two worlds with the same are alike."""
        self.clock = MemoryReactorClock()
        self.random = Random(seed)
        self.wall_offset = EPOCH

    def wall(self) -> float:
        """Seconds since the epoch; moves with the clock."""
        return self.wall_offset + self.clock.seconds()

    def key(self) -> HumdKey:
        """A fresh key, the same in every run."""
        return HumdKey.generate(self.random.randbytes)

    def humd(self, key: HumdKey | None = None, **more: Any) -> Ensemble:
        """
        A running ensemble with a key.

        :param more: passed to `Ensemble`.
        """
        key = key if key is not None else self.key()
        ensemble = Ensemble(
            key.humd_id(), clock=self.clock, key=key, wall=self.wall, entropy=self.random.randbytes, **more
        )
        ensemble.startService()
        return ensemble

    def join(self, dialler: Ensemble, listener: Ensemble) -> MemoryLink:
        """Give both the ends of a new memory wire; nothing has moved yet."""
        near, far = InMemoryEndpoint.pair(dialler.me, None, listener.me, None, self.clock)
        ups = (dialler.install(near), listener.install(far))
        for up in ups:
            up.addErrback(lambda failure: failure)
        return MemoryLink(near, far, ups)

    def link(self, dialler: Ensemble, listener: Ensemble) -> MemoryLink:
        """`join`, then let everything happen that happens at once."""
        joined = self.join(dialler, listener)
        self.settle()
        return joined

    def settle(self) -> None:
        """
        Run everything that is due now, and what that makes due.

        :raises NeverSettles: it does not end.
        """
        for _ in range(TURNS):
            now = self.clock.seconds()
            if not any(call.getTime() <= now for call in self.clock.getDelayedCalls()):
                return
            self.clock.advance(0)
        raise NeverSettles

    def advance(self, seconds: float, step: float = 0.5) -> None:
        """
        Let time pass, with everything that happens meanwhile.

        :param step: seconds; what falls due within one happens at its end.  So take one that is shorter than the delays
            that matter, those of `MemoryLink.delay` for instance.
        """
        end = self.clock.seconds() + seconds
        while self.clock.seconds() + step < end:
            self.clock.advance(step)
            self.settle()
        self.clock.advance(end - self.clock.seconds())
        self.settle()
