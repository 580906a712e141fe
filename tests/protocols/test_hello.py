"""Tests for reading and writing a hello."""

from __future__ import annotations

import hashlib
import json
from itertools import pairwise
from typing import Any

from hypothesis import given, strategies as st
from twisted.trial.unittest import SynchronousTestCase

from ensemble.errors import LocalWireError
from ensemble.identity import HumdId, HumdKey, Role
from ensemble.protocols import (
    DEFAULT_MAX_TONE,
    HELLO_WINDOW_MS,
    PROOF_FEATURE,
    BadHello,
    Headroom,
    Hello,
    HelloClock,
    Level,
    PeerCapabilities,
    hello_line,
    read_hello,
)
from ensemble.protocols.hello import handshake_message
from ensemble.tone import MalformedTone
from tests.protocols.handshaking import (
    DIALLER_HELLO,
    LISTENER_HELLO,
    NOW,
    RFC8032,
    SMALL_ORDER,
    UNIVERSAL,
    ZERO,
    changed,
)

ZERO_SIGNATURE = (
    "28b447bb382d4755cedf3ae80e52c2ac4a8a9f13c901b59830b96bc9a4d8877a"
    "f45f200f5dc3c2de6e0fb40db7826fe8c5493b09c99b3c9389042827dbbaec06"
)
RFC8032_SIGNATURE = (
    "a9949807517b78476e8caa545ab6cd737c5a75db941cd9457d3256d844aa3143"
    "a8e42540c5c4e56d293315ea43ece378a920c2ac5297516a6750689324615606"
)
LEGACY_SIGNATURE = (
    "6b07aaf717e3fbfc409c16276edd33d9635bcc26c7d27b73271d66646a78286e"
    "fd29b1048c5e654f9692e13486886b1db77d278066b7fc64146c4abffd6be103"
)
OLD_HELLO = hello_line(
    ZERO.humd_id(), PeerCapabilities(nests=["claude-cli"], free_slots=4), key=ZERO, signed_at=NOW, version="0.7.0"
)
UNSIGNED_HELLO = hello_line(ZERO.humd_id(), PeerCapabilities(), version="0.7.0")


class WritingTests(SynchronousTestCase):
    """Our own hello."""

    def test_vectors(self) -> None:
        """The two hello lines of the specification come out byte for byte."""
        for key, nonce, instance, line, digest in [
            (ZERO, "1", "a", DIALLER_HELLO, "cfafe39a68308b2b066702c7607309e26d7cfd324499fd66cef97ece903f269d"),
            (RFC8032, "2", "b", LISTENER_HELLO, "aaa7d8027f615e05f0228ab2827b19222dfc81d8a76dcfb8676971caae6ce092"),
        ]:
            built = hello_line(
                key.humd_id(),
                PeerCapabilities(),
                key=key,
                features=(PROOF_FEATURE, "ping-1", "bye-1"),
                nonce=nonce * 64,
                instance=instance * 32,
                max_tone=DEFAULT_MAX_TONE,
            )
            self.assertEqual(built, line)
            self.assertEqual((len(built), hashlib.sha256(built).hexdigest()), (546, digest))

    def test_signature_vectors(self) -> None:
        """The 0.7.0 signature is over id and time, as the specification lists."""
        message = handshake_message(ZERO.humd_id(), NOW)
        self.assertEqual(
            (len(message), hashlib.sha256(message).hexdigest()),
            (109, "b6a3eb8b0f44131f0587a0b638ed1cdd3c2c65ef71f164188fd65c72c5f62fc2"),
        )
        for key, signature in [(ZERO, ZERO_SIGNATURE), (RFC8032, RFC8032_SIGNATURE)]:
            hello = json.loads(hello_line(key.humd_id(), PeerCapabilities(), key=key, signed_at=NOW))
            self.assertEqual((hello["signed_at"], hello["signature"]), (NOW, signature))

    def test_complete_example(self) -> None:
        """A 0.7.0 hello has the fields of the example in mesh 4.2 and no others."""
        zero = ZERO.humd_id()
        self.assertEqual(
            json.loads(OLD_HELLO),
            {
                "chi": "hello",
                "rid": "hello-humd_139e3940e64b",
                "from": zero.full,
                "humd_id": zero.full,
                "pubkey": "3b6a27bcceb6a42d62a3a8d02a6f0d73653215771de243a63ac048a18b59da29",
                "proto_version": "0.7.0",
                "nests": ["claude-cli"],
                "hosts": [],
                "can_relay": False,
                "free_slots": 4,
                "signed_at": NOW,
                "signature": ZERO_SIGNATURE,
            },
        )

    def test_unsigned(self) -> None:
        """Without a key there is neither key nor signature, and without a time no signature."""
        self.assertTrue({"pubkey", "signed_at", "signature"}.isdisjoint(json.loads(UNSIGNED_HELLO)))
        keyed = json.loads(hello_line(ZERO.humd_id(), PeerCapabilities(), key=ZERO))
        self.assertIn("pubkey", keyed)
        self.assertTrue({"signed_at", "signature"}.isdisjoint(keyed))

    def test_time_without_key(self) -> None:
        """Signing without a key is our own mistake."""
        self.assertRaises(LocalWireError, hello_line, ZERO.humd_id(), PeerCapabilities(), signed_at=NOW)

    def test_too_long(self) -> None:
        """A hello that would not fit a pending link is refused here, with the mend."""
        error = self.assertRaises(LocalWireError, hello_line, ZERO.humd_id(), PeerCapabilities(nests=["n" * 99] * 200))
        self.assertIn("fewer nests", str(error))

    def test_read_back(self) -> None:
        """All that we write is read as it was meant."""
        offered = PeerCapabilities("0.8.0", ["a"], ["b"], True, 3, Headroom.measured(1, 2, 7))
        line = hello_line(
            ZERO.humd_id(),
            offered,
            key=ZERO,
            signed_at=NOW,
            features=["proof-1", "kad-2"],
            nonce="3" * 64,
            instance="4" * 32,
            max_tone=2048,
        )
        hello = read_hello(line)
        self.assertEqual((hello.humd_id, hello.public, hello.capabilities), (ZERO.humd_id(), ZERO.public, offered))
        self.assertEqual((hello.features, hello.nonce, hello.instance), ({"proof-1", "kad-2"}, "3" * 64, "4" * 32))
        self.assertEqual((hello.max_tone, hello.is_old, hello.level(NOW)), (2048, False, Level.SIGNED))


class LevelTests(SynchronousTestCase):
    """What a hello shows without a proof."""

    def assertBad(self, line: bytes, kind: str, now: int = NOW) -> None:
        """The hello is refused at every level, for this kind of reason."""
        error = self.assertRaises(BadHello, lambda: read_hello(line).level(now))
        self.assertEqual((error.kind, error.claimed), (kind, ZERO.humd_id()), str(error))

    def test_signed(self) -> None:
        """A good signature within a minute of our time, either way, shows who it was."""
        for now in (NOW, NOW - HELLO_WINDOW_MS, NOW + HELLO_WINDOW_MS):
            self.assertEqual(read_hello(OLD_HELLO).level(now), Level.SIGNED)

    def test_stale(self) -> None:
        """A signature from more than a minute ago, or ahead, is refused."""
        self.assertBad(OLD_HELLO, "stale", NOW - HELLO_WINDOW_MS - 1)
        self.assertBad(OLD_HELLO, "stale", NOW + HELLO_WINDOW_MS + 1)
        for absurd in (0, -(2**63), 2**63, 10**300, -(10**300)):
            self.assertBad(changed(OLD_HELLO, signed_at=absurd), "stale")

    def test_unsigned(self) -> None:
        """Without a key nothing is shown, whatever else is there."""
        for public in (..., None, 7, ["3b"]):
            self.assertEqual(read_hello(changed(OLD_HELLO, pubkey=public)).level(NOW), Level.OPEN)
        self.assertEqual(read_hello(UNSIGNED_HELLO).level(NOW), Level.OPEN)

    def test_key_without_signature(self) -> None:
        """Who names a key must have signed with it."""
        for fields in (
            {"signed_at": ...},
            {"signed_at": None},
            {"signed_at": float(NOW)},
            {"signed_at": str(NOW)},
            {"signed_at": True},
            {"signature": ...},
            {"signature": 7},
            {"signature": ZERO_SIGNATURE[:-2]},
            {"signature": ZERO_SIGNATURE + "00"},
            {"signature": " " + ZERO_SIGNATURE[1:]},
            {"signature": "zz" + ZERO_SIGNATURE[2:]},
        ):
            self.assertBad(changed(OLD_HELLO, **fields), "unsigned")

    def test_wrong_signature(self) -> None:
        """A signature of another time, of another key, or of one bit more is refused."""
        self.assertBad(changed(OLD_HELLO, signed_at=NOW + 1), "bad-signature")
        self.assertBad(changed(OLD_HELLO, signature=RFC8032_SIGNATURE), "bad-signature")
        self.assertBad(changed(OLD_HELLO, signature="3" + ZERO_SIGNATURE[1:]), "bad-signature")

    def test_legacy_signature(self) -> None:
        """A signature over the bare hex id is refused, as by the reference."""
        legacy = b"hum-ensemble-handshake-v1:" + ZERO.humd_id().digest.hex().encode() + b":%d" % NOW
        self.assertEqual((len(legacy), ZERO.sign(legacy).hex()), (104, LEGACY_SIGNATURE))
        self.assertBad(changed(OLD_HELLO, signature=LEGACY_SIGNATURE), "bad-signature")

    def test_spellings(self) -> None:
        """The id and the hex may be spelt as ids and hex are read: what counts is the full form."""
        zero = ZERO.humd_id()
        for who in (zero.digest.hex(), zero.digest.hex().upper(), "humd_" + zero.digest.hex().upper()):
            hello = read_hello(changed(OLD_HELLO, humd_id=who, sender="claude-cli"))
            self.assertEqual((hello.humd_id, hello.level(NOW)), (zero, Level.SIGNED))
        loud = changed(OLD_HELLO, signature=ZERO_SIGNATURE.upper(), pubkey=ZERO.public.hex().upper())
        self.assertEqual(read_hello(loud).level(NOW), Level.SIGNED)

    def test_keys_without_a_secret(self) -> None:
        """No signature is accepted of a key of small order, the universal one of the identity point least of all."""
        for public in SMALL_ORDER:
            who = HumdId.from_public(public).full
            line = changed(OLD_HELLO, humd_id=who, pubkey=public.hex(), signature=UNIVERSAL.hex())
            error = self.assertRaises(BadHello, read_hello(line).level, NOW)
            self.assertEqual(error.kind, "bad-signature")

    def test_words(self) -> None:
        """The levels have the names of the options, and the order of their strength."""
        self.assertEqual([level.word for level in sorted(Level)], ["open", "signed", "proven"])
        self.assertEqual([Level.named(word) for word in ("open", "signed", "proven")], list(Level))
        self.assertRaises(KeyError, Level.named, "strict")


class ReadingTests(SynchronousTestCase):
    """Somebody's hello."""

    def assertBad(self, line: bytes, *words: str) -> BadHello:
        """The hello is refused, and the reason has these words."""
        error: BadHello = self.assertRaises(BadHello, read_hello, line)
        for word in words:
            self.assertIn(word, str(error))
        return error

    def test_who(self) -> None:
        """The id is there, and is the full one of a humd."""
        absent: list[Any] = [..., None, 7, [], "", "humd_", "humd_xyz", "bee", "humd_" + "é" * 64]
        for who in absent:
            self.assertIsNone(self.assertBad(changed(UNSIGNED_HELLO, humd_id=who), "humd_id").claimed)
        for other in (ZERO.humd_id().short, ZERO.humd_id(Role.WORKER).full):
            self.assertBad(changed(UNSIGNED_HELLO, humd_id=other), "full id of a humd")

    def test_version(self) -> None:
        """The version is there, and never compared."""
        for version in (..., None, 8, ["0.8.0"]):
            error = self.assertBad(changed(UNSIGNED_HELLO, proto_version=version), "proto_version")
            self.assertEqual(error.claimed, ZERO.humd_id())
        self.assertEqual(read_hello(changed(UNSIGNED_HELLO, proto_version="")).capabilities.proto_version, "")

    def test_key(self) -> None:
        """A key is 32 bytes, and the one that the id is made of."""
        for public in ("", "3b", " " * 64, "zz" * 32, ZERO.public.hex() + "00", ZERO.public.hex() + "\n"):
            self.assertBad(changed(OLD_HELLO, pubkey=public), "64 hex digits")
        error = self.assertBad(changed(OLD_HELLO, pubkey=RFC8032.public.hex()))
        self.assertEqual((error.kind, error.claimed), ("other-key", ZERO.humd_id()))

    def test_features(self) -> None:
        """Features are at most 64 strings; those that are no feature names are passed over."""
        many = [f"f-{number}" for number in range(64)]
        self.assertEqual(read_hello(changed(UNSIGNED_HELLO, features=many)).features, set(many))
        odd = ["kad-2", "UPPER", "", "f" * 33, "dot.dot", "new\n", "é"]
        self.assertEqual(read_hello(changed(UNSIGNED_HELLO, features=odd)).features, {"kad-2"})
        for features in ([*many, "one-more"], "proof-1", {"proof-1": 1}, ["ping-1", 1], [None], [["ping-1"]], True):
            self.assertBad(changed(DIALLER_HELLO, features=features), "features")

    def test_nonce_and_instance(self) -> None:
        """Both are lowercase hex of their length, where they are there."""
        nonces: list[Any] = ["", "1" * 63, "1" * 65, "A" * 64, "1" * 64 + "\n", "g" * 64, 7, [], False]
        for nonce in nonces:
            self.assertBad(changed(DIALLER_HELLO, nonce=nonce), "nonce")
        instances: list[Any] = ["", "1" * 31, "A" * 32, 7, {}]
        for instance in instances:
            self.assertBad(changed(DIALLER_HELLO, instance=instance), "instance")

    def test_max_tone(self) -> None:
        """A ceiling is a whole number from 1,024; without one the peer is taken to have ours."""
        for said, meant in [(1024, 1024), (2**40, 2**40), (10**30, 2**53 - 1)]:
            self.assertEqual(read_hello(changed(DIALLER_HELLO, max_tone=said)).max_tone, meant)
        for absent in (..., None):
            self.assertEqual(read_hello(changed(DIALLER_HELLO, max_tone=absent)).max_tone, DEFAULT_MAX_TONE)
        ceilings: list[Any] = [1023, 0, -1, 4096.0, "4096", True, []]
        for wrong in ceilings:
            self.assertBad(changed(DIALLER_HELLO, max_tone=wrong), "max_tone")

    def test_offer(self) -> None:
        """Who offers a proof has a key and a nonce."""
        hello = read_hello(DIALLER_HELLO)
        assert hello.offer is not None
        self.assertEqual((hello.offer.public, hello.offer.nonce), (ZERO.public, "1" * 64))
        self.assertBad(changed(DIALLER_HELLO, pubkey=...), "without a key")
        self.assertBad(changed(DIALLER_HELLO, pubkey=None), "without a key")
        self.assertBad(changed(DIALLER_HELLO, nonce=...), "without a nonce")
        self.assertIsNone(read_hello(changed(DIALLER_HELLO, features=["ping-1"])).offer)

    def test_old(self) -> None:
        """A hello with none of the added fields is that of a 0.7.0 peer; with any of them it is not."""
        self.assertTrue(read_hello(OLD_HELLO).is_old)
        self.assertTrue(read_hello(changed(OLD_HELLO, features=None, nonce=None)).is_old)
        added: dict[str, Any] = {"features": [], "nonce": "1" * 64, "instance": "1" * 32, "max_tone": 4096}
        for name, value in added.items():
            self.assertFalse(read_hello(changed(OLD_HELLO, **{name: value})).is_old, name)

    def test_wrong_envelope(self) -> None:
        """A hello whose envelope is wrong is no tone at all."""
        wrongs: list[dict[str, Any]] = [{"sender": 5}, {"rid": []}, {"dusk": "soon"}, {"chi": 3}]
        for wrong in wrongs:
            self.assertRaises(MalformedTone, read_hello, changed(OLD_HELLO, **wrong))

    @given(
        st.sampled_from([OLD_HELLO, UNSIGNED_HELLO, DIALLER_HELLO]),
        st.dictionaries(
            st.sampled_from(sorted(json.loads(OLD_HELLO).keys() | json.loads(DIALLER_HELLO).keys() | {"headroom"})),
            st.none()
            | st.booleans()
            | st.integers()
            | st.floats(allow_nan=False, allow_infinity=False)
            | st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=70)
            | st.lists(st.none() | st.text(alphabet="abc-1", max_size=4) | st.integers(), max_size=4)
            | st.dictionaries(st.text(alphabet="ab", max_size=2), st.none() | st.integers(), max_size=2),
            min_size=1,
            max_size=3,
        ),
    )
    def test_any_field(self, line: bytes, fields: dict[str, Any]) -> None:
        """Whatever stands in a field, a hello is read or refused, and what was not signed is never signed."""
        if "from" in fields:
            fields["sender"] = fields.pop("from")
        try:
            hello = read_hello(changed(line, **fields))
            level = hello.level(NOW)
        except (BadHello, MalformedTone):
            return
        self.assertIsInstance(hello, Hello)
        if level is Level.SIGNED:
            self.assertEqual((hello.humd_id, hello.signed_at), (ZERO.humd_id(), NOW))

    @given(st.binary(max_size=200) | st.integers(0, len(DIALLER_HELLO)).map(lambda cut: DIALLER_HELLO[:cut]))
    def test_garbage(self, line: bytes) -> None:
        """Any bytes are a hello or one of two errors, nothing else."""
        try:
            hello = read_hello(line)
        except (BadHello, MalformedTone):
            return
        self.assertEqual(line, DIALLER_HELLO)
        self.assertEqual(hello.humd_id, ZERO.humd_id())


class HelloClockTests(SynchronousTestCase):
    """The times that we sign."""

    @given(st.lists(st.integers(0, HELLO_WINDOW_MS), min_size=2, max_size=30))
    def test_rises(self, offsets: list[int]) -> None:
        """However the clock shakes within the window, each time is later than the one before."""
        clock = HelloClock()
        times = [clock.next(NOW + offset) for offset in offsets]
        self.assertTrue(all(one < two for one, two in pairwise(times)), times)

    def test_follows(self) -> None:
        """Where nothing else was signed in that millisecond the time is the time."""
        clock = HelloClock()
        self.assertEqual([clock.next(NOW), clock.next(NOW + 5), clock.next(NOW + 5)], [NOW, NOW + 5, NOW + 6])

    def test_set_back(self) -> None:
        """A clock that was an hour ahead is followed back, or nobody would believe us for an hour."""
        clock = HelloClock()
        clock.next(NOW + 3_600_000)
        self.assertEqual(clock.next(NOW), NOW)

    def test_each_key_signs_its_own(self) -> None:
        """A hello signed for one id is not one of another."""
        other = HumdKey.from_seed(b"\x07" * 32)
        line = hello_line(other.humd_id(), PeerCapabilities(), key=other, signed_at=NOW)
        stolen = changed(OLD_HELLO, signature=json.loads(line)["signature"])
        self.assertEqual(self.assertRaises(BadHello, read_hello(stolen).level, NOW).kind, "bad-signature")
