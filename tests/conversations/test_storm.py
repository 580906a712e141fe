"""
Everything at once: clients, bees and peers ask, answer, forge, fail and die in any order.

The machine keeps a model of its own: what each side asked, and what reached each server.  Rids are unique in it; sids
and callIds collide as often as they can.
"""

from __future__ import annotations

import json
from typing import Any

from attrs import define
from hypothesis import settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from twisted.trial.unittest import SynchronousTestCase

from ensemble.conversations import COUNTERS, REMEMBERED, Output, Side, ToClient, ToPeer
from ensemble.identity import HumdId
from ensemble.tone import Qualifier
from tests.conversations.desk import ME, Desk, P, Q, line_of

PEERS = (P, Q)
ASKS = ("prompt", "tool-call", "quote")
TERMINAL = ("finish", "error", "tool-result")
NAMES = ("asker-1", "asker-2", "worker-1", "worker-2", "forager")


@define(eq=False)
class Wish:
    """
    One ask of the model.

    :ivar key: by which a server knows that two asks are about the same: the sid of a prompt, the callId of a call.
    :ivar ends: how many terminal tones its asker got for it.
    """

    asker: Side
    chi: str
    rid: str
    sid: str
    key: str
    born: float
    ends: int = 0
    alive: bool = True

    def tone(self) -> dict[str, str]:
        """What every tone about it carries."""
        if self.chi == "quote":
            return {"rid": self.rid}
        return {"rid": self.rid, "sid": self.sid} | ({"callId": self.key} if self.chi == "tool-call" else {})

    @property
    def keys(self) -> set[str]:
        """By what a server may name it."""
        return set(self.tone().values())

    @property
    def about(self) -> tuple[str, str]:
        """Equal for asks that a server cannot tell apart."""
        return self.chi, self.key or self.rid

    @property
    def waits(self) -> bool:
        """True while somebody is there and was not told."""
        return self.alive and not self.ends


class Storm(RuleBasedStateMachine):
    """See the module."""

    def __init__(self) -> None:
        super().__init__()
        self.desk = Desk()
        self.count = 0
        self.clients: dict[str, str] = {}  # name to client id of the moment
        self.wishes: list[Wish] = []
        self.asked: list[tuple[Side, Wish]] = []  # what each server still has to answer
        self.reached: dict[tuple[Side, Side], list[Wish]] = {}  # by server and asker, whatever became of it
        self.failing: tuple[int, Qualifier] | None = None
        for name in NAMES:
            self.join(name)

    # what happens

    def join(self, name: str) -> None:
        self.count += 1
        client = self.clients[name] = f"{name}#{self.count}"
        if name.startswith("worker"):
            self.desk.worker(client, "m", chis=["prompt", "quote"])
        elif name == "forager":
            self.desk.forager(client, "tool", chis=["tool-call", "quote"])

    def sides(self) -> list[Side]:
        return [*self.clients.values(), *PEERS]

    def say(self, side: Side, line: bytes) -> None:
        speak: Any = self.desk.said_line if isinstance(side, str) else self.desk.heard_line
        speak(side, line)
        self.deliver(side)

    @rule(
        who=st.integers(0, 6),
        chi=st.sampled_from(("prompt", "prompt", "tool-call", "quote")),
        to=st.sampled_from((None, None, P, Q)),
        sid=st.sampled_from("stu"),
        call=st.sampled_from("cde"),
        tool=st.sampled_from(("tool", "declared")),
    )
    def ask(self, who: int, chi: str, to: HumdId | None, sid: str, call: str, tool: str) -> None:
        """Somebody asks."""
        side = self.sides()[who]
        key = {"prompt": sid, "tool-call": call, "quote": ""}[chi]
        if key and any(w.asker == side and w.waits and w.about == (chi, key) for w in self.wishes):
            return  # it would join, and both have one end: other tests look at that
        self.count += 1
        wish = Wish(side, chi, f"r{self.count}", sid, key, self.desk.now)
        self.wishes.append(wish)
        more: dict[str, Any] = {"modelId": "m", "toolName": tool} | wish.tone()
        if not isinstance(side, str):
            more["from_"] = side.full
        elif to is not None:
            more["to"] = to.full
        self.say(side, line_of(chi, **more))

    @rule(which=st.integers(0, 50), chi=st.sampled_from(("chunk", "chunk", "pulse", "end", "end", "error")))
    def answer(self, which: int, chi: str) -> None:
        """A server says something about an ask that it has."""
        if not self.asked:
            return
        server, wish = self.asked[which % len(self.asked)]
        if chi == "end":
            chi = "tool-result" if wish.chi == "tool-call" else "finish"
        if chi in TERMINAL:
            # One end for all that it cannot tell apart.
            self.asked = [(s, w) for s, w in self.asked if s != server or w.about != wish.about]
        self.say(server, self.reply(server, chi, wish))

    @rule(
        who=st.integers(0, 6),
        which=st.integers(0, 50),
        chi=st.sampled_from(("chunk", "finish", "error", "tool-result")),
    )
    def forge(self, who: int, which: int, chi: str) -> None:
        """Somebody who was never asked anything like it answers with the right keys: nobody hears of it."""
        side = self.sides()[who]
        asked = [wish for (server, _), wishes in self.reached.items() if server == side for wish in wishes]
        keys = {key for wish in asked for key in wish.keys}
        wishes = [wish for wish in self.wishes if not wish.keys & keys]
        if wishes:
            self.say(side, self.reply(side, chi, wishes[which % len(wishes)]))
            assert self.desk.drops == ["replies.unmatched"], self.desk.outputs

    @rule(name=st.sampled_from(NAMES))
    def leave(self, name: str) -> None:
        """A local program dies, and another one starts in its place."""
        client = self.clients[name]
        self.dies(client)
        self.desk.left(client)
        self.deliver(client)
        self.join(name)

    @rule(peer=st.sampled_from(PEERS))
    def lose(self, peer: HumdId) -> None:
        """A link is lost; the peer may come back at once."""
        self.dies(peer)
        self.desk.lost(peer)
        self.deliver(peer)

    @rule(output=st.integers(0, 3), qualifier=st.sampled_from((Qualifier.QUEUE_FULL, Qualifier.TONE_TOO_LARGE)))
    def nothing_fits(self, output: int, qualifier: Qualifier) -> None:
        """The next tone with so many others before it will not fit."""
        self.failing = (output, qualifier)

    @rule(peer=st.sampled_from(PEERS))
    def drain(self, peer: HumdId) -> None:
        """A peer reads again."""
        self.desk.take(self.desk.routes.peer_has_room(peer))
        self.deliver(peer)

    @rule()
    def wait(self) -> None:
        """Time passes."""
        self.desk.now += 400.0

    # what must come of it

    def reply(self, server: Side, chi: str, wish: Wish) -> bytes:
        tone: dict[str, Any] = dict(wish.tone())
        if not isinstance(server, str):
            tone |= {"from_": server.full, "to": ME.full}
        return line_of(chi, **tone)

    def dies(self, side: Side) -> None:
        for wish in self.wishes:
            if wish.asker == side:
                wish.alive = False
        self.asked = [(server, wish) for server, wish in self.asked if server != side]

    def deliver(self, speaker: Side) -> None:
        """Carry the outputs out, some of them in vain."""
        todo: list[Output] = list(self.desk.outputs)
        while todo:
            output = todo.pop(0)
            if not isinstance(output, (ToClient, ToPeer)):
                continue
            if self.failing is not None:
                left, qualifier = self.failing
                # An error of ours is small, and a client that does not read even that is disconnected.
                may_fail = output.context is not None or (
                    isinstance(output, ToPeer) and qualifier is Qualifier.QUEUE_FULL
                )
                if left == 0 and may_fail:
                    self.failing = None
                    todo += self.desk.routes.delivery_failed(output, qualifier, "it did not fit")
                    continue
                self.failing = (max(left - 1, 0), qualifier)
            self.arrive(speaker, output)

    def arrive(self, speaker: Side, output: ToClient | ToPeer) -> None:
        side: Side = output.client_id if isinstance(output, ToClient) else output.peer
        assert side in self.sides(), f"{side} is gone"
        tone = json.loads(output.line)
        chi = tone["chi"]
        if chi in ASKS:
            (wish,) = (wish for wish in self.wishes if wish.rid == tone["rid"])
            assert wish.asker == speaker
            self.asked.append((side, wish))
            self.reached.setdefault((side, speaker), []).append(wish)
        elif output.context is None:
            self.told(side, tone)
        else:
            asked = [wish for wish in self.reached.get((speaker, side), []) if wish.keys & set(tone.values())]
            assert asked, f"{side} never asked {speaker} for {tone}"
            if chi in TERMINAL:
                self.ended(asked, tone)

    def told(self, side: Side, tone: dict[str, Any]) -> None:
        """An error of ours: to the asker, or to a bee whose own reply was lost."""
        for wish in self.wishes:
            if wish.rid == tone.get("rid") and wish.asker == side and wish.alive:
                wish.ends += 1
                assert wish.ends == 1, f"{wish} was told after its end: {tone}"

    def ended(self, asked: list[Wish], tone: dict[str, Any]) -> None:
        """A terminal reply: which ask of those that the server got from this asker is it about?"""
        chis = {"finish": ("prompt", "quote"), "tool-result": ("tool-call",)}.get(tone["chi"], (*ASKS,))
        open_ = [wish for wish in asked if wish.chi in chis and wish.waits]
        exact = [wish for wish in open_ if wish.rid == tone["rid"]]
        called = [wish for wish in open_ if wish.chi == "tool-call" and wish.key == tone.get("callId")]
        by_sid = [wish for wish in open_ if wish.chi == "prompt" and wish.key == tone.get("sid")]
        for wish in exact or called or by_sid:
            wish.ends += 1

    @invariant()
    def counted(self) -> None:
        """Counters have documented names, and waiting is what the tables say."""
        routes = self.desk.routes
        assert set(routes.counters) == set(COUNTERS)
        for peer in PEERS:
            served = routes._book.servers.get(peer)
            assert routes.waiting_on(peer) == (served is not None and any(ask.open for ask in served.asks))
        assert not routes._book.changed

    def teardown(self) -> None:
        """All that could answer dies: whoever is left was told.  Then the rest dies: nothing is remembered."""
        self.failing = None
        askers_stay = self.count % 2 == 0
        for name in ("worker-1", "worker-2", "forager") if askers_stay else NAMES:
            client = self.clients.pop(name)
            self.dies(client)
            self.desk.left(client)
            self.deliver(client)
        for peer in PEERS:
            self.drain(peer)
        for peer in PEERS if askers_stay else ():
            self.lose(peer)
        for wish in self.wishes:
            given_up = wish.chi == "quote" and self.desk.now >= wish.born + REMEMBERED
            assert not wish.waits or given_up, f"{wish} never ended"
        for client in self.clients.values():
            assert self.desk.left(client) == []
        for peer in PEERS:
            assert self.desk.lost(peer) == []
        book = self.desk.routes._book
        assert (book.servers, book.askers, book.serving) == ({}, {}, {})
        assert not book.size and not book.orphans and not book._fading and not self.desk.routes._owed.size


class StormTests(SynchronousTestCase):
    """The machine runs."""

    def test_storm(self) -> None:
        """Each ask ends exactly once for whoever waits, nothing leaks, and the tables end empty."""
        run_state_machine_as_test(Storm, settings=settings(max_examples=100, stateful_step_count=50))
