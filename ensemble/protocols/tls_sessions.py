"""L{TlsSessions}: the OpenSSL half of a TLS connection, with the rules of L{ensemble.protocols.tls}."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from OpenSSL import SSL, crypto
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator, IOpenSSLServerConnectionCreator
from twisted.protocols.tls import TLSMemoryBIOProtocol
from zope.interface import implementer

from ensemble.identity import HumdKey, certificate_of

if TYPE_CHECKING:
    from ensemble.protocols.tls import TlsWire

SERVER_NAME: Final = b"localhost"  # what 0.7.0 sends; nobody looks at it


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


def _progressed(connection: SSL.Connection, where: int, _: int) -> None:
    """Once or twice for each message of TLS's own, never for data."""
    if where & SSL.SSL_CB_EXIT:
        connection.get_app_data().wrappedProtocol.key_updated()


def _anybody(*_: object) -> bool:
    """The listener decides once the handshake has proved that the leaf is the peer's."""
    return True
