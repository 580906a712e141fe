"""A socket that only pretends, below Twisted's own transport, and who is at the other end of it and speaks TLS."""

from __future__ import annotations

from errno import ECONNRESET, EWOULDBLOCK
from typing import Any, cast

from twisted.internet.address import IPv4Address
from twisted.internet.protocol import Protocol
from twisted.internet.tcp import Connection

from tests.protocols.tls_peers import Credential, Sessions
from tests.protocols.tls_sealing import HANDSHAKE, KEY_UPDATE, Sealer, SealingSession


class System:
    """What the system gives for a socket.  C{coming}: not read yet; C{taken}: left, and on its way."""

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

    def __init__(self, reactor: Any, system: System, wire: Protocol, number: int) -> None:
        super().__init__(cast(Any, system), wire, reactor)
        self.number = number
        self.connected = 1

    def getPeer(self) -> IPv4Address:
        return IPv4Address("TCP", f"192.0.2.{self.number % 3}", 1)


class Far:
    """
    The other end: OpenSSL shakes hands and reads; what it says from then on it seals itself.

    :ivar going: what it sent, and nobody delivered yet.
    :ivar said: whole lines, then what is unfinished, all of it before its end.
    :ivar honest: so far nothing was wrong with what it sent.
    """

    def __init__(self, credential: Credential | None, listens: bool) -> None:
        self._session = SealingSession(Sessions(credential), listens)
        self.going, self.heard, self.said = bytearray(self._session.shake()), b"", b""
        self.honest, self.ended = True, False
        self._rest = b""  # of a message that it sends in pieces; until that is whole nothing else may come

    @property
    def sealer(self) -> Sealer | None:
        """Of what it says; None until the handshake is complete."""
        return self._session.sealer

    def hear(self, data: bytes) -> None:
        self.going += self._session.receive(data)
        self.heard += b"".join(self._session.read())

    def say(self, data: bytes, size: int) -> None:
        self.whole()
        if self.sealer is not None and not self.ended:
            self.said += data
            size = max(size, len(data) // 50 + 1)
            for at in range(0, len(data), size):
                self.going += self.sealer.seal(data[at : at + size])

    def tls(self, content: bytes, kind: int) -> None:
        """A record of TLS's own."""
        self.whole()
        if self.sealer is not None and not self.ended:
            self.going += self.sealer.seal(content, kind)

    def update(self, size: int) -> None:
        """The next bytes of a KeyUpdate, in a record of their own."""
        if self.sealer is not None and not self.ended:
            left = self._rest or KEY_UPDATE
            self.going += self.sealer.seal(left[:size], HANDSHAKE)
            self._rest = left[size:]
            if not self._rest:
                self.sealer.next_key()

    def whole(self) -> None:
        """No message is in pieces."""
        if self._rest:
            self.update(len(self._rest))
