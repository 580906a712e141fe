"""Two whole humds, their programs and the wires between them, for ``test_turmoil``: anybody may do anything."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

from attrs import define, field
from twisted.internet.defer import Deferred, fail, succeed

from ensemble.errors import LinkRefused
from ensemble.identity import Hint, HumdAddr, HumdId
from ensemble.interfaces import IWire, IWireSink
from ensemble.mesh import Dialler, KnownPeer, Limits, Policy
from ensemble.mesh.link_actions import GoodbyeReason
from ensemble.protocols import InMemoryEndpoint, Level
from ensemble.testing import House, World
from ensemble.tone import Envelope, Qualifier, decode, encode
from tests.mesh.plain_peer import Ear

KIB = 1024
LIMITS = Limits(
    queues_bytes=1024 * KIB,
    peer_queue_bytes=128 * KIB,
    peer_hold_bytes=64 * KIB,
    client_queue_bytes=128 * KIB,
    known_tones_per_second=80,
    burst_seconds=1,
    pending_links=5,
    address_pending_links=4,
)
ENDS = {"prompt": "finish", "tool-call": "tool-result", "x-ask": "finish"}
REASONS = [reason for reason in GoodbyeReason if reason is not GoodbyeReason.DUPLICATE]

Step: TypeAlias = tuple[str, int, int]  # what, who, how


class SlowWire(InMemoryEndpoint):
    """Where it is cut nothing is lost: what is written comes late, and the wire may be full meanwhile."""

    __slots__ = ("stalled",)

    def start(self, sink: IWireSink) -> None:
        super().start(sink)
        self.stalled = getattr(self, "stalled", False)
        if self.stalled and self._sink is not None:
            self._sink.wire_full()

    def write(self, lines: Sequence[bytes]) -> None:
        if self._partitioned and not self._closed:
            self._buffer.extend(lines)
        else:
            super().write(lines)

    def cut(self, stall: bool) -> None:
        self.partition(True)
        if stall:
            self.stalled = True
            if self._sink is not None:
                self._sink.wire_full()

    def heal(self) -> None:
        self.partition(False)
        if getattr(self, "stalled", False):
            self.stalled = False
            if self._sink is not None:
                self._sink.wire_drained()


class Judge:
    """Is what a node is told of its peers in order?  ``losses``: so many it was told of."""

    def __init__(self, house: House) -> None:
        self.node, self.up, self.losses = house.node, set[HumdId](), 0
        house.ensemble.listener = self

    def tone_arrived(self, peer: HumdId, envelope: Envelope, line: bytes) -> None:
        assert peer in self.up
        self.node.tone_arrived(peer, envelope, line)

    def peer_up(self, peer: HumdId) -> None:
        assert peer not in self.up
        self.up.add(peer)
        self.node.peer_up(peer)

    def garbled(self, peer: HumdId, envelope: Envelope, cause: str) -> None:
        self.node.garbled(peer, envelope, cause)

    def peer_lost(self, peer: HumdId, reason: str) -> None:
        self.up.remove(peer)
        self.losses += 1
        self.node.peer_lost(peer, reason)

    def peer_has_room(self, peer: HumdId) -> None:
        self.node.peer_has_room(peer)

    def undelivered(self, peer: HumdId, line: bytes, qualifier: Qualifier) -> None:
        self.node.undelivered(peer, line, qualifier)


@define(eq=False)
class Wish:
    """
    What a program asked.

    :ivar keys: its rid, sid and callId.
    :ivar alone: no further prompt has its sid.
    """

    chi: str
    keys: dict[str, str]
    to: dict[str, str]
    alone: bool = True
    pieces: list[int] = field(factory=list)
    ends: list[dict[str, Any]] = field(factory=list)

    def is_ended_by(self, tone: dict[str, Any]) -> bool:
        """By a tone of the humd or of the bee that was asked: the first of its keys that counts here."""
        named = {"sid", "callId"} & tone.keys()
        agrees = not named or len(self.keys) == 1 or any(self.keys.get(key) == tone[key] for key in named)
        for key in ("rid", "callId", "sid") if tone["chi"] == "error" else ("callId", "sid", "rid"):
            if key in tone and (key != "sid" or self.chi == "prompt"):
                return agrees and self.keys.get(key) == tone[key]
        return False


class Bee(Ear):
    """A program, that asks or answers."""

    def __init__(self, play: Play, house: House, name: str, **hello: Any) -> None:
        super().__init__()
        self.play, self.name, self.at = play, name, play.houses.index(house)
        self.wishes: list[Wish] = []
        self.jobs: list[dict[str, Any]] = []
        self.mine: set[str] = set()  # rids, sids and callIds that a tone to it may have
        self.latest: dict[str, int] = {}  # number of the last tone of each asker between two losses
        self.seen: set[int] = set()
        self.wire = house.wire()
        self.wire.start(self)
        self.say({"chi": "hello", "hive": name, **hello})

    def say(self, tone: dict[str, Any]) -> None:
        if self.lost is None:
            self.wire.write([encode(tone)])

    def ask(self, chi: str, to: dict[str, str], sid: str | None = None, **more: Any) -> Wish:
        """With a sid or callId of its own, or under the ``sid`` of an earlier one; rids are counted from one on."""
        number = self.play.number()
        keys = {"rid": f"r{len(self.wishes)}" if chi in ("prompt", "tool-call") else f"{self.name}-{number}"}
        if chi == "prompt":
            keys["sid"] = sid if sid is not None else f"s{number}"
        elif chi == "tool-call":
            keys["callId"] = f"c{number}"
        wish = Wish(chi, keys, to, alone=sid is None)
        self.wishes.append(wish)
        self.mine.update(keys.values())
        by = f"{self.name}, {self.play.judges[self.at].losses}"
        self.say({"chi": chi, "modelId": "m", "toolName": "t", "by": by, "n": number, **keys, **to, **more})
        return wish

    def answer(self, job: dict[str, Any], pieces: int, size: int, end: str | None) -> None:
        """Say more of an answer."""
        keys: dict[str, Any] = {key: job[key] for key in ("rid", "sid", "callId") if key in job}
        for _ in range(pieces):
            self.say({"chi": "chunk", "piece": job["piece"], "text": "x" * size, **keys})
            job["piece"] += 1
        if end is not None:
            self.jobs.remove(job)
            self.say({"chi": end, "pieces": job["piece"], **keys})

    def lines_received(self, lines: list[bytes]) -> None:
        for line in lines:
            tone = decode(line)
            if tone["chi"] in ENDS:
                self.asked(tone)
            elif tone["chi"] in ("chunk", "error", *ENDS.values()):
                self.told(tone)

    def asked(self, tone: dict[str, Any]) -> None:
        assert tone["n"] > self.latest.get(tone["by"], 0), "a tone came behind a later one"
        assert tone["n"] not in self.seen, "a tone came twice"
        self.latest[tone["by"]] = tone["n"]
        self.seen.add(tone["n"])
        self.mine.update(tone[key] for key in ("rid", "sid", "callId") if key in tone)
        self.jobs.append({**tone, "piece": 0})
        if self.play.diligent:
            self.answer(self.jobs[-1], tone["n"] % 4, 10 if tone["n"] % 8 < 7 else 20_000, ENDS[tone["chi"]])

    def told(self, tone: dict[str, Any]) -> None:
        assert self.mine.issuperset(tone[key] for key in ("rid", "sid", "callId") if key in tone), "not for us"
        for wish in [wish for wish in self.wishes if wish.is_ended_by(tone)]:
            if tone["chi"] == "chunk":
                wish.pieces += [tone["piece"]] * (not wish.ends)
                continue
            if not wish.alone or wish.chi == "x-ask":  # one end may be for several, and several may answer
                wish.ends = [tone]
                continue
            wish.ends.append(tone)
            assert len(wish.ends) == 1, wish
            assert wish.pieces == list(range(tone.get("pieces", len(wish.pieces)))), wish


class Play:
    """
    The humds, and what is done to them.

    :ivar diligent: who is asked answers at once.
    :ivar network: how dials go: well, not at all, never to an end, or slowly.
    """

    def __init__(self) -> None:
        self.world, self.count, self.network, self.diligent = World(), 0, 0, False
        keys = [self.world.key() for _ in range(2)]
        self.ids = [key.humd_id() for key in keys]
        self.houses = [House(self.world, key=key, limits=LIMITS, policy=self.policy(at)) for at, key in enumerate(keys)]
        self.judges = [Judge(house) for house in self.houses]
        self.wires: list[SlowWire] = []
        self.hanging: list[Deferred[IWire]] = []
        self.diallers = [
            Dialler(house.ensemble, {"tcp": self.dial}, self.world.clock, self.world.random.random)
            for house in self.houses
        ]
        for dialler in self.diallers:
            dialler.startService()
        self.bees: list[Bee] = []
        for who in range(6):
            self.join(who, who // 2)
        self.link(0, 16)

    def number(self) -> int:
        self.count += 1
        return self.count

    def policy(self, at: int, level: Level = Level.PROVEN, known: bool = True) -> Policy:
        row = KnownPeer(self.ids[1 - at], hints=("tcp:127.0.0.1:1", "tcp:127.0.0.1:2")[: 1 + at])
        return Policy(level, admit_any=False, known=[row] * known)

    def pair(self, dialler: int) -> SlowWire:
        """A new wire; its far end is accepted."""
        ids = self.ids[dialler], self.ids[1 - dialler]
        near, far = SlowWire.pair(ids[0], None, ids[1], None, self.world.clock)
        assert isinstance(near, SlowWire) and isinstance(far, SlowWire)
        far.peer = None
        self.wires += [near, far]
        self.install(1 - dialler, far)
        return near

    def install(self, at: int, wire: IWire) -> None:
        self.houses[at].ensemble.install(wire).addErrback(lambda refused: refused.trap(LinkRefused) and None)

    def dial(self, hint: Hint, addr: HumdAddr) -> Deferred[IWire]:
        if self.network == 1:
            return fail(OSError("nobody is there"))
        if self.network == 2:
            self.hanging.append(Deferred())
            return self.hanging[-1]
        near = self.pair(1 - self.ids.index(addr.id))
        if self.network == 3:
            self.wires[-1 - self.number() % 2].cut(stall=False)
        return succeed(near)

    def one_of(self, bees: list[Bee], who: int) -> Bee | None:
        there = [bee for bee in bees if bee.lost is None]
        return there[who % len(there)] if there else None

    # steps

    def ask(self, who: int, how: int) -> None:
        bee = self.one_of(self.bees, who)
        if bee is not None:
            to: dict[str, str] = ({}, {"to": self.ids[0].full}, {"to": self.ids[1].full})[how % 3]
            more: dict[str, Any] = {"text": "x" * (1, 8_000)[how // 36 % 2]} | ({"dusk": 1} if how % 37 == 0 else {})
            for _ in range((1, 1, 5, 30)[how // 9 % 4]):
                bee.ask(("prompt", "tool-call", "x-ask")[how // 3 % 3], to, **more)

    def further(self, who: int, how: int) -> None:
        """Another prompt under a sid in progress."""
        bee = self.one_of([bee for bee in self.bees if any(wish.chi == "prompt" for wish in bee.wishes)], who)
        if bee is not None:
            prompts = [wish for wish in bee.wishes if wish.chi == "prompt"]
            wish = prompts[-1 - how % len(prompts)]
            for each in prompts:
                each.alone = each.alone and each.keys["sid"] != wish.keys["sid"]
            bee.ask("prompt", wish.to, wish.keys["sid"])

    def cancel(self, who: int, how: int) -> None:
        bee = self.one_of([bee for bee in self.bees if bee.wishes], who)
        if bee is not None:
            wish = bee.wishes[-1 - how % len(bee.wishes)]
            rid = f"{bee.name}-{self.number()}"
            bee.mine.add(rid)
            bee.say({"chi": "cancel", **wish.keys, "rid": rid, **wish.to})

    def answer(self, who: int, how: int) -> None:
        bee = self.one_of([bee for bee in self.bees if bee.jobs], who)
        if bee is not None:
            job = bee.jobs[how % len(bee.jobs)]
            end = (None, None, ENDS[job["chi"]], "error")[how // 6 % 4]
            bee.answer(job, (0, 1, 40)[how % 3], (10, 20_000)[how // 3 % 2], end)

    def diligence(self, who: int, how: int) -> None:
        self.diligent = bool(how & 1)

    def reading(self, who: int, how: int) -> None:
        bee = self.one_of(self.bees, who)
        if bee is not None:
            (bee.wire.pause, bee.wire.resume)[how % 2]()

    def leave(self, who: int, how: int) -> None:
        bee = self.one_of(self.bees, who)
        if bee is not None:
            (bee.wire.close, bee.wire.abort)[how % 2]()

    def join(self, who: int, how: int) -> None:
        is_bee: dict[str, Any] = {"bee": ["worker"], "models": ["m"], "tools": [{"name": "t"}], "chis": ["x-ask"]}
        name = f"{('asker', 'bee')[how % 2]}-{len(self.bees)}"
        self.bees.append(Bee(self, self.houses[who % 2], name, **(is_bee if how % 2 else {})))

    def link(self, who: int, how: int) -> None:
        """From one side or from both at once, each direction perhaps slow from the start."""
        dials = [(at, self.pair(at)) for at in ((0, 1) if who & 1 else (who // 2 % 2,))]
        for at, wire in enumerate(self.wires[-2 * len(dials) :]):
            if how >> at & 1:
                wire.cut(stall=bool(how & 32))
        for at, near in dials:
            self.install(at, near)
        if how & 16:
            self.world.settle()

    def wire(self, who: int, how: int) -> None:
        there = [wire for wire in self.wires if not wire._closed]
        if there:
            wire = there[-1 - who % len(there)]
            if how % 8 < 3:
                wire.cut(stall=bool(how & 8))
            elif how % 8 < 6:
                wire.heal()
            else:
                (wire.close, wire.abort)[how % 2]()

    def dials(self, who: int, how: int) -> None:
        self.network = how % 4
        if self.hanging and how & 4:
            hanging = self.hanging.pop()
            if not hanging.called:
                hanging.errback(OSError("it took too long"))

    def rules(self, who: int, how: int) -> None:
        at = who % 2
        policy = self.policy(at, (Level.PROVEN, Level.OPEN)[how & 1], known=how % 4 > 0)
        self.houses[at].ensemble.judge_again(policy)
        self.diallers[at].set_peers(policy.known.values())

    def remove(self, who: int, how: int) -> None:
        self.houses[who % 2].ensemble.remove_peer(self.ids[1 - who % 2], REASONS[how % 4])

    def news(self, who: int, how: int) -> None:
        for _ in range((1, 30, 150)[how % 3]):
            self.houses[who % 2].ensemble.broadcast({"chi": "gossip-publish", "s": "x" * (10, 10_000)[how // 3 % 2]})

    def time(self, who: int, how: int) -> None:
        self.world.advance((0.0, 0.0, 0.1, 0.3, 2.0, 6.0, 17.0, 40.0)[how % 8])

    # the end

    def recover(self) -> list[Wish]:
        """Everything may happen again, and has time to: the humds link, and what is asked is answered."""
        self.network, self.diligent = 0, True
        for hanging in self.hanging:
            if not hanging.called:
                hanging.errback(OSError("it took too long"))
        for bee in self.bees:
            bee.wire.resume()
        for wire in self.wires:
            wire.heal()
        for at in range(2):
            self.rules(at, 2)
        self.world.advance(130, step=2)  # what is paced, and the longest wait before a dial
        for who in range(4):
            self.join(who, who // 2)
        self.world.settle()
        wishes = [bee.ask("prompt", {"to": to.full}) for bee in self.bees[-4:-2] for to in self.ids]
        self.world.advance(1)
        return wishes

    def dismiss(self) -> None:
        """Who answers leaves; who asks is still there."""
        for bee in self.bees:
            if bee.name.startswith("bee"):
                bee.wire.close()
        self.world.advance(10, step=2)

    def stop(self) -> None:
        for dialler in self.diallers:
            dialler.stopService()
        for house in self.houses:
            house.ensemble.stopService()
        for bee in self.bees:
            bee.wire.close()
        self.world.advance(40, step=2)
