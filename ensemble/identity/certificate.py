"""
The TLS certificate of a key (RFC 5280, RFC 8410), and what a certificate says of its owner.

Ours is a function of the key and of nothing else: version 3, serial 1, name ``CN=humd``, valid from 1970 to the end of
9999, no extensions, signed by itself.  So it is written here byte by byte: a lost state directory or a newer library
gives the same bytes, and whoever pinned them goes on knowing us.

The names and dates of a certificate mean nothing here.  Two things count: the fingerprint, where somebody pinned it,
and the key, where it is Ed25519 and so is an id.

Behind ours a humd that goes on under a new key shows another one, which only carries the successions that lead to its
id (``docs/rekeying.rst``): with their text in an extension, and else as empty as the first.

The signature is over DER, whose first byte is ``30``; no text of `ensemble.identity.Use` begins so, nor what TLS has
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
CARRIER_BYTES: Final = 8192  # of a certificate behind the leaf that is looked at; ours have 5,000 at most
_ED25519: Final = bytes.fromhex("300506032b6570")  # AlgorithmIdentifier 1.3.101.112
_NAME: Final = bytes.fromhex("300f310d300b06035504030c04") + b"humd"
_CARRIER_NAME: Final = bytes.fromhex("301a3118301606035504030c0f") + b"humd-succession"  # else it could be the issuer
_VALIDITY: Final = b"\x30\x20\x17\x0d700101000000Z\x18\x0f99991231235959Z"
_HEAD: Final = (
    bytes.fromhex("a003020102")  # version 3
    + bytes.fromhex("020101")  # serial number 1
    + _ED25519
)
_KEY: Final = (
    bytes.fromhex("302a") + _ED25519 + bytes.fromhex("032100")  # and the 32 bytes of the key
)
_SIGNATURE: Final = bytes.fromhex("034100")  # and its 64 bytes
# 1.2.840.113556.1.8000.2554 and the parts of a UUID (version 5 of the URL hum-ensemble-succession-v1), for which nobody
# needs to ask.  2.25 with the UUID as one number would be shorter: Go and GnuTLS refuse a certificate with such an OID.
_SUCCESSION: Final = bytes.fromhex("06222a864886f71401be40937a82813d82900a83816481a311828a3484a0c6188689ac78")


class BadCertificate(EnsembleError):
    """Bytes that are no certificate, or one whose Ed25519 key is none that anybody can own."""


def certificate_of(key: HumdKey) -> bytes:
    """The one certificate of a key, in DER."""
    return _signed(key, _HEAD + _NAME + _VALIDITY + _NAME + _KEY + key.public)


def carrier_of(key: HumdKey, text: bytes) -> bytes:
    """
    The certificate, in DER, that carries ``text`` behind the one of this key.

    :param text: UTF-8, from 256 bytes to what fits into 8 KiB.
    """
    assert len(text) >= 0x100, "its length has two bytes"
    extension = _der(0x30, _der(0x30, _SUCCESSION + _der(0x04, _der(0x0C, text))))
    der = _signed(key, _HEAD + _CARRIER_NAME + _VALIDITY + _CARRIER_NAME + _KEY + key.public + _der(0xA3, extension))
    assert len(der) <= CARRIER_BYTES, "nobody would read it"
    return der


def carried(der: bytes) -> bytes:
    """
    The text that a certificate carries; empty where it carries none.

    What the certificate says of itself does not matter, so it is not taken apart: its text must prove itself.
    """
    if len(der) > CARRIER_BYTES:
        return b""
    _, _, value = der.partition(_SUCCESSION + b"\x04\x82")
    return value[6 : 6 + int.from_bytes(value[4:6], "big")] if value[2:4] == b"\x0c\x82" else b""


def fingerprint(der: bytes) -> str:
    """What a ``tls-fp:`` hint says of a certificate: the SHA-256 of its DER, 64 lowercase hex."""
    return hashlib.sha256(der).hexdigest()


def leaf_id(der: bytes) -> HumdId | None:
    """
    The id whose key a certificate is about.  That its sender holds the key is for TLS to verify.

    :returns: None where the key is of another kind than Ed25519: it says nothing of an id.
    :raises BadCertificate: ``der`` is no certificate, or its key is not one that a secret leads to.
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


def _signed(key: HumdKey, body: bytes) -> bytes:
    body = _der(0x30, body)
    return _der(0x30, body + _ED25519 + _SIGNATURE + key.sign(body))


def _der(tag: int, content: bytes) -> bytes:
    """X.690 8.1.3 and 10.1: the length in as few bytes as will do."""
    size = len(content)
    digits = size.to_bytes(max(1, (size.bit_length() + 7) // 8), "big")
    return bytes([tag, *([] if size < 0x80 else [0x80 | len(digits)])]) + digits + content
