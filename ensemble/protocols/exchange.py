"""
Who says what when in a handshake: wire-0.8 section 2, as a state machine.

::

    dialler:   fresh --> greeting ---> asking ---> ready ---> done          (and from all but done: closed)
                             `----- no proof-1 ---------------^
    listener:  listening ------------> answering -----------> done
                   `--------------- no proof-1 ---------------^

The peer's lines come in as ``hello_came``, ``proof_came`` and ``other_came``; the state that a line meets judges it,
and the verdict is the next input.  What is to be done gathers in the core's ``events``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeAlias

from attrs import define, field, frozen
from automat import NoTransition, TypeMachine, TypeMachineBuilder, pep614

from ensemble.identity import HumdId, HumdKey, Succession
from ensemble.protocols.admission import Admission, Refused
from ensemble.protocols.capabilities import PeerCapabilities
from ensemble.protocols.hello import BadHello, Hello, HelloClock, Level, ProofOffer, hello_line, read_hello
from ensemble.protocols.proof import Role, Transcript, is_proof, proof_line


@frozen
class Send:
    """Write this line."""

    line: bytes


@frozen
class ReadyToProve:
    """
    Dialler only: the listener proved who it is, and our last line is still unsent.

    The owner calls `Handshake.prove` or drops the link: of racing dials only one gets our proof.
    """

    peer: HumdId


@frozen
class Up:
    """
    Both sides know who the other is.

    :ivar level: what the peer showed, which may be more than we want.
    :ivar features: those that both sides listed.
    :ivar max_tone: bytes per line that the peer accepts.
    :ivar held: lines that a 0.7.0 peer sent before its hello, to be handled first.
    :ivar dropped: how many lines anybody else sent before its hello; they are gone.
    """

    peer: HumdId
    level: Level
    capabilities: PeerCapabilities
    features: frozenset[str]
    instance: str | None
    max_tone: int
    held: tuple[bytes, ...] = ()
    dropped: int = 0


Event: TypeAlias = Send | ReadyToProve | Up | Refused


@frozen
class _Greeted:
    """The peer's hello is admissible: at this level, if the proof does not fail."""

    hello: Hello
    line: bytes
    level: Level


@frozen
class _Proving:
    """Two hellos that both list ``proof-1``."""

    greeted: _Greeted
    key: HumdKey
    public: bytes  # the peer's
    transcript: Transcript


@define(kw_only=True, eq=False)
class Core:
    """What one end of a link knows from the beginning besides its `Admission`, and what it has to say."""

    role: Role
    key: HumdKey | None
    binding: str
    max_tone: int
    capabilities: PeerCapabilities
    features: tuple[str, ...]
    hello_clock: HelloClock
    admission: Admission
    succeeds: Sequence[Succession]
    learn: Callable[[Sequence[Succession]], object]
    events: list[Event] = field(factory=list)
    held: list[bytes] = field(factory=list)

    def hello(self, now_ms: int, signed: bool) -> bytes:
        admission = self.admission
        return hello_line(
            admission.me,
            self.capabilities,
            key=self.key,
            signed_at=self.hello_clock.next(now_ms) if signed and self.key is not None else None,
            features=self.features,
            nonce=admission.nonce,
            instance=admission.instance,
            max_tone=self.max_tone,
            succeeds=self.succeeds,
        )

    def proving(self, greeted: _Greeted, mine: bytes, key: HumdKey, offer: ProofOffer) -> _Proving:
        transcript = Transcript(
            role=self.role,
            me=self.admission.me,
            peer=greeted.hello.humd_id,
            my_nonce=self.admission.nonce,
            peer_nonce=offer.nonce,
            binding=self.binding,
            my_hello=mine,
            peer_hello=greeted.line,
        )
        return _Proving(greeted, key, offer.public, transcript)

    def say(self, line: bytes) -> None:
        self.events.append(Send(line))

    def come_up(self, greeted: _Greeted) -> None:
        hello, held = greeted.hello, tuple(self.held)
        self.events.append(
            Up(
                peer=hello.humd_id,
                level=greeted.level,
                capabilities=hello.capabilities,
                features=hello.features.intersection(self.features),
                instance=hello.instance,
                max_tone=hello.max_tone,
                held=held if hello.is_old else (),
                dropped=0 if hello.is_old else len(held),
            )
        )


class Steps(Protocol):
    """What happens to a handshake: lines, verdicts on them, and the owner's word."""

    def opened(self, now_ms: int) -> None:
        """The wire is there."""

    def hello_came(self, line: bytes, now_ms: int) -> None:
        """A tone that says hello."""

    def proof_came(self, line: bytes, now_ms: int) -> None:
        """A tone that says hello-proof."""

    def other_came(self, line: bytes, now_ms: int) -> None:
        """Any other tone."""

    def admitted(self, greeted: _Greeted, mine: bytes) -> None:
        """The peer's hello is all that we want of it."""

    def proof_wanted(self, proving: _Proving) -> None:
        """The peer's hello is admissible, and both of us can prove."""

    def proved(self, proving: _Proving) -> None:
        """The peer's proof is right."""

    def agreed(self) -> None:
        """The owner wants our proof to leave."""

    def refused(self, refused: Refused) -> None:
        """The link is not admitted."""


def _say_hello(steps: Steps, core: Core, now_ms: int) -> bytes:
    expected = core.admission.expected
    core.say(mine := core.hello(now_ms, expected is not None and core.admission.wanted(expected) is not Level.PROVEN))
    return mine


def say_nothing(steps: Steps, core: Core) -> bytes:
    return b""


def _keep(steps: Steps, core: Core, proving: _Proving) -> _Proving:
    return proving


builder = TypeMachineBuilder(Steps, Core)
fresh = builder.state("fresh")  # dialler
listening = builder.state("listening", say_nothing)  # listener; carries no hello of ours yet
greeting = builder.state("greeting", _say_hello)  # dialler; carries our hello
asking = builder.state("asking", _keep)  # dialler: waits for the listener's proof
ready = builder.state("ready", _keep)  # dialler: waits for its owner
answering = builder.state("answering", _keep)  # listener: waits for the dialler's proof
done = builder.state("done")
closed = builder.state("closed")

fresh.upon(Steps.opened).to(greeting).returns(None)
listening.upon(Steps.opened).loop().returns(None)


@pep614(greeting.upon(Steps.hello_came).loop())
@pep614(listening.upon(Steps.hello_came).loop())
def judge(steps: Steps, core: Core, mine: bytes, line: bytes, now_ms: int) -> None:
    try:
        hello = read_hello(line)
        if hello.succeeds:
            core.learn(hello.succeeds)  # first: it may be what lets this id in
        level = core.admission.judge(hello, now_ms)
    except BadHello as error:
        steps.refused(Refused.because(error.kind, str(error), error.claimed))
        return
    greeted = _Greeted(hello, line, level)
    if not mine:
        mine = core.hello(now_ms, level is not Level.PROVEN)
    if core.key is not None and hello.offer is not None:
        steps.proof_wanted(core.proving(greeted, mine, core.key, hello.offer))
    else:
        steps.admitted(greeted, mine)


@pep614(greeting.upon(Steps.admitted).to(done))
def rise(steps: Steps, core: Core, sent: bytes, greeted: _Greeted, mine: bytes) -> None:
    core.come_up(greeted)


@pep614(listening.upon(Steps.admitted).to(done))
def answer_and_rise(steps: Steps, core: Core, sent: bytes, greeted: _Greeted, mine: bytes) -> None:
    core.say(mine)
    core.come_up(greeted)


greeting.upon(Steps.proof_wanted).to(asking).returns(None)


@pep614(listening.upon(Steps.proof_wanted).to(answering))
def answer_and_prove(steps: Steps, core: Core, sent: bytes, proving: _Proving) -> None:
    core.say(proving.transcript.my_hello)
    core.say(proof_line(proving.key, proving.transcript))


@pep614(asking.upon(Steps.proof_came).loop())
@pep614(answering.upon(Steps.proof_came).loop())
def verify_proof(steps: Steps, core: Core, proving: _Proving, line: bytes, now_ms: int) -> None:
    peer = proving.transcript.peer
    if not is_proof(line, proving.public, proving.transcript):
        steps.refused(Refused.because("bad-proof", "its proof is not one of this handshake", peer))
        return
    core.admission.memory.note_proven(peer, peer in core.admission.policy().known)
    steps.proved(proving)


@pep614(asking.upon(Steps.proved).to(ready))
def ask_owner(steps: Steps, core: Core, before: _Proving, proving: _Proving) -> None:
    core.events.append(ReadyToProve(proving.transcript.peer))


@pep614(ready.upon(Steps.agreed).to(done))
def prove_and_rise(steps: Steps, core: Core, proving: _Proving) -> None:
    core.say(proof_line(proving.key, proving.transcript))
    core.come_up(proving.greeted)


@pep614(answering.upon(Steps.proved).to(done))
def rise_proven(steps: Steps, core: Core, before: _Proving, proving: _Proving) -> None:
    core.come_up(proving.greeted)


@pep614(greeting.upon(Steps.other_came).loop())
@pep614(listening.upon(Steps.other_came).loop())
def hold(steps: Steps, core: Core, mine: bytes, line: bytes, now_ms: int) -> None:
    core.held.append(line)


@pep614(greeting.upon(Steps.proof_came).loop())
@pep614(listening.upon(Steps.proof_came).loop())
def reject_early_proof(steps: Steps, core: Core, mine: bytes, line: bytes, now_ms: int) -> None:
    steps.refused(Refused.because("no-hello", "a proof came before the hello that it proves"))


@pep614(asking.upon(Steps.hello_came).loop())
@pep614(asking.upon(Steps.other_came).loop())
@pep614(ready.upon(Steps.hello_came).loop())
@pep614(ready.upon(Steps.other_came).loop())
@pep614(ready.upon(Steps.proof_came).loop())
@pep614(answering.upon(Steps.hello_came).loop())
@pep614(answering.upon(Steps.other_came).loop())
def reject_talk(steps: Steps, core: Core, proving: _Proving, line: bytes, now_ms: int) -> None:
    cause = "something other than its one proof came before the link was up"
    steps.refused(Refused.because("no-proof", cause, proving.transcript.peer))


def refuse(steps: Steps, core: Core, carried: object, refused: Refused) -> None:
    core.held.clear()
    core.events.append(refused)


listening.upon(Steps.refused).to(closed)(refuse)
greeting.upon(Steps.refused).to(closed)(refuse)
asking.upon(Steps.refused).to(closed)(refuse)
ready.upon(Steps.refused).to(closed)(refuse)
answering.upon(Steps.refused).to(closed)(refuse)

# The owner may give us what it has read already.
closed.upon(Steps.hello_came).loop().returns(None)
closed.upon(Steps.proof_came).loop().returns(None)
closed.upon(Steps.other_came).loop().returns(None)
closed.upon(Steps.refused).loop().returns(None)
closed.upon(Steps.agreed).loop().returns(None)


def _indexed(built: TypeMachine[Steps, Core]) -> TypeMachine[Steps, Core]:
    """Automat compares an input with each transition that there is, which is a tenth of our part of a handshake."""
    automaton = built.__automat_automaton__
    table = {(state, symbol): (then, outputs) for state, symbol, then, outputs in automaton.allTransitions()}

    def find(state: Any, symbol: str) -> Any:
        found = table.get((state, symbol))
        if found is None:
            raise NoTransition(state=state, symbol=symbol)
        return found

    vars(automaton)["outputForInput"] = find
    return built


machine = _indexed(builder.build())
