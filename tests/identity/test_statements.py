"""What a humd says of its keys: the bytes, the shape, and what no signature survives."""

from __future__ import annotations

from typing import Any

from hypothesis import given, strategies as st
from twisted.trial.unittest import SynchronousTestCase

from ensemble.identity import (
    BadStatement,
    HumdKey,
    Revocation,
    Statement,
    Succession,
    Use,
    revoke,
    signed_bytes,
    statement_from,
    succeed,
    verify,
)
from ensemble.tone import encode
from tests.identity.vectors import RFC8032, RISING, ZERO

ISSUED = 1_700_000_000_000
OLD, NEW, OTHER = (HumdKey.from_seed(bytes.fromhex(vector.seed)) for vector in (ZERO, RFC8032, RISING))
SUCCESSION: dict[str, Any] = {
    "chi": "succession",
    "old_key": ZERO.public,
    "new_key": RFC8032.public,
    "issued": ISSUED,
    "old_signature": "c285e08ff34563ae82458d53365d05e472c84c3d77b0132798685ce6fcd1d647"
    "90b04cd6d9f20404a2fa003b38cc1c11e44b79fccdc4c5a915c90d0fce77c906",
    "new_signature": "c482ce7bc7448bf29ceeaed63c50000becfa12390333e8aa1cdcdff178d34d46"
    "9d394361126910b9e318699209d848db779087b71c48f6b066379b6f7eb0c702",
}
REVOCATION: dict[str, Any] = {
    "chi": "revocation",
    "key": ZERO.public,
    "issued": ISSUED,
    "signature": "d4bd60f8c106d39e6a1b46be08debf74eb99370017098685818d36175616f3ad"
    "1ccb25cd9d0684af38b4f73d815f8b4f48afe45de881399c16350cf1b5aa560b",
}


class StatementTests(SynchronousTestCase):
    """Both kinds."""

    def test_vectors(self) -> None:
        """The keys of the specification say exactly these bytes, which are read back as they were."""
        for made, tone, names in (
            (succeed(OLD, NEW, ISSUED), SUCCESSION, "old_signature new_signature"),
            (revoke(OLD, ISSUED), REVOCATION, "signature"),
        ):
            self.assertEqual(made.to_tone(), tone)
            self.assertLess(len(encode(tone)), 600)
            self.assertEqual(statement_from(tone), made)
            self.assertTrue(made.is_signed(), names)
            self.assertEqual(made.who.full, ZERO.humd_id)

    def test_signed_bytes(self) -> None:
        """What is signed is the label, ids, keys and time of the page, by each of the keys."""
        text = f"hum-ensemble-succession-v1:{ZERO.humd_id}:{RFC8032.humd_id}:{ZERO.public}:{RFC8032.public}:{ISSUED}"
        made = succeed(OLD, NEW, ISSUED)
        self.assertTrue(verify(OLD.public, text.encode(), made.old_signature))
        self.assertTrue(verify(NEW.public, text.encode(), made.new_signature))
        text = f"hum-ensemble-revocation-v1:{ZERO.humd_id}:{ZERO.public}:{ISSUED}"
        self.assertTrue(verify(OLD.public, text.encode(), revoke(OLD, ISSUED).signature))

    def test_spliced(self) -> None:
        """A signature of another statement, of the other key, or of another use is worth nothing."""
        good, other = succeed(OLD, NEW, ISSUED), succeed(OLD, OTHER, ISSUED)
        proof = OLD.sign(signed_bytes(Use.PROOF, good.who.full, good.heir.full, ZERO.public, RFC8032.public, "1"))
        for forged in (
            Succession(OLD.public, OTHER.public, ISSUED, good.old_signature, other.new_signature),
            Succession(OLD.public, NEW.public, ISSUED, good.old_signature, other.new_signature),
            Succession(OLD.public, NEW.public, ISSUED, good.new_signature, good.old_signature),
            Succession(NEW.public, OLD.public, ISSUED, good.new_signature, good.old_signature),
            Succession(OLD.public, NEW.public, ISSUED + 1, good.old_signature, good.new_signature),
            Succession(OLD.public, NEW.public, ISSUED, proof, good.new_signature),
            Revocation(OLD.public, ISSUED, good.old_signature),
            Revocation(NEW.public, ISSUED, revoke(OLD, ISSUED).signature),
            Revocation(OLD.public, ISSUED - 1, revoke(OLD, ISSUED).signature),
        ):
            self.assertFalse(forged.is_signed(), forged)

    def test_one_shape(self) -> None:
        """A member that is missing, of another type, in capitals or out of range makes it no statement."""
        bad: list[object] = [None, 1, [], "x", {}, SUCCESSION | {"new_key": ZERO.public}]
        for tone in (SUCCESSION, REVOCATION):
            for name, value in tone.items():
                bad.append({key: kept for key, kept in tone.items() if key != name})
                if name == "issued":
                    bad += [tone | {name: wrong} for wrong in (-1, 2**53, 1.0, True, "1", None)]
                else:
                    wrongs = (None, 1, value[:-1], value + "0", value.upper(), value[:-1] + "g", value + "\n")
                    bad += [tone | {name: wrong} for wrong in wrongs if wrong != value]
        for tone_ in bad:
            self.assertRaises(BadStatement, statement_from, tone_)

    def test_unknown_members(self) -> None:
        """What a later version adds is passed over."""
        self.assertEqual(statement_from(REVOCATION | {"reason": "lost", "sentAt": 1}), revoke(OLD, ISSUED))

    @given(st.binary(min_size=32, max_size=32), st.binary(min_size=32, max_size=32), st.integers(0, 2**53 - 1))
    def test_round_trip(self, one: bytes, two: bytes, issued: int) -> None:
        """Whatever is made is signed, and comes back from its tone as it was."""
        old, new = HumdKey(one), HumdKey(two)
        made: list[Statement] = [revoke(old, issued)]
        if old != new:
            made.append(succeed(old, new, issued))
        for statement in made:
            self.assertTrue(statement.is_signed())
            self.assertEqual(statement_from(statement.to_tone()), statement)
