"""Tones in somebody else's name, and answers to what somebody else was asked."""

from __future__ import annotations

from typing import Any

from ensemble.thrum.client import Stream
from tests.attacks.arena import Rogue
from tests.attacks.scene import MODEL, NEWS, Scene, in_both, on
from tests.attacks.tls_arena import TlsArena

REPLIES = (
    "chunk",
    "finish",
    "error",
    "session-ready",
    "pulse",
    "permission-ask",
    "tendril-reach",
    "tool-info",
    "tool-meta",
    "tool-result",
)


class Impostors(Scene):
    """A linked peer, or a program, that speaks for others."""

    async def test_from_forged(self) -> None:
        """A peer's tone in the name of another humd, in any spelling, reaches nobody, and it is told."""
        rogue = await self.linked()
        friend, victim = self.friend.ensemble.me, self.victim.ensemble.me
        stranger = self.key().humd_id()
        forged = [text for who in (friend, victim, stranger) for text in (who.full, who.digest.hex(), who.short)]
        for text in forged:
            rogue.say({"chi": "x-evil", "rid": "r", "from": text})
            rogue.say(b'{"from":"opencode","chi":"x-evil","rid":"r","from":"' + text.encode() + b'"}')
            rogue.say(b'{"chi":"x-evil","rid":"r","\\u0066rom":"' + text.encode() + b'"}')
            rogue.say({"chi": "prompt", "rid": "r", "sid": "s", "modelId": MODEL, "from": text})
            rogue.say({"chi": "chunk", "sid": "s", "from": text})
        await self.served(rogue)
        errors = rogue.tones("error")
        self.assertEqual([tone["qualifier"] for tone in errors], ["from.forged"] * 5 * len(forged))
        self.assertEqual(self.counted("tones.refused.from.forged"), 5 * len(forged))
        self.nothing_leaked()
        await self.all_is_well()

    async def test_a_name_is_no_forgery(self) -> None:
        """What is no humd's id in `from` becomes the peer's own id, however the line spells it."""
        rogue = await self.linked()
        lines = (
            b'{"chi":"x-evil"}',
            b'{"chi":"x-evil","from":null}',
            b'{"chi":"x-evil","from":""}',
            b'{"chi":"x-evil","from":"daemon"}',
            b'{"chi":"x-evil","\\u0066rom":"daemon"}',
            b'{"chi":"x-evil","from":"daemon","from":"other"}',
            b'{"chi":"x-evil","args":{"from":"daemon"},"from":"daemon"}',
            b' { "chi" : "x-evil" , "from" : "daemon" } ',
            b'{"chi":"x-evil","from":"%s"}' % rogue.id.short.encode(),
            b'{"chi":"x-evil","to":"%s"}' % self.victim.ensemble.me.short.encode(),
            b'{"chi":"x-evil","to":"%s"}' % self.victim.ensemble.me.digest.hex().encode(),
        )
        rogue.say(*lines)
        await self.served(rogue)
        self.assertEqual([tone["from"] for tone in self.to_the_bee], [rogue.id.full] * len(lines))

    async def test_no_relay(self) -> None:
        """A tone for somebody else, linked here or not, goes nowhere."""
        rogue = await self.linked()
        for to in (self.friend.ensemble.me.full, self.key().humd_id().full, "bee", "client-1"):
            rogue.say({"chi": NEWS, "rid": "r", "to": to})
        await self.served(rogue)
        self.assertEqual({tone["qualifier"] for tone in rogue.tones("error")}, {"route.unknown-peer"})
        self.nothing_leaked()
        await self.all_is_well()

    async def next_of(self, stream: Stream) -> dict[str, Any]:
        """The next tone of an answer."""
        await self.arena.until(lambda: stream.untaken)
        return await anext(stream)

    async def asked(self) -> tuple[Stream, Stream, dict[str, Any], dict[str, Any]]:
        """A program here has asked the friend, and the friend has asked our bee: both are in progress."""
        worker = await self.arena.join(self.friend, "worker", bee=["worker", "forager"], models=["f"], chis=["x"])
        heard: list[dict[str, Any]] = []
        worker.on_tone = lambda envelope, line: heard.append({"chi": envelope.chi, "sid": envelope.sid})
        asker = await self.arena.join(self.victim, "asker")
        there = self.friend.ensemble.me.full
        prompt = {"chi": "prompt", "sid": "s1", "rid": "p1", "callId": "c1", "modelId": "f", "to": there}
        call = {"chi": "x", "callId": "c2", "rid": "p2", "sid": "s2", "to": there}
        streams = asker.ask(prompt), asker.ask(call)
        await self.arena.until(lambda: {"prompt", "x"} <= {tone["chi"] for tone in heard})
        self.worker = worker
        return *streams, prompt, call

    async def forge(self, rogue: Rogue, *asks: dict[str, Any]) -> int:
        """Every kind of answer, with every combination of the keys of these asks."""
        forged = 0
        for ask in asks:
            for chi in REPLIES:
                for names in (("sid",), ("callId",), ("rid",), ("sid", "callId", "rid")):
                    rogue.say({"chi": chi, "text": "forged", **{name: ask[name] for name in names}})
                    forged += 1
        return forged

    async def test_answers_of_a_peer_that_was_not_asked(self) -> None:
        """A peer that knows sid, callId and rid of what another peer was asked answers nobody."""
        stream, call, *asks = await self.asked()
        rogue = await self.linked()
        forged = await self.forge(rogue, *asks)
        await self.served(rogue)
        self.assertEqual(self.victim.node.routes.counters["replies.unmatched"], forged)
        self.assertEqual((stream.untaken, call.untaken), (0, 0))
        self.assertEqual(rogue.tones("error"), [])
        self.worker.send({"chi": "finish", "sid": "s1", "text": "true"})
        last = await self.next_of(stream)
        self.assertEqual((last["text"], last["from"]), ("true", self.friend.ensemble.me.full))
        for tap in (self.tap, self.at_the_friend):
            tap._lines.clear()
        await self.all_is_well()

    async def test_answers_of_a_program_that_was_not_asked(self) -> None:
        """A local program that knows the keys of another's conversation can say nothing in it."""
        stream, call, *asks = await self.asked()
        rogue = await self.arena.program(self.victim)
        forged = await self.forge(rogue, *asks)
        rogue.say({"chi": "prompt", "rid": "end"})
        await self.arena.until(lambda: rogue.tones("error"))
        self.assertEqual(self.victim.node.routes.counters["replies.unmatched"], forged)
        self.assertEqual((stream.untaken, call.untaken), (0, 0))
        self.worker.send({"chi": "finish", "sid": "s1", "text": "true"})
        self.assertEqual((await self.next_of(stream))["text"], "true")

    async def test_a_sid_of_somebody_else(self) -> None:
        """A prompt, a cancel or a cleanup for a sid that another began is refused, and changes nothing."""
        asker = await self.arena.join(self.victim, "asker")
        stream = asker.ask({"chi": "prompt", "sid": "s1", "rid": "p1", "modelId": MODEL})
        await self.arena.until(lambda: any(tone["chi"] == "prompt" for tone in self.to_the_bee))
        rogues = [await self.linked(), await self.arena.program(self.victim)]
        for rogue in rogues:
            said: list[dict[str, Any]] = [{"chi": "prompt", "modelId": MODEL}]
            said += [{"chi": "cancel"}, {"chi": "cleanup"}, {"chi": "release-permit"}, {"chi": "tendril-result"}]
            rogue.say(*[{**tone, "sid": "s1", "rid": f"r{number}"} for number, tone in enumerate(said)])
            rogue.say({"chi": "prompt", "rid": "end", "modelId": MODEL})
            await self.arena.until(lambda: "end" in [tone["rid"] for tone in rogue.tones("error")])  # noqa: B023
            errors = [tone["qualifier"] for tone in rogue.tones("error")]
            self.assertEqual(errors, ["sid.in-use", *["route.no-bee"] * 4, "tone.malformed"])
        self.assertEqual(len([tone for tone in self.to_the_bee if tone["chi"] != "breath"]), 1)
        self.bee.send({"chi": "finish", "sid": "s1", "text": "true"})
        self.assertEqual((await self.next_of(stream))["text"], "true")

    async def test_link_words_of_a_program(self) -> None:
        """A local program cannot say goodbye, ping or prove to a peer in our name, nor speak gossip."""
        rogue = await self.arena.program(self.victim)
        to = self.friend.ensemble.me.full
        words = ("goodbye", "ping", "pong", "hello", "hello-proof", "gossip-publish", "kad-find-node")
        for chi in words:
            rogue.say({"chi": chi, "rid": chi, "to": to, "reason": "shutdown"})
        await self.arena.until(lambda: len(rogue.tones("error")) == len(words))
        self.assertEqual({tone["qualifier"] for tone in rogue.tones("error")}, {"not.supported"})
        self.assertEqual(list(self.at_the_friend._lines), [])
        await self.all_is_well()


globals().update(in_both(Impostors) | on(Impostors, Tls=TlsArena))
del Impostors
