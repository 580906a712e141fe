"""The successions that a certificate carries: which bytes, and what is made of those of others."""

from __future__ import annotations

from itertools import pairwise

from cryptography import x509
from hypothesis import given, strategies as st
from twisted.trial.unittest import SynchronousTestCase

from ensemble.identity import MAX_CHAIN, HumdKey, carried, certificate, certificate_of, fingerprint, succeed
from ensemble.identity.certificate import carrier_of
from ensemble.protocols.succeeds import carrier, chain_behind

KEYS = [HumdKey.from_seed(bytes([number]) * 32) for number in range(MAX_CHAIN + 1)]
STEPS = [succeed(old, new, 2**53 - 1) for old, new in pairwise(KEYS)]
HEIR = KEYS[1].humd_id()
ONE = carrier(KEYS[1], STEPS[:1])
OID = x509.ObjectIdentifier(
    "1.2.840.113556.1.8000.2554.32957.34826.49380.20881.34100.8921880.12736120"
)  # of docs/rekeying.rst


GOLDEN = "017e2e29a52b26a7ed207a5df659df460836abca09c4a2c3824b6a56ba83d2b2"  # SHA-256 of ONE, 783 bytes


class CarrierTests(SynchronousTestCase):
    def test_golden(self) -> None:
        """Of the seeds of 00 and 01, issued at the end of time, it is these bytes."""
        self.assertEqual((len(ONE), fingerprint(ONE)), (783, GOLDEN))

    def test_no_large_arcs(self) -> None:
        """Go and GnuTLS, which read each certificate of a chain, refuse one whose OID has an arc of over 31 bits."""
        self.assertLess(max(map(int, OID.dotted_string.split("."))), 2**31)

    def test_a_certificate(self) -> None:
        """What carries a chain is a valid certificate of our key, with one extension, as every library reads it."""
        read = x509.load_der_x509_certificate(ONE)
        read.verify_directly_issued_by(read)
        (extension,) = read.extensions
        self.assertEqual((extension.oid, extension.critical, read.serial_number), (OID, False, 1))
        self.assertEqual(
            extension.value.public_bytes(), b"\x0c\x82" + len(carried(ONE)).to_bytes(2, "big") + carried(ONE)
        )
        self.assertEqual(read.subject.rfc4514_string(), "CN=humd-succession")
        leaf = x509.load_der_x509_certificate(certificate_of(KEYS[1]))
        self.assertEqual(read.public_key(), leaf.public_key())
        self.assertRaises(ValueError, leaf.verify_directly_issued_by, read)  # or a library could take it for the issuer

    def test_chains(self) -> None:
        """One succession or eight, what was written is read, and there is room."""
        for length in range(1, MAX_CHAIN + 1):
            der = carrier(KEYS[length], STEPS[:length])
            self.assertEqual(chain_behind(der, KEYS[length].humd_id()), tuple(STEPS[:length]))
            self.assertLess(len(der), 5_000)

    def test_nothing(self) -> None:
        """The leaf itself, no certificate, or one that is too long carries nothing."""
        just = carrier_of(KEYS[1], b" " * (8192 - len(ONE)) + carried(ONE))
        for der in (b"", certificate_of(KEYS[1]), b"no certificate", just + b"\0"):
            self.assertEqual((carried(der), chain_behind(der, HEIR)), (b"", ()))
        self.assertEqual((len(just), chain_behind(just, HEIR)), (8192, tuple(STEPS[:1])))

    def test_anothers(self) -> None:
        """A chain that leads to somebody else than the leaf is passed over."""
        self.assertEqual(chain_behind(ONE, KEYS[2].humd_id()), ())

    def test_no_chain(self) -> None:
        """A text that is no JSON, or not a chain, is passed over."""
        for text in (b"[" * 4000, b"\xff" * 300, b'"x"' + b" " * 300, b"{}" + b" " * 300, b"9" * 4000, b"[1]" * 200):
            self.assertEqual(chain_behind(carrier_of(KEYS[1], text), HEIR), ())
        self.assertEqual(chain_behind(ONE.replace(b"\x0c\x82", b"\x13\x82"), HEIR), ())  # a PrintableString

    @given(st.integers(0, len(ONE) - 1), st.integers(1, 255), st.booleans())
    def test_bent(self, at: int, by: int, cut: bool) -> None:
        """However it is bent or cut, it is read or passed over; a statement that is bent does not pass for signed."""
        bent = ONE[:at] + (b"" if cut else bytes([ONE[at] ^ by]) + ONE[at + 1 :])
        for statement in chain_behind(bent, HEIR):
            self.assertTrue(statement == STEPS[0] or not statement.is_signed())

    def test_length(self) -> None:
        """A text that nobody would read, for it is too short or too long, is not written."""
        for size in (0, 0xFF, 8000, 0x10000):
            self.assertRaises(AssertionError, carrier_of, KEYS[1], b" " * size)
        for size, length in ((0, "00"), (127, "7f"), (128, "8180"), (256, "820100")):
            self.assertEqual(certificate._der(0x30, b" " * size), bytes.fromhex("30" + length) + b" " * size)
