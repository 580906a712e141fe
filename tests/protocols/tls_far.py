"""A socket that only pretends, below Twisted's own transport, and who is at the other end of it and speaks TLS."""

from __future__ import annotations

from errno import ECONNRESET, EWOULDBLOCK
from typing import Any, cast

from OpenSSL import SSL
from twisted.internet.address import IPv4Address
from twisted.internet.protocol import Protocol
from twisted.internet.tcp import Connection

from tests.attacks.tls_arena import TICKETS, Sealer
from tests.protocols.tls_peers import Credential, Sessions


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
        sessions, self._listens = Sessions(credential), listens
        sessions.tamper = lambda context: context.set_keylog_callback(self._learn)
        self._session = sessions.clientConnectionForTLS(cast(Any, None))
        (self._session.set_accept_state if listens else self._session.set_connect_state)()
        self._secrets: dict[bytes, bytes] = {}
        self.sealer: Sealer | None = None
        self.going, self.heard, self.said = bytearray(), b"", b""
        self.honest, self.ended, self.told = True, False, False
        self.hear(b"")

    def _learn(self, _: SSL.Connection, line: bytes) -> None:
        name, _random, secret = line.split()
        self._secrets[name] = bytes.fromhex(secret.decode())

    def hear(self, data: bytes) -> None:
        if data:
            self._session.bio_write(data)
        if self.sealer is None:
            self._shake()
        while self.sealer is not None:
            try:
                self.heard += self._session.recv(2**14)
            except SSL.ZeroReturnError:
                self.told = True
                return
            except SSL.Error:
                return

    def _shake(self) -> None:
        try:
            self._session.do_handshake()
        except SSL.Error:  # it wants more, or this is the end
            pass
        else:
            side, tickets = (b"SERVER", TICKETS) if self._listens else (b"CLIENT", 0)
            self.sealer = Sealer(self._secrets[side + b"_TRAFFIC_SECRET_0"], tickets)
        try:
            self.going += self._session.bio_read(2**16)
        except SSL.WantReadError:
            pass

    def say(self, data: bytes, size: int) -> None:
        if self.sealer is not None and not self.ended:
            self.said += data
            size = max(size, len(data) // 50 + 1)
            for at in range(0, len(data), size):
                self.going += self.sealer.seal(data[at : at + size])

    def tls(self, content: bytes, kind: int) -> None:
        """A record of TLS's own."""
        if self.sealer is not None and not self.ended:
            self.going += self.sealer.seal(content, kind)
