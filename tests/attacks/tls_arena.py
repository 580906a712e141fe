"""
The arena over TLS, and an attacker that seals its own records.

OpenSSL shakes hands for the attacker and reads for it.  What it sends from then on it seals itself (RFC 8446 5.2, 7.1,
7.2), with the secret that OpenSSL tells for key logs: so it can say what no library says.
"""

from __future__ import annotations

from typing import Any

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA384
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand
from OpenSSL import SSL
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol

from ensemble.identity import HumdKey
from ensemble.protocols import TlsTransport
from ensemble.protocols.tls_sessions import EXPORTER_LABEL, EXPORTER_LENGTH
from tests.attacks.arena import Humd, RealArena, RealHouse, RealRogue, reactor
from tests.protocols.tls_peers import Sessions

ALERT, HANDSHAKE, APPLICATION = 21, 22, 23  # RFC 8446 5.1
CLOSE_NOTIFY = b"\x01\x00"
TICKETS = 2  # that OpenSSL sends behind the handshake of a listener
FULL = 2**14  # bytes of content in one record, at most


def expand(secret: bytes, label: bytes, length: int) -> bytes:
    """HKDF-Expand-Label without context (RFC 8446 7.1)."""
    label = b"tls13 " + label
    info = length.to_bytes(2, "big") + bytes([len(label)]) + label + b"\0"
    return HKDFExpand(SHA384(), length, info).derive(secret)


class Sealer:
    """One direction of a session with TLS_AES_256_GCM_SHA384."""

    def __init__(self, secret: bytes, number: int = 0) -> None:
        """:param number: of records that were sealed with it already."""
        self._use(secret)
        self._number = number

    def _use(self, secret: bytes) -> None:
        self._secret, self._number = secret, 0
        self._aead = AESGCM(expand(secret, b"key", 32))
        self._nonce = int.from_bytes(expand(secret, b"iv", 12), "big")

    def seal(self, content: bytes, kind: int = APPLICATION, padding: int = 0) -> bytes:
        """One record, with so many zeros behind its content."""
        inner = content + bytes([kind]) + bytes(padding)
        head = b"\x17\x03\x03" + (len(inner) + 16).to_bytes(2, "big")
        nonce = (self._nonce ^ self._number).to_bytes(12, "big")
        self._number += 1
        return head + self._aead.encrypt(nonce, inner, head)

    def key_update(self, answer: bool = False) -> bytes:
        """A KeyUpdate (RFC 8446 4.6.3); what follows is sealed with the next key.  C{answer} asks for one of theirs."""
        record = self.seal(b"\x18\0\0\x01" + bytes([answer]), HANDSHAKE)
        self._use(expand(self._secret, b"traffic upd", 48))
        return record


class TlsRogue(RealRogue):
    """
    A L{RealRogue} inside TLS.

    :ivar sealer: of what it sends; None until the handshake is complete.
    :ivar size: bytes of content in a record of what it says.
    """

    def __init__(self, sessions: Sessions | None = None, listens: bool = False) -> None:
        super().__init__()
        self._listens = listens
        sessions = sessions if sessions is not None else Sessions(None)
        sessions.tamper = lambda context: context.set_keylog_callback(self._learn)
        self.session = sessions.clientConnectionForTLS(None)  # type: ignore[arg-type]
        (self.session.set_accept_state if listens else self.session.set_connect_state)()
        self.sealer: Sealer | None = None
        self.size = FULL
        self._secrets: dict[bytes, bytes] = {}

    def _learn(self, _: SSL.Connection, line: bytes) -> None:
        name, _random, secret = line.split()
        self._secrets[name] = bytes.fromhex(secret.decode())

    def connectionMade(self) -> None:
        self._shake()

    def raw(self, data: bytes) -> None:
        assert self.sealer is not None
        self.send(b"".join(self.sealer.seal(data[at : at + self.size]) for at in range(0, len(data), self.size)))

    def send(self, records: bytes) -> None:
        """Send bytes that need not be records."""
        super().raw(records)

    def dataReceived(self, data: bytes) -> None:
        self.session.bio_write(data)
        if self.sealer is None:
            self._shake()
        while self.sealer is not None:
            try:
                plain = self.session.recv(FULL)
            except SSL.ZeroReturnError:  # they ended the session, and wait for our end
                self.leave()
                return
            except SSL.Error:  # it wants more, or this is the end
                return
            super().dataReceived(plain)

    def _shake(self) -> None:
        try:
            self.session.do_handshake()
        except SSL.Error:  # it wants more, or this is the end
            pass
        else:
            assert self.session.get_cipher_name() == "TLS_AES_256_GCM_SHA384"
            side, tickets = (b"SERVER", TICKETS) if self._listens else (b"CLIENT", 0)
            self.sealer = Sealer(self._secrets[side + b"_TRAFFIC_SECRET_0"], tickets)
            self.binding = f"tls-{self.session.export_keying_material(EXPORTER_LABEL, EXPORTER_LENGTH).hex()}"
        try:
            self.send(self.session.bio_read(2**16))
        except SSL.WantReadError:
            pass  # it has nothing to say


class TlsHouse(RealHouse):
    """
    A L{RealHouse} that is found over TLS; it listens over plain TCP as well.

    :ivar plain: its plain port.
    """

    def __init__(self, key: HumdKey, **more: Any) -> None:
        super().__init__(key, **more)
        self.plain = self.port
        self.transport = tls = TlsTransport(reactor, key, budget=self.ensemble.budget)
        self.listen(
            "tls",
            tls.factory(
                self.ensemble._accepted,
                admits=lambda leaf: self.ensemble.policy.admits_leaf(leaf),
                failed=self.ensemble.refusals.refused,
                porch=self.ensemble.porch,
            ),
        )


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
