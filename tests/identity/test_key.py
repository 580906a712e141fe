"""Keys: vectors, and what may never be accepted or shown."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from ensemble.identity import BadSeed, HumdKey, Role, verify
from tests.identity.vectors import KEYS, RFC8032, ZERO

L = 2**252 + 27742317777372353535851937790883648493  # the order of the group


class HumdKeyTests(SynchronousTestCase):
    def test_vectors(self) -> None:
        """Each seed of mesh 1.4 gives its public key and its id."""
        for vector in KEYS:
            key = HumdKey.from_seed(bytes.fromhex(vector.seed))
            self.assertEqual(key.public.hex(), vector.public)
            self.assertEqual(key.humd_id().full, vector.humd_id)
            self.assertEqual(key.seed.hex(), vector.seed)

    def test_rfc_8032_test_1(self) -> None:
        """The empty message of RFC 8032 test 1 gets the signature that the RFC prints."""
        key = HumdKey.from_seed(bytes.fromhex(RFC8032.seed))
        self.assertEqual(
            key.sign(b"").hex(),
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155"
            "5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
        )

    def test_id_of_a_role(self) -> None:
        """One key has one id per role, with the same bytes."""
        key = HumdKey.from_seed(bytes(32))
        bee = key.humd_id(Role.FORAGER)
        self.assertEqual((bee.role, bee.digest), (Role.FORAGER, key.humd_id().digest))

    def test_generate_takes_the_entropy(self) -> None:
        """A fresh key is made of the 32 bytes that the given source yields; by default no two are alike."""
        self.assertEqual(HumdKey.generate(lambda count: b"\xff" * count).seed, b"\xff" * 32)
        self.assertNotEqual(HumdKey.generate(), HumdKey.generate())

    def test_wrong_seed(self) -> None:
        """A seed of another length is refused, and the error does not show it."""
        error = self.assertRaises(BadSeed, HumdKey.from_seed, b"secret")
        self.assertNotIn("secret", str(error))
        self.assertRaises(BadSeed, HumdKey.generate, lambda count: bytes(count + 1))

    def test_repr_hides_the_seed(self) -> None:
        """What a log may show of a key is the short id."""
        key = HumdKey.from_seed(b"\x41" * 32)
        self.assertEqual(repr(key), f"<HumdKey {key.humd_id().short}>")
        self.assertNotIn("41" * 8, f"{key} {key!r}")

    def test_equality(self) -> None:
        """Keys of one seed are equal, and unequal to anything else."""
        key = HumdKey.from_seed(bytes(32))
        self.assertEqual({key}, {HumdKey.from_seed(bytes(32))})
        self.assertNotEqual(key, HumdKey.from_seed(bytes.fromhex(RFC8032.seed)))
        self.assertNotEqual(key, bytes(32))


class VerifyTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.key = HumdKey.from_seed(bytes.fromhex(ZERO.seed))
        self.signature = self.key.sign(b"message")

    def test_own_signature(self) -> None:
        """What a key signed verifies under its public half."""
        self.assertTrue(verify(self.key.public, b"message", self.signature))

    def test_anything_altered(self) -> None:
        """Another message, key or signature does not verify."""
        other = HumdKey.from_seed(bytes.fromhex(RFC8032.seed))
        self.assertFalse(verify(self.key.public, b"massage", self.signature))
        self.assertFalse(verify(other.public, b"message", self.signature))
        for place in (0, 31, 32, 63):
            altered = bytearray(self.signature)
            altered[place] ^= 1
            self.assertFalse(verify(self.key.public, b"message", bytes(altered)))

    def test_wrong_lengths(self) -> None:
        """A key or signature of a wrong length is only another no, never an error."""
        self.assertFalse(verify(self.key.public[:-1], b"message", self.signature))
        self.assertFalse(verify(self.key.public, b"message", self.signature + b"\0"))
        self.assertFalse(verify(b"", b"", b""))

    def test_identity_point(self) -> None:
        """The universal signature for the key that encodes the identity point is refused."""
        identity = b"\x01" + bytes(31)
        self.assertFalse(verify(identity, b"any message", identity + bytes(32)))

    def test_malleable_signature(self) -> None:
        """The second form of a signature, S plus the group's order, is refused."""
        shifted = int.from_bytes(self.signature[32:], "little") + L
        again = self.signature[:32] + shifted.to_bytes(32, "little")
        self.assertFalse(verify(self.key.public, b"message", again))
