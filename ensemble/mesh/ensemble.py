"""
The ensemble: who is linked to this humd, and the way of a tone to and from them.

It knows wires only as `IWire` and tones only by their envelope; what a tone means is decided by its listener
(the daemon's is the delivery of wire-0.8 section 6) and by the readers of its taps.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IProtocolFactory, IReactorTime
from twisted.logger import Logger

from ensemble.errors import LinkRefused, LocalWireError, RouteError
from ensemble.identity import HumdId, HumdKey, Succession
from ensemble.interfaces import IWire
from ensemble.mesh.broadcast import Broadcast
from ensemble.mesh.inbound import Inbound
from ensemble.mesh.limits import UNPACED, Limits
from ensemble.mesh.link import Link
from ensemble.mesh.link_actions import GoodbyeReason
from ensemble.mesh.links import Links
from ensemble.mesh.listener import MeshListener
from ensemble.mesh.membership import Membership, Watcher
from ensemble.mesh.policy import Policy
from ensemble.mesh.proof_memory import ProofMemory, RamProofMemory
from ensemble.mesh.reception import Reception
from ensemble.mesh.refusals import Refusals
from ensemble.mesh.rules import Rules
from ensemble.mesh.tap import Tap
from ensemble.protocols import (
    DEFAULT_MAX_TONE,
    Handshake,
    HelloClock,
    Level,
    LineBudget,
    PeerCapabilities,
    Role,
    StreamWireFactory,
    TlsTransport,
    Turn,
    check_hello_fits,
)
from ensemble.tone import IllegalTone, encode


class Ensemble(Service):
    """
    Links to other humds.

    A library user calls `install`, `route` and `subscribe`; as an ``IService`` it says goodbye when it stops.  It works
    before it is started, too; from a stop to the next start it refuses every wire, and a `subscribe` is closed.

    :ivar me: our id.
    :ivar key: proves it; None where hellos are unsigned.
    :ivar limits: as given, or those that slow nobody.
    :ivar max_tone: bytes per line that we accept.
    :ivar memory: who ever proved itself; not ours to close where it was given.
    :ivar budget: over all unfinished lines; for the transports that dial.
    :ivar queues: over all that waits to be written.
    :ivar turn: when what waits is written.
    :ivar instance: 32 hex digits, fresh for each ensemble, by which peers know a restart.
    :ivar rules: the policy in force, and what is known of keys.
    :ivar refusals: counts and logs what is refused.
    :ivar porch: where the connections that `factory` accepts wait for their turn.
    :ivar history: why peers are away.
    """

    log = Logger()

    def __init__(
        self,
        me: HumdId,
        *,
        clock: IReactorTime,
        key: HumdKey | None = None,
        policy: Policy | None = None,
        capabilities: PeerCapabilities | None = None,
        memory: ProofMemory | None = None,
        wall: Callable[[], float] = time.time,
        entropy: Callable[[int], bytes] = os.urandom,
        max_tone: int = DEFAULT_MAX_TONE,
        turn: Turn | None = None,
        budget: LineBudget | None = None,
        limits: Limits | None = None,
        succeeds: Sequence[Succession] = (),
    ) -> None:
        """
        :param me: our id.  Without ``key`` hellos are unsigned and ``proof-1`` is not offered.
        :param clock: the reactor, or a ``Clock`` in tests.
        :param key: the one that ``me`` is the hash of.
        :param capabilities: what we say of ourselves; `capabilities` has the ceiling.
        :param policy: who may link; the default admits anybody, unsigned too (what the requirement texts call lax).
        :param memory: what is remembered of proofs; the default forgets with the process.  Who made it closes it.
        :param wall: seconds since the epoch.
        :param entropy: so many random bytes.
        :param max_tone: bytes per line that we accept.
        :param turn: give those that are to write together the same; the default is one of this ensemble.
        :param budget: over all unfinished lines of the wires that `factory` accepts; give transports the same.
        :param limits: the default sets no pace for anybody, which `Limits` itself does.
        :param succeeds: the successions that lead to ``me``, the oldest first, at most 8.
        :raises LocalWireError: the key is not that of ``me``, or the capabilities are too much for a hello.
        """
        if key is not None and key.humd_id() != me:
            raise LocalWireError(f"the key is not that of {me}")
        self.me, self.key, self._my_text = me, key, me.full
        self.max_tone = max_tone
        self.capabilities = capabilities if capabilities is not None else PeerCapabilities()
        self.memory: ProofMemory = memory if memory is not None else RamProofMemory()
        self._counters: Counter[str] = Counter()
        self.refusals = Refusals(clock, self._counters)
        self.turn = turn if turn is not None else Turn(clock)
        self.limits = limits if limits is not None else UNPACED
        self.budget = budget if budget is not None else LineBudget(self.limits.unfinished_lines_bytes)
        self.queues = LineBudget(self.limits.queues_bytes, "queues")
        self.instance = entropy(16).hex()
        self._clock, self._wall, self._entropy = clock, wall, entropy
        self._hello_clock, self._succeeds = HelloClock(), succeeds
        self._inbound = Inbound(me, self.refusals, self.answer)
        self._reception = Reception(clock, self.refusals, self.limits, lambda: self._members.traffic())
        self._members = Membership(me, clock, self._reception, self.refusals, self.limits, self.queues)
        self.history = self._members.history
        self.porch = self._reception.porch
        self._broadcast = Broadcast(self._members, self.turn)
        policy, earlier = policy if policy is not None else Policy(), [each.who for each in succeeds]
        self.rules = Rules(me, policy, self.memory, self._counters, self._members, earlier)
        self._links = Links(me, self._members, self._reception, self._inbound, self.refusals, self.rules, self._wall_ms)

    @classmethod
    def with_strict_auth(cls, me: HumdId, strict: bool, **more: Any) -> Ensemble:
        """An ensemble that refuses unsigned hellos where ``strict`` (level ``signed``)."""
        return cls(me, policy=Policy(level=Level.SIGNED if strict else Level.OPEN), **more)

    @property
    def policy(self) -> Policy:
        """The rules in force: those that were set, and what statements of peers about their keys make of them."""
        return self.rules.policy

    @policy.setter
    def policy(self, policy: Policy) -> None:
        self.rules.put_in_force(policy)

    @property
    def capabilities(self) -> PeerCapabilities:
        """
        What we say of ourselves on the links that follow.

        :raises LocalWireError: when set: they would make our hello longer than 12 KiB.  Those before stay.
        """
        return self._capabilities

    @capabilities.setter
    def capabilities(self, capabilities: PeerCapabilities) -> None:
        check_hello_fits(self.me, capabilities, self.key, self.max_tone)
        self._capabilities = capabilities

    @property
    def listener(self) -> MeshListener | None:
        """Who decides what tones mean; one at most.  Who comes later is not told of those that are linked."""
        return self._members.listener

    @listener.setter
    def listener(self, listener: MeshListener | None) -> None:
        self._members.listener = listener

    @property
    def counters(self) -> Counter[str]:
        """What came, and what was refused or lost, by name; ask anew for each look."""
        self._counters["tones.received"] = self._links.received
        return self._counters

    def watch(self, watcher: Watcher) -> None:
        """Have ``watcher`` called with an id and True when it is linked, False when it was lost; after the listener."""
        self._members.watchers.append(watcher)

    def watch_links(self, watcher: Callable[[Link], None]) -> None:
        """Have ``watcher`` called with each link that comes up: there may be one to that peer already."""
        self._links.watchers.append(watcher)

    # links

    def install(
        self, wire: IWire, capabilities: PeerCapabilities | None = None, key: HumdKey | None = None
    ) -> Deferred[HumdId]:
        """
        Take over a connection: shake hands, then carry tones.

        :param wire: dialled or accepted, not yet started; ours from now on.
        :param capabilities: what we say of ourselves; the default is the ensemble's own.
        :param key: what we prove ourselves with; the default is the ensemble's own.
        :returns: fires with the peer's id once a link to it is up, fails with `LinkRefused`.  Cancelling drops the
            wire.  Tones routed to a dialled peer meanwhile wait for it.
        :raises LocalWireError: the capabilities are too much for a hello, the key is not that of our id, or a dialled
            wire has no ``peer``; the wire is still the caller's.
        """
        if capabilities is not None or key is not None:  # those of the ensemble were looked at, with its key
            capabilities = capabilities if capabilities is not None else self.capabilities
            check_hello_fits(self.me, capabilities, key if key is not None else self.key, self.max_tone)
        expected = wire.peer.id if wire.peer is not None else None
        if wire.dialled and expected is None:
            raise LocalWireError("a wire that we dialled must say whom: its `peer` is None")
        if expected == self.me or not self.porch.open:
            wire.abort()
            ourselves = "this wire leads to our own id: take our own address out of the hints"
            return fail(LinkRefused(ourselves if self.porch.open else "this humd has stopped"))
        handshake = Handshake(
            role=Role.DIALLER if wire.dialled else Role.LISTENER,
            key=key if key is not None else self.key,
            me=self.me,
            policy=lambda: self.policy,
            secure=wire.secure,
            expected=expected,
            leaf=wire.leaf,
            binding=wire.binding,
            capabilities=capabilities if capabilities is not None else self.capabilities,
            instance=self.instance,
            nonce=self._entropy(32).hex(),
            max_tone=self.max_tone,
            memory=self.memory,
            hello_clock=self._hello_clock,
            succeeds=self._succeeds,
            learn=self.rules.learn,
        )
        limits, queues = self.limits, self.queues
        link = Link(wire, handshake, self._links, self._clock, self._wall_ms, self.turn, self.max_tone, limits, queues)
        self._links.add(link)
        if expected is not None:
            self._members.expected(expected).coming.add(link)
        done = self._reception.begin(link)
        link.begin()
        return done

    def add_peer(self, wire: IWire) -> Deferred[HumdId]:
        """`install` with what the ensemble itself has: the name of the requirement texts."""
        return self.install(wire)

    def factory(self, tls: TlsTransport | None = None) -> IProtocolFactory:
        """
        A factory for any stream endpoint: each connection that it accepts is installed here.

        What is refused is counted and logged.

        :param tls: made with our key: then TLS is spoken on them, and those whose certificate the policy refuses end
            before they say hello.
        """
        if tls is None:
            return StreamWireFactory(
                self._clock, self._accepted, budget=self.budget, porch=self.porch, deadlines=self.limits
            )
        return tls.factory(self._accepted, admits=self._admits_leaf, failed=self.refusals.refused, porch=self.porch)

    def remove_peer(self, peer: HumdId, reason: GoodbyeReason = GoodbyeReason.REMOVED) -> None:
        """
        Say goodbye on every link to ``peer`` and close them; nothing where there is none.

        :raises LocalWireError: ``DUPLICATE``, which would promise that another link goes on.
        """
        if reason == GoodbyeReason.DUPLICATE:
            raise LocalWireError("no link is left to a peer that is removed: say goodbye for another reason")
        known = self._members.get(peer)
        if known is not None:
            known.leave(reason)

    def peers(self) -> list[HumdId]:
        """The ids with a link that is up, in the order in which they came."""
        return [peer.id for peer in self._members.linked()]

    @property
    def pending(self) -> int:
        """How many accepted links shake hands."""
        return len(self._reception)

    def peer_caps(self, peer: HumdId) -> PeerCapabilities | None:
        """What ``peer`` said of itself; None where there is no link to it."""
        link = self.link_to(peer)
        return None if link is None or link.shaken is None else link.shaken.capabilities

    def link_to(self, peer: HumdId) -> Link | None:
        """The link on which tones to ``peer`` are written now, None where there is none: for status and tests."""
        known = self._members.get(peer)
        return None if known is None else known.writing

    def linked(self, peer: HumdId) -> bool:
        """True while there is a link to ``peer``, or its tones are moving from one to another."""
        return self._members.is_linked(peer)

    def set_waiting(self, peer: HumdId, waits: bool) -> None:
        """Whether anybody waits for an answer of ``peer``: its silence is noticed sooner then (wire-0.8 section 4)."""
        known = self._members.get(peer)
        if known is not None:
            known.set_waiting(waits)

    def judge_again(self, policy: Policy) -> None:
        """
        Put new rules in force: links that they no longer admit, or not at their level, are told goodbye.

        Setting ``policy`` puts them in force for links that follow alone.  Rows are for `Dialler.set_peers`, too.
        """
        self.policy = policy
        self._members.judge(self.policy)

    # tones

    def route(self, tone: Mapping[str, Any]) -> None:
        """
        Send one tone to the peer in its ``to``; ``from`` becomes ours.  Only enqueues; raises at once.

        :raises IllegalTone: a value has no JSON form.  (One without a ``chi`` leaves, and is refused by the peer.)
        :raises Untargeted: no ``to``, or none that can be read as an id.
        :raises UnknownPeer: no link to it (a tone to ourselves, too).
        :raises SendFailed: too large for the peer (`ToneTooLarge`), or its queue is full (`QueueFull`); after the
            latter the listener's ``peer_has_room`` is called, unless the peer is lost.
        """
        to = tone.get("to")
        peer = self._members.target(to)
        if to != peer.id.full or tone.get("from") != self._my_text:
            tone = {**tone, "from": self.me.full, "to": peer.id.full}
        peer.send(encode(tone))

    def send(self, peer: HumdId, line: bytes, droppable: bool = False) -> bool:
        """
        Send one encoded tone.

        :param line: without its LF, ``from`` us and ``to`` the peer, as `ensemble.tone.stamp` makes it; not looked at.
        :param droppable: under pressure it is dropped, oldest first, and nobody is told.
        :returns: True where more than half of the peer's queue is full: it was taken, and the source should pause until
            ``peer_has_room``.
        :raises RouteError: as `route`.
        """
        return self._members.known(peer).send(line, droppable)

    def broadcast(self, tone: Mapping[str, Any], peers: Iterable[HumdId] | None = None) -> list[HumdId]:
        """
        Send one tone to many peers; it is encoded once.

        ``from`` and ``to`` are spliced in for each; ``gossip-publish`` goes out as it is, the same bytes for all, and
        may be dropped where a peer reads too slowly.

        :param peers: whom; the default is all that are linked.
        :returns: those that it could not be queued for.
        :raises IllegalTone: it is no tone.
        """
        if tone.get("chi") == "gossip-publish":
            return self._broadcast.news(encode(tone), peers)
        rest = encode({key: value for key, value in tone.items() if key not in ("from", "to")})[1:]
        if rest == b"}":
            raise IllegalTone("a tone needs a chi")
        return self._broadcast.addressed(rest, peers)

    def answer(self, peer: HumdId, tone: Mapping[str, Any]) -> None:
        """Send ``peer`` an error or another tone that may be dropped under pressure; lost where it is gone."""
        try:
            self.send(peer, encode({**tone, "from": self.me.full, "to": peer.full}), droppable=True)
        except RouteError:
            self._counters["answer.lost"] += 1

    def subscribe(self, peer: HumdId | None = None) -> Tap:
        """A view of what arrives from now on, from ``peer`` or all, also over later links; close it when done."""
        tap = Tap(self._links.taps.remove, peer)
        self._links.taps.append(tap)
        if not self.porch.open:
            tap.close()
        return tap

    # IService

    def startService(self) -> None:
        super().startService()
        self.porch.open = True

    def stopService(self) -> Deferred[None]:
        """Say goodbye to every peer; fires when all links are closed, at the latest after two seconds."""
        super().stopService()
        self.porch.open = False  # what is accepted from now on would be linked for ever
        for tap in list(self._links.taps):
            tap.close()
        for peer in self._members:
            peer.leave(GoodbyeReason.SHUTDOWN)
        self._reception.close()
        return self._links.all_gone(self._clock)

    # inside

    def _accepted(self, wire: IWire) -> None:
        self.install(wire).addErrback(lambda failure: failure.trap(LinkRefused) and None)

    def _admits_leaf(self, leaf: HumdId | None, succeeds: Sequence[Succession]) -> str | None:
        self.rules.learn(succeeds)  # first: it may be what lets this id in
        # Our own: the refusal of its hello says what it means.
        return None if leaf == self.me else self.policy.admits_leaf(leaf)

    def _wall_ms(self) -> int:
        return int(self._wall() * 1000)
