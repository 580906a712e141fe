"""Ends of a TLS connection that are not ours: other keys, other versions, stolen certificates."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from attrs import define, field
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from OpenSSL import SSL
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator, IOpenSSLServerConnectionCreator
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol
from twisted.python.failure import Failure
from zope.interface import implementer

from ensemble.identity import HumdAddr, HumdKey, certificate_of, fingerprint
from ensemble.interfaces import IWire
from ensemble.protocols import TlsTransport

ALICE = HumdKey.from_seed(b"\xaa" * 32)
BOB = HumdKey.from_seed(b"\xbb" * 32)
EVE = HumdKey.from_seed(b"\xee" * 32)

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | Ed25519PrivateKey
RSA = rsa.generate_private_key(65537, 2048)


@define
class Credential:
    """A certificate, and a key that may or may not be that of the certificate."""

    certificate: x509.Certificate
    key: Key

    @property
    def pin(self) -> str:
        return f"tls-fp:{fingerprint(self.certificate.public_bytes(Encoding.DER))}"

    @classmethod
    def of(
        cls,
        key: Key,
        until: datetime = datetime(2100, 1, 1),
        issuer: Credential | None = None,
        begins: datetime = datetime(1990, 1, 1),
        subject: str = "peer",
    ) -> Credential:
        """Signed by itself or by an issuer whose subject is ``root``, as other programs make them."""
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, subject)])
        root = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "root")])
        builder = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name if issuer is None else root)
            .serial_number(7)
            .public_key(key.public_key())
            .not_valid_before(begins)
            .not_valid_after(until)
        )
        signer = key if issuer is None else issuer.key
        return cls(builder.sign(signer, None if isinstance(signer, Ed25519PrivateKey) else SHA256()), key)

    @classmethod
    def ecdsa(cls) -> Credential:
        return cls.of(ec.generate_private_key(ec.SECP256R1()))

    @classmethod
    def rsa(cls) -> Credential:
        return cls.of(RSA)

    @classmethod
    def dear(cls, power: int = 1, exponent: int = 65537) -> Credential:
        """An RSA key whose signatures are dear to verify, for its length or its public exponent; nobody need sign."""
        owner = RSA.private_numbers()
        p, q = owner.p**power, owner.q
        d = pow(exponent, -1, (p // owner.p) * (owner.p - 1) * (q - 1))
        public = rsa.RSAPublicNumbers(exponent, p * q)
        numbers = rsa.RSAPrivateNumbers(p, q, d, d % (p - 1), d % (q - 1), pow(q, -1, p), public)
        return cls.of(numbers.private_key(unsafe_skip_rsa_key_validation=True))

    @classmethod
    def humd(cls, key: HumdKey) -> Credential:
        """What ``TlsTransport`` shows of this key."""
        secret = Ed25519PrivateKey.from_private_bytes(key.seed)
        return cls(x509.load_der_x509_certificate(certificate_of(key)), secret)

    def stolen(self) -> Credential:
        """
        An RSA certificate in the hands of somebody without its key.

        OpenSSL compares only the public halves when it takes a pair, so another secret exponent passes; the factors
        are the owner's because it insists on them, and alone it does not sign with them.
        """
        assert isinstance(self.key, rsa.RSAPrivateKey)
        owner = self.key.private_numbers()
        wrong = owner.d - 2, owner.dmp1 - 2, owner.dmq1 - 2
        forged = rsa.RSAPrivateNumbers(owner.p, owner.q, *wrong, owner.iqmp, owner.public_numbers)
        return Credential(self.certificate, forged.private_key(unsafe_skip_rsa_key_validation=True))


class Stranger(Protocol):
    """
    Writes down what it is sent.

    :ivar says: sent first.
    :ivar lost: fires with the reason of the end.
    """

    def __init__(self, says: bytes = b"") -> None:
        self.received, self.says = b"", says
        self.lost: Deferred[BaseException | None] = Deferred()

    def connectionMade(self) -> None:
        if self.says:
            self.transport.write(self.says)  # type: ignore[union-attr]

    def dataReceived(self, data: bytes) -> None:
        self.received += data

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.lost.callback(reason.value)


@implementer(IOpenSSLClientConnectionCreator, IOpenSSLServerConnectionCreator)
@define
class Sessions:
    """
    The OpenSSL half of a stranger's connections.

    :ivar made: each of them.
    :ivar verified: the depths at which certificates were judged.
    :ivar secrets: of the latest connection, as OpenSSL tells them for key logs.
    :ivar resume: offered by those that follow.
    """

    credential: Credential | None
    newest: int = SSL.TLS1_3_VERSION
    chain: list[x509.Certificate] = field(factory=list)
    made: list[SSL.Connection] = field(factory=list)
    verified: list[int] = field(factory=list)
    secrets: dict[bytes, bytes] = field(factory=dict)
    resume: SSL.Session | None = None
    context: SSL.Context | None = None

    def _session(self) -> SSL.Connection:
        if self.context is None:
            self.context = self._new_context()
        connection = SSL.Connection(self.context, None)
        if self.resume is not None:
            connection.set_session(self.resume)
        self.made.append(connection)
        return connection

    def _verify(self, _connection: object, _certificate: object, _error: int, depth: int, _fine: int) -> bool:
        self.verified.append(depth)
        return True

    def _learn(self, _connection: object, line: bytes) -> None:
        name, _random, secret = line.split()
        self.secrets[name] = bytes.fromhex(secret.decode())

    def _new_context(self) -> SSL.Context:
        context = SSL.Context(SSL.TLS_METHOD)
        context.set_max_proto_version(self.newest)
        context.set_verify(SSL.VERIFY_PEER, self._verify)
        if self.credential is not None:
            context.use_certificate(self.credential.certificate)
            context.use_privatekey(self.credential.key)
        for each in self.chain:
            context.add_extra_chain_cert(each)
        context.set_keylog_callback(self._learn)
        return context

    def clientConnectionForTLS(self, tlsProtocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        return self._session()

    def serverConnectionForTLS(self, tlsProtocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        return self._session()


def inside_tls(sessions: Sessions, stranger: Stranger, dialling: bool) -> TLSMemoryBIOFactory:
    return TLSMemoryBIOFactory(sessions, dialling, Factory.forProtocol(lambda: stranger), reactor)


async def listen_as(case: Any, sessions: Sessions, stranger: Stranger) -> str:
    """:returns: the ``tls:`` hint of a stranger that listens until the test ends."""
    endpoint = TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1")
    port: Any = await endpoint.listen(inside_tls(sessions, stranger, dialling=False))
    case.addCleanup(port.stopListening)
    return f"tls:127.0.0.1:{port.getHost().port}"


async def connect_as(port: int, sessions: Sessions, stranger: Stranger) -> Stranger:
    """A stranger dials."""
    await TCP4ClientEndpoint(reactor, "127.0.0.1", port).connect(inside_tls(sessions, stranger, dialling=True))
    return stranger


def dial(key: HumdKey, wanted: HumdKey, *hints: str) -> Deferred[IWire]:
    return TlsTransport(reactor, key).connect(HumdAddr(wanted.humd_id(), hints))
