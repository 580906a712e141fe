"""What a key of a certificate may cost us before its owner is known."""

from __future__ import annotations

from typing import Any

from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from OpenSSL import crypto
from twisted.trial.unittest import SynchronousTestCase

from ensemble.protocols.tls_sessions import RSA_BITS, RSA_EXPONENT, _anybody, _is_cheap
from tests.protocols.tls_peers import Credential

RSA = bytes.fromhex("300d06092a864886f70d0101010500")  # RFC 8017 A.1: any signature of RSA
CURVE = bytes.fromhex("06082a8648ce3d030107")  # P-256 by its name (RFC 5480)
PSS = bytes.fromhex("300b06092a864886f70d01010a")  # with PSS alone, of any kind


def rsa_key(bits: int, exponent: int, scheme: bytes = RSA) -> crypto.PKey:
    """A public one; nobody need have the other half."""
    key = rsa.RSAPublicNumbers(exponent, 2 ** (bits - 1) + 1).public_key()
    _, _, rest = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo).partition(RSA)
    inside = scheme + rest
    der = b"\x30\x82" + len(inside).to_bytes(2, "big") + inside
    return crypto.load_publickey(crypto.FILETYPE_ASN1, der)


class LeafKeyTests(SynchronousTestCase):
    def test_rsa(self) -> None:
        """Neither long nor with a long exponent, in whichever way it signs."""
        for scheme in (RSA, PSS):
            self.assertTrue(_is_cheap(rsa_key(RSA_BITS, 65537, scheme)))
            self.assertFalse(_is_cheap(rsa_key(RSA_BITS + 1, 65537, scheme)))
            self.assertFalse(_is_cheap(rsa_key(3072, RSA_EXPONENT + 1, scheme)))
        self.assertEqual((rsa_key(3072, 3).type(), rsa_key(3072, 3, PSS).type()), (crypto.TYPE_RSA, 912))

    def test_others(self) -> None:
        """Those of TLS 1.3, and none besides."""
        for key in (ec.generate_private_key(ec.SECP521R1()), ed25519.Ed25519PrivateKey.generate()):
            self.assertTrue(_is_cheap(crypto.PKey.from_cryptography_key(key.public_key())))
        self.assertTrue(_is_cheap(crypto.PKey.from_cryptography_key(ed448.Ed448PrivateKey.generate().public_key())))
        numbers = dsa.DSAPublicNumbers(5, dsa.DSAParameterNumbers(2**1023 + 1, 2**159 + 1, 2))
        self.assertFalse(_is_cheap(crypto.PKey.from_cryptography_key(numbers.public_key())))

    def test_that_nobody_can_use(self) -> None:
        """A certificate whose key OpenSSL cannot read ends its handshake, and is no bug of ours."""
        known = Credential.ecdsa().certificate.public_bytes(Encoding.DER)
        self.assertEqual(known.count(CURVE), 1)
        shown = crypto.load_certificate(crypto.FILETYPE_ASN1, known.replace(CURVE, CURVE[:-1] + b"\x77"))
        nobody: Any = None
        self.assertIs(_anybody(nobody, shown, 0, 0, 1), False)
