"""
Where attacks happen: whole humds, an attacker's bare connections and a program's, on memory wires or on real sockets.

One body of a test runs in both.  A test waits for what it says with `Arena.until`, never for a time.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Callable
from itertools import count
from typing import Any, Protocol, TypeVar

from twisted.internet import reactor as real_reactor
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.endpoints import TCP4ClientEndpoint, UNIXClientEndpoint, connectProtocol
from twisted.internet.protocol import Protocol as TwistedProtocol, connectionDone
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from zope.interface import implementer

from ensemble.conversations import Node, Routes
from ensemble.errors import RemoteWireError
from ensemble.hives import Roster
from ensemble.identity import HumdAddr, HumdId, HumdKey
from ensemble.interfaces import IWireSink
from ensemble.mesh import Ensemble
from ensemble.protocols import InMemoryEndpoint, TcpTransport
from ensemble.testing import House, World
from ensemble.thrum import ThrumServer
from ensemble.thrum.client import ThrumClient, connect
from ensemble.tone import decode, encode

reactor: Any = real_reactor

POLL = 0.002  # seconds between two looks at a condition that no callback tells of


class Humd(Protocol):
    """What both kinds of house have."""

    ensemble: Ensemble
    node: Node
    thrum: ThrumServer


class Rogue:
    """
    One end of a connection that says whatever a test wants, and writes down what it is told.

    :ivar lines: everything that came.
    :ivar lost: True once the connection is gone.
    :ivar key: who it is to others, where it has linked.
    :ivar binding: what a proof on this connection is bound to.
    """

    key: HumdKey
    binding = "none"

    def __init__(self) -> None:
        self.lines: list[bytes] = []
        self.lost = False

    @property
    def id(self) -> HumdId:
        """That of its key."""
        return self.key.humd_id()

    @property
    def heard(self) -> list[dict[str, Any]]:
        """What came, decoded."""
        return [decode(line) for line in self.lines]

    def tones(self, *chis: str) -> list[dict[str, Any]]:
        """What came of these kinds."""
        return [tone for tone in self.heard if tone["chi"] in chis]

    def say(self, *tones: dict[str, Any] | bytes) -> None:
        """Send tones, or lines that may be anything."""
        raise NotImplementedError

    def leave(self) -> None:
        """Cut the connection."""
        raise NotImplementedError

    def stop_reading(self) -> None:
        """Take nothing more from the connection."""
        raise NotImplementedError


def _line(tone: dict[str, Any] | bytes) -> bytes:
    return tone if isinstance(tone, bytes) else encode(tone)


@implementer(IWireSink)
class MemoryRogue(Rogue):
    """A `Rogue` on a memory wire."""

    def __init__(self, wire: InMemoryEndpoint) -> None:
        super().__init__()
        self.wire = wire
        wire.start(self)

    def say(self, *tones: dict[str, Any] | bytes) -> None:
        self.wire.write([_line(tone) for tone in tones])

    def leave(self) -> None:
        self.wire.abort()

    def stop_reading(self) -> None:
        self.wire.pause()

    def lines_received(self, lines: list[bytes]) -> None:
        self.lines += lines

    def bytes_trickled(self) -> None:
        """A memory wire carries whole lines."""

    def line_refused(self, error: RemoteWireError) -> None:
        """The same as a loss, to us."""

    def wire_full(self) -> None:
        """We go on: it is not our memory."""

    def wire_drained(self) -> None:
        """As above."""

    def wire_lost(self, reason: str, clean: bool) -> None:
        self.lost = True


class RealRogue(Rogue, TwistedProtocol):
    """A `Rogue` on a real socket."""

    def __init__(self) -> None:
        super().__init__()
        self._rest = b""

    def say(self, *tones: dict[str, Any] | bytes) -> None:
        self.raw(b"".join(_line(tone) + b"\n" for tone in tones))

    def raw(self, data: bytes) -> None:
        """Send bytes that need not be lines."""
        if self.transport is not None:
            self.transport.write(data)

    def leave(self) -> None:
        if not self.lost:
            self.transport.abortConnection()  # type: ignore[union-attr]

    def stop_reading(self) -> None:
        self.transport.pauseProducing()  # type: ignore[union-attr]

    def dataReceived(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        self.lines += lines

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.lost = True


R = TypeVar("R", bound=RealRogue)


class Arena(Protocol):
    """Where a test happens."""

    now_ms: Callable[[], int]

    def house(self, key: HumdKey | None = None, **more: Any) -> Humd:
        """A running humd with a thrum socket."""

    async def link(self, dialler: Humd, listener: Humd) -> None:
        """Link two humds."""

    async def rogue(self, house: Humd) -> Rogue:
        """A bare connection to a humd, as one that another humd dials."""

    async def program(self, house: Humd) -> Rogue:
        """A bare connection to the thrum socket."""

    async def join(self, house: Humd, name: str, **hello: Any) -> ThrumClient:
        """An honest program."""

    async def until(self, holds: Callable[[], Any]) -> None:
        """Wait until something holds; a test that waits for what never comes fails."""

    async def close(self) -> None:
        """End all that was begun."""


class MemoryArena:
    """All in one process on one ``Clock``, which stands still."""

    def __init__(self) -> None:
        self.world = World()

    def now_ms(self) -> int:
        return int(self.world.wall() * 1000)

    def house(self, key: HumdKey | None = None, **more: Any) -> House:
        return House(self.world, key=key if key is not None else self.world.key(), **more)

    async def link(self, dialler: Humd, listener: Humd) -> None:
        self.world.link(dialler.ensemble, listener.ensemble)

    async def rogue(self, house: Humd) -> MemoryRogue:
        nobody = self.world.key().humd_id()
        near, far = InMemoryEndpoint.pair(nobody, None, house.ensemble.me, None, self.world.clock)
        far.peer = None
        house.ensemble.install(far).addErrback(lambda _: None)
        rogue = MemoryRogue(near)
        self.world.settle()
        return rogue

    async def program(self, house: Humd) -> MemoryRogue:
        assert isinstance(house, House)
        rogue = MemoryRogue(house.wire())
        self.world.settle()
        return rogue

    async def join(self, house: Humd, name: str, **hello: Any) -> ThrumClient:
        assert isinstance(house, House)
        return house.join(name, **hello)

    async def until(self, holds: Callable[[], Any]) -> None:
        self.world.settle()
        if not holds():
            raise AssertionError("everything has settled, and it does not hold")

    async def close(self) -> None:
        self.world.settle()


class RealHouse:
    """
    A humd on the real reactor: loopback TCP, and a thrum socket in a directory of its own.

    :ivar transport: how it dials.
    :ivar addr: where it is dialled.
    :ivar port: of the listener that ``addr`` names.
    """

    transport: TcpTransport

    def __init__(self, key: HumdKey, **more: Any) -> None:
        self.ensemble = Ensemble(key.humd_id(), key=key, **{"clock": reactor, **more})
        self.ensemble.startService()
        routes = Routes(self.ensemble.me, Roster(), _wall_ms, home="/home/someone")
        self.node = Node(self.ensemble, routes, reactor)
        self.directory = tempfile.mkdtemp(dir="/tmp")  # trial's own are too deep for a socket
        self.path = os.path.join(self.directory, "thrum.sock")
        client_ids = (f"client-{number}" for number in count(1))
        self.thrum = ThrumServer(
            reactor,
            self.path,
            self.node,
            wall_ms=_wall_ms,
            client_ids=client_ids.__next__,
            turn=self.ensemble.turn,
            budget=self.ensemble.budget,
            queues=self.ensemble.queues,
        )
        self.thrum.startService()
        self._ports: list[Any] = []
        self.transport = TcpTransport(reactor, budget=self.ensemble.budget)
        self.listen("tcp", self.ensemble.factory())

    def listen(self, scheme: str, factory: Any) -> None:
        """Listen on a port of the system's choice, and be found there."""
        self._ports.append(reactor.listenTCP(0, factory, backlog=4096, interface="127.0.0.1"))
        self.port: int = self._ports[-1].getHost().port
        self.addr = HumdAddr(self.ensemble.me).with_hint(f"{scheme}:127.0.0.1:{self.port}")

    async def close(self) -> None:
        """Stop everything; the connections that are left close soon."""
        for port in self._ports:
            await maybeDeferred(port.stopListening)
        await self.ensemble.stopService()
        await self.thrum.stopService()
        shutil.rmtree(self.directory)


def _wall_ms() -> int:
    return int(time.time() * 1000)


class RealArena:
    """Real sockets on the real reactor."""

    make_house: type[RealHouse] = RealHouse

    def __init__(self) -> None:
        self.houses: list[RealHouse] = []
        self.rogues: list[RealRogue] = []
        self.clients: list[ThrumClient] = []
        self.now_ms = _wall_ms

    def house(self, key: HumdKey | None = None, **more: Any) -> RealHouse:
        house = self.make_house(key if key is not None else HumdKey.generate(), **more)
        self.houses.append(house)
        return house

    async def link(self, dialler: Humd, listener: Humd) -> None:
        assert isinstance(dialler, RealHouse) and isinstance(listener, RealHouse)
        await dialler.ensemble.install(await dialler.transport.connect(listener.addr))
        await self.until(lambda: listener.ensemble.linked(dialler.ensemble.me))

    async def rogue(self, house: Humd, source: str = "127.0.0.1") -> RealRogue:
        assert isinstance(house, RealHouse)
        endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", house.port, bindAddress=(source, 0))
        rogue = self.keep(RealRogue())
        await connectProtocol(endpoint, rogue)
        return rogue

    async def program(self, house: Humd) -> RealRogue:
        assert isinstance(house, RealHouse)
        rogue = self.keep(RealRogue())
        await connectProtocol(UNIXClientEndpoint(reactor, house.path), rogue)
        return rogue

    async def join(self, house: Humd, name: str, **hello: Any) -> ThrumClient:
        assert isinstance(house, RealHouse)
        before = len(house.node.routes.roster.snapshot())
        client = await connect(reactor, house.path)
        self.clients.append(client)
        client.hello(name, **hello)
        await self.until(lambda: len(house.node.routes.roster.snapshot()) > before)
        return client

    async def until(self, holds: Callable[[], Any]) -> None:
        while not holds():
            await deferLater(reactor, POLL)

    async def close(self) -> None:
        for rogue in self.rogues:
            rogue.leave()
        gone: list[Deferred[Any]] = []
        for client in self.clients:
            client.close()
            gone.append(client.gone)
        for house in self.houses:
            await house.close()
        await self.until(lambda: all(rogue.lost for rogue in self.rogues) and all(one.called for one in gone))
        await self.until(lambda: not any(house.thrum.sessions or house.ensemble._links for house in self.houses))

    def keep(self, rogue: R) -> R:
        """Have it end with the test."""
        self.rogues.append(rogue)
        return rogue
