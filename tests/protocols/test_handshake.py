"""Tests for a handshake between peers that mean well."""

from __future__ import annotations

import json
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from ensemble.errors import LocalWireError
from ensemble.identity import HumdId, verify
from ensemble.protocols import (
    PENDING_BYTES,
    Handshake,
    Headroom,
    Level,
    PeerCapabilities,
    ReadyToProve,
    Refused,
    Role,
    Send,
    Up,
    hello_line,
)
from ensemble.protocols.proof import Transcript
from tests.protocols.handshaking import DIALLER_HELLO, FFS, LISTENER_HELLO, NOW, RFC8032, ZERO, End, Humd, meet

ROOT = Path(__file__).resolve().parents[2]
TONE = b'{"chi":"prompt","rid":"r","sid":"s"}'
PING = b'{"chi":"ping","rid":"p"}'
VECTORS = {
    "none": (
        (
            435,
            "f6d87e7bf6784a580f6e08720fdd63c5a0c935127f6febc95b531b0958ff4d73"
            "43bc2e83588ea2c2072bfb7988ee10a0fc70774e04f815e47aad85031e84f202",
        ),
        (
            434,
            "a4e18a912328869a492f26d86e04727fa3cee843d7315553c17a25ff9f4ad8c7"
            "9dd49fc6704a6f4485cc7eab5452bad7600641383037d8575398caffc06a820a",
        ),
    ),
    "tls-" + "33" * 32: (
        (
            499,
            "118f258bb823d6fb00fe3447b38b13a3712833ab596bb6d8f67213e8a9aea4b7"
            "ff70827d3c0bc99ce3a81c03dfa7841ed8b4c76a9b8b37f46967ddc615056e0e",
        ),
        (
            498,
            "e3a7ec7e99e74be403e9bb5d9ed36ef1214c443b618c25e2fbacd243beeab872"
            "97f2050ca5c9e726447bb7ac5c2470981b5ca66dd25f705e803ac2fff4b33908",
        ),
    ),
}


def old_hello(humd: Humd, signed_at: int | None = NOW, capabilities: PeerCapabilities | None = None) -> bytes:
    """What a 0.7.0 peer says."""
    key = humd.key if signed_at is not None else None
    return hello_line(
        humd.id, capabilities or PeerCapabilities(), key=key, signed_at=signed_at if key else None, version="0.7.0"
    )


class VectorTests(SynchronousTestCase):
    """The vectors of wire-0.8 section 2."""

    def test_messages(self) -> None:
        """What is signed has the listed length, and each end knows what the other signs."""
        for binding, ((listener_length, listener_signature), (dialler_length, dialler_signature)) in VECTORS.items():
            ids = RFC8032.humd_id(), ZERO.humd_id()
            listener = Transcript(
                Role.LISTENER, *ids, "2" * 64, "1" * 64, binding, my_hello=LISTENER_HELLO, peer_hello=DIALLER_HELLO
            )
            dialler = Transcript(
                Role.DIALLER, *ids[::-1], "1" * 64, "2" * 64, binding, my_hello=DIALLER_HELLO, peer_hello=LISTENER_HELLO
            )
            self.assertEqual((len(listener.mine()), len(dialler.mine())), (listener_length, dialler_length))
            self.assertEqual((listener.theirs(), dialler.theirs()), (dialler.mine(), listener.mine()))
            self.assertTrue(verify(RFC8032.public, listener.mine(), bytes.fromhex(listener_signature)))
            self.assertTrue(verify(ZERO.public, dialler.mine(), bytes.fromhex(dialler_signature)))

    def test_lines(self) -> None:
        """A whole handshake writes the listed lines and signatures, in their order."""
        for binding, ((_, listener_signature), (_, dialler_signature)) in VECTORS.items():
            one, two = Humd(ZERO), Humd(RFC8032)
            dialler = one.dial(two.id, nonce="1" * 64, instance="a" * 32, binding=binding)
            listener = two.listen(nonce="2" * 64, instance="b" * 32, binding=binding)
            self.assertEqual(listener.start(NOW), [])
            self.assertEqual(dialler.start(NOW), [DIALLER_HELLO])
            answer, proof = listener.receive(DIALLER_HELLO, NOW)
            assert isinstance(answer, Send) and isinstance(proof, Send)
            self.assertEqual(answer.line, LISTENER_HELLO)
            self.assertEqual(json.loads(proof.line)["signature"], listener_signature)
            self.assertEqual(dialler.receive(answer.line, NOW), [])
            self.assertEqual(dialler.receive(proof.line, NOW), [ReadyToProve(two.id)])
            last, up = dialler.prove()
            assert isinstance(last, Send) and isinstance(up, Up)
            said = json.loads(last.line)
            self.assertEqual((set(said), said["chi"]), ({"chi", "rid", "signature"}, "hello-proof"))
            self.assertEqual(said["signature"], dialler_signature)
            (mirrored,) = listener.receive(last.line, NOW)
            assert isinstance(mirrored, Up)
            self.assertEqual((up.peer, mirrored.peer), (two.id, one.id))


class PageTests(SynchronousTestCase):
    """The vector that docs/wire.rst shows."""

    def test_page(self) -> None:
        """It is what we write, byte for byte."""
        shown = [f"dialler's seed   {ZERO.seed.hex()}", f"listener's seed  {RFC8032.seed.hex()}"]
        for binding in VECTORS:
            one, two = Humd(ZERO), Humd(RFC8032)
            dialler = one.dial(two.id, nonce="1" * 64, instance="a" * 32, binding=binding)
            listener = two.listen(nonce="2" * 64, instance="b" * 32, binding=binding)
            shown += ["", f"binding          {binding}", ""]
            (hello,) = dialler.start(NOW)
            listener.start(NOW)
            answers = [event.line for event in listener.receive(hello, NOW) if isinstance(event, Send)]
            for answer in answers:
                dialler.receive(answer, NOW)
            last, _ = dialler.prove()
            assert isinstance(last, Send)
            said = [("> ", hello), *(("< ", answer) for answer in answers), ("> ", last.line)]
            shown += [way + line.decode() for way, line in said]
        self.assertEqual((ROOT / "docs/proof-1.txt").read_text(), "\n".join(shown) + "\n")


class ProvenTests(SynchronousTestCase):
    """Two humds that can prove."""

    def test_every_level(self) -> None:
        """Whatever each side wants, where both can prove both are proven."""
        for mine in Level:
            for theirs in Level:
                one, two = Humd(ZERO, mine), Humd(RFC8032, theirs)
                ends = meet(one.dial(two.id), two.listen())
                for end, peer in zip(ends, (two, one), strict=True):
                    assert end.up is not None
                    self.assertEqual((end.up.peer, end.up.level, end.up.held), (peer.id, Level.PROVEN, ()))

    def test_what_is_known(self) -> None:
        """What the peer said of itself is there when the link is up."""
        one, two = Humd(ZERO), Humd(RFC8032)
        one.features, two.features = ("ping-1", "kad-2"), ("bye-1", "kad-2")
        two.capabilities = PeerCapabilities(nests=["claude-cli"], can_relay=True, headroom=Headroom.measured(1, 2))
        dialler, _ = meet(one.dial(two.id), two.listen(max_tone=2048))
        assert dialler.up is not None
        self.assertEqual(dialler.up.features, {"proof-1", "kad-2"})
        self.assertEqual((dialler.up.instance, dialler.up.max_tone), (two.instance, 2048))
        self.assertEqual(dialler.up.capabilities.nests, ("claude-cli",))
        self.assertEqual(dialler.up.capabilities.proto_version, "0.8.0")
        self.assertEqual(dialler.up.capabilities.headroom, Headroom.measured(1, 2))

    def test_remembered(self) -> None:
        """Both remember that the other proved itself, and whether it has a row."""
        one, two = Humd(ZERO), Humd(RFC8032)
        one.rules.known.add(two.id)
        noted: list[tuple[HumdId, bool]] = []
        for humd in (one, two):
            self.patch(humd.memory, "note_proven", lambda peer, has_row: noted.append((peer, has_row)))
        meet(one.dial(two.id), two.listen())
        self.assertEqual(noted, [(two.id, True), (one.id, False)])

    def test_nothing_replayable(self) -> None:
        """Towards a peer that must prove no hello of ours is signed the 0.7.0 way."""
        one, two = Humd(ZERO), Humd(RFC8032)
        hello = json.loads(one.dial(two.id).start(NOW)[0])
        self.assertIn("pubkey", hello)
        self.assertTrue({"signed_at", "signature"}.isdisjoint(hello))
        two.rules.level = Level.OPEN
        answer = two.listen().receive(DIALLER_HELLO, NOW)[0]
        assert isinstance(answer, Send)
        self.assertTrue({"signed_at", "signature"}.isdisjoint(json.loads(answer.line)))

    def test_replayable_where_it_counts(self) -> None:
        """A dialler signs where the level of whom it dials admits that, and no longer once that peer proved itself."""
        one, two = Humd(ZERO, Level.PROVEN), Humd(RFC8032)
        for level in (Level.OPEN, Level.SIGNED):
            one.rules.levels[two.id] = level
            self.assertIn("signature", json.loads(one.dial(two.id).start(NOW)[0]))
            self.assertNotIn("signature", json.loads(one.dial(FFS.humd_id()).start(NOW)[0]))
            self.assertNotIn("signature", json.loads(one.dial(None).start(NOW)[0]))
        one.memory.note_proven(two.id, True)
        self.assertNotIn("signature", json.loads(one.dial(two.id).start(NOW)[0]))

    def test_signed_at_rises(self) -> None:
        """No two hellos of one humd are signed with the same time, over all its links."""
        one, two = Humd(ZERO, Level.SIGNED), Humd(RFC8032)
        dialled = json.loads(one.dial(two.id).start(NOW)[0])["signed_at"]
        again = json.loads(one.dial(FFS.humd_id()).start(NOW)[0])["signed_at"]
        answer = one.listen().receive(old_hello(two), NOW)[0]
        assert isinstance(answer, Send)
        self.assertEqual([dialled, again, json.loads(answer.line)["signed_at"]], [NOW, NOW + 1, NOW + 2])

    def test_owner_may_drop(self) -> None:
        """Until the owner agrees the dialler's proof has not left, so the listener is not up."""
        one, two = Humd(ZERO), Humd(RFC8032)
        dialler, listener = one.dial(two.id), End(two.listen())
        for line in listener.hear(dialler.start(NOW)[0]):
            events = dialler.receive(line, NOW)
        self.assertEqual(events, [ReadyToProve(two.id)])
        self.assertIsNone(listener.up)

    def test_other_tones_between(self) -> None:
        """A listener's tone before the owner agreed ends the link, and agreeing then is too late."""
        one, two = Humd(ZERO), Humd(RFC8032)
        dialler, listener = one.dial(two.id), End(two.listen())
        for line in listener.hear(dialler.start(NOW)[0]):
            dialler.receive(line, NOW)
        (refused,) = dialler.receive(PING, NOW)
        assert isinstance(refused, Refused)
        self.assertEqual((refused.counter, refused.peer), ("handshake.no-proof", two.id))
        self.assertEqual(dialler.prove(), [])

    def test_wire_is_told(self) -> None:
        """The owner's rules are asked with the id and the kind of wire."""
        one, two = Humd(ZERO), Humd(RFC8032)
        meet(one.dial(two.id, secure=True), two.listen(secure=False))
        self.assertEqual((one.rules.asked, two.rules.asked), ([(two.id, True)], [(one.id, False)]))


class OldPeerTests(SynchronousTestCase):
    """Peers of 0.7.0, and others that do not prove."""

    def hear(self, handshake: Handshake, *lines: bytes) -> End:
        """Everything that comes of these lines."""
        end = End(handshake)
        end.start()
        for line in lines:
            end.hear(line)
        return end

    def test_dialled_unsigned(self) -> None:
        """An old listener that does not sign is up at open, and our first hello was our last line."""
        one, two = Humd(ZERO, Level.OPEN), Humd(RFC8032)
        end = self.hear(one.dial(two.id), old_hello(two, None, PeerCapabilities(nests=["claude-cli"])))
        (up,) = end.events
        assert isinstance(up, Up)
        self.assertEqual((up.peer, up.level, up.features, up.instance), (two.id, Level.OPEN, frozenset(), None))
        self.assertEqual((up.capabilities.nests, up.max_tone), (("claude-cli",), 4 * 1024 * 1024))

    def test_dialled_signed(self) -> None:
        """An old listener that signs is up at open and at signed."""
        for level in (Level.OPEN, Level.SIGNED):
            one, two = Humd(ZERO, level), Humd(RFC8032)
            (up,) = self.hear(one.dial(two.id), old_hello(two)).events
            assert isinstance(up, Up)
            self.assertEqual((up.peer, up.level), (two.id, Level.SIGNED))

    def test_dialling(self) -> None:
        """An old dialler gets our signed hello, and the link is up."""
        for level, signed_at in [(Level.OPEN, None), (Level.OPEN, NOW), (Level.SIGNED, NOW)]:
            one, two = Humd(ZERO, level), Humd(RFC8032)
            hello, up = self.hear(one.listen(), old_hello(two, signed_at)).events
            assert isinstance(hello, Send) and isinstance(up, Up)
            self.assertEqual(json.loads(hello.line)["signed_at"], NOW)
            self.assertEqual((up.peer, up.level), (two.id, Level.OPEN if signed_at is None else Level.SIGNED))

    def test_not_enough(self) -> None:
        """Less than the level that we want is refused, with the mend, and the listener says nothing."""
        for level, signed_at, counter, mend in [
            (Level.SIGNED, None, "handshake.unsigned", "--auth open"),
            (Level.PROVEN, None, "handshake.unproven", "--auth signed"),
            (Level.PROVEN, NOW, "handshake.unproven", "--auth signed"),
        ]:
            for role in Role:
                one, two = Humd(ZERO, level), Humd(RFC8032)
                (refused,) = self.hear(one.shake(role, two.id), old_hello(two, signed_at)).events
                assert isinstance(refused, Refused)
                self.assertEqual((refused.counter, refused.peer), (counter, two.id))
                self.assertIn(f"ensemble trust {two.id.full} {mend}", refused.mend)

    def test_row_decides(self) -> None:
        """A level of its own counts for an id, both ways."""
        one, two = Humd(ZERO, Level.PROVEN), Humd(RFC8032)
        one.rules.levels[two.id] = Level.SIGNED
        self.assertIsNotNone(self.hear(one.listen(), old_hello(two)).up)
        one.rules.level, one.rules.levels[two.id] = Level.OPEN, Level.PROVEN
        self.assertIsNotNone(self.hear(one.listen(), old_hello(two, NOW + 1)).refused)

    def test_tones_before(self) -> None:
        """What an old peer said before its hello is kept for the link, in order and untouched."""
        odd = b'{"chi":"no-such","x":[1,  2]}'
        for role in Role:
            one, two = Humd(ZERO, Level.OPEN), Humd(RFC8032)
            end = self.hear(one.shake(role, two.id), TONE, odd, old_hello(two))
            assert end.up is not None
            self.assertEqual((end.up.held, end.up.dropped), ((TONE, odd), 0))

    def test_tones_before_of_others(self) -> None:
        """What any other peer said before its hello is never handled."""
        one, two, bare = Humd(ZERO, Level.OPEN), Humd(RFC8032), Humd(None, Level.OPEN, me=FFS.humd_id())
        for other in (two, bare):
            dialler, listener = End(other.dial(one.id)), End(one.listen())
            listener.hear(TONE)
            for line in listener.hear(dialler.start()[0]):
                for answer in dialler.hear(line):
                    listener.hear(answer)
            assert listener.up is not None
            self.assertEqual((listener.up.held, listener.up.dropped), ((), 1))

    def test_without_a_key(self) -> None:
        """Humds without keys link at open, say neither key nor proof-1, and share their other features."""
        one, two = Humd(None, Level.OPEN, me=ZERO.humd_id()), Humd(None, Level.OPEN, me=FFS.humd_id())
        hello = json.loads(one.dial(two.id).start(NOW)[0])
        self.assertEqual((hello["features"], hello.get("pubkey")), (["ping-1", "bye-1"], None))
        for end, peer in zip(meet(one.dial(two.id), two.listen()), (two, one), strict=True):
            assert end.up is not None
            self.assertEqual((end.up.peer, end.up.level), (peer.id, Level.OPEN))
            self.assertEqual(end.up.features, {"ping-1", "bye-1"})

    def test_one_key(self) -> None:
        """Where only one side has a key, its signed hello and the other's bare one do at open."""
        keyed, bare = Humd(ZERO, Level.OPEN), Humd(None, Level.OPEN, me=FFS.humd_id())
        for dialler, listener in [(keyed, bare), (bare, keyed)]:
            ends = meet(dialler.dial(listener.id), listener.listen())
            levels = {end.up.peer: end.up.level for end in ends if end.up is not None}
            self.assertEqual(levels, {keyed.id: Level.SIGNED, bare.id: Level.OPEN})

    def test_no_key_but_proof_wanted(self) -> None:
        """A humd without a key that wants a proof is told what it lacks."""
        bare, two = Humd(None, Level.PROVEN, me=FFS.humd_id()), Humd(RFC8032)
        end = self.hear(bare.listen(), two.dial(bare.id).start(NOW)[0])
        assert end.refused is not None
        self.assertEqual((end.refused.counter, end.refused.mend), ("handshake.no-key", "give this humd a key"))


class UseTests(SynchronousTestCase):
    """How an owner uses a handshake."""

    def test_our_own_mistakes(self) -> None:
        """What an owner does out of turn is its own error, never the peer's."""
        one, two = Humd(ZERO), Humd(RFC8032)
        dialler = one.dial(two.id)
        self.assertRaises(LocalWireError, dialler.receive, LISTENER_HELLO, NOW)
        dialler.start(NOW)
        self.assertRaises(LocalWireError, dialler.start, NOW)
        self.assertRaises(LocalWireError, dialler.prove)
        done, _ = meet(one.dial(two.id), two.listen())
        self.assertRaises(LocalWireError, done.handshake.receive, TONE, NOW)
        self.assertRaises(LocalWireError, done.handshake.receive, b"garbage", NOW)
        self.assertRaises(LocalWireError, done.handshake.prove)

    def test_key_and_id(self) -> None:
        """A handshake under an id that the key is not of cannot begin."""
        self.assertRaises(LocalWireError, Humd(ZERO, me=FFS.humd_id()).dial)

    def test_after_a_refusal(self) -> None:
        """Lines that come after a refusal do nothing."""
        listener = Humd(ZERO).listen()
        (refused,) = listener.receive(b"GET / HTTP/1.1", NOW)
        assert isinstance(refused, Refused)
        self.assertEqual(refused.counter, "handshake.malformed")
        for line in (DIALLER_HELLO, TONE, b'{"chi":"hello-proof"}', b"\xff", b"x" * PENDING_BYTES):
            self.assertEqual(listener.receive(line, NOW), [])

    def test_tls_server(self) -> None:
        """An alert of TLS is told as what it is: the hint has the wrong scheme."""
        for line, told in ((b"\x15\x03\x03\0\x02\x02\x46", True), (b"\x16\x03\x01", False)):
            (refused,) = Humd(ZERO).listen().receive(line, NOW)
            assert isinstance(refused, Refused)
            self.assertIs("is it a tls: port?" in refused.cause, told)

    def test_byte_limit(self) -> None:
        """The line that completes the handshake ends within 16 KiB, its LF included."""
        hello = old_hello(Humd(RFC8032))
        for more, comes_up in [(0, True), (1, False)]:
            end = End(Humd(ZERO, Level.OPEN).listen())
            room = PENDING_BYTES - len(hello) - 1 + more
            end.hear(b'{"chi":"log","message":"' + b"m" * (room - 27) + b'"}')
            end.hear(hello)
            self.assertEqual(end.up is not None, comes_up)
            if end.refused is not None:
                self.assertEqual(end.refused.counter, "handshake.too-long")

    def test_byte_limit_between(self) -> None:
        """Bytes count after the hello too."""
        one, two = Humd(ZERO), Humd(RFC8032)
        end = End(two.listen())
        end.hear(one.dial(two.id).start(NOW)[0])
        end.hear(b'{"chi":"hello-proof","x":"' + b"x" * PENDING_BYTES + b'"}')
        assert end.refused is not None
        self.assertEqual(end.refused.counter, "handshake.too-long")
