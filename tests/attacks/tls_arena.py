"""The arena over TLS, and an attacker in it that seals its own records."""

from __future__ import annotations

from typing import Any

from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol

from ensemble.identity import HumdKey
from ensemble.protocols import TlsTransport
from tests.attacks.arena import Humd, RealArena, RealHouse, RealRogue, reactor
from tests.protocols.tls_peers import Sessions
from tests.protocols.tls_sealing import FULL, Sealer, SealingSession


class TlsRogue(RealRogue):
    """
    A `RealRogue` inside TLS.

    :ivar size: bytes of content in a record of what it says.
    """

    def __init__(self, sessions: Sessions | None = None, listens: bool = False) -> None:
        super().__init__()
        self._session = SealingSession(sessions if sessions is not None else Sessions(None), listens)
        self.size = FULL

    @property
    def sealer(self) -> Sealer | None:
        """Of what it sends; None until the handshake is complete."""
        return self._session.sealer

    def connectionMade(self) -> None:
        self.send(self._session.shake())

    def raw(self, data: bytes) -> None:
        assert self.sealer is not None
        self.send(b"".join(self.sealer.seal(data[at : at + self.size]) for at in range(0, len(data), self.size)))

    def send(self, records: bytes) -> None:
        """Send bytes that need not be records."""
        super().raw(records)

    def dataReceived(self, data: bytes) -> None:
        self.send(self._session.receive(data))
        self.binding = self._session.binding
        for plain in self._session.read():
            super().dataReceived(plain)
        if self._session.told:  # and waits for our end
            self.leave()


class TlsHouse(RealHouse):
    """
    A `RealHouse` that is found over TLS; it listens over plain TCP as well.

    :ivar plain: its plain port.
    """

    def __init__(self, key: HumdKey, **more: Any) -> None:
        super().__init__(key, **more)
        self.plain = self.port
        self.transport = tls = TlsTransport(reactor, key, budget=self.ensemble.budget)
        self.listen("tls", self.ensemble.factory(tls))


class TlsArena(RealArena):
    """Real sockets, and TLS on all links."""

    make_house = TlsHouse

    async def rogue(self, house: Humd, source: str = "127.0.0.1", sessions: Sessions | None = None) -> TlsRogue:
        assert isinstance(house, TlsHouse)
        endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", house.port, bindAddress=(source, 0))
        rogue = self.keep(TlsRogue(sessions))
        await connectProtocol(endpoint, rogue)
        await self.until(lambda: rogue.sealer is not None or rogue.lost)
        return rogue
