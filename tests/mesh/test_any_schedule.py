"""Peers and programs that do anything in any order: nothing is kept of them, and what is told of them makes sense."""

from __future__ import annotations

from typing import Any, TypeAlias

from hypothesis import example, given, settings, strategies as st
from twisted.trial.unittest import SynchronousTestCase

from ensemble.errors import RouteError
from ensemble.identity import HumdId
from ensemble.mesh import Limits
from ensemble.mesh.link_actions import GoodbyeReason
from ensemble.testing import House, World
from tests.mesh.diary import Diary
from tests.mesh.plain_peer import Ear, PlainPeer

KIB = 1024
FEATURES: tuple[list[str], ...] = ([], ["ping-1"], ["bye-1"], ["bye-1", "ping-1"])
REASONS = ("duplicate", "shutdown", "?")
OURS = [reason for reason in GoodbyeReason if reason is not GoodbyeReason.DUPLICATE]
LIMITS = Limits(
    queues_bytes=1024 * KIB,
    peer_queue_bytes=512 * KIB,
    peer_hold_bytes=512 * KIB,
    client_queue_bytes=512 * KIB,
    stranger_tones_per_second=50,
    burst_seconds=1,
    pending_links=5,
    address_pending_links=4,
)

Step: TypeAlias = tuple[str, int, int]  # what, who, how


class Judge(Diary):
    """Is what a listener is told in order?"""

    def __init__(self, humd: Any) -> None:
        super().__init__(humd)
        self.up: set[HumdId] = set()

    def tone_arrived(self, peer: HumdId, envelope: Any, line: bytes) -> None:
        assert peer in self.up

    def peer_up(self, peer: HumdId) -> None:
        assert peer not in self.up
        self.up.add(peer)

    def peer_lost(self, peer: HumdId, reason: str) -> None:
        self.up.remove(peer)


class Play:
    """One humd, and who does things to it."""

    def __init__(self) -> None:
        self.world = World()
        first, mine, *others = sorted((self.world.key() for _ in range(4)), key=lambda key: key.humd_id())
        self.house = House(self.world, limits=LIMITS, key=mine)
        self.humd = self.house.ensemble
        self.judge = Judge(self.humd)
        self.keys = [first, *others]  # one that leads, and two that follow
        self.peers: list[PlainPeer] = []
        self.programs: list[Any] = []

    def come(self, who: int, how: int) -> None:
        """A connection, from either side; most say hello."""
        peer = PlainPeer(self.world, self.humd, self.keys[who % 3], dials=bool(how & 1))
        self.peers.append(peer)
        if how & 14:
            peer.say(peer.hello(features=FEATURES[how // 2 % 4], instance=f"{how % 2}" * 32))

    def act(self, step: str, peer: PlainPeer, how: int) -> None:
        """What happens to one that is there."""
        text, many = "x" * (1, 1000, 30_000)[how % 3], (1, 20, 300)[how // 3 % 3]
        if step == "route":
            for _ in range(many):
                try:
                    self.humd.route({"chi": "x", "to": peer.id.full, "s": text})
                except RouteError:
                    break
        elif step == "news":
            for _ in range(many):
                self.humd.broadcast({"chi": ("gossip-publish", "x")[how & 1], "s": text})
        elif step == "tones":
            peer.wire.write([b'{"chi":"x","rid":"r"}'] * many)
        elif step == "goodbye":
            peer.wire.write([b'{"chi":"goodbye","reason":"%s"}' % REASONS[how % 3].encode()] * many)
        elif step == "wire":
            (peer.wire.pause, peer.wire.resume, peer.wire.close, peer.wire.abort)[how % 4]()
        elif step == "remove":
            self.humd.remove_peer(peer.id, OURS[how % 4])
        elif step == "program":
            self.programs.append(self.house.wire())
            self.programs[-1].start(Ear())
            self.programs[-1].pause()
        elif step == "deliver":
            for session in list(self.house.thrum.sessions.values()):
                for _ in range(many):
                    session.deliver(b'{"chi":"x","s":"%s"}' % text.encode(), droppable=bool(how & 1))
        elif step == "time":
            self.world.advance((0.0, 0.2, 2.0, 11.0, 40.0)[how % 5])

    def end(self) -> None:
        """Stop, and let the last patience pass."""
        self.humd.stopService()
        for program in self.programs:
            program.abort()
        self.world.advance(60)


STEPS = ("come", "come", "come", "route", "route", "news", "tones", "goodbye", "wire", "remove", "program", "deliver")
ANY_STEP = st.tuples(st.sampled_from((*STEPS, "time")), st.integers(0, 11), st.integers(0, 15))


class AnyScheduleTests(SynchronousTestCase):
    """With queues, places and paces that are soon full."""

    @settings(max_examples=150)
    @given(st.lists(ANY_STEP, min_size=10, max_size=80))
    @example([("come", 9, 14), ("goodbye", 6, 0), ("news", 5, 8), ("come", 0, 14), ("tones", 1, 8)])
    def test_nothing_is_left(self, steps: list[Step]) -> None:
        """Up, tones, lost come in this order, the queues keep their budget; in the end no timer, no link, no peer."""
        play = Play()
        for step, who, how in steps:
            if step == "come" or not play.peers:
                play.come(who, how)
            else:
                play.act(step, play.peers[-1 - who % len(play.peers)], how)
            self.assertLessEqual(play.humd.queues.total, LIMITS.queues_bytes)
        play.end()
        humd = play.humd
        self.assertEqual((play.judge.up, play.world.clock.getDelayedCalls()), (set(), []))
        self.assertEqual((len(humd._links), list(humd._members), humd.pending, humd.queues.total), (0, [], 0, 0))
