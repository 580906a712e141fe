"""
``proof-1``: wire-0.8 section 2.

Each side signs the whole handshake: its role, both ids, both nonces, the channel, and the hash of both hello lines as
they crossed the wire.  So a proof is worth nothing on another link, in the other direction, towards somebody else, or
under a hello of which one byte was changed.
"""

from __future__ import annotations

import hashlib
from enum import Enum

from attrs import field, frozen

from ensemble.identity import HumdId, HumdKey, Use, signed_bytes, verify
from ensemble.protocols.hello import signature_in
from ensemble.tone import decode, encode


class Role(Enum):
    """Which end of a link somebody is; the value is the word that is signed."""

    DIALLER = "dialler"
    LISTENER = "listener"

    @property
    def other(self) -> Role:
        """The end across."""
        return Role.LISTENER if self is Role.DIALLER else Role.DIALLER


@frozen
class Transcript:
    """
    Everything that the two proofs of one link are about, seen from one end.

    :ivar role: mine.
    :ivar my_nonce: 64 lowercase hex, as in my hello; so is the peer's.
    :ivar binding: ``none``, ``tls-<hex>`` or ``quic-<hex>``.
    :ivar my_hello: the exact bytes before the LF; so is the peer's.
    """

    role: Role
    me: HumdId
    peer: HumdId
    my_nonce: str
    peer_nonce: str
    binding: str
    my_hello: bytes
    peer_hello: bytes

    _hashes: tuple[str, str] = field(init=False)  # the dialler's first

    @_hashes.default
    def _hash(self) -> tuple[str, str]:
        mine, theirs = hashlib.sha256(self.my_hello).hexdigest(), hashlib.sha256(self.peer_hello).hexdigest()
        return (mine, theirs) if self.role is Role.DIALLER else (theirs, mine)

    def mine(self) -> bytes:
        """What I sign."""
        return self._signed(self.role, self.me, self.peer, self.my_nonce, self.peer_nonce)

    def theirs(self) -> bytes:
        """What the peer signs."""
        return self._signed(self.role.other, self.peer, self.me, self.peer_nonce, self.my_nonce)

    def _signed(self, role: Role, signer: HumdId, other: HumdId, nonce: str, other_nonce: str) -> bytes:
        ids, nonces = (signer.full, other.full), (nonce, other_nonce)
        return signed_bytes(Use.PROOF, role.value, *ids, *nonces, self.binding, *self._hashes)


def proof_line(key: HumdKey, transcript: Transcript) -> bytes:
    """My ``hello-proof``, without its LF."""
    signature = key.sign(transcript.mine()).hex()
    return encode({"chi": "hello-proof", "rid": f"proof-{transcript.me.short}", "signature": signature})


def is_proof(line: bytes, public: bytes, transcript: Transcript) -> bool:
    """
    Does this ``hello-proof`` prove that the holder of ``public`` is at the other end?

    :raises MalformedTone: the line is no tone.
    """
    signature = signature_in(decode(line))
    return signature is not None and verify(public, transcript.theirs(), signature)
