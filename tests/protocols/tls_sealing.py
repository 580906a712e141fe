"""
Who seals its own records.

OpenSSL shakes hands for it and reads for it.  What it sends from then on it seals itself (RFC 8446 5.2, 7.1, 7.2), with
the secret that OpenSSL tells for key logs: so it can say what no library says.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any, cast

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA384
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand
from OpenSSL import SSL
from twisted.protocols.tls import TLSMemoryBIOProtocol

from ensemble.identity import HumdKey, certificate_of
from ensemble.protocols.tls_sessions import EXPORTER_LABEL, EXPORTER_LENGTH
from tests.protocols.tls_peers import EVE, Credential, Sessions

ALERT, HANDSHAKE, APPLICATION = 21, 22, 23  # RFC 8446 5.1
CLOSE_NOTIFY = b"\x01\x00"
KEY_UPDATE = b"\x18\0\0\x01\0"  # RFC 8446 4.6.3; with a 1 at its end it asks for one of theirs
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
        return head + self._aead.encrypt(self._next_nonce(), inner, head)

    def open(self, record: bytes) -> bytes:
        """The inside of a record of somebody who has the same secret: the content, and the byte of its kind."""
        return self._aead.decrypt(self._next_nonce(), record[5:], record[:5])

    def _next_nonce(self) -> bytes:
        self._number += 1
        return (self._nonce ^ self._number - 1).to_bytes(12, "big")

    def key_update(self, answer: bool = False) -> bytes:
        """A KeyUpdate (RFC 8446 4.6.3); what follows has the next key.  ``answer`` asks for one of theirs."""
        record = self.seal(KEY_UPDATE[:-1] + bytes([answer]), HANDSHAKE)
        self.next_key()
        return record

    def next_key(self) -> None:
        """What follows is sealed with the next key (RFC 8446 7.2)."""
        self._use(expand(self._secret, b"traffic upd", 48))


class SealingSession:
    """
    One end of a session, without a transport.

    :ivar sealer: of what it says; None until the handshake is complete.
    :ivar told: the other end ended the session.
    """

    def __init__(self, sessions: Sessions, listens: bool) -> None:
        self._listens, self._secrets = listens, sessions.secrets
        self._session = sessions.clientConnectionForTLS(cast(Any, None))
        (self._session.set_accept_state if listens else self._session.set_connect_state)()
        self.sealer: Sealer | None = None
        self.binding, self.told = "none", False

    def shake(self) -> bytes:
        """Begin the handshake, or go on with it.  :returns: what is to be sent."""
        try:
            self._session.do_handshake()
        except SSL.Error:  # it wants more, or this is the end
            pass
        else:
            assert self._session.get_cipher_name() == "TLS_AES_256_GCM_SHA384"
            side, tickets = (b"SERVER", TICKETS) if self._listens else (b"CLIENT", 0)
            self.sealer = Sealer(self._secrets[side + b"_TRAFFIC_SECRET_0"], tickets)
            self.binding = f"tls-{self._session.export_keying_material(EXPORTER_LABEL, EXPORTER_LENGTH).hex()}"
        try:
            return self._session.bio_read(2**16)
        except SSL.WantReadError:
            return b""  # it has nothing to say

    def receive(self, data: bytes) -> bytes:
        """Bytes came.  :returns: what is to be sent."""
        self._session.bio_write(data)
        return self.shake() if self.sealer is None else b""

    def read(self) -> Iterator[bytes]:
        """What was in them, record by record."""
        while self.sealer is not None:
            try:
                yield self._session.recv(FULL)
            except SSL.ZeroReturnError:
                self.told = True
                return
            except SSL.Error:  # it wants more, or this is the end
                return


class Copied(Sessions):
    """
    Of Eve, who shows the certificate of another humd and has only her own key to sign with.

    OpenSSL compares the two when it takes them, so it takes her own; in the flight that it writes the certificate is
    exchanged for the other, which is as long.
    """

    def __init__(self, of: HumdKey) -> None:
        super().__init__(Credential.humd(EVE))
        self._shown = certificate_of(of)

    def clientConnectionForTLS(self, tlsProtocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        return self._exchanging(b"CLIENT")

    def serverConnectionForTLS(self, tlsProtocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        return self._exchanging(b"SERVER")

    def _exchanging(self, side: bytes) -> SSL.Connection:
        session: Any = self._session()
        read = session.bio_read

        def bio_read(size: int) -> bytes:
            data = read(size)
            secret = self.secrets.pop(side + b"_HANDSHAKE_TRAFFIC_SECRET", None)
            return data if secret is None else b"".join(self._exchanged(data, secret))

        session.bio_read = bio_read
        return cast(SSL.Connection, session)

    def _exchanged(self, flight: bytes, secret: bytes) -> Iterator[bytes]:
        theirs, ours = Sealer(secret), Sealer(secret)
        while flight:
            size = 5 + int.from_bytes(flight[3:5], "big")
            record, flight = flight[:size], flight[size:]
            if record[0] == APPLICATION:
                with suppress(InvalidTag):  # what is said behind the handshake has another key
                    inside = theirs.open(record).replace(certificate_of(EVE), self._shown)
                    record = ours.seal(inside[:-1], inside[-1])
            yield record
