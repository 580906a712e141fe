"""
An attacker that controls the network: it sits on a port, and every byte between two humds goes through its hands.

Each direction of a connection is a `Pipe`: what came, what went on, and what is to happen next.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure

from tests.attacks.arena import reactor


class Pipe:
    """
    One direction of one connection.

    :ivar came: all that was sent into it.
    :ivar held: what came while it is shut.
    :ivar shut: hold everything back.
    :ivar left: bytes that may still pass, then ``end`` is called; None for no such limit.
    :ivar edit: what becomes of each chunk.
    :ivar out: where it leads; may be another connection's end.
    """

    def __init__(self, end: Callable[[], None]) -> None:
        self.came, self.held, self.shut = bytearray(), bytearray(), False
        self.left: int | None = None
        self.end, self.edit = end, _as_it_is
        self.out: Side | None = None

    def take(self, data: bytes) -> None:
        """The next bytes."""
        self.came += data
        data = self.edit(data)
        if self.shut or self.out is None:
            self.held += data
        else:
            self.give(data)

    def give(self, data: bytes) -> None:
        """Send this on, whatever came."""
        assert self.out is not None
        if self.left is not None:
            data, self.left = data[: self.left], self.left - len(data)
        if data:
            self.out.transport.write(data)  # type: ignore[union-attr]
        if self.left is not None and self.left <= 0:
            self.left = None
            self.shut = True
            self.end()

    def open(self) -> None:
        """Send on what was held, and what comes from now on."""
        self.shut = False
        data, self.held = bytes(self.held), bytearray()
        if data:
            self.give(data)


class Side(Protocol):
    """The attacker's end towards one of the two."""

    def __init__(self, into: Pipe, lost: Callable[[Side], None]) -> None:
        self.into, self._lost = into, lost
        self.gone = False

    def connectionMade(self) -> None:
        self.transport.setTcpNoDelay(True)  # type: ignore[union-attr]

    def dataReceived(self, data: bytes) -> None:
        self.into.take(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.gone = True
        self._lost(self)


class Connection:
    """
    One connection of the two.

    :ivar up: from the one that dialled.
    :ivar down: to it.
    :ivar mute: neither side is told of the end of the other.
    """

    def __init__(self) -> None:
        self.up, self.down = Pipe(self.cut), Pipe(self.cut)
        self.near, self.far = Side(self.up, self._ended), Side(self.down, self._ended)
        self.mute = False

    def cut(self) -> None:
        """End both sides with a reset, at once."""
        for side in self._there():
            side.transport.abortConnection()  # type: ignore[union-attr]

    def finish(self) -> None:
        """End both sides with a FIN behind what went on: what a proxy, or a dying kernel, does."""
        for side in self._there():
            side.transport.loseConnection()  # type: ignore[union-attr]

    def cut_near(self) -> None:
        """End the side of the one that dialled; the other is told nothing."""
        self.mute = True
        self.near.transport.abortConnection()  # type: ignore[union-attr]

    def _there(self) -> list[Side]:
        return [side for side in (self.near, self.far) if side.transport is not None and not side.gone]

    def _ended(self, side: Side) -> None:
        if not self.mute:
            self.finish()


class Middle(Factory):
    """
    The attacker's port.

    :ivar port: where it listens: the address that the dialler was given.
    :ivar connections: all of them, oldest first.
    :ivar began: called with each before a byte of it went on.
    :ivar closed: take no more connections.
    """

    noisy = False

    def __init__(self, target: int, began: Callable[[Connection], None] = lambda _: None) -> None:
        self._target, self.began = target, began
        self.connections: list[Connection] = []
        self.closed = False
        self._listening: Any = reactor.listenTCP(0, self, interface="127.0.0.1")
        self.port: int = self._listening.getHost().port

    @property
    def last(self) -> Connection:
        """The newest connection."""
        return self.connections[-1]

    def buildProtocol(self, addr: IAddress | None) -> Side | None:
        if self.closed:
            return None
        connection = Connection()
        self.connections.append(connection)
        connection.down.out = connection.near
        self.began(connection)
        endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", self._target)
        connectProtocol(endpoint, connection.far).addCallback(self._joined, connection)
        return connection.near

    def _joined(self, _: object, connection: Connection) -> None:
        connection.up.out = connection.far
        if connection.near.gone:
            connection.cut()
        elif not connection.up.shut:
            connection.up.open()

    async def close(self) -> None:
        """Stop; the connections that are left end."""
        self.closed = True
        await self._listening.stopListening()
        for connection in self.connections:
            connection.cut()


def _as_it_is(data: bytes) -> bytes:
    return data
