"""
What a humd says of its keys: that it goes on under another one, or that one is not to be trusted any more.

A statement proves itself, whoever hands it on.  Its shape is the same on a link, in a hello and in a file; its ids are
not in it, they follow from the keys.  ``docs/rekeying.rst`` has the bytes, and what peers make of them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, TypeAlias

from attrs import frozen

from ensemble.errors import RemoteWireError
from ensemble.identity.humd_id import HumdId
from ensemble.identity.key import HumdKey, verify
from ensemble.identity.signing import Use, signed_bytes

MAX_CHAIN: Final = 8  # successions in a hello, and from a row to the last heir
MAX_ISSUED: Final = 2**53 - 1  # milliseconds; what every JSON reader takes
_KEY: Final = re.compile(r"[0-9a-f]{64}")
_SIGNATURE: Final = re.compile(r"[0-9a-f]{128}")


class BadStatement(RemoteWireError):
    """It has not the shape of a statement.  Whether a signature is right is another question."""


@frozen
class Succession:
    """
    The id of the old key goes on as that of the new one.

    :ivar old_key: 32 bytes.
    :ivar new_key: 32 bytes.
    :ivar issued: milliseconds since the epoch, 0 to 2**53 - 1; for people, no rule looks at it.
    :ivar old_signature: 64 bytes: the old key grants.
    :ivar new_signature: 64 bytes: the new one shows that it is there.
    """

    old_key: bytes
    new_key: bytes
    issued: int
    old_signature: bytes
    new_signature: bytes

    @property
    def who(self) -> HumdId:
        """Whom it is about: the old id."""
        return HumdId.from_public(self.old_key)

    @property
    def heir(self) -> HumdId:
        """The new id."""
        return HumdId.from_public(self.new_key)

    def is_signed(self) -> bool:
        """Did both keys sign it?"""
        message = _succession_message(self.old_key, self.new_key, self.issued)
        # The old one first: whoever has not that key costs us one verification, not two.
        return verify(self.old_key, message, self.old_signature) and verify(self.new_key, message, self.new_signature)

    def to_tone(self) -> dict[str, Any]:
        """The statement as it stands on a link, in a hello and in a file."""
        return {
            "chi": "succession",
            "old_key": self.old_key.hex(),
            "new_key": self.new_key.hex(),
            "issued": self.issued,
            "old_signature": self.old_signature.hex(),
            "new_signature": self.new_signature.hex(),
        }


@frozen
class Revocation:
    """
    The key is no longer to be trusted, whoever has it.

    :ivar key: 32 bytes.
    :ivar issued: as of a `Succession`.
    :ivar signature: 64 bytes, by that key.
    """

    key: bytes
    issued: int
    signature: bytes

    @property
    def who(self) -> HumdId:
        """Whom it is about."""
        return HumdId.from_public(self.key)

    def is_signed(self) -> bool:
        """Did the key sign it?"""
        return verify(self.key, _revocation_message(self.key, self.issued), self.signature)

    def to_tone(self) -> dict[str, Any]:
        """As `Succession.to_tone`."""
        return {
            "chi": "revocation",
            "key": self.key.hex(),
            "issued": self.issued,
            "signature": self.signature.hex(),
        }


Statement: TypeAlias = Succession | Revocation


def succeed(old: HumdKey, new: HumdKey, issued: int) -> Succession:
    """
    Let ``new`` go on for ``old``.

    :param issued: milliseconds since the epoch.
    """
    message = _succession_message(old.public, new.public, issued)
    return Succession(old.public, new.public, issued, old.sign(message), new.sign(message))


def revoke(key: HumdKey, issued: int) -> Revocation:
    """
    End the trust in ``key``.

    :param issued: milliseconds since the epoch.
    """
    return Revocation(key.public, issued, key.sign(_revocation_message(key.public, issued)))


def statement_from(tone: object) -> Statement:
    """
    Read a statement; its signatures are not verified here.

    :raises BadStatement: a member is missing or has not its one shape.
    """
    if not isinstance(tone, Mapping):
        raise BadStatement("a statement is an object")
    issued = tone.get("issued")
    if type(issued) is not int or not 0 <= issued <= MAX_ISSUED:
        raise BadStatement(f'its "issued" is no integer from 0 to {MAX_ISSUED}')
    if tone.get("chi") == "revocation":
        return Revocation(_hex(tone, "key", _KEY), issued, _hex(tone, "signature", _SIGNATURE))
    if tone.get("chi") != "succession":
        raise BadStatement('its "chi" is neither succession nor revocation')
    old, new = _hex(tone, "old_key", _KEY), _hex(tone, "new_key", _KEY)
    if old == new:
        raise BadStatement("a key cannot succeed itself")
    signatures = _hex(tone, "old_signature", _SIGNATURE), _hex(tone, "new_signature", _SIGNATURE)
    return Succession(old, new, issued, *signatures)


def _hex(tone: Mapping[str, Any], name: str, shape: re.Pattern[str]) -> bytes:
    value = tone.get(name)
    if not isinstance(value, str) or shape.fullmatch(value) is None:
        raise BadStatement(f'its "{name}" is not {shape.pattern}')
    return bytes.fromhex(value)


def _succession_message(old: bytes, new: bytes, issued: int) -> bytes:
    ids = HumdId.from_public(old).full, HumdId.from_public(new).full
    return signed_bytes(Use.SUCCESSION, *ids, old.hex(), new.hex(), str(issued))


def _revocation_message(key: bytes, issued: int) -> bytes:
    return signed_bytes(Use.REVOCATION, HumdId.from_public(key).full, key.hex(), str(issued))
