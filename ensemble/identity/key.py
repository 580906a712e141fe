"""
The Ed25519 key (RFC 8032) that an id stands for.

Only libsodium (through PyNaCl) verifies here: OpenSSL accepts a universal signature for the key that encodes the
identity point, libsodium refuses such keys.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Final

from nacl.exceptions import BadSignatureError
from nacl.signing import SigningKey, VerifyKey

from ensemble.errors import EnsembleError
from ensemble.identity.humd_id import PUBLIC_LENGTH, HumdId, Role

SEED_LENGTH: Final = 32  # bytes
SIGNATURE_LENGTH: Final = 64  # bytes


class BadSeed(EnsembleError):
    """What was given as a secret seed has the wrong length."""


class HumdKey:
    """
    A secret key.  Equal where the seed is; its text form never shows the seed.

    :ivar public: 32 bytes, the half that everybody may know.
    """

    __slots__ = ("_id", "_signing", "public")

    def __init__(self, seed: bytes) -> None:
        if len(seed) != SEED_LENGTH:
            raise BadSeed(f"a seed has {SEED_LENGTH} bytes, this has {len(seed)}")
        self._signing = SigningKey(seed)
        self.public = bytes(self._signing.verify_key)
        self._id = HumdId.from_public(self.public)

    @classmethod
    def generate(cls, entropy: Callable[[int], bytes] = os.urandom) -> HumdKey:
        """A fresh key."""
        return cls(entropy(SEED_LENGTH))

    @classmethod
    def from_seed(cls, seed: bytes) -> HumdKey:
        """
        The key of a known seed.

        :param seed: 32 bytes, as in the key file.
        :raises BadSeed: it is not.
        """
        return cls(seed)

    @property
    def seed(self) -> bytes:
        """The 32 secret bytes: for the key file, and never for a log."""
        return bytes(self._signing)

    def humd_id(self, role: Role = Role.HUMD) -> HumdId:
        """The id that this key proves."""
        return self._id if role is Role.HUMD else HumdId(self._id.digest, role)

    def sign(self, message: bytes) -> bytes:
        """64 bytes.  The message comes from `ensemble.identity.signed_bytes`, so that it names its use."""
        return self._signing.sign(message).signature

    def __repr__(self) -> str:
        return f"<HumdKey {self._id.short}>"

    def __eq__(self, other: object) -> bool:
        return self.public == other.public if isinstance(other, HumdKey) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.public)


def verify(public: bytes, message: bytes, signature: bytes) -> bool:
    """
    Did the holder of ``public`` sign ``message``?  Never raises: a wrong length is only another no.

    :param public: 32 bytes.
    :param signature: 64 bytes.
    """
    if len(public) != PUBLIC_LENGTH or len(signature) != SIGNATURE_LENGTH:
        return False
    try:
        VerifyKey(public).verify(message, signature)
    except BadSignatureError:
        return False
    return True
