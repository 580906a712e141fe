"""Two diallers that dial each other at once, where nobody proves anything."""

from __future__ import annotations

from twisted.internet.defer import Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase

from ensemble.identity import Hint, HumdAddr
from ensemble.interfaces import IWire
from ensemble.mesh import Dial, Dialler, Ensemble, KnownPeer
from ensemble.protocols import InMemoryEndpoint
from ensemble.testing import World


class AtOnceTests(SynchronousTestCase):
    """Two humds that dial each other at once."""

    def test_without_proofs(self) -> None:
        """Where nobody proves a dial may be up at the other side before it is here: the two are made one, no loss."""
        world = World()
        wires: list[InMemoryEndpoint] = []

        def dial_from(me: Ensemble, other: Ensemble) -> Dial:
            def dial(hint: Hint, addr: HumdAddr) -> Deferred[IWire]:
                near, far = InMemoryEndpoint.pair(me.me, None, other.me, None, world.clock)
                far.peer = None
                for end in (near, far):
                    end.partition(True)
                wires.extend((near, far))
                other.install(far)
                return succeed(near)

            return dial

        humds = [
            Ensemble(world.key().humd_id(), clock=world.clock, wall=world.wall, entropy=world.random.randbytes)
            for _ in range(2)
        ]
        for me, other in (humds, humds[::-1]):
            dialler = Dialler(me, {"tcp": dial_from(me, other)}, world.clock, world.random.random)
            dialler.set_peers([KnownPeer(other.me, hints=("tcp:there.test:1",))])
            dialler.startService()
        for ends in (wires[::2], wires[1::2]):  # both hellos arrive in the same turn, then both answers
            for end in ends:
                end.partition(False)
            world.settle()
        world.advance(3)
        self.assertEqual([humd.peers() for humd in humds], [[humds[1].me], [humds[0].me]])
        self.assertEqual([humd.counters["peers.lost"] for humd in humds], [0, 0])
