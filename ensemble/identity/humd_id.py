"""
Who somebody is: a role and the SHA-256 of an Ed25519 public key.

======  ===============================  ======  ============================================
form    shape                            length  use
======  ===============================  ======  ============================================
full    ``<prefix>_<64 lowercase hex>``  69      everything that leaves this process
short   ``<prefix>_<12 lowercase hex>``  17      logs; never routes, never verifies
legacy  64 bare hex                      64      input only; means the prefix ``humd``
======  ===============================  ======  ============================================

A short form that is parsed becomes an id of its own, filled up with zero bytes: it never equals the full one.
"""

from __future__ import annotations

import hashlib
from binascii import unhexlify
from collections.abc import Callable
from enum import Enum
from functools import lru_cache, total_ordering
from typing import Any, Final, NoReturn

from ensemble.errors import EnsembleError
from ensemble.identity.quoting import quoted

DIGEST_LENGTH: Final = 32  # bytes
SHORT_LENGTH: Final = 6  # bytes of the digest in a short form
PUBLIC_LENGTH: Final = 32  # bytes of an Ed25519 public key
PARSE_CACHE: Final = 4096  # texts; every tone names one or two of few ids
_QUOTED: Final = 80  # characters of a bad id that an error repeats


class BadHumdId(EnsembleError):
    """A text that is no id.  One of the children says why."""


class UnknownPrefix(BadHumdId):
    """What stands before the first ``_`` is none of the roles."""


class BadHex(BadHumdId):
    """Odd length, or something that is no hex digit."""


class WrongLength(BadHumdId):
    """Hex, but of neither a whole nor (behind a prefix) a short id; or a digest or key of the wrong length."""


class Role(Enum):
    """What the key is used as.  The value is the prefix on the wire."""

    HUMD = "humd"
    WORKER = "wbee"
    FORAGER = "fbee"


_ROLES: Final = {role.value: role for role in Role}


@total_ordering
class HumdId:
    """
    An immutable id, cheap to hash and to compare: each tone needs it more than once.

    Ids of one key under two roles are different ids.  The order is that of the digest, then of the prefix.

    :ivar digest: 32 bytes; of a short form the 6 that are known, and zeros.
    :ivar role: what the key is used as.
    :ivar full: the text form, as `to_hex`.
    """

    __slots__ = ("_hash", "digest", "full", "role")

    role: Role
    digest: bytes
    full: str
    _hash: int

    def __init__(self, digest: bytes, role: Role = Role.HUMD) -> None:
        """
        :param digest: 32 bytes.
        :raises WrongLength: it is not.
        """
        if len(digest) != DIGEST_LENGTH:
            raise WrongLength(f"an id has {DIGEST_LENGTH} bytes, this has {len(digest)}")
        full = f"{role.value}_{digest.hex()}"
        put = object.__setattr__
        put(self, "role", role)
        put(self, "digest", bytes(digest))
        put(self, "full", full)
        put(self, "_hash", hash(full))

    @classmethod
    def parse(cls, text: str) -> HumdId:
        """
        The id that a text means, in any of the three forms; hex in any case, no blanks.

        :raises BadHumdId: one of its children.
        """
        return _parse(text)

    @classmethod
    def try_parse(cls, text: object) -> HumdId | None:
        """The same of whatever it is; None where that is no id."""
        try:
            return _parse(text) if isinstance(text, str) else None
        except BadHumdId:
            return None

    @classmethod
    def from_hex(cls, text: str) -> HumdId:
        """The same as `parse`, under the name that the field uses."""
        return _parse(text)

    @classmethod
    def from_public(cls, public: bytes, role: Role = Role.HUMD) -> HumdId:
        """
        The id of whoever holds the secret half of ``public``.

        :param public: 32 raw bytes, Ed25519.
        :raises WrongLength: it is not.
        """
        if len(public) != PUBLIC_LENGTH:
            raise WrongLength(f"a public key has {PUBLIC_LENGTH} bytes, this has {len(public)}")
        return cls(hashlib.sha256(public).digest(), role)

    @classmethod
    def random(cls, entropy: Callable[[int], bytes], role: Role = Role.HUMD) -> HumdId:
        """An id that nobody can prove, for tests and for lookups."""
        return cls(entropy(DIGEST_LENGTH), role)

    @property
    def short(self) -> str:
        """For logs only."""
        return self.full[: len("humd_") + 2 * SHORT_LENGTH]

    @property
    def is_short(self) -> bool:
        """True where only a short form was known: such an id routes nowhere and can never be proved."""
        return not any(self.digest[SHORT_LENGTH:])

    def is_named(self, text: str) -> bool:
        """True where ``text`` means us, in any form; see `is_meant_by`."""
        try:
            return self.is_meant_by(_parse(text))
        except BadHumdId:
            return False

    def is_meant_by(self, named: HumdId) -> bool:
        """
        True where a tone that names ``named`` means us, by the short form too.

        Only where there is nobody else whom it could mean: at the end of a link, or of ourselves.
        """
        return named == self or (named.is_short and named.short == self.short)

    def to_hex(self) -> str:
        """The full text, as the wire wants it."""
        return self.full

    def __str__(self) -> str:
        return self.full

    def __repr__(self) -> str:
        return f"<HumdId {self.short}>"

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if not isinstance(other, HumdId):
            return NotImplemented
        return self.full == other.full

    def __lt__(self, other: object) -> bool:
        if not isinstance(other, HumdId):
            return NotImplemented
        return (self.digest, self.role.value) < (other.digest, other.role.value)

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"an id never changes, so {name!r} cannot be set")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"an id never changes, so {name!r} cannot be removed")

    def __reduce__(self) -> tuple[Any, ...]:
        return HumdId, (self.digest, self.role)


@lru_cache(maxsize=PARSE_CACHE)
def _parse(text: str) -> HumdId:
    prefix, underscore, rest = text.partition("_")
    if not underscore:
        digest = _unhex(text)
        if len(digest) != DIGEST_LENGTH:
            raise WrongLength(f"{_quote(text)} has {len(text)} digits; an id without a prefix has {2 * DIGEST_LENGTH}")
        return HumdId(digest)
    role = _ROLES.get(prefix)
    if role is None:
        case = ", in lower case" if prefix.lower() in _ROLES else ""
        raise UnknownPrefix(f"{_quote(text)} begins with none of {', '.join(f'{each}_' for each in _ROLES)}{case}")
    digest = _unhex(rest)
    if len(digest) == SHORT_LENGTH:
        digest = digest.ljust(DIGEST_LENGTH, b"\0")
    if len(digest) != DIGEST_LENGTH:
        lengths = f"{2 * DIGEST_LENGTH} (short: {2 * SHORT_LENGTH})"
        raise WrongLength(f"{_quote(text)} has {len(rest)} digits; an id has {lengths}")
    return HumdId(digest, role)


def _unhex(text: str) -> bytes:
    # Not bytes.fromhex: that one skips blanks.
    try:
        return unhexlify(text)
    except ValueError as error:
        raise BadHex(f"{_quote(text)} is not hex: {error}") from None


def _quote(text: str) -> str:
    return quoted(text if len(text) <= _QUOTED else text[:_QUOTED] + "…")
