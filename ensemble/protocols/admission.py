"""
Is this hello admissible, and at which level?  Wire-0.8 section 1, with mesh 4.3 for peers that do not prove.

Two questions: *permission* is the owner's word on an id, *proof* is the level that we want of it against the level
that it shows.  The order of the checks is part of the rule: nothing is remembered of a hello that is refused, and the
costly signature comes last.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from typing import Final, Protocol

from attrs import frozen

from ensemble.errors import LinkRefused
from ensemble.identity import HumdId, Succession
from ensemble.protocols.hello import PROOF_FEATURE, BadHello, Hello, Level

PEER: Final = "PEER"  # in a mend: who it said it is
_SIGNED_ONLY: Final = f"to admit unsigned hellos of this peer: `ensemble trust {PEER} --auth open`"

REFUSALS: Final[Mapping[str, str]] = {
    "bad-hello": "is the peer a humd?",
    "bad-proof": "",
    "bad-signature": "",
    "downgraded": f"if it really runs an older humd now: `ensemble peers --forget {PEER}`",
    "malformed": "is the peer a humd?",
    "no-hello": "is the peer a humd?",
    "no-key": "give this humd a key",
    "no-proof": "is the peer a humd?",
    "not-admitted": "",
    "other-id": (
        "the hint leads to somebody else: correct it, or where its owner says that the key changed, by another way, "
        "give its row the new id"
    ),
    "other-key": "",
    "other-leaf": "is a copied certificate or a proxy in between? Each humd shows the certificate of its own key",
    "own-id": "give each machine its own key file, and take our own address out of the hints",
    "reflected": "",
    "replayed": "",
    "stale": "set the clocks of both machines",
    "too-long": "is the peer a humd?",
    "unproven": (
        "the peer needs a key and protocol 0.8 (`ensemble --version` over there says thrum 0.8); "
        f"to admit it with less: `ensemble trust {PEER} --auth signed` (or open)"
    ),
    "unsigned": _SIGNED_ONLY,
}
"""Why a handshake is refused, each with the mend; empty where ``Refused.cause`` says it, or nothing can be done."""


@frozen
class Refused:
    """
    Close the wire without a word.

    :ivar cause: for people.
    :ivar counter: ``handshake.<kind>``; the kinds are those of ``REFUSALS``.
    :ivar mend: what the operator can do, or empty.
    :ivar peer: who it said it is, as far as that could be read.  Not proved.
    """

    cause: str
    counter: str
    mend: str
    peer: HumdId | None

    @classmethod
    def because(cls, kind: str, cause: str, peer: HumdId | None = None) -> Refused:
        """The refusal of a kind."""
        mend = REFUSALS[kind] if peer is None else REFUSALS[kind].replace(PEER, peer.full)
        return cls(cause, f"handshake.{kind}", mend, peer)


class SomebodyElse(LinkRefused):
    """
    At the address that we dialled is another humd.

    :ivar found: which one, by its own word: that it holds the key is not proved.
    :ivar succeeds: the successions by which it says that it has become that one; nor are those.
    """

    def __init__(self, cause: str, found: HumdId, succeeds: Sequence[Succession] = ()) -> None:
        super().__init__(cause, REFUSALS["other-id"])
        self.found, self.succeeds = found, succeeds


class LinkPolicy(Protocol):
    """What the owner wants of peers."""

    @property
    def known(self) -> Container[HumdId]:
        """The ids that have a row."""

    def level_for(self, claimed: HumdId) -> Level:
        """The least level at which this id is admitted."""

    def admits(self, claimed: HumdId, wire_secure: bool) -> str | None:
        """None where this id may link over such a wire, else why not and the mend."""


class HandshakeMemory(Protocol):
    """What must survive a link; ``ensemble.mesh.ProofMemory`` is that and more."""

    def ever_proven(self, peer: HumdId) -> bool:
        """Did this id ever complete ``proof-1`` here?"""

    def note_proven(self, peer: HumdId, has_row: bool) -> None:
        """It did now."""

    def fresh_hello(self, peer: HumdId, signed_at: int, now_ms: int) -> bool:
        """Take this pair as seen.  False where it was seen before or is stale."""


@frozen(kw_only=True)
class Admission:
    """
    The judge of one link.  The fields are those of `ensemble.protocols.Handshake`.

    :ivar can_prove: we have a key.
    """

    me: HumdId
    can_prove: bool
    expected: HumdId | None
    leaf: HumdId | None
    nonce: str
    instance: str | None
    secure: bool
    policy: Callable[[], LinkPolicy]
    memory: HandshakeMemory

    def wanted(self, peer: HumdId) -> Level:
        """
        The least level at which we admit this id.

        Who proved once is never again taken for less: else whoever sits on the wire strips the features and replays.
        """
        return Level.PROVEN if self.memory.ever_proven(peer) else self.policy().level_for(peer)

    def judge(self, hello: Hello, now_ms: int) -> Level:
        """
        Decide on a peer's hello.

        :returns: the level at which the link comes up.  ``PROVEN`` where both list ``proof-1``: when the proof is
            there.
        :raises BadHello: it is not admitted.
        """
        self._check_permission(hello)
        if self.can_prove and hello.offer is not None:
            return Level.PROVEN
        return self._level_without_proof(hello, now_ms)

    def _check_permission(self, hello: Hello) -> None:
        claimed = hello.humd_id
        if claimed == self.me:
            raise BadHello(self._it_is_us(hello), claimed, "own-id")
        if self.expected is not None and claimed != self.expected:
            raise BadHello(f"it says it is {claimed}, expected was {self.expected}", claimed, "other-id")
        if self.leaf is not None and claimed != self.leaf:
            raise BadHello(f"it says it is {claimed}, its certificate is that of {self.leaf}", claimed, "other-leaf")
        if hello.nonce == self.nonce:
            raise BadHello("it sent our own nonce back", claimed, "reflected")
        denied = self.policy().admits(claimed, self.secure)
        if denied is not None:
            raise BadHello(denied, claimed, "not-admitted")

    def _it_is_us(self, hello: Hello) -> str:
        if hello.instance is not None and hello.instance == self.instance:
            return "it says it is us, and it is: a hint leads back to ourselves"
        return "it says it is us: another humd runs with a copy of our key, or a hint leads back to ourselves"

    def _level_without_proof(self, hello: Hello, now_ms: int) -> Level:
        claimed = hello.humd_id
        if self.memory.ever_proven(claimed):
            raise BadHello("it proved itself before, and now does not", claimed, "downgraded")
        wanted = self.policy().level_for(claimed)
        if wanted is Level.PROVEN and not self.can_prove:
            raise BadHello("only a proven link is admitted, and we have no key to prove with", claimed, "no-key")
        if wanted is Level.PROVEN:
            raise BadHello(
                f"only a proven link is admitted, and it does not offer {PROOF_FEATURE}", claimed, "unproven"
            )
        shown = hello.level(now_ms)
        if shown < wanted:
            raise BadHello("only a signed hello is admitted, and this one names no key", claimed, "unsigned")
        if shown is Level.SIGNED and not self._is_fresh(hello, now_ms):
            raise BadHello("this signed hello was used before", claimed, "replayed")
        return shown

    def _is_fresh(self, hello: Hello, now_ms: int) -> bool:
        return hello.signed_at is not None and self.memory.fresh_hello(hello.humd_id, hello.signed_at, now_ms)
