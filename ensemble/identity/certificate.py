"""
The TLS certificate of a key (RFC 5280, RFC 8410), and what a certificate says of its owner.

Ours is a function of the key and of nothing else: version 3, serial 1, name ``CN=humd``, valid from 1970 to the end of
9999, no extensions, signed by itself.  So it is written here byte by byte: a lost state directory or a newer library
gives the same bytes, and whoever pinned them goes on knowing us.

The names and dates of a certificate mean nothing here.  Two things count: the fingerprint, where somebody pinned it,
and the key, where it is Ed25519 and so is an id.

The signature is over DER, whose first byte is ``30``; no text of L{ensemble.identity.Use} begins so, nor what TLS has
the key sign.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from nacl.bindings import crypto_core_ed25519_is_valid_point

from ensemble.errors import EnsembleError
from ensemble.identity.humd_id import HumdId
from ensemble.identity.key import HumdKey

LEAVES_KEPT: Final = 1024  # who comes once often comes again, and to read a certificate costs half a signature
LEAF_BYTES: Final = 1024  # of a certificate that is kept; ours has 206, and a stranger could send one of 100 KiB
_ED25519: Final = bytes.fromhex("300506032b6570")  # AlgorithmIdentifier 1.3.101.112
_NAME: Final = bytes.fromhex("300f310d300b06035504030c04") + b"humd"
_VALIDITY: Final = b"\x30\x20\x17\x0d700101000000Z\x18\x0f99991231235959Z"
_BODY: Final = (
    bytes.fromhex("a003020102")  # version 3
    + bytes.fromhex("020101")  # serial number 1
    + _ED25519
    + _NAME  # issuer
    + _VALIDITY
    + _NAME  # subject
    + bytes.fromhex("302a")
    + _ED25519
    + bytes.fromhex("032100")  # and the 32 bytes of the key
)
_SIGNATURE: Final = bytes.fromhex("034100")  # and its 64 bytes


class BadCertificate(EnsembleError):
    """Bytes that are no certificate, or one whose Ed25519 key is none that anybody can own."""


def certificate_of(key: HumdKey) -> bytes:
    """The one certificate of a key, in DER."""
    body = _sequence(_BODY + key.public)
    return _sequence(body + _ED25519 + _SIGNATURE + key.sign(body))


def fingerprint(der: bytes) -> str:
    """What a C{tls-fp:} hint says of a certificate: the SHA-256 of its DER, 64 lowercase hex."""
    return hashlib.sha256(der).hexdigest()


def leaf_id(der: bytes) -> HumdId | None:
    """
    The id whose key a certificate is about.  That its sender holds the key is for TLS to verify.

    :returns: None where the key is of another kind than Ed25519: it says nothing of an id.
    :raises BadCertificate: C{der} is no certificate, or its key is not one that a secret leads to.
    """
    return _kept(der) if len(der) <= LEAF_BYTES else _read(der)


def _read(der: bytes) -> HumdId | None:
    try:
        certificate = x509.load_der_x509_certificate(der)
        if certificate.public_key_algorithm_oid != x509.PublicKeyAlgorithmOID.ED25519:
            return None
        key = certificate.public_key()
    except (ValueError, x509.InvalidVersion, UnsupportedAlgorithm) as error:
        raise BadCertificate(f"{len(der)} bytes that are no certificate we can read: {error}") from None
    assert isinstance(key, Ed25519PublicKey)  # else the library contradicts itself
    public = key.public_bytes(Encoding.Raw, PublicFormat.Raw)
    # OpenSSL, which verifies the handshake, accepts a signature that anybody can write for keys of small order.
    if not crypto_core_ed25519_is_valid_point(public):
        raise BadCertificate(f"a certificate for {public.hex()}, which is nobody's key")
    return HumdId.from_public(public)


_kept: Final = lru_cache(LEAVES_KEPT)(_read)


def _sequence(content: bytes) -> bytes:
    """DER: a SEQUENCE of at most 255 bytes."""
    length = [len(content)] if len(content) < 0x80 else [0x81, len(content)]
    return bytes([0x30, *length]) + content
