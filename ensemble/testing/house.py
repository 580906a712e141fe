"""A whole humd in memory, programs included: what a daemon is, without its files and sockets."""

from __future__ import annotations

from itertools import count
from typing import Any

from ensemble.conversations import Node, Routes
from ensemble.hives import Roster
from ensemble.identity import HumdId
from ensemble.mesh import Ensemble
from ensemble.protocols import InMemoryEndpoint, Turn
from ensemble.testing.world import World
from ensemble.thrum import ThrumClient, ThrumServer


class House:
    """
    One humd of a `World`, with a thrum socket that programs join over memory wires.

    :ivar ensemble: its links.
    :ivar node: its delivery.
    :ivar thrum: its socket, which listens nowhere: `join` takes its place.
    """

    def __init__(self, world: World, **more: Any) -> None:
        """:param more: passed to `Ensemble`."""
        self._world = world
        self.ensemble: Ensemble = world.humd(**more)
        routes = Routes(self.ensemble.me, Roster(), self._wall_ms, home="/home/someone")
        self.node = Node(self.ensemble, routes, world.clock)
        client_ids = (f"client-{number}" for number in count(1))
        self.thrum = ThrumServer(
            world.clock,
            "memory",
            self.node,
            wall_ms=self._wall_ms,
            client_ids=client_ids.__next__,
            queues=self.ensemble.queues,
            deadlines=self.ensemble.limits,
        )

    @property
    def me(self) -> HumdId:
        """Its id."""
        return self.ensemble.me

    def wire(self) -> InMemoryEndpoint:
        """The program's end of a new connection to the thrum socket, not started."""
        near, far = InMemoryEndpoint.pair(self.me, None, self.me, None, self._world.clock)
        self.thrum.accepted(far)
        return near

    def join(self, name: str | None = None, **hello: Any) -> ThrumClient:
        """
        A program that has joined, and said hello where it has a name.

        :param hello: fields of its hello: ``bee``, ``models``, ``tools``, ``chis``, ...
        """
        client = ThrumClient(self.wire(), Turn(self._world.clock), self._wall_ms)
        client.start()
        if name is not None:
            client.hello(name, **hello)
        self._world.settle()
        return client

    def _wall_ms(self) -> int:
        return int(self._world.wall() * 1000)
