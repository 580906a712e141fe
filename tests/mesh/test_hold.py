"""Tones that wait for a link, and dials that are overtaken."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from ensemble.errors import LinkRefused, QueueFull
from ensemble.mesh import Limits
from ensemble.testing import World
from tests.mesh.diary import Diary
from tests.mesh.plain_peer import PlainPeer

KIB = 1024


class HoldTests(SynchronousTestCase):
    """A humd that dials a peer which has not answered yet."""

    def setUp(self) -> None:
        self.world = World()
        self.humd = self.world.humd(limits=Limits(peer_queue_bytes=64 * KIB, stranger_tones_per_second=0))
        self.diary = Diary(self.humd)
        self.dialled = PlainPeer(self.world, self.humd, dials=False)

    def route(self, rid: str, size: int) -> None:
        self.humd.route({"chi": "x", "rid": rid, "to": self.dialled.id.full, "s": "x" * size})

    def test_what_the_link_does_not_take(self) -> None:
        """When the link is up and takes less than was held, each tone that it does not take is told, with why."""
        self.route("large", 60_000)
        for rid in ("first", "second", "third"):
            self.route(rid, 30_000)
        self.dialled.say(self.dialled.hello(max_tone=40_000))
        self.assertEqual([tone["rid"] for tone in self.dialled.heard if tone["chi"] == "x"], ["first", "second"])
        self.assertEqual(
            [what for what in self.diary.told if what[0] == "undelivered"],
            [("undelivered", "tone.too-large"), ("undelivered", "queue.full")],
        )

    def test_bound(self) -> None:
        """What waits may be as much as the limit says, and not a byte more."""
        humd = self.world.humd(limits=Limits(peer_hold_bytes=64 * KIB))
        dialled = PlainPeer(self.world, humd, dials=False)
        for size in (32 * KIB, 32 * KIB):
            humd.send(dialled.id, b"x" * size)
        self.assertRaises(QueueFull, humd.send, dialled.id, b"x")

    def test_somebody_waits_already(self) -> None:
        """Whoever waits for the peer before its link is up has its silence noticed sooner all the same."""
        self.humd.set_waiting(self.dialled.id, True)
        self.dialled.say(self.dialled.hello(features=["ping-1"]))
        self.world.advance(4)
        self.assertIsNotNone(self.dialled.last("ping"))

    def test_leaving_drops_the_dial(self) -> None:
        """Parting from a peer drops what was under way to it, and tells what was held."""
        self.route("one", 10)
        self.humd.remove_peer(self.dialled.id)
        self.world.settle()
        self.assertIsNotNone(self.dialled.lost)
        self.assertEqual(self.diary.told, [("undelivered", "route.send-failed")])

    def test_overtaken(self) -> None:
        """A peer that links to us while our dial hangs is linked, and the dial's end is no loss."""
        inbound = PlainPeer(self.world, self.humd, self.dialled.key)
        inbound.say(inbound.hello())
        self.world.advance(11)
        self.assertEqual(self.humd.peers(), [inbound.id])
        self.assertIsNotNone(self.dialled.lost)
        self.assertEqual(self.diary.told, [("up",)])

    def test_dial_of_who_is_linked(self) -> None:
        """A dial that comes so far while a link is up does not get our proof: it is dropped, and that is no refusal."""
        other = self.world.humd()
        self.world.link(self.humd, other)
        second = self.world.join(self.humd, other)
        self.world.settle()
        for up in second.up:
            self.failureResultOf(up, LinkRefused)
        self.assertEqual(self.humd.counters["dial.superseded"], 0)
        self.assertTrue(self.humd.linked(other.me))


class MoveTests(SynchronousTestCase):
    """A peer whose id is the smaller says that it dialled us at once with our dial, and that its own link stays."""

    def setUp(self) -> None:
        self.world = World()
        self.humd = self.world.humd()
        self.diary = Diary(self.humd)
        key = next(key for key in iter(self.world.key, None) if key.humd_id().full < self.humd.me.full)
        self.dialled = PlainPeer(self.world, self.humd, key, dials=False)
        self.dialled.say(self.dialled.hello(features=["bye-1"], instance="a" * 32))

    def route(self, rid: str) -> None:
        self.humd.route({"chi": "x", "rid": rid, "to": self.dialled.id.full})
        self.world.settle()

    def moves(self) -> None:
        self.dialled.say({"chi": "goodbye", "reason": "duplicate"})

    def test_it_never_comes(self) -> None:
        """Where its own link does not come up within ten seconds, what waited for it is told, and then the loss."""
        self.moves()
        self.route("one")
        self.world.advance(9.9)
        self.assertEqual(self.diary.told, [("up",)])
        self.world.advance(0.1)
        self.assertEqual(self.diary.told, [("up",), ("undelivered", "peer.lost"), ("lost",)])
        self.assertEqual(self.humd.counters["peers.lost"], 1)

    def test_what_was_written_may_not_have_been_read(self) -> None:
        """A link that breaks behind the goodbye is a loss where tones were written on it, though another is up."""
        self.dialled.wire.pause()
        self.route("one")
        self.moves()
        itself = PlainPeer(self.world, self.humd, self.dialled.key)
        itself.say(itself.hello(features=["bye-1"], instance="a" * 32))
        self.assertEqual(self.diary.told, [("up",)])
        self.dialled.wire.abort()
        self.world.settle()
        self.assertEqual(self.diary.told, [("up",), ("lost",)])

    def test_nothing_was_written(self) -> None:
        """Where none were it is none."""
        self.dialled.wire.pause()
        self.moves()
        itself = PlainPeer(self.world, self.humd, self.dialled.key)
        itself.say(itself.hello(features=["bye-1"], instance="a" * 32))
        self.dialled.wire.abort()
        self.world.settle()
        self.assertEqual(self.diary.told, [("up",)])
        self.route("one")
        self.assertIsNotNone(itself.last("x"))
