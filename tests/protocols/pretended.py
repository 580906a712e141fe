"""A socket that only pretends, below Twisted's own transport."""

from __future__ import annotations

from errno import ECONNRESET, EWOULDBLOCK
from typing import Any, cast

from twisted.internet.address import IPv4Address
from twisted.internet.protocol import Protocol
from twisted.internet.tcp import Connection


class System:
    """
    What the system gives for a socket.

    :ivar coming: not read yet.
    :ivar taken: left, and on its way.
    :ivar room: bytes that it takes before it blocks.
    :ivar reset: sending and reading fail.
    """

    def __init__(self) -> None:
        self.coming, self.taken = bytearray(), bytearray()
        self.room = 2**30
        self.ended = self.reset = False

    def setblocking(self, on: bool) -> None:
        """It never blocks."""

    def setsockopt(self, *_: int) -> None:
        """It has none."""

    def getsockopt(self, *_: int) -> int:
        return 0

    def shutdown(self, _: int) -> None:
        """Nobody is below."""

    def close(self) -> None:
        """As above."""

    def fileno(self) -> int:
        return 1

    @property
    def readable(self) -> bool:
        return bool(self.coming or self.ended or self.reset)

    def recv(self, size: int) -> bytes:
        if self.reset:
            raise ConnectionResetError(ECONNRESET, "reset")
        data = bytes(self.coming[:size])
        del self.coming[:size]
        if not data and not self.ended:
            raise BlockingIOError(EWOULDBLOCK, "nothing")
        return data

    def send(self, data: bytes) -> int:
        if self.reset:
            raise ConnectionResetError(ECONNRESET, "reset")
        if not self.room:
            raise BlockingIOError(EWOULDBLOCK, "no room")
        taken = bytes(data[: self.room])
        self.taken += taken
        self.room -= len(taken)
        return len(taken)


class Socket(Connection):
    """Twisted's own transport."""

    def __init__(self, reactor: Any, system: System, wire: Protocol, number: int = 0) -> None:
        super().__init__(cast(Any, system), wire, reactor)
        self.reactor: Any = reactor
        self.system, self.number = system, number
        self.connected = 1

    def getPeer(self) -> IPv4Address:
        return IPv4Address("TCP", f"192.0.2.{self.number % 3}", 1)
