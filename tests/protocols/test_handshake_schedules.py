"""Tests for handshakes over wires that lose, repeat, mix up and change what they carry."""

from __future__ import annotations

import json
from itertools import product

from hypothesis import given, settings, strategies as st
from twisted.trial.unittest import SynchronousTestCase

from ensemble.protocols import Level, Role, Up
from tests.protocols.handshaking import FFS, NOW, RFC8032, ZERO, End, Humd, changed

# Who has a session with whom: an honest pair each way, twice, and one more humd that links to both.
SESSIONS = [(0, Role.DIALLER, 1), (1, Role.LISTENER, 0), (1, Role.DIALLER, 0), (0, Role.LISTENER, 1)] * 2 + [
    (2, Role.DIALLER, 0),
    (0, Role.LISTENER, 2),
    (1, Role.DIALLER, 2),
    (2, Role.LISTENER, 1),
]
PAIRED = [(at, at ^ 1) for at in range(len(SESSIONS))]

Step = tuple[str, int, int]
STEPS = st.lists(
    st.one_of(
        st.sampled_from(PAIRED).map(lambda pair: ("carry", *pair)),
        st.sampled_from(PAIRED).map(lambda pair: ("carry", *pair)),
        st.tuples(
            st.sampled_from(["carry", "drop", "repeat", "strip", "rename"]),
            st.integers(0, 40),
            st.integers(0, len(SESSIONS) - 1),
        ),
    ),
    max_size=60,
)


class Session:
    """One end, with what it said and what it was told."""

    def __init__(self, humd: Humd, role: Role, peer: Humd) -> None:
        self.humd, self.role = humd, role
        self.expected = peer.id if role is Role.DIALLER else None
        self.end = End(humd.shake(role, self.expected))
        self.said = self.end.start()
        self.heard: list[bytes] = []
        self.at = 0  # of what it said, how much the wire took

    def hear(self, line: bytes) -> None:
        """Told this, it may say more."""
        if self.end.up is None and self.end.refused is None:
            self.heard.append(line)
            self.said += self.end.hear(line)

    def take(self) -> bytes | None:
        """The next thing that it said."""
        if self.at == len(self.said):
            return None
        self.at += 1
        return self.said[self.at - 1]

    @property
    def my_hello(self) -> bytes | None:
        """What it said first."""
        return self.said[0] if self.said else None

    @property
    def peer_hello(self) -> bytes | None:
        """The hello that it was told."""
        return next((line for line in self.heard if json.loads(line)["chi"] == "hello"), None)

    @property
    def has_proved(self) -> bool:
        """Its proof left."""
        return len(self.said) == 2


class World:
    """Three humds, their sessions, and a wire that does as it likes."""

    def __init__(self, levels: list[Level]) -> None:
        self.humds = [Humd(key, level) for key, level in zip((ZERO, RFC8032, FFS), levels, strict=True)]
        self.sessions = [Session(self.humds[one], role, self.humds[two]) for one, role, two in SESSIONS]

    def step(self, kind: str, source: int, target: int) -> None:
        """One thing that the wire does."""
        giver, taker = self.sessions[source % len(self.sessions)], self.sessions[target]
        if kind in ("carry", "drop"):
            line = giver.take()
            if line is not None and kind == "carry":
                taker.hear(line)
            return
        pool = [line for session in self.sessions for line in session.said]
        line = pool[source % len(pool)]
        if kind == "strip":
            line = changed(line, features=..., nonce=..., instance=..., max_tone=...)
        elif kind == "rename":
            line = changed(line, humd_id=self.humds[target % 3].id.full)
        taker.hear(line)


class ScheduleTests(SynchronousTestCase):
    """What may never happen, whatever the wire does."""

    def test_every_loss(self) -> None:
        """Whichever of the four lines are lost, nobody is up that was not told everything, and no one wrongly."""
        for kept in product([True, False], repeat=4):
            one, two = Humd(ZERO), Humd(RFC8032)
            dialler, listener = Session(one, Role.DIALLER, two), Session(two, Role.LISTENER, one)
            for line in dialler.said[:1]:
                if kept[0]:
                    listener.hear(line)
            for line, arrives in zip(listener.said, kept[1:3], strict=False):
                if arrives:
                    dialler.hear(line)
            for line in dialler.said[1:]:
                if kept[3]:
                    listener.hear(line)
            ups = [session.end.up.peer if session.end.up else None for session in (dialler, listener)]
            self.assertEqual(ups, [two.id if all(kept[:3]) else None, one.id if all(kept) else None], kept)

    def test_undisturbed(self) -> None:
        """Where the wire behaves every session comes up, with whom it was meant for."""
        world = World([Level.PROVEN] * 3)
        for _ in range(4):
            for source, target in PAIRED:
                world.step("carry", source, target)
        for at, session in enumerate(world.sessions):
            assert session.end.up is not None
            self.assertEqual(session.end.up.peer, world.sessions[at ^ 1].humd.id)

    @settings(max_examples=200)
    @given(st.lists(st.sampled_from(list(Level)), min_size=3, max_size=3), STEPS)
    def test_any_schedule(self, levels: list[Level], steps: list[Step]) -> None:
        """Whoever is up is up with whom it says, at the level that was wanted, and nothing was used twice."""
        world = World(levels)
        for kind, source, target in steps:
            world.step(kind, source, target)
        used: set[tuple[object, ...]] = set()
        for session in world.sessions:
            up = session.end.up
            if up is not None:
                trace = self.check(world, session, up)
                self.assertNotIn(trace, used)
                used.add(trace)

    def check(self, world: World, session: Session, up: Up) -> tuple[object, ...]:
        """
        Judge one link that is up.

        :returns: what it rests on, which nothing else may rest on.
        """
        self.assertNotEqual(up.peer, session.humd.id)
        self.assertGreaterEqual(up.level, session.humd.rules.level)
        if session.expected is not None:
            self.assertEqual(up.peer, session.expected)
        if up.level is Level.PROVEN:
            (partner,) = (
                other
                for other in world.sessions
                if (other.humd.id, other.role) == (up.peer, session.role.other)
                and (other.my_hello, other.peer_hello) == (session.peer_hello, session.my_hello)
            )
            self.assertTrue(partner.has_proved)
            return (id(partner),)
        hello = json.loads(session.peer_hello or b"")
        if up.level is Level.OPEN:
            self.assertNotIn("pubkey", hello)
            return (id(session),)
        signed = [
            json.loads(line)["signature"]
            for other in world.sessions
            if other.humd.id == up.peer
            for line in other.said
            if b'"signed_at"' in line
        ]
        self.assertIn(hello["signature"], signed)
        return (session.humd.id, hello["signature"])


class ClockTests(SynchronousTestCase):
    """Time passes during a handshake."""

    def test_proof_has_no_age(self) -> None:
        """A proof is about this link, so clocks that are years apart do not matter."""
        one, two = Humd(ZERO), Humd(RFC8032)
        dialler, listener = End(one.dial(two.id)), End(two.listen())
        for line in listener.hear(dialler.start(0)[0], NOW):
            for last in dialler.hear(line, 5):
                listener.hear(last, NOW * 2)
        self.assertEqual([end.up is not None for end in (dialler, listener)], [True, True])
