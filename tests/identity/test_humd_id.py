"""Ids: derivation, the three text forms, and how ids compare."""

from __future__ import annotations

import pickle

from hypothesis import given, strategies as st
from twisted.trial.unittest import SynchronousTestCase

from ensemble.identity import BadHex, BadHumdId, HumdId, Role, UnknownPrefix, WrongLength
from tests.identity.vectors import KEYS, ONES, RFC8032, RISING, ZERO

Z = ZERO.humd_id.removeprefix("humd_")
ids = st.builds(HumdId, st.binary(min_size=32, max_size=32), st.sampled_from(Role))


class DerivationTests(SynchronousTestCase):
    def test_vectors(self) -> None:
        """The id of a public key is the SHA-256 of its 32 bytes, in prefixed hex."""
        for key in KEYS:
            self.assertEqual(HumdId.from_public(bytes.fromhex(key.public)).full, key.humd_id)

    def test_role_is_the_prefix(self) -> None:
        """One key used as a bee has the bee's prefix before the same hex."""
        public = bytes.fromhex(ZERO.public)
        self.assertEqual(HumdId.from_public(public, Role.WORKER).full, "wbee_" + Z)
        self.assertEqual(HumdId.from_public(public, Role.FORAGER).full, "fbee_" + Z)

    def test_wrong_length_of_a_key(self) -> None:
        """A public key of another length than 32 bytes has no id."""
        self.assertRaises(WrongLength, HumdId.from_public, bytes(31))
        self.assertRaises(WrongLength, HumdId.from_public, bytes(33))

    def test_wrong_length_of_a_digest(self) -> None:
        """An id is made of exactly 32 bytes."""
        self.assertRaises(WrongLength, HumdId, bytes(6))

    def test_random_is_the_entropy(self) -> None:
        """A random id is made of the bytes that the given source yields, and nothing else."""
        drawn = HumdId.random(lambda count: b"\x07" * count, Role.WORKER)
        self.assertEqual(drawn.full, "wbee_" + "07" * 32)


class ParseTests(SynchronousTestCase):
    """The parse vectors of mesh 1.4."""

    def test_three_ways_to_write_one_id(self) -> None:
        """Prefixed, in capitals and without a prefix are the same humd id."""
        expected = HumdId(bytes.fromhex(Z))
        for text in ("humd_" + Z, "humd_" + Z.upper(), Z, Z.upper()):
            self.assertEqual(HumdId.parse(text), expected)
            self.assertEqual(HumdId.from_hex(text).full, ZERO.humd_id)

    def test_short_form(self) -> None:
        """A short form is an id of its own, filled up with zeros, and says that it is short."""
        short = HumdId.parse("humd_139e3940e64b")
        self.assertEqual(short.digest, bytes.fromhex("139e3940e64b") + bytes(26))
        self.assertTrue(short.is_short)
        self.assertNotEqual(short, HumdId.parse(Z))
        self.assertFalse(HumdId.parse(Z).is_short)

    def test_another_role(self) -> None:
        """The same hex behind another prefix is another id."""
        bee = HumdId.parse("wbee_" + Z)
        self.assertEqual((bee.role, bee.digest), (Role.WORKER, bytes.fromhex(Z)))
        self.assertNotEqual(bee, HumdId.parse(Z))

    def test_unknown_prefix(self) -> None:
        """Only the three prefixes are known, in lower case, and the first underscore ends them."""
        for text in ("HUMD_" + Z, "_" + Z, "bee_" + Z, " humd_" + Z, "humd2_" + Z):
            self.assertRaises(UnknownPrefix, HumdId.parse, text)

    def test_wrong_length(self) -> None:
        """Neither whole nor short is no id; a short form needs its prefix."""
        for text in ("139e3940e64b", "humd_", "", "humd_" + Z[2:], "humd_" + Z + "00", Z + "00", "humd_139e3940e6"):
            self.assertRaises(WrongLength, HumdId.parse, text)

    def test_bad_hex(self) -> None:
        """Odd hex, foreign characters, blanks and a second underscore are bad hex."""
        for text in ("humd_abc", "humd_" + "g" * 64, f"humd_{Z} ", f" {Z}", "humd_humd_" + Z, "٣" * 64, "\ud800" * 64):
            self.assertRaises(BadHex, HumdId.parse, text)

    def test_what_is_wrong(self) -> None:
        """An error speaks of digits, which is what people count, and says where it is the prefix's case."""
        for text, told in (
            ("humd_12", "'humd_12' has 2 digits; an id has 64 (short: 12)"),
            ("humd_", "'humd_' has 0 digits; an id has 64 (short: 12)"),
            ("1234", "'1234' has 4 digits; an id without a prefix has 64"),
            ("HUMD_" + Z, f"'HUMD_{Z}' begins with none of humd_, wbee_, fbee_, in lower case"),
            ("hum_12", "'hum_12' begins with none of humd_, wbee_, fbee_"),
        ):
            self.assertEqual(str(self.assertRaises(BadHumdId, HumdId.parse, text)), told)

    def test_errors_stay_short(self) -> None:
        """An endless text makes no endless error."""
        for text in ("x" * 100_000, "x" * 100_000 + "_", "ab" * 100_000, "humd_" + "ab" * 100_000):
            error = self.assertRaises(BadHumdId, HumdId.parse, text)
            self.assertLess(len(str(error)), 200)

    @given(ids)
    def test_round_trip(self, humd_id: HumdId) -> None:
        """Whatever the id, its full text means that id again."""
        self.assertEqual(HumdId.parse(humd_id.full), humd_id)
        self.assertEqual(len(humd_id.full), 69)

    def test_what_may_be_no_id(self) -> None:
        """Whoever only asks whether it is one is told None for whatever is none."""
        self.assertEqual(HumdId.try_parse(Z), HumdId.parse(Z))
        for value in ("a name", "humd_12", "HUMD_" + Z, "", None, 12, Z.encode(), HumdId.parse(Z)):
            self.assertIsNone(HumdId.try_parse(value))

    @given(st.text(max_size=80))
    def test_any_text(self, text: str) -> None:
        """Any text is an id, or is refused as none: nothing else ever escapes."""
        try:
            parsed = HumdId.parse(text)
        except BadHumdId:
            return
        self.assertEqual(len(parsed.digest), 32)


class ValueTests(SynchronousTestCase):
    def test_texts(self) -> None:
        """Its text is the full form; the short form and the repr are for people."""
        humd_id = HumdId.parse(Z)
        self.assertEqual((str(humd_id), humd_id.to_hex()), (ZERO.humd_id, ZERO.humd_id))
        self.assertEqual(humd_id.short, "humd_139e3940e64b")
        self.assertEqual(repr(humd_id), "<HumdId humd_139e3940e64b>")

    def test_hash(self) -> None:
        """Equal ids are one key of a dict, however they were made."""
        made = {HumdId.parse(Z): 1, HumdId(bytes.fromhex(Z)): 2, HumdId.parse("fbee_" + Z): 3}
        self.assertEqual(list(made.values()), [2, 3])

    def test_not_equal_to_its_text(self) -> None:
        """An id is never equal to a text, so that neither passes for the other."""
        humd_id = HumdId.parse(Z)
        self.assertNotEqual(humd_id, ZERO.humd_id)
        self.assertEqual(humd_id, humd_id)
        with self.assertRaises(TypeError):
            humd_id < ZERO.humd_id  # noqa: B015

    def test_same_beginning(self) -> None:
        """Two ids that begin alike are two: only a short form means whoever it is the beginning of."""
        one, two = HumdId(b"\x01" * 32), HumdId(b"\x01" * 6 + b"\x02" * 26)
        self.assertEqual(one.short, two.short)
        self.assertEqual([one.is_meant_by(named) for named in (two, HumdId.parse(one.short))], [False, True])
        self.assertEqual(
            [one.is_named(text) for text in (two.full, one.short, one.digest.hex(), "")], [False, True, True, False]
        )

    def test_order(self) -> None:
        """Ids are in the order of their bytes: the smaller one wins a tie of links."""
        texts = [ONES.humd_id, RFC8032.humd_id, RISING.humd_id, ZERO.humd_id]
        self.assertEqual(
            [humd_id.full for humd_id in sorted(map(HumdId.parse, texts))],
            [ZERO.humd_id, RFC8032.humd_id, RISING.humd_id, ONES.humd_id],
        )

    @given(ids, ids)
    def test_order_is_total(self, one: HumdId, other: HumdId) -> None:
        """Of two ids exactly one is smaller, or they are equal."""
        self.assertEqual([one < other, one == other, one > other].count(True), 1)

    def test_never_changes(self) -> None:
        """An id cannot be altered after it was made."""
        humd_id = HumdId.parse(Z)
        with self.assertRaises(AttributeError):
            humd_id.full = "humd_"
        with self.assertRaises(AttributeError):
            del humd_id.digest
        self.assertEqual(humd_id.full, ZERO.humd_id)

    def test_pickle(self) -> None:
        """An id survives a copy through pickle."""
        humd_id = HumdId.parse("wbee_" + Z)
        self.assertEqual(pickle.loads(pickle.dumps(humd_id)), humd_id)
