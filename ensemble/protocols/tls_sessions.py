"""The OpenSSL half of a TLS connection, with the rules of L{ensemble.protocols.tls}."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from OpenSSL import SSL, crypto
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator, IOpenSSLServerConnectionCreator
from twisted.protocols.tls import TLSMemoryBIOProtocol
from twisted.python.failure import Failure
from zope.interface import implementer

from ensemble.errors import RemoteWireError
from ensemble.identity import HumdKey, certificate_of
from ensemble.protocols.sockets import in_short

if TYPE_CHECKING:
    from ensemble.protocols.tls import TlsWire

KEY_UPDATES: Final = 64  # within KEY_UPDATE_SECONDS; one that asks for an answer is two.  Honest: one in 2**24 records
KEY_UPDATE_SECONDS: Final = 600.0
SERVER_NAME: Final = b"localhost"  # what 0.7.0 sends; nobody looks at it


class TooManyKeyUpdates(RemoteWireError):
    """The peer changes its keys again and again, which costs us and says nothing."""

    def __init__(self) -> None:
        super().__init__(f"more than {KEY_UPDATES} TLS key updates or tickets within {KEY_UPDATE_SECONDS:g} s")


class KeyUpdates:
    """How often a peer changed its keys lately."""

    __slots__ = ("_count", "_since")

    def __init__(self) -> None:
        self._count, self._since = 0, 0.0

    def one_more(self, now: float) -> bool:
        """True where that is still all right."""
        if now - self._since > KEY_UPDATE_SECONDS:
            self._count, self._since = 0, now
        self._count += 1
        return self._count <= KEY_UPDATES


@implementer(IOpenSSLClientConnectionCreator, IOpenSSLServerConnectionCreator)
class TlsSessions:
    """What Twisted asks for the OpenSSL half of each connection: our certificate, and the rules of the module."""

    def __init__(self, key: HumdKey) -> None:
        self._dialling, self._listening = _context(key, _judge), _context(key, _anybody)

    def clientConnectionForTLS(self, tlsProtocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        connection = SSL.Connection(self._dialling, None)
        connection.set_tlsext_host_name(SERVER_NAME)
        connection.set_app_data(tlsProtocol)
        return connection

    def serverConnectionForTLS(self, tlsProtocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        connection = SSL.Connection(self._listening, None)
        connection.set_app_data(tlsProtocol)
        return connection


_Verify = Callable[[SSL.Connection, crypto.X509, int, int, int], bool]


def _context(key: HumdKey, verify: _Verify) -> SSL.Context:
    context = SSL.Context(SSL.TLS_METHOD)
    context.set_min_proto_version(SSL.TLS1_3_VERSION)
    context.set_max_proto_version(SSL.TLS1_3_VERSION)
    context.set_options(SSL.OP_NO_TICKET)
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    context.set_mode(SSL.MODE_RELEASE_BUFFERS)  # an idle link holds none
    context.set_info_callback(_progressed)
    context.set_verify(SSL.VERIFY_PEER, verify)
    context.set_verify_depth(0)  # what else is in a chain costs nothing
    context.use_certificate(x509.load_der_x509_certificate(certificate_of(key)))
    context.use_privatekey(Ed25519PrivateKey.from_private_bytes(key.seed))
    return context


def _judge(connection: SSL.Connection, certificate: crypto.X509, _error: int, depth: int, _fine: int) -> bool:
    """Whatever OpenSSL finds wrong with a chain (self-signed, expired): the leaf alone decides."""
    if depth:
        return True
    wire: TlsWire = connection.get_app_data().wrappedProtocol
    return wire.accepts(crypto.dump_certificate(crypto.FILETYPE_ASN1, certificate))


def _anybody(*_: object) -> bool:
    """The listener decides once the handshake has proved that the leaf is the peer's."""
    return True


def _progressed(connection: SSL.Connection, where: int, _: int) -> None:
    """Once or twice for each message of TLS's own, never for data."""
    if where & SSL.SSL_CB_EXIT:
        connection.get_app_data().wrappedProtocol.key_updated()


def in_words(reason: Failure, what: str) -> str:
    """Why a connection ended, for people: OpenSSL's errors are lists of tuples."""
    error = reason.value
    if isinstance(error, SSL.Error) and error.args and error.args[0]:
        said = "; ".join(str(each[-1]) for each in error.args[0])
        if "alert unknown ca" in said:  # so a dialler ends it that wants another certificate
            said += " (the other side wants another key than ours: `ensemble id` shows what its owner must know)"
        return f"{what} failed: {said}"
    return f"the connection ended in {what}: {in_short(reason)}"
