"""Hellos of those who are not who they say, at every level, and proofs that prove nothing."""

from __future__ import annotations

import json
from typing import Any

from ensemble.identity import HumdKey, Use, signed_bytes
from ensemble.protocols import Level, PeerCapabilities, hello_line
from ensemble.protocols.proof import Role, Transcript, proof_line
from ensemble.tone import decode, encode
from tests.attacks.arena import Rogue
from tests.attacks.scene import NEWS, Scene, in_both
from tests.protocols.handshaking import changed

EVIL = (
    b'{"chi":"x-evil","rid":"r1"}',
    b'{"chi":"prompt","rid":"r2","sid":"s","modelId":"m"}',
    b'{"chi":"x-news","n":9}',
)

FIELDS: dict[str, tuple[Any, ...]] = {
    "humd_id": (None, 7, "", [], {}, "humd_", "humd_" + "g" * 64, "wbee_" + "a" * 64, "humd_" + "a" * 12, "x" * 5000),
    "proto_version": (None, 8, [], {}),
    "pubkey": ("", "a" * 63, "g" * 64, "0" * 64, "1" * 64),
    "features": (7, "proof-1", {}, [1], [None], ["x"] * 65),
    "nonce": (7, "", "a" * 63, "A" * 64, [], None),
    "instance": (7, "", "a" * 33, []),
    "max_tone": (0, -1, 1023, 1.5, "4194304", [], True),
    "chi": (None, 7, [], ""),
    "rid": (7, [], {}),
    "from": (7, [], {}),
    "ext": (7, [], {"a": 1}),
}
# These change nothing: capabilities are claims, and a wrong type means the default.
HARMLESS: dict[str, tuple[Any, ...]] = {
    "nests": (7, "x", {}, [1, None, ["x"]]),
    "hosts": (7, {}, [{}]),
    "can_relay": ("yes", 1, []),
    "free_slots": (-1, "many", 1.5, 10**40, []),
    "headroom": (7, [], {"free_slots": "x"}, {"pressure": 7, "free_slots": 1, "total_slots": 10**30}),
    "signed_at": (10**40, -1, "now", 1.5, []),
    "signature": (7, "", "g" * 128, []),
}


class Greeting(Scene):
    """What is said before a link is up."""

    async def refused(self, *lines: bytes | dict[str, Any], but: bool = False) -> Rogue:
        """An attacker that says all of this at once, and is cut off without a word and without an effect."""
        before = self.victim.ensemble.peers()
        rogue = await self.arena.rogue(self.victim)
        rogue.say(*lines, *EVIL)
        await self.arena.until(lambda: rogue.lost)
        self.assertEqual(self.victim.ensemble.peers(), before)
        self.assertEqual(rogue.tones("goodbye", "error", "pong"), [])
        return rogue

    def hello(self, key: HumdKey, *, signed_at: int | None = None, **fields: Any) -> bytes:
        """A hello of 0.7.0, signed where there is a time."""
        line = hello_line(key.humd_id(), PeerCapabilities(), key=key, signed_at=signed_at, version="0.7.0")
        return changed(line, **fields) if fields else line

    def offer(self, key: HumdKey, **fields: Any) -> bytes:
        """A hello that offers a proof."""
        line = hello_line(
            key.humd_id(), PeerCapabilities(), key=key, features=["proof-1", "ping-1", "bye-1"], nonce="5" * 64
        )
        return changed(line, **fields) if fields else line

    def proof(self, key: HumdKey, mine: bytes, theirs: bytes, signer: HumdKey | None = None, **changes: Any) -> bytes:
        """A dialler's proof, right but for the changes."""
        parts: dict[str, Any] = {
            "role": Role.DIALLER,
            "me": key.humd_id(),
            "peer": self.victim.ensemble.me,
            "my_nonce": decode(mine)["nonce"],
            "peer_nonce": decode(theirs)["nonce"],
            "binding": "none",
            "my_hello": mine,
            "peer_hello": theirs,
        }
        return proof_line(signer if signer is not None else key, Transcript(**parts | changes))


class Hellos(Greeting):
    """Where anybody may link who says who they are, and nobody may say that they are somebody else."""

    async def test_wrong_types(self) -> None:
        """Every field of a hello with every wrong type or value links nothing, and nothing behind it is handled."""
        for name, values in FIELDS.items():
            for value in values:
                line = json.dumps(decode(self.offer(self.key())) | {name: value}).encode()
                if name == "nonce" and value is None:
                    line = changed(line, nonce=...)
                await self.refused(line)
        self.nothing_leaked()
        await self.all_is_well()

    async def test_wrong_claims_are_defaults(self) -> None:
        """Capabilities and unneeded signatures of a wrong type are passed over, and the link comes up."""
        linked = 0
        for name, values in HARMLESS.items():
            for value in values:
                key = self.key()
                hello = decode(self.dialler(key).start(self.arena.now_ms())[0])
                if name in ("signed_at", "signature"):
                    hello = decode(self.offer(key))
                rogue = await self.arena.rogue(self.victim)
                mine = encode(hello | {name: value})
                rogue.say(mine)
                await self.arena.until(lambda: len(rogue.lines) == 2 or rogue.lost)  # noqa: B023
                rogue.say(self.proof(key, mine, rogue.lines[0]))
                await self.arena.until(lambda: self.victim.ensemble.linked(key.humd_id()) or rogue.lost)  # noqa: B023
                self.assertFalse(rogue.lost, (name, value))
                linked += 1
        self.assertEqual(len(self.victim.ensemble.peers()), linked + 1)
        await self.all_is_well()

    async def test_wrong_proofs(self) -> None:
        """A proof with the wrong role, nonce, id, hash, binding or key is worth nothing, whatever came with it."""
        stranger = self.key()
        wrong: tuple[dict[str, Any], ...] = (
            {"role": Role.LISTENER},
            {"my_nonce": "6" * 64},
            {"peer_nonce": "6" * 64},
            {"me": stranger.humd_id()},
            {"peer": stranger.humd_id()},
            {"binding": "tls-" + "33" * 32},
            {"my_hello": b"{}"},
            {"peer_hello": b"{}"},
            {"signer": stranger},
        )
        for changes in wrong:
            key = self.key()
            rogue = await self.arena.rogue(self.victim)
            mine = self.offer(key)
            rogue.say(mine)
            await self.arena.until(lambda: len(rogue.lines) == 2 or rogue.lost)  # noqa: B023
            rogue.say(self.proof(key, mine, rogue.lines[0], **changes), *EVIL)
            await self.arena.until(lambda: rogue.lost)  # noqa: B023
        self.assertEqual(self.counted("handshake.bad-proof"), len(wrong))
        self.nothing_leaked()
        await self.all_is_well()

    async def test_nonsense_for_a_proof(self) -> None:
        """Whatever else comes in the place of the proof ends the link, and is not handled."""
        instead: tuple[bytes, ...] = (
            *EVIL,
            b'{"chi":"ping","rid":"p"}',
            b'{"chi":"goodbye","reason":"shutdown"}',
            b'{"chi":"hello-proof","rid":"p"}',
            b'{"chi":"hello-proof","signature":7}',
            b'{"chi":"hello-proof","signature":"' + b"0" * 128 + b'"}',
            b'{"chi":"hello-proof","signature":"' + b"0" * 10_000 + b'"}',
            b'{"chi":"hello-proof","signature":NaN}',
            b"\xff",
        )
        for line in instead:
            rogue = await self.arena.rogue(self.victim)
            rogue.say(self.offer(self.key()))
            await self.arena.until(lambda: len(rogue.lines) == 2 or rogue.lost)  # noqa: B023
            rogue.say(line, *EVIL)
            await self.arena.until(lambda: rogue.lost)  # noqa: B023
        self.nothing_leaked()
        await self.all_is_well()

    async def test_reflected(self) -> None:
        """Our own hello and our own proof, sent back to us, are refused."""
        rogue = await self.arena.rogue(self.victim)
        key = self.key()
        rogue.say(self.offer(key))
        await self.arena.until(lambda: len(rogue.lines) == 2 or rogue.lost)
        ours, proof = rogue.lines
        rogue.say(proof, *EVIL)
        await self.arena.until(lambda: rogue.lost)
        await self.refused(ours, proof)
        self.assertEqual(self.counted("handshake.bad-proof", "handshake.own-id"), 2)
        self.nothing_leaked()

    async def test_our_own_id(self) -> None:
        """A hello that claims to be us is refused, with our key too."""
        key = self.victim.ensemble.key
        assert key is not None
        await self.refused(self.offer(key))
        await self.refused(self.hello(self.key(), pubkey=..., humd_id=key.humd_id().full))
        self.assertEqual(self.counted("handshake.own-id"), 2)
        await self.all_is_well()

    async def test_the_id_of_a_friend(self) -> None:
        """Who claims the id of a linked peer gets nothing, with or without features, and the peer keeps its link."""
        friend = self.friend.ensemble.key
        assert friend is not None
        await self.refused(self.hello(self.key(), pubkey=..., humd_id=friend.humd_id().full))  # stripped, unsigned
        await self.refused(self.hello(self.key(), pubkey=friend.public.hex(), humd_id=friend.humd_id().full))
        await self.refused(self.hello(friend, signed_at=self.arena.now_ms()))  # overheard elsewhere: signed, no proof
        await self.refused(self.hello(self.key(), humd_id=friend.humd_id().full))  # with the key of another
        self.assertEqual(self.counted("handshake.downgraded", "handshake.other-key"), 4)
        self.nothing_leaked()
        await self.all_is_well()

    async def test_before_the_hello(self) -> None:
        """Tones before the hello of a peer that is not of 0.7.0 are never handled, though it is admitted."""
        key = self.key()
        rogue = await self.arena.rogue(self.victim)
        rogue.say(*EVIL)
        await self.shake(rogue, self.dialler(key))
        rogue.key = key
        await self.served(rogue)
        self.assertTrue(self.victim.ensemble.linked(key.humd_id()))
        self.nothing_leaked()
        await self.refused(*EVIL, self.hello(self.key(), humd_id=None))
        await self.refused(b'{"chi":"hello-proof","signature":"' + b"0" * 128 + b'"}')
        self.nothing_leaked()

    async def test_too_much_before_the_hello(self) -> None:
        """More than 16 KiB before a link is up end it, in one line or in many."""
        await self.refused(b'{"chi":"x-evil","s":"' + b"x" * 17_000 + b'"}')
        await self.refused(*[b'{"chi":"x-evil","s":"' + b"x" * 1000 + b'"}'] * 17)
        await self.refused(b'{"chi":"hello"', b"[" * 10_000)
        self.nothing_leaked()
        await self.all_is_well()

    async def test_a_weaker_second_link(self) -> None:
        """A link that shows less than the one that is up is refused with all that it said in the same breath."""
        key = self.key()
        signed = await self.arena.rogue(self.victim)
        signed.say(self.hello(key, signed_at=self.arena.now_ms()))
        await self.arena.until(lambda: self.victim.ensemble.linked(key.humd_id()))
        self.assertEqual(self.victim.ensemble.counters["tones.received"], 1)
        await self.refused(*EVIL, self.hello(key, pubkey=...))  # held, and behind it: both were of a 0.7.0 peer
        self.assertEqual(self.counted("links.superseded"), 1)
        self.assertFalse(signed.lost)
        self.nothing_leaked()
        await self.all_is_well()

    async def test_nothing_counts_behind_a_goodbye(self) -> None:
        """Who says goodbye has said its last: what follows in the same breath is nobody's."""
        rogue = await self.linked()
        rogue.say({"chi": "goodbye", "reason": "shutdown"}, *EVIL)
        await self.arena.until(lambda: rogue.lost)
        self.assertEqual(self.victim.ensemble.counters["peers.lost"], 1)
        self.victim.ensemble.counters["peers.lost"] = 0
        self.nothing_leaked()
        await self.all_is_well()

    async def test_a_hello_on_a_link_that_is_up(self) -> None:
        """A second hello or proof changes nothing of who somebody is."""
        friend = self.friend.ensemble.me
        rogue = await self.linked()
        rogue.say(self.hello(self.key(), pubkey=..., humd_id=friend.full, sender=friend.full))
        rogue.say({"chi": "hello-proof", "signature": "0" * 128}, {"chi": NEWS, "n": 1})
        await self.served(rogue)
        self.assertEqual([tone["from"] for tone in self.to_the_bee], [rogue.id.full])
        self.assertEqual(set(self.victim.ensemble.peers()), {friend, rogue.id})


class SignedHellos(Greeting):
    """Where 0.7.0 peers are admitted that sign their hello."""

    level = Level.SIGNED

    async def test_replayed(self) -> None:
        """A signed hello is good once: replayed, from whomever and however soon, it links nothing."""
        key = self.key()
        hello = self.hello(key, signed_at=self.arena.now_ms())
        first = await self.arena.rogue(self.victim)
        first.say(hello)
        await self.arena.until(lambda: self.victim.ensemble.linked(key.humd_id()))
        await self.refused(hello)
        first.leave()
        await self.arena.until(lambda: not self.victim.ensemble.linked(key.humd_id()))
        await self.refused(hello)
        self.assertEqual(self.counted("handshake.replayed"), 2)
        self.nothing_leaked()

    async def test_stale(self) -> None:
        """A signature from more than a minute ago, or from the future, links nothing."""
        for off in (-60_500, 61_000, -(10**15), 10**40):
            at = self.arena.now_ms() + off
            await self.refused(self.hello(self.key(), signed_at=at))
        self.assertEqual(self.counted("handshake.stale"), 4)

    async def test_unsigned(self) -> None:
        """No signature, one of somebody else, and one over another time or use link nothing."""
        key, other, now = self.key(), self.key(), self.arena.now_ms()
        signed = self.hello(key, signed_at=now)
        await self.refused(changed(signed, signature=...))
        await self.refused(changed(signed, signed_at=...))
        await self.refused(changed(signed, pubkey=..., signature=...))
        await self.refused(changed(signed, signed_at=now + 1))
        message = signed_bytes(Use.HANDSHAKE, key.humd_id().full, str(now))
        await self.refused(changed(signed, signature=other.sign(message).hex()))
        message = signed_bytes(Use.PROOF, key.humd_id().full, str(now))
        await self.refused(changed(signed, signature=key.sign(message).hex()))
        self.assertEqual(self.counted("handshake.unsigned", "handshake.bad-signature"), 6)
        self.nothing_leaked()


globals().update(in_both(Hellos, SignedHellos))
del Greeting, Hellos, SignedHellos
