"""
The hello: who somebody says it is.  Mesh 4.1 to 4.3, and the fields that wire-0.8 section 2 adds.

A hello is one line.  ``humd_id`` and ``proto_version`` are always there; ``pubkey`` where there is a key; ``signed_at``
and ``signature`` where it was signed the 0.7.0 way, over id and time only.  The added fields:

============  ==============================  =====================================================================
field         value                           otherwise
============  ==============================  =====================================================================
features      at most 64 strings              bad; a string that is not ``[a-z0-9-]{1,32}`` is one more unknown feature
                                              and is passed over, so that the grammar can grow
nonce         64 lowercase hex                bad
instance      32 lowercase hex                bad
max_tone      integer from 1,024              bad: not even our own error would fit into less
============  ==============================  =====================================================================

``succeeds`` is an array of successions that lead to this id (``docs/rekeying.rst``); one that does not is passed over.

For each of them, and for ``pubkey``, null means absent.  ``proof-1`` without a nonce or a key is bad.  A bad hello is
refused at every level.  Other wrong types mean what mesh 4.3 and 4.4 say.

Signatures are made and verified over the full prefixed id only.  The form with a bare hex id, from before ids had
prefixes, is refused as the reference refuses it.

A link is between humds: an id of another role, or a short form filled up with zeros, can neither be routed nor proved,
so a hello that claims one is bad.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from enum import IntEnum
from typing import Any, Final

from attrs import frozen

from ensemble.errors import LocalWireError, RemoteWireError
from ensemble.identity import BadHumdId, HumdId, HumdKey, Role, Succession, Use, signed_bytes, verify
from ensemble.protocols.capabilities import PeerCapabilities
from ensemble.protocols.succeeds import chain_in
from ensemble.tone import THRUM_VERSION, decode, encode

HELLO_WINDOW_MS: Final = 60_000  # how far signed_at may be from our time, either way
MAX_HELLO: Final = 12 * 1024  # bytes of ours: with a proof it must fit into what a pending link may receive
MAX_FEATURES: Final = 64
MIN_MAX_TONE: Final = 1024  # bytes
DEFAULT_MAX_TONE: Final = 4 * 1024 * 1024  # bytes; also what a peer is taken to accept that does not say
_LARGEST: Final = 2**53 - 1  # beyond it a max_tone is only another way to say "no limit"

PROOF_FEATURE: Final = "proof-1"
PING_FEATURE: Final = "ping-1"
BYE_FEATURE: Final = "bye-1"
REKEY_FEATURE: Final = "rekey-1"
LATEST_MS: Final = 10**15  # since the epoch; no time that we sign has more digits
DEFAULT_FEATURES: Final = (PING_FEATURE, BYE_FEATURE, REKEY_FEATURE)  # proof-1 comes with the key

_FEATURE: Final = re.compile(r"[a-z0-9-]{1,32}")
_NONCE: Final = re.compile(r"[0-9a-f]{64}")
_INSTANCE: Final = re.compile(r"[0-9a-f]{32}")
_KEY: Final = re.compile(r"[0-9a-fA-F]{64}")
_SIGNATURE: Final = re.compile(r"[0-9a-fA-F]{128}")


class Level(IntEnum):
    """How sure we are, or want to be, of who is at the other end; the order is that of strength."""

    OPEN = 0  # it says so
    SIGNED = 1  # it, or whoever overheard it within the minute, signed the 0.7.0 hello
    PROVEN = 2  # it signed this very handshake

    @classmethod
    def named(cls, word: str) -> Level:
        """
        The level of an option or a row: ``open``, ``signed`` or ``proven``.

        :raises KeyError: none of them.
        """
        return _LEVELS[word]

    @property
    def word(self) -> str:
        """The name in options, rows and logs."""
        return self.name.lower()


_LEVELS: Final = {level.word: level for level in Level}


class BadHello(RemoteWireError):
    """
    A hello that is refused at every level.

    :ivar claimed: whose it says it is, as far as that could be read.
    """

    def __init__(self, cause: str, claimed: HumdId | None = None, kind: str = "bad-hello") -> None:
        super().__init__(cause)
        self.claimed, self.kind = claimed, kind


@frozen
class ProofOffer:
    """What a hello must have to list ``proof-1``."""

    public: bytes
    nonce: str


@frozen
class Hello:
    """
    A hello that was read.  Nothing in it is proved.

    :ivar public: the key that ``humd_id`` is the hash of, or None.
    :ivar signed_at: milliseconds; None where it is absent or no integer.
    :ivar signature: 64 bytes; None where it is absent or unreadable.
    :ivar features: those that can be read, known to us or not.
    :ivar offer: there exactly where ``features`` has ``proof-1``.
    :ivar max_tone: bytes per line that the peer accepts.
    :ivar succeeds: the successions that lead to ``humd_id``, the oldest first; not verified.
    :ivar is_old: True where none of the added fields is there: a 0.7.0 peer.
    """

    humd_id: HumdId
    public: bytes | None
    capabilities: PeerCapabilities
    signed_at: int | None
    signature: bytes | None
    features: frozenset[str]
    offer: ProofOffer | None
    nonce: str | None
    instance: str | None
    max_tone: int
    succeeds: tuple[Succession, ...]
    is_old: bool

    def level(self, now_ms: int) -> Level:
        """
        What this hello shows without a proof: mesh 4.3.  Whether it was shown before is for others to know.

        :returns: ``SIGNED``, or ``OPEN`` where it names no key.
        :raises BadHello: it names a key and is not signed with it, now.
        """
        if self.public is None:
            return Level.OPEN
        if self.signed_at is None:
            raise self._bad("it names a key, and its signed_at is absent or no integer", "unsigned")
        if self.signature is None:
            raise self._bad("it names a key, and its signature is absent or not 128 hex digits", "unsigned")
        off = self.signed_at - now_ms
        if abs(off) > HELLO_WINDOW_MS:
            raise self._bad(
                f"it was signed {_seconds(abs(off))} in the {'future' if off > 0 else 'past'}; "
                f"at most {HELLO_WINDOW_MS // 1000} s are accepted",
                "stale",
            )
        if not verify(self.public, handshake_message(self.humd_id, self.signed_at), self.signature):
            raise self._bad("its signature is not that of the key it names", "bad-signature")
        return Level.SIGNED

    def _bad(self, cause: str, kind: str) -> BadHello:
        return BadHello(cause, self.humd_id, kind)


def _seconds(ms: int) -> str:
    # An integer of any length fits into a line; a number for people does not grow with it.
    return f"{ms // 1000:,} s" if ms < _LARGEST else "ages"


class HelloClock:
    """
    The times that we sign: each later than the one before, for all the links of an ``Ensemble``.

    A peer accepts a time once, so two hellos of one millisecond must differ.  Where the clock was set back by more than
    the window we follow it, as every hello would be refused until it has caught up: a time that then comes again is
    too old for every peer whose clock is right.
    """

    def __init__(self) -> None:
        self._latest = self._signed = -1  # of the times that we were given, and of those that we gave

    def next(self, now_ms: int) -> int:
        """The time to sign now, in milliseconds."""
        if self._latest - now_ms > HELLO_WINDOW_MS:
            self._latest, self._signed = now_ms, now_ms
        else:
            self._latest, self._signed = max(now_ms, self._latest), max(now_ms, self._signed + 1)
        return self._signed


def handshake_message(who: HumdId, signed_at: int) -> bytes:
    """What the signature of a 0.7.0 hello is over."""
    return signed_bytes(Use.HANDSHAKE, who.full, str(signed_at))


def hello_line(
    me: HumdId,
    capabilities: PeerCapabilities,
    *,
    key: HumdKey | None = None,
    signed_at: int | None = None,
    features: Iterable[str] = (),
    nonce: str | None = None,
    instance: str | None = None,
    max_tone: int | None = None,
    succeeds: Sequence[Succession] = (),
    version: str = THRUM_VERSION,
) -> bytes:
    """
    A hello of ours.  What is None or empty is left out.

    :param key: the secret half of ``me``; its public half is told.
    :param signed_at: the time to sign with ``key``; needs one.
    :param succeeds: that lead to ``me``, the oldest first; where they make it too long the oldest are left out.
    :raises LocalWireError: longer than 12 KiB (``nests`` and ``hosts`` are too many), or a time without a key.
    """
    hello: dict[str, Any] = {"chi": "hello", "rid": f"hello-{me.short}", "from": me.full, "humd_id": me.full}
    if key is not None:
        hello["pubkey"] = key.public.hex()
    hello |= {"proto_version": version, **capabilities.to_hello()}
    if signed_at is not None:
        if key is None:
            raise LocalWireError("a hello cannot be signed without a key")
        hello |= {"signed_at": signed_at, "signature": key.sign(handshake_message(me, signed_at)).hex()}
    added = {"features": list(features) or None, "nonce": nonce, "instance": instance, "max_tone": max_tone}
    hello |= {name: value for name, value in added.items() if value is not None}
    for first in range(len(succeeds) + 1):
        chain = [each.to_tone() for each in succeeds[first:]]
        line = encode(hello | {"succeeds": chain} if chain else hello)
        if len(line) <= MAX_HELLO:
            break
    if len(line) > MAX_HELLO:
        raise LocalWireError(f"our hello has {len(line)} bytes, limit {MAX_HELLO}: advertise fewer nests and hosts")
    return line


def check_hello_fits(me: HumdId, capabilities: PeerCapabilities, key: HumdKey | None, max_tone: int) -> None:
    """
    See that every hello that we may have to say is short enough: on a wire it would be too late.

    :raises LocalWireError: the longest is not.
    """
    hello_line(
        me,
        capabilities,
        key=key,
        signed_at=None if key is None else LATEST_MS,
        features=(PROOF_FEATURE, *DEFAULT_FEATURES),
        nonce="0" * 64,
        instance="0" * 32,
        max_tone=max_tone,
    )


def read_hello(line: bytes) -> Hello:
    """
    Read somebody's hello.

    :raises MalformedTone: the line is no tone.
    :raises BadHello: a field is missing, of a wrong type, or contradicts another.
    """
    tone = decode(line)
    claimed = _claimed(tone)
    if not isinstance(tone.get("proto_version"), str):
        raise BadHello("it has no proto_version", claimed)
    features = _features(tone, claimed)
    public = _public(tone, claimed)
    nonce = _hex(tone, "nonce", _NONCE, claimed)
    signed_at = tone.get("signed_at")
    return Hello(
        humd_id=claimed,
        public=public,
        capabilities=PeerCapabilities.from_hello(tone),
        signed_at=signed_at if type(signed_at) is int else None,
        signature=signature_in(tone),
        features=features,
        offer=_offer(public, nonce, claimed) if PROOF_FEATURE in features else None,
        nonce=nonce,
        instance=_hex(tone, "instance", _INSTANCE, claimed),
        max_tone=_max_tone(tone, claimed),
        succeeds=chain_in(tone.get("succeeds"), claimed),
        is_old=all(tone.get(name) is None for name in ("features", "nonce", "instance", "max_tone")),
    )


def signature_in(tone: dict[str, Any]) -> bytes | None:
    """The ``signature`` of a hello, or of a proof; None where it is absent or unreadable."""
    said = tone.get("signature")
    return bytes.fromhex(said) if isinstance(said, str) and _SIGNATURE.fullmatch(said) else None


def _claimed(tone: dict[str, Any]) -> HumdId:
    text = tone.get("humd_id")
    if not isinstance(text, str):
        raise BadHello("it has no humd_id")
    try:
        claimed = HumdId.parse(text)
    except BadHumdId as error:
        raise BadHello(f"its humd_id is none: {error}") from None
    if claimed.role is not Role.HUMD or claimed.is_short:
        raise BadHello("its humd_id is not the full id of a humd", claimed)
    return claimed


def _public(tone: dict[str, Any], claimed: HumdId) -> bytes | None:
    text = tone.get("pubkey")
    if not isinstance(text, str):
        return None  # mesh 4.3: the same as absent
    if _KEY.fullmatch(text) is None:
        raise BadHello("its pubkey is not 64 hex digits", claimed)
    public = bytes.fromhex(text)
    if HumdId.from_public(public) != claimed:
        raise BadHello("its pubkey is not the key of its humd_id", claimed, "other-key")
    return public


def _features(tone: dict[str, Any], claimed: HumdId) -> frozenset[str]:
    said = tone.get("features")
    if said is None:
        return frozenset()
    try:
        if isinstance(said, list) and len(said) <= MAX_FEATURES:
            return frozenset(filter(_FEATURE.fullmatch, said))
    except TypeError:
        pass  # one of them is no string
    raise BadHello(f"its features are not an array of at most {MAX_FEATURES} strings", claimed)


def _offer(public: bytes | None, nonce: str | None, claimed: HumdId) -> ProofOffer:
    if public is None or nonce is None:
        raise BadHello(f"it offers {PROOF_FEATURE} without {'a key' if public is None else 'a nonce'}", claimed)
    return ProofOffer(public, nonce)


def _hex(tone: dict[str, Any], name: str, shape: re.Pattern[str], claimed: HumdId) -> str | None:
    said = tone.get(name)
    if said is None:
        return None
    if not isinstance(said, str) or shape.fullmatch(said) is None:
        raise BadHello(f"its {name} is not {shape.pattern}", claimed)
    return said


def _max_tone(tone: dict[str, Any], claimed: HumdId) -> int:
    said = tone.get("max_tone")
    if said is None:
        return DEFAULT_MAX_TONE
    if type(said) is not int or said < MIN_MAX_TONE:
        raise BadHello(f"its max_tone is no integer from {MIN_MAX_TONE}", claimed)
    return min(said, _LARGEST)
