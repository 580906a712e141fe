"""Labels, and the texts of the two handshakes."""

from __future__ import annotations

import hashlib
import re

from twisted.trial.unittest import SynchronousTestCase

from ensemble.errors import LocalWireError
from ensemble.identity import HumdKey, UnsignableText, Use, signed_bytes, verify
from tests.identity.vectors import RFC8032, ZERO

SIGNED_AT = "1700000000000"
HANDSHAKES = [
    (
        ZERO,
        "28b447bb382d4755cedf3ae80e52c2ac4a8a9f13c901b59830b96bc9a4d8877a"
        "f45f200f5dc3c2de6e0fb40db7826fe8c5493b09c99b3c9389042827dbbaec06",
    ),
    (
        RFC8032,
        "a9949807517b78476e8caa545ab6cd737c5a75db941cd9457d3256d844aa3143"
        "a8e42540c5c4e56d293315ea43ece378a920c2ac5297516a6750689324615606",
    ),
]
LEGACY = (
    "6b07aaf717e3fbfc409c16276edd33d9635bcc26c7d27b73271d66646a78286e"
    "fd29b1048c5e654f9692e13486886b1db77d278066b7fc64146c4abffd6be103"
)
DIALLER_HELLO = "cfafe39a68308b2b066702c7607309e26d7cfd324499fd66cef97ece903f269d"
LISTENER_HELLO = "aaa7d8027f615e05f0228ab2827b19222dfc81d8a76dcfb8676971caae6ce092"
TLS = "tls-" + "33" * 32
PROOFS = [
    (
        "listener",
        "none",
        435,
        "f6d87e7bf6784a580f6e08720fdd63c5a0c935127f6febc95b531b0958ff4d73"
        "43bc2e83588ea2c2072bfb7988ee10a0fc70774e04f815e47aad85031e84f202",
    ),
    (
        "dialler",
        "none",
        434,
        "a4e18a912328869a492f26d86e04727fa3cee843d7315553c17a25ff9f4ad8c7"
        "9dd49fc6704a6f4485cc7eab5452bad7600641383037d8575398caffc06a820a",
    ),
    (
        "listener",
        TLS,
        499,
        "118f258bb823d6fb00fe3447b38b13a3712833ab596bb6d8f67213e8a9aea4b7"
        "ff70827d3c0bc99ce3a81c03dfa7841ed8b4c76a9b8b37f46967ddc615056e0e",
    ),
    (
        "dialler",
        TLS,
        498,
        "e3a7ec7e99e74be403e9bb5d9ed36ef1214c443b618c25e2fbacd243beeab872"
        "97f2050ca5c9e726447bb7ac5c2470981b5ca66dd25f705e803ac2fff4b33908",
    ),
]


class HandshakeTextTests(SynchronousTestCase):
    """Mesh 4.2."""

    def test_vectors(self) -> None:
        """The 0.7.0 hello is signed over exactly the text of the specification."""
        for vector, signature in HANDSHAKES:
            key = HumdKey.from_seed(bytes.fromhex(vector.seed))
            message = signed_bytes(Use.HANDSHAKE, key.humd_id().full, SIGNED_AT)
            self.assertEqual(message.decode(), f"hum-ensemble-handshake-v1:{vector.humd_id}:1700000000000")
            self.assertEqual(len(message), 109)
            self.assertEqual(key.sign(message).hex(), signature)
            self.assertTrue(verify(key.public, message, bytes.fromhex(signature)))

    def test_digest_of_the_first_message(self) -> None:
        """The bytes of the first vector have the digest that the specification prints."""
        message = signed_bytes(Use.HANDSHAKE, ZERO.humd_id, SIGNED_AT)
        self.assertEqual(
            hashlib.sha256(message).hexdigest(), "b6a3eb8b0f44131f0587a0b638ed1cdd3c2c65ef71f164188fd65c72c5f62fc2"
        )

    def test_legacy_text_is_another(self) -> None:
        """A signature from the days of bare ids is good for that text only, not for today's."""
        key = HumdKey.from_seed(bytes.fromhex(ZERO.seed))
        legacy = signed_bytes(Use.HANDSHAKE, ZERO.humd_id.removeprefix("humd_"), SIGNED_AT)
        self.assertEqual(len(legacy), 104)
        self.assertEqual(key.sign(legacy).hex(), LEGACY)
        today = signed_bytes(Use.HANDSHAKE, ZERO.humd_id, SIGNED_AT)
        self.assertFalse(verify(key.public, today, bytes.fromhex(LEGACY)))


class ProofTextTests(SynchronousTestCase):
    """Wire-0.8 section 2: dialler is the zero seed, listener RFC 8032 test 1."""

    def test_vectors(self) -> None:
        """Each proof is signed over exactly the text of the specification."""
        dialler, listener = (HumdKey.from_seed(bytes.fromhex(v.seed)) for v in (ZERO, RFC8032))
        sides = {
            "dialler": (dialler, ZERO.humd_id, RFC8032.humd_id, "11" * 32, "22" * 32),
            "listener": (listener, RFC8032.humd_id, ZERO.humd_id, "22" * 32, "11" * 32),
        }
        for role, binding, length, signature in PROOFS:
            key, mine, theirs, my_nonce, their_nonce = sides[role]
            message = signed_bytes(
                Use.PROOF, role, mine, theirs, my_nonce, their_nonce, binding, DIALLER_HELLO, LISTENER_HELLO
            )
            self.assertEqual(len(message), length)
            self.assertEqual(key.sign(message).hex(), signature)
            self.assertTrue(verify(key.public, message, bytes.fromhex(signature)))


class LabelTests(SynchronousTestCase):
    def test_labels(self) -> None:
        """Every label names its use and its version, and no two uses share one."""
        labels = [use.value for use in Use]
        self.assertEqual(len(labels), len(set(labels)))
        for label in labels:
            self.assertTrue(re.fullmatch(r"hum-ensemble-[a-z0-9-]+-v[0-9]+", label), label)

    def test_one_text_one_meaning(self) -> None:
        """A part with a separator of its own, or beyond ASCII, is never signed; the error names it."""
        for part in ("a:b", ":", "é"):
            error = self.assertRaises(UnsignableText, signed_bytes, Use.PROOF, "dialler", part)
            self.assertIsInstance(error, LocalWireError)
            self.assertIn(repr(part), str(error))
