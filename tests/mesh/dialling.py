"""A humd that dials its rows, in a network of the tests' own."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionRefusedError
from twisted.trial.unittest import SynchronousTestCase

from ensemble.identity import Hint, HumdAddr, HumdId
from ensemble.interfaces import IWire
from ensemble.mesh import Dialler, Ensemble, KnownPeer
from ensemble.protocols import InMemoryEndpoint
from ensemble.testing import World


class Net:
    """A network in memory: names that lead to ensembles, and a record of every dial."""

    def __init__(self, world: World, me: HumdId) -> None:
        self.world, self.me = world, me
        self.hosts: dict[str, Ensemble] = {}
        self.dialled: list[tuple[float, str]] = []
        self.hanging: list[Deferred[IWire]] = []
        self.cancelled = 0
        self.refusal: Exception = ConnectionRefusedError()

    def dial(self, hint: Hint, addr: HumdAddr) -> Deferred[IWire]:
        """Open a memory wire where somebody lives; ``slow`` never answers, all else refuses."""
        name = hint.host_port()[0]
        self.dialled.append((self.world.clock.seconds(), name))
        wire: Deferred[IWire] = Deferred(self._cancel)
        if name == "slow":
            self.hanging.append(wire)
        elif name in self.hosts:
            other = self.hosts[name]
            near, far = InMemoryEndpoint.pair(self.me, None, addr.id, None, self.world.clock)
            far.peer = None
            other.install(far).addErrback(lambda _: None)
            wire.callback(near)
        else:
            wire.errback(self.refusal)
        return wire

    def _cancel(self, _: object) -> None:
        self.cancelled += 1


class DiallerTestCase(SynchronousTestCase):
    """One humd, its rows, and a network."""

    def setUp(self) -> None:
        self.world = World()
        self.me, self.other = self.world.humd(), self.world.humd()
        self.net = Net(self.world, self.me.me)
        dials = {"tcp": self.net.dial, "tls": self.net.dial}
        self.dialler = Dialler(self.me, dials, self.world.clock, self.world.random.random)
        self.dialler.startService()

    def row(self, *hints: str, plain: bool = False) -> KnownPeer:
        """The other humd's row."""
        return KnownPeer(peer=self.other.me, hints=hints, plain=plain)

    def names(self) -> list[str]:
        """Who was dialled, in order."""
        return [name for _, name in self.net.dialled]
