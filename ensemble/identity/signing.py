"""
Every kind of text that a key of ours signs.

A signed text begins with the label of its use, so that a signature made for one is worth nothing for another.  All
labels stand in `Use` and none is ever used again for something else.
"""

from __future__ import annotations

from enum import Enum, unique

from ensemble.errors import LocalWireError


class UnsignableText(LocalWireError):
    """A part of a text to sign could be read in two ways, or is not ASCII."""


@unique
class Use(Enum):
    """What a signature is for; the value is its label."""

    HANDSHAKE = "hum-ensemble-handshake-v1"  # the 0.7.0 hello: id, signed_at
    PROOF = "hum-ensemble-proof-v1"  # hello-proof: role, both ids, both nonces, binding, both hello hashes
    SUCCESSION = "hum-ensemble-succession-v1"  # by the old and the new key: both ids, both keys, issued
    REVOCATION = "hum-ensemble-revocation-v1"  # by the key that is revoked: id, key, issued


def signed_bytes(use: Use, *parts: str) -> bytes:
    """
    The ASCII bytes to sign or to verify: the label and the parts, joined with ``:``.

    :raises UnsignableText: a part is not ASCII, or has a ``:`` of its own.
    """
    text = ":".join((use.value, *parts))
    if text.count(":") != len(parts) or not text.isascii():
        bad = next(part for part in parts if ":" in part or not part.isascii())
        raise UnsignableText(f"{bad[:80]!r} cannot be part of a signed text: ASCII without ':' only")
    return text.encode("ascii")
