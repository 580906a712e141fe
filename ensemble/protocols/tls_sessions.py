"""The OpenSSL half of a TLS connection, with the rules of `ensemble.protocols.tls`: no transport, no clock in here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final
from weakref import ref

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from OpenSSL import SSL, crypto

from ensemble.errors import ConfigurationError, RemoteWireError
from ensemble.identity import HumdKey, Succession, certificate_of
from ensemble.protocols.succeeds import carrier

KEY_UPDATES: Final = 64  # within KEY_UPDATE_SECONDS; one that asks for an answer is two.  Honest: one in 2**24 records
KEY_UPDATE_SECONDS: Final = 600.0
MESSAGE_BYTES: Final = 32 * 1024  # that may come behind the first piece of one; a ticket may hold our whole chain
RSA_BITS: Final = 4096  # of a key that signs for a client's certificate, at most
RSA_EXPONENT: Final = 2**32  # and its public exponent is below this
SERVER_NAME: Final = b"localhost"  # what 0.7.0 sends; nobody looks at it
EXPORTER_LABEL: Final = b"EXPORTER-hum-ensemble"
EXPORTER_LENGTH: Final = 32  # bytes
RECORD: Final = 2**14  # bytes of plaintext in one record, at most (RFC 8446 5.1)
CIPHER_BITS: Final = 128  # at least; an openssl.cnf may have a suite of fewer, or one that hides nothing (RFC 9150)
LEAST_RECORD: Final = 22  # bytes of a record besides its plaintext (RFC 8446 5.2), where nothing is padded
# SSL_OP_NO_TX_CERTIFICATE_COMPRESSION and SSL_OP_NO_RX_..., which pyOpenSSL does not name (RFC 8879).  The OpenSSL of a
# distribution can do it, and then a kilobyte of a peer's would be a chain of a hundred, for which it takes a megabyte.
_NO_COMPRESSION: Final = 1 << 32 | 1 << 33
_CURVES: Final = {408, 1087, 1088}  # OpenSSL's names for keys of ECDSA, Ed25519 and Ed448
_RSA: Final = {6, 912}  # and of RSA, of those that sign with PSS alone
_OVERHEAD: Final = 256  # bytes that sealing adds to one record, at most (RFC 8446 5.2)
_FLIGHT: Final = 2**12  # bytes: most flights of a handshake are shorter, and of a longer one the rest is asked for


class TooManyKeyUpdates(RemoteWireError):
    """The peer changes its keys again and again, which costs us and says nothing."""

    def __init__(self) -> None:
        super().__init__(f"more than {KEY_UPDATES} TLS key updates or tickets within {KEY_UPDATE_SECONDS:g} s")


class KeyUpdates:
    """How often a peer changed its keys lately."""

    __slots__ = ("_count", "_since")

    def __init__(self) -> None:
        self._count, self._since = 0, 0.0

    def more(self, count: int, now: float) -> bool:
        """True where ``count`` more are still all right."""
        if now - self._since > KEY_UPDATE_SECONDS:
            self._count, self._since = 0, now
        self._count += count
        return self._count <= KEY_UPDATES


class TlsSession:
    """
    One end of one session: bytes of the peer in, plaintext and bytes for the peer out.

    First `shake`, again after each `receive`, until it is done; then `read` after each `receive` until it gives
    nothing.  After everything but `seal` whoever owns it looks whether there is something `outgoing`.

    :ivar ended: the peer said that nothing more comes.
    :ivar broken: why the session is no more, mostly in OpenSSL's words; else empty.
    :ivar amid: of a message of TLS's own only some has come: until it is whole OpenSSL seals nothing, and does not end.
    :ivar messages: of TLS's own that came behind the handshake and were not counted yet by whoever owns this.
    """

    __slots__ = (
        "__weakref__",
        "_accepts",
        "_connection",
        "_dialled",
        "_open",
        "_pieces",
        "_settled",
        "_verdict",
        "amid",
        "broken",
        "ended",
        "messages",
    )

    def __init__(
        self, context: SSL.Context, settled: SSL.Context, accepts: Callable[[bytes], bool] | None = None
    ) -> None:
        """
        :param settled: for what follows the handshake.
        :param accepts: makes it the end that dialled: is this the certificate (DER) of whom we want?  Asked while the
            handshake runs, before ours is shown, though it is not proved yet that the peer holds the key.
        """
        self._connection = SSL.Connection(context, None)
        self._connection.set_app_data(ref(self))  # weak: a cycle would keep tens of kilobytes for a while
        self._accepts, self._settled, self._dialled = accepts, settled, accepts is not None
        if accepts is None:
            self._connection.set_accept_state()
        else:
            self._connection.set_tlsext_host_name(SERVER_NAME)
            self._connection.set_connect_state()
        self.ended = self._open = self._verdict = self.amid = False
        self.broken = ""
        self.messages = self._pieces = 0

    def receive(self, data: bytes) -> None:
        """Bytes of the peer came."""
        self._connection.bio_write(data)
        self._pieces = self._pieces + len(data) if self.amid else 0
        if self._pieces > MESSAGE_BYTES:
            self.broken = f"{MESSAGE_BYTES} bytes, and no end of a message of TLS's own"

    def shake(self) -> bool:
        """
        Go on with the handshake.

        :returns: True where it is complete, and who showed a leaf holds its key.
        """
        if self.broken:
            return False  # OpenSSL would say that again in other words, or in none
        try:
            self._connection.do_handshake()
        except SSL.WantReadError:
            return False
        except SSL.Error as error:
            self.broken = _in_words(error)
            return False
        if (self._connection.get_cipher_bits() or 0) < CIPHER_BITS:
            agreed = f"both ends agreed on {self._connection.get_cipher_name()}, which is too weak"
            self.broken = f"{agreed}: take it out of the CipherSuites in openssl.cnf"
            return False
        self._open = True
        self._connection.set_context(self._settled)
        return True

    def leaf(self) -> bytes | None:
        """The certificate that the peer showed, in DER."""
        shown = self._connection.get_peer_certificate()
        return None if shown is None else crypto.dump_certificate(crypto.FILETYPE_ASN1, shown)

    def behind(self) -> bytes:
        """The last certificate that the peer showed behind its leaf, in DER; empty where there is none."""
        shown = (self._connection.get_peer_cert_chain() or [])[self._dialled :]  # a dialler is given the leaf, too
        return crypto.dump_certificate(crypto.FILETYPE_ASN1, shown[-1]) if shown else b""

    def exported(self) -> bytes:
        """What only the two ends of this session know (RFC 8446 7.5)."""
        return self._connection.export_keying_material(EXPORTER_LABEL, EXPORTER_LENGTH)

    def read(self) -> bytes:
        """The plaintext of the next record; empty where none is whole yet, or none will come."""
        if not self.broken and not self.ended:
            try:
                return self._connection.recv(RECORD)
            except SSL.WantReadError:
                pass
            except SSL.ZeroReturnError:
                self.ended = True
            except SSL.Error as error:
                # RFC 8446 6.1 lets an end begin with user_canceled, behind which OpenSSL has no words for it.
                if isinstance(error, SSL.SysCallError) and self._connection.get_shutdown() & SSL.RECEIVED_SHUTDOWN:
                    self.ended = True
                else:
                    self.broken = _in_words(error)
        return b""

    def seal(self, data: bytes | memoryview) -> bytes:
        """
        Put ``data`` into records.

        :returns: what is to be sent, with all that is `outgoing`; nothing where we may not speak, nor while `amid`.
        """
        if not self._open or self.broken or self.amid or not data:
            return b""
        if len(data) <= RECORD:
            sealed = self._connection.send(data)
            records = self.outgoing(len(data))
            # One call makes one record, and a peer may have asked for shorter ones (RFC 6066 4).
            return records if sealed == len(data) else records + self.seal(memoryview(data)[sealed:])
        # One at a time: the buffer below keeps the size of the most that ever was in it.
        whole = memoryview(data)
        return b"".join(self.seal(whole[at : at + RECORD]) for at in range(0, len(data), RECORD))

    def outgoing(self, sealed: int = 0) -> bytes:
        """:returns: what TLS wants to be sent, mostly nothing."""
        room = sealed + _OVERHEAD if sealed else _FLIGHT
        try:
            data = self._connection.bio_read(room)
        except SSL.WantReadError:
            return b""
        return data if len(data) < room else data + self.outgoing()

    def close(self) -> bytes:
        """
        Nothing more is written.

        :returns: what tells the peer so, where it was not told.
        """
        if not self._open or self.broken or self.amid:
            return b""
        self._open = False
        self._connection.shutdown()
        return self.outgoing()

    def judge(self, leaf: crypto.X509) -> bool:
        """For OpenSSL, which asks again for each thing that it finds wrong with the one leaf of a handshake."""
        if self._accepts is not None:
            self._verdict = self._accepts(crypto.dump_certificate(crypto.FILETYPE_ASN1, leaf))
            self._accepts = None
        return self._verdict

    def progressed(self, whole: bool) -> None:
        """For OpenSSL: it took or answered a message of its own, or only some of it has come."""
        self.messages += whole
        self.amid = not whole


class TlsSessions:
    """Makes the sessions of one key: our certificate, and the rules of the module."""

    def __init__(self, key: HumdKey, succeeds: Sequence[Succession] = ()) -> None:
        """
        :param succeeds: the successions that lead to ``key``, the oldest first, at most 8: shown behind our
            certificate.
        :raises ConfigurationError: OpenSSL was told to refuse keys like it.
        """
        self._dialling, self._listening = _context(key, _judge), _context(key, _anybody)
        if succeeds:
            behind = x509.load_der_x509_certificate(carrier(key, succeeds))
            self._dialling.add_extra_chain_cert(behind)
            self._listening.add_extra_chain_cert(behind)
        self._settled = _context(key, _nobody)
        # Not in a handshake, where OpenSSL has twenty things to tell and nobody counts.
        self._settled.set_info_callback(_progressed)

    def dial(self, accepts: Callable[[bytes], bool]) -> TlsSession:
        """The end that dialled, see `TlsSession`."""
        return TlsSession(self._dialling, self._settled, accepts)

    def accept(self) -> TlsSession:
        """The end that was dialled."""
        return TlsSession(self._listening, self._settled)


_Verify = Callable[[SSL.Connection, crypto.X509, int, int, int], bool]


def _context(key: HumdKey, verify: _Verify) -> SSL.Context:
    try:
        context = SSL.Context(SSL.TLS_METHOD)
        context.set_min_proto_version(SSL.TLS1_3_VERSION)
        context.set_max_proto_version(SSL.TLS1_3_VERSION)
        context.set_options(SSL.OP_NO_TICKET | _NO_COMPRESSION)
        context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
        context.set_mode(SSL.MODE_RELEASE_BUFFERS)  # an idle link holds none
        context.set_verify(SSL.VERIFY_PEER, verify)
        context.set_verify_depth(0)  # of a chain only the first behind the leaf is looked at
        context.use_certificate(x509.load_der_x509_certificate(certificate_of(key)))
        context.use_privatekey(Ed25519PrivateKey.from_private_bytes(key.seed))
    except SSL.Error as error:
        what = f"OpenSSL makes no TLS 1.3 with an Ed25519 key here ({_in_words(error)})"
        raise ConfigurationError(f"{what}: does an openssl.cnf ask for more, as with @SECLEVEL=4?") from None
    return context


def _judge(connection: SSL.Connection, certificate: crypto.X509, _error: int, depth: int, _fine: int) -> bool:
    """Whatever OpenSSL finds wrong with a chain (self-signed, expired): the leaf alone decides."""
    session: TlsSession = connection.get_app_data()()
    return bool(depth) or session.judge(certificate)


def _anybody(_connection: SSL.Connection, certificate: crypto.X509, _error: int, _depth: int, _fine: int) -> bool:
    """
    The listener decides once the handshake has proved that the leaf is the peer's; only the price counts before: of the
    leaf's key, and of one behind it, whose signature of the leaf OpenSSL verifies whatever the depth.
    """
    try:
        return _is_cheap(certificate.get_pubkey())
    except (SSL.Error, crypto.Error, ValueError):
        return False  # no key that can be used


def _is_cheap(key: crypto.PKey) -> bool:
    """A signature of an RSA key may cost ten times what all the rest of a handshake does; that of an honest one not."""
    kind = key.type()
    if kind not in _RSA:
        return kind in _CURVES
    public = key.to_cryptography_key()
    return isinstance(public, RSAPublicKey) and key.bits() <= RSA_BITS and public.public_numbers().e < RSA_EXPONENT


def _nobody(*_: object) -> bool:
    """No certificate is shown after the handshake."""
    return False


def _progressed(connection: SSL.Connection, where: int, result: int) -> None:
    """Once or twice for each message of TLS's own, never for data."""
    if where & SSL.SSL_CB_EXIT:
        connection.get_app_data()().progressed(result > 0)


def _in_words(error: SSL.Error) -> str:
    """What OpenSSL says, for people: its errors are lists of tuples, where it has any."""
    told = error.args[0] if error.args and not isinstance(error, SSL.SysCallError) else ()
    said = "; ".join(str(each[-1]) for each in told) or "the other side ended it"
    if "alert unknown ca" in said or "alert bad certificate" in said:  # of a dialler that wants another certificate
        said += " (the other side wants another key than ours: `ensemble id` shows what its owner must know)"
    elif "alert handshake failure" in said or "no suitable signature algorithm" in said:
        said += (
            " (both must have Ed25519, a group and a suite in common: does an openssl.cnf, here or there, forbid them?)"
        )
    return said
