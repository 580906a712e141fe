"""Certificates: golden bytes of ours, and what is read out of those of others."""

from __future__ import annotations

from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed448, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given, strategies as st
from twisted.trial.unittest import SynchronousTestCase

from ensemble.identity import (
    BadCertificate,
    HumdId,
    HumdKey,
    certificate as certificate_module,
    certificate_of,
    fingerprint,
    leaf_id,
)
from tests.identity.vectors import KEYS, ZERO

GOLDEN_DER = (
    "3081cb307fa003020102020101300506032b6570300f310d300b06035504030c0468756d643020170d3730303130313030303030305a18"
    "0f39393939313233313233353935395a300f310d300b06035504030c0468756d64302a300506032b65700321003b6a27bcceb6a42d62a3"
    "a8d02a6f0d73653215771de243a63ac048a18b59da29300506032b6570034100f1b325fdcfb91eae4bc1c96608877c849ff984554b5d26"
    "ed4d6af2e62ae0e79a2dbe54b682c0f507658a26b165cb53a7b9ddb1bf4afd794739b9394590aba40f"
)
GOLDEN_FINGERPRINT = "0533027b21bc2607a3378539fc5d6fac918aa54826e2e907464195dcd48b1019"
NAME = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "humd")])
IDENTITY_POINT = bytes([1]) + bytes(31)
OURS = certificate_of(HumdKey.from_seed(bytes.fromhex(ZERO.seed)))


def built(
    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | Ed25519PrivateKey | ed448.Ed448PrivateKey,
    name: x509.Name = NAME,
) -> bytes:
    """The same certificate as the library makes it."""
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(NAME)
        .serial_number(1)
        .public_key(key.public_key())
        .not_valid_before(datetime(1970, 1, 1))
        .not_valid_after(datetime(9999, 12, 31, 23, 59, 59))
    )
    plain = isinstance(key, Ed25519PrivateKey | ed448.Ed448PrivateKey)
    return builder.sign(key, None if plain else SHA256()).public_bytes(Encoding.DER)


class CertificateTests(SynchronousTestCase):
    def test_golden(self) -> None:
        """The certificate of the seed of zeros is these bytes, for ever: others have pinned its like."""
        self.assertEqual(OURS.hex(), GOLDEN_DER)
        self.assertEqual(fingerprint(OURS), GOLDEN_FINGERPRINT)

    def test_as_the_library_writes_it(self) -> None:
        """For every key of the vectors it is what a certificate library makes of the same template."""
        for vector in KEYS:
            seed = bytes.fromhex(vector.seed)
            self.assertEqual(certificate_of(HumdKey.from_seed(seed)), built(Ed25519PrivateKey.from_private_bytes(seed)))

    def test_signed_by_itself(self) -> None:
        """It is a valid self-signed certificate."""
        certificate = x509.load_der_x509_certificate(OURS)
        certificate.verify_directly_issued_by(certificate)
        self.assertEqual(certificate.version, x509.Version.v3)

    def test_id(self) -> None:
        """The id of a leaf is that of its Ed25519 key."""
        for vector in KEYS:
            leaf = leaf_id(certificate_of(HumdKey.from_seed(bytes.fromhex(vector.seed))))
            self.assertEqual(str(leaf), vector.humd_id)

    def test_other_keys_have_no_id(self) -> None:
        """ECDSA, RSA and Ed448 leaves name nobody."""
        for key in (
            ec.generate_private_key(ec.SECP256R1()),
            rsa.generate_private_key(65537, 2048),
            ed448.Ed448PrivateKey.generate(),
        ):
            self.assertIsNone(leaf_id(built(key)))

    def test_a_long_one_is_not_kept(self) -> None:
        """Short certificates are remembered, and those that somebody blew up are read each time."""
        long_name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "x" * 64)] * 20)
        key = Ed25519PrivateKey.generate()
        certificate_module._kept.cache_clear()
        for der, kept in ((built(key, long_name), 0), (built(key), 1)):
            for _ in range(2):
                self.assertEqual(leaf_id(der), HumdId.from_public(key.public_key().public_bytes_raw()))
            self.assertEqual(certificate_module._kept.cache_info().currsize, kept)

    def test_nobodys_key(self) -> None:
        """A key of small order, for which anybody can sign, is nobody's id."""
        public = bytes.fromhex(ZERO.public)
        for weak in (IDENTITY_POINT, bytes(32)):
            with self.assertRaises(BadCertificate):
                leaf_id(OURS.replace(public, weak))

    def test_garbage(self) -> None:
        """What is no certificate, or not only one, is refused as such."""
        for der in (b"", b"garbage", OURS[:-1], OURS + b"\0", bytes(206)):
            with self.assertRaises(BadCertificate):
                leaf_id(der)

    @given(st.integers(0, len(OURS) - 1), st.integers(1, 255))
    def test_any_byte_flipped(self, at: int, by: int) -> None:
        """However a certificate is bent, it has an id, has none, or is refused; and its fingerprint differs."""
        bent = OURS[:at] + bytes([OURS[at] ^ by]) + OURS[at + 1 :]
        try:
            leaf_id(bent)
        except BadCertificate as error:
            self.assertIn("certificate", str(error))
        self.assertNotEqual(fingerprint(bent), GOLDEN_FINGERPRINT)
