"""Tests for a handshake with somebody who does not mean well."""

from __future__ import annotations

import hashlib
import json
from functools import partial
from typing import Any

from hypothesis import given, strategies as st
from twisted.trial.unittest import SynchronousTestCase

from ensemble.identity import HumdId, HumdKey, Use, signed_bytes
from ensemble.protocols import Handshake, Level, PeerCapabilities, ReadyToProve, Refused, Role, Send, Up, hello_line
from ensemble.protocols.admission import PEER, REFUSALS
from tests.protocols.handshaking import FFS, NOW, RFC8032, SMALL_ORDER, UNIVERSAL, ZERO, End, Humd, changed, meet

VICTIM, FRIEND, MALLORY = ZERO, RFC8032, FFS
TONES = (
    b'{"chi":"prompt","rid":"r","sid":"s","text":"do it"}',
    b'{"chi":"ping","rid":"p"}',
    b'{"chi":"goodbye","reason":"shutdown"}',
    b'{"chi":"gossip-publish","topic":"t"}',
    b'{"chi":"hello","rid":"r"}',
)


class Attacks(SynchronousTestCase):
    """What the tests below share: a victim, a friend of its, and how a refusal looks."""

    def setUp(self) -> None:
        self.victim, self.friend, self.mallory = Humd(VICTIM), Humd(FRIEND), Humd(MALLORY)

    def assertRefused(self, end: End, kind: str, peer: HumdId | None, said: int = 0) -> Refused:
        """Refused as this kind, having said so many lines before, and never up."""
        refused = end.refused
        assert refused is not None, end.events
        self.assertEqual((refused.counter, refused.peer), (f"handshake.{kind}", peer), refused.cause)
        self.assertEqual(refused.mend, REFUSALS[kind] if peer is None else REFUSALS[kind].replace(PEER, peer.full))
        self.assertEqual([type(event) for event in end.events], [Send] * said + [Refused])
        return refused

    def heard(self, handshake: Handshake, *lines: bytes, now: int = NOW) -> End:
        """Everything that comes of these lines."""
        end = End(handshake)
        end.start(now)
        for line in lines:
            end.hear(line, now)
        return end

    def signed(self, humd: Humd, at: int = NOW) -> bytes:
        """A signed 0.7.0 hello."""
        return hello_line(humd.id, PeerCapabilities(), key=humd.key, signed_at=at, version="0.7.0")

    def hello(self, humd: Humd, fresh: str = "5" * 64, **fields: Any) -> bytes:
        """A hello that offers a proof."""
        line = hello_line(humd.id, PeerCapabilities(), key=humd.key, features=["proof-1"], nonce=fresh)
        return changed(line, **fields) if fields else line


class HelloTests(Attacks):
    """A hello that is not what it seems."""

    def test_replayed(self) -> None:
        """A signed hello works once, at open and at signed, on whichever link it comes again."""
        for level in (Level.OPEN, Level.SIGNED):
            victim = Humd(VICTIM, level)
            hello = self.signed(self.friend)
            self.assertIsNotNone(self.heard(victim.listen(), hello).up)
            self.assertRefused(self.heard(victim.listen(), hello), "replayed", self.friend.id)
            self.assertRefused(
                self.heard(victim.dial(self.friend.id), hello, now=NOW + 60_000), "replayed", self.friend.id
            )
            self.assertRefused(self.heard(victim.listen(), hello, now=NOW + 60_001), "stale", self.friend.id)
            self.assertIsNotNone(self.heard(victim.listen(), self.signed(self.friend, NOW + 1)).up)

    def test_not_spent_by_a_refusal(self) -> None:
        """A signed hello that was refused for another reason can still be used."""
        self.victim.rules.level, self.victim.rules.denied = Level.SIGNED, "no row"
        self.assertRefused(self.heard(self.victim.listen(), self.signed(self.friend)), "not-admitted", self.friend.id)
        self.victim.rules.denied = None
        self.assertIsNotNone(self.heard(self.victim.listen(), self.signed(self.friend)).up)

    def test_reflected(self) -> None:
        """Our own hello, sent back to us, is refused as ours."""
        for level in Level:
            victim = Humd(VICTIM, level)
            dialler = victim.dial(self.friend.id)
            (hello,) = dialler.start(NOW)
            (refused,) = dialler.receive(hello, NOW)
            assert isinstance(refused, Refused)
            self.assertEqual((refused.counter, refused.peer), ("handshake.own-id", victim.id))
            self.assertIn("it is: a hint leads back to ourselves", refused.cause)

    def test_ours(self) -> None:
        """Somebody else under our id is refused, and the text says what that can mean."""
        for level in Level:
            victim, copy = Humd(VICTIM, level), Humd(VICTIM, level)
            for hello in (self.hello(copy), self.signed(copy), changed(self.signed(copy), pubkey=...)):
                for role in Role:
                    end = self.heard(victim.shake(role, self.friend.id), hello)
                    self.assertIn("copy of our key", self.assertRefused(end, "own-id", victim.id).cause)

    def test_nonce_reflected(self) -> None:
        """Another's hello with our nonce in it is refused."""
        dialler = self.victim.dial(self.friend.id, nonce="1" * 64)
        end = self.heard(dialler, self.hello(self.friend, nonce="1" * 64))
        self.assertRefused(end, "reflected", self.friend.id)

    def test_somebody_else(self) -> None:
        """A dialled link whose hello is of another id is refused at every level, proven or not."""
        for level in Level:
            victim = Humd(VICTIM, level)
            unsigned = changed(self.signed(self.mallory), pubkey=...)
            for hello in (self.hello(self.mallory), self.signed(self.mallory), unsigned):
                end = self.heard(victim.dial(self.friend.id), hello)
                cause = self.assertRefused(end, "other-id", self.mallory.id).cause
                self.assertIn(self.friend.id.full, cause)

    def test_another_leaf(self) -> None:
        """A hello that claims another id than its wire's certificate proved is refused, on both ends."""
        for shake in (self.victim.listen, partial(self.victim.dial, self.friend.id)):
            end = self.heard(shake(leaf=self.mallory.id), self.hello(self.friend))
            cause = self.assertRefused(end, "other-leaf", self.friend.id).cause
            self.assertIn(self.mallory.id.full, cause)
        dialler, listener = meet(
            self.friend.dial(self.victim.id, leaf=self.victim.id), self.victim.listen(leaf=self.friend.id)
        )
        self.assertTrue(dialler.up and listener.up)

    def test_anothers_id(self) -> None:
        """An id with a key that is not its own is refused at every level."""
        for level in Level:
            victim = Humd(VICTIM, level)
            for hello in (self.hello(self.mallory), self.signed(self.mallory)):
                stolen = changed(hello, humd_id=self.friend.id.full)
                self.assertRefused(self.heard(victim.listen(), stolen), "other-key", self.friend.id)

    def test_stripped(self) -> None:
        """Who proved itself once is not admitted with less when somebody strips its features, at any level."""
        end, _ = meet(self.victim.dial(self.friend.id), self.friend.listen())
        self.assertIsNotNone(end.up)
        self.friend.rules.level = Level.OPEN
        (hello,) = self.friend.dial(self.victim.id).start(NOW)
        self.assertIn("pubkey", json.loads(hello))
        stripped = changed(hello, features=..., nonce=..., instance=..., max_tone=...)
        for level in Level:
            self.victim.rules.level = level
            for line in (stripped, self.signed(self.friend), changed(self.signed(self.friend), pubkey=...)):
                for role in Role:
                    end = self.heard(self.victim.shake(role, self.friend.id), line)
                    refused = self.assertRefused(end, "downgraded", self.friend.id)
                    self.assertIn("--forget", refused.mend)
        self.victim.memory.forget(self.friend.id)
        self.victim.rules.level = Level.SIGNED
        self.assertIsNotNone(self.heard(self.victim.listen(), self.signed(self.friend)).up)

    def test_stripped_at_first_sight(self) -> None:
        """Stripped of its features, the hello of somebody who wants a proof is worth nothing, even to a stranger."""
        (hello,) = self.friend.dial(self.victim.id).start(NOW)
        stripped = changed(hello, features=..., nonce=..., instance=..., max_tone=...)
        for level, kind in [(Level.OPEN, "unsigned"), (Level.SIGNED, "unsigned"), (Level.PROVEN, "unproven")]:
            self.assertRefused(self.heard(Humd(VICTIM, level).listen(), stripped), kind, self.friend.id)

    def test_stale(self) -> None:
        """A signed hello from outside the minute, or with a time that is no integer, is refused."""
        victim = Humd(VICTIM, Level.OPEN)
        for at in (NOW - 60_001, NOW + 60_001, 0, 2**63 - 1):
            self.assertRefused(self.heard(victim.listen(), self.signed(self.friend, at)), "stale", self.friend.id)
        floating = changed(self.signed(self.friend), signed_at=float(NOW))
        self.assertRefused(self.heard(victim.listen(), floating), "unsigned", self.friend.id)

    def test_denied(self) -> None:
        """Whom the owner does not let in is refused before it hears a word, with the owner's reason."""
        self.victim.rules.denied = 'no row in peers.json; to let it in add {"humd_id":"…"}'
        end = self.heard(self.victim.listen(), self.hello(self.friend))
        self.assertEqual(self.assertRefused(end, "not-admitted", self.friend.id).cause, self.victim.rules.denied)

    def test_wrong_types(self) -> None:
        """A hello of ours with a field of a wrong type is refused at every level, and says whose it was."""
        wrong: list[dict[str, Any]] = [
            {"features": "proof-1"},
            {"features": ["proof-1", 1]},
            {"nonce": "A" * 64},
            {"nonce": ...},
            {"instance": 5},
            {"max_tone": 12},
            {"pubkey": None},
            {"pubkey": "ab"},
            {"proto_version": None},
        ]
        for fields in wrong:
            for level in Level:
                end = self.heard(Humd(VICTIM, level).listen(), self.hello(self.friend, **fields))
                self.assertRefused(end, "bad-hello", self.friend.id)

    def test_garbage(self) -> None:
        """What is no tone ends a pending link at once, without a word."""
        for line in (b"GET / HTTP/1.1", b"\x16\x03\x01\x02\x00", b"[]", b'"hello"', b"{}", b'{"chi":"hello","rid":7}'):
            for role in Role:
                self.assertRefused(self.heard(self.victim.shake(role, self.friend.id), line), "malformed", None)

    def test_bee_hello(self) -> None:
        """A bee that says hello to a listener of humds is refused."""
        end = self.heard(self.victim.listen(), b'{"chi":"hello","rid":"r","bee":["worker"],"hive":"claude-cli"}')
        self.assertRefused(end, "bad-hello", None)


class ProofTests(Attacks):
    """A proof that is none."""

    def asked(self, role: Role) -> tuple[Handshake, dict[str, Any]]:
        """A handshake of the victim with a friend that waits for the proof, and what the friend would sign."""
        friend = "7" * 64
        if role is Role.DIALLER:
            handshake = self.victim.dial(self.friend.id, nonce="1" * 64)
            (mine,) = handshake.start(NOW)
            theirs = self.hello(self.friend, friend)
            self.assertEqual(handshake.receive(theirs, NOW), [])
            hashes = [mine, theirs]
        else:
            handshake = self.victim.listen(nonce="1" * 64)
            theirs = self.hello(self.friend, friend)
            answer = handshake.receive(theirs, NOW)[0]
            assert isinstance(answer, Send)
            hashes = [theirs, answer.line]
        return handshake, {
            "role": role.other.value,
            "me": self.friend.id.full,
            "peer": self.victim.id.full,
            "mine": friend,
            "yours": "1" * 64,
            "binding": "none",
            "first": hashlib.sha256(hashes[0]).hexdigest(),
            "second": hashlib.sha256(hashes[1]).hexdigest(),
        }

    def proof(self, parts: dict[str, Any], key: HumdKey = FRIEND, use: Use = Use.PROOF) -> bytes:
        """A hello-proof over these parts."""
        signature = key.sign(signed_bytes(use, *parts.values())).hex()
        return json.dumps({"chi": "hello-proof", "rid": "r", "signature": signature}).encode()

    def assertWorthless(self, role: Role, line: bytes, handshake: Handshake, kind: str = "bad-proof") -> None:
        """The link is refused, and the friend is not taken to have proved anything."""
        (refused,) = handshake.receive(line, NOW)
        assert isinstance(refused, Refused)
        self.assertEqual((refused.counter, refused.peer), (f"handshake.{kind}", self.friend.id), role)
        self.assertFalse(self.victim.memory.ever_proven(self.friend.id))

    def test_control(self) -> None:
        """The right signature over the right parts is accepted, so the tests below fail for their one reason."""
        for role, expected in [(Role.DIALLER, ReadyToProve), (Role.LISTENER, Up)]:
            handshake, parts = self.asked(role)
            (event,) = handshake.receive(self.proof(parts), NOW)
            self.assertIsInstance(event, expected)

    def test_one_wrong_part(self) -> None:
        """A proof with the wrong role, id, nonce, channel or hash is refused, at every level."""
        wrong: dict[str, list[str | None]] = {
            "role": ["dialler", "listener"],
            "me": [MALLORY.humd_id().full, VICTIM.humd_id().full, FRIEND.humd_id().digest.hex()],
            "peer": [MALLORY.humd_id().full, FRIEND.humd_id().full],
            "mine": ["1" * 64, "0" * 64],
            "yours": ["7" * 64, "0" * 64],
            "binding": ["tls-" + "33" * 32, "", "None"],
            "first": ["0" * 64, None],
            "second": ["0" * 64, None],
        }
        for level in Level:
            self.victim.rules.level = level
            for role in Role:
                for part, values in wrong.items():
                    for value in values:
                        handshake, parts = self.asked(role)
                        other = parts["second" if part == "first" else "first"]
                        if value == parts[part]:
                            continue
                        line = self.proof(parts | {part: other if value is None else value})
                        self.assertWorthless(role, line, handshake)

    def test_wrong_key(self) -> None:
        """A proof by another key, or under another label, is refused."""
        for role in Role:
            handshake, parts = self.asked(role)
            self.assertWorthless(role, self.proof(parts, MALLORY), handshake)
            handshake, parts = self.asked(role)
            self.assertWorthless(role, self.proof(parts, use=Use.HANDSHAKE), handshake)

    def test_wrong_shape(self) -> None:
        """A proof whose signature is missing, of another type, or of another length is refused."""
        for role in Role:
            signatures: list[Any] = [..., None, 7, [], "", "00", "0" * 127, "g" * 128, "0" * 128, "0" * 130, " " * 128]
            for signature in signatures:
                handshake, parts = self.asked(role)
                self.assertWorthless(role, changed(self.proof(parts), signature=signature), handshake)

    def test_another_binding(self) -> None:
        """Two ends of two different channels, with somebody between them, never come up."""
        dialler, listener = meet(
            self.victim.dial(self.friend.id, binding="tls-" + "33" * 32),
            self.friend.listen(binding="tls-" + "44" * 32),
        )
        self.assertEqual((dialler.up, listener.up), (None, None))
        assert dialler.refused is not None
        self.assertEqual(dialler.refused.counter, "handshake.bad-proof")

    def test_reflected(self) -> None:
        """Our own proof, sent back to us, is refused."""
        listener = self.victim.listen()
        said = [event for event in listener.receive(self.hello(self.friend), NOW) if isinstance(event, Send)]
        self.assertWorthless(Role.LISTENER, said[1].line, listener)

    def test_changed_on_the_way(self) -> None:
        """A hello of which one byte was changed on the way makes both proofs worthless, even if it means the same."""
        dialler, listener = self.victim.dial(self.friend.id), self.friend.listen()
        (hello,) = dialler.start(NOW)
        answer, proof = (event.line for event in listener.receive(hello + b" ", NOW) if isinstance(event, Send))
        dialler.receive(answer, NOW)
        self.assertWorthless(Role.DIALLER, proof, dialler)
        fresh = self.victim.dial(self.friend.id)
        (hello,) = fresh.start(NOW)
        told = self.friend.listen().receive(changed(hello, can_relay=True), NOW)
        answer, proof = (event.line for event in told if isinstance(event, Send))
        fresh.receive(answer, NOW)
        self.assertWorthless(Role.DIALLER, proof, fresh)

    def test_anything_instead(self) -> None:
        """Whatever tone comes instead of the proof ends the link, a second hello too."""
        for role in Role:
            for line in (*TONES, self.hello(self.friend)):
                handshake, _ = self.asked(role)
                self.assertWorthless(role, line, handshake, "no-proof")

    def test_early(self) -> None:
        """A proof before its hello ends the link."""
        for role in Role:
            end = self.heard(self.victim.shake(role, self.friend.id), b'{"chi":"hello-proof","signature":"00"}')
            self.assertRefused(end, "no-hello", None)

    def test_twice(self) -> None:
        """A second proof to a dialler that has not answered the first ends the link."""
        handshake, parts = self.asked(Role.DIALLER)
        proof = self.proof(parts)
        self.assertEqual(handshake.receive(proof, NOW), [ReadyToProve(self.friend.id)])
        (refused,) = handshake.receive(proof, NOW)
        assert isinstance(refused, Refused)
        self.assertEqual(refused.counter, "handshake.no-proof")
        self.assertEqual(handshake.prove(), [])

    def test_keys_without_a_secret(self) -> None:
        """A key of small order proves nothing, though OpenSSL would take the identity point's universal signature."""
        for public in SMALL_ORDER:
            hello = self.hello(self.friend, pubkey=public.hex(), humd_id=HumdId.from_public(public).full)
            proof = json.dumps({"chi": "hello-proof", "signature": UNIVERSAL.hex()}).encode()
            end = self.heard(Humd(VICTIM, Level.OPEN).listen(), hello, proof)
            self.assertRefused(end, "bad-proof", HumdId.from_public(public), said=2)

    @given(st.binary(max_size=60) | st.sampled_from([*TONES, b'{"chi":"hello-proof"}']), st.sampled_from(list(Role)))
    def test_garbage(self, line: bytes, role: Role) -> None:
        """No bytes at all but the one proof bring a link up that waits for it."""
        handshake, _ = self.asked(role)
        (event,) = handshake.receive(line, NOW)
        self.assertIsInstance(event, Refused)
