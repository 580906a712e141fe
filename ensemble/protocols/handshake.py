"""
The handshake of one link: wire-0.8 section 2.

Theory of operation.  The dialler says hello first, the listener once it found that hello admissible
(`ensemble.protocols.admission`).  Where both hellos list ``proof-1`` the listener's proof follows its hello, and the
dialler verifies it and sends its own.  Elsewhere the hello was all there is, and the link is up where it was enough for
the level that we want.  Until then a link handles nothing: tones before a hello are held for 0.7.0 peers and dropped
for others, and whatever else comes between a hello and its proof ends the link.

A handshake has no clock, no transport and no chance of its own.  Its owner calls `Handshake.start`, gives every line
to `Handshake.receive`, obeys the events, and keeps the deadline of a pending link.  A peer cannot make it raise.

Our own hello carries the replayable 0.7.0 signature only where it can count: a dialler's, where the id that it dials is
admitted with less than a proof; a listener's, where the dialler's hello was.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from automat import NoTransition

from ensemble.errors import LocalWireError
from ensemble.identity import HumdId, HumdKey, Succession
from ensemble.protocols.admission import Admission, HandshakeMemory, LinkPolicy, Refused
from ensemble.protocols.capabilities import PeerCapabilities
from ensemble.protocols.exchange import Core, Event, Send, fresh, listening, machine, say_nothing
from ensemble.protocols.hello import DEFAULT_FEATURES, DEFAULT_MAX_TONE, PROOF_FEATURE, HelloClock
from ensemble.protocols.proof import Role
from ensemble.tone import MalformedTone, peek

PENDING_BYTES: Final = 16 * 1024  # received up to the end of the line that completes the handshake
NO_CAPABILITIES: Final = PeerCapabilities()
_TLS_ALERT: Final = b"\x15\x03"  # what some TLS servers answer to a hello in clear (RFC 8446 5.1 and 6)


class Handshake:
    """One end of one link; see the module."""

    def __init__(
        self,
        *,
        role: Role,
        key: HumdKey | None,
        me: HumdId,
        policy: Callable[[], LinkPolicy],
        memory: HandshakeMemory,
        hello_clock: HelloClock,
        nonce: str,
        instance: str | None,
        expected: HumdId | None = None,
        leaf: HumdId | None = None,
        binding: str = "none",
        secure: bool = False,
        capabilities: PeerCapabilities = NO_CAPABILITIES,
        max_tone: int = DEFAULT_MAX_TONE,
        features: tuple[str, ...] = DEFAULT_FEATURES,
        succeeds: Sequence[Succession] = (),
        learn: Callable[[Sequence[Succession]], object] = lambda chain: None,
    ) -> None:
        """
        :param key: ours, or None: then we neither sign nor prove.
        :param me: our id; that of ``key`` where there is one.
        :param policy: the one in force; asked anew for every hello.
        :param hello_clock: one for all the links of an ``Ensemble``.
        :param nonce: 64 lowercase hex, fresh for this link.
        :param instance: 32 lowercase hex, the same for all the links of an ``Ensemble``.
        :param expected: who must be at the other end: whom we dialled, or whom a memory wire names.
        :param leaf: whose certificate the wire's other end showed, possession proved; None where it showed no id.
        :param binding: of the channel: ``none``, ``tls-<hex>``, ``quic-<hex>``.
        :param secure: what is read is known to come from whom the handshake proves.
        :param max_tone: bytes per line that we accept.
        :param features: what we understand besides ``proof-1``, which is listed where there is a key.
        :param succeeds: the successions that lead to ``me``, for our hello.
        :param learn: told of those in the peer's hello, not verified, before the hello is judged.
        :raises LocalWireError: the key is not that of the id.
        """
        if key is not None and key.humd_id() != me:
            raise LocalWireError(f"the key is not that of {me}")
        self._core = Core(
            role=role,
            key=key,
            binding=binding,
            max_tone=max_tone,
            capabilities=capabilities,
            features=features if key is None else (PROOF_FEATURE, *features),
            hello_clock=hello_clock,
            succeeds=succeeds,
            learn=learn,
            admission=Admission(
                me=me,
                can_prove=key is not None,
                expected=expected,
                leaf=leaf,
                nonce=nonce,
                instance=instance,
                secure=secure,
                policy=policy,
                memory=memory,
            ),
        )
        dials = role is Role.DIALLER
        self._steps = machine(self._core, fresh) if dials else machine(self._core, listening, say_nothing)
        self._received = 0  # bytes

    def start(self, now_ms: int) -> list[bytes]:
        """
        The wire is there.  Call it once, before the first `receive`.

        :returns: what to send: our hello where we dialled, else nothing.
        :raises LocalWireError: our hello cannot be made, or it was called before.
        """
        self._step(lambda: self._steps.opened(now_ms))
        return [event.line for event in self._taken() if isinstance(event, Send)]

    def receive(self, line: bytes, now_ms: int) -> list[Event]:
        """
        One whole line of the peer.

        :returns: what to do, in order.  Nothing follows `Up` or `Refused`; a line after a refusal is ignored.
        :raises LocalWireError: not started; or up, so that the line belongs to the link.
        """
        self._received += len(line) + 1
        self._step(lambda: self._take_line(line, now_ms))
        return self._taken()

    def prove(self) -> list[Event]:
        """
        After `ReadyToProve`: let our proof leave.

        :returns: the proof and `Up`; nothing where the link was refused meanwhile.
        :raises LocalWireError: it is not ready.
        """
        self._step(self._steps.agreed)
        return self._taken()

    def _take_line(self, line: bytes, now_ms: int) -> None:
        if self._received > PENDING_BYTES:
            cause = f"more than {PENDING_BYTES} bytes before the link was up"
            self._steps.refused(Refused.because("too-long", cause))
            return
        try:
            chi = peek(line).chi
            if chi == "hello":
                self._steps.hello_came(line, now_ms)
            elif chi == "hello-proof":
                self._steps.proof_came(line, now_ms)
            else:
                self._steps.other_came(line, now_ms)
        except MalformedTone as error:
            cause = "an alert of TLS: is it a tls: port?" if line.startswith(_TLS_ALERT) else str(error)
            self._steps.refused(Refused.because("malformed", f"a line that is no tone: {cause}"))

    def _step(self, step: Callable[[], None]) -> None:
        try:
            step()
        except NoTransition as error:
            raise LocalWireError(f"the handshake is not at that point: {error}") from None

    def _taken(self) -> list[Event]:
        events, self._core.events = self._core.events, []
        return events
