"""Thousands who connect at once, and those who never read: on real sockets, while an honest link carries tones."""

from __future__ import annotations

import gc
import resource
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IReadDescriptor
from twisted.internet.selectreactor import SelectReactor
from twisted.internet.task import LoopingCall
from twisted.python.failure import Failure
from twisted.trial.unittest import SkipTest
from zope.interface import implementer

from ensemble.mesh.defaults import PENDING_LINKS
from ensemble.mesh.limits import UNPACED
from ensemble.protocols import DEFAULT_OUTBOX_LIMIT
from tests.attacks.arena import RealArena, RealHouse, RealRogue, reactor
from tests.attacks.scene import MODEL, NEWS, Scene

CROWD = 3000
MEGABYTE = 1024 * 1024


def resident() -> int:
    """Bytes of memory that this process has, without what the next collection frees: earlier tests leave a lot."""
    if sys.platform != "linux":
        raise SkipTest("only Linux tells how much memory that is")
    gc.collect()
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


@implementer(IReadDescriptor)
class Silent:
    """
    A socket that connects and notices only that it was cut off: the cheapest attacker there is.

    What it says, if anything, it says at once.
    """

    def __init__(self, port: int, gone: Callable[[Silent], None], source: str = "127.0.0.1", says: bytes = b"") -> None:
        if sys.platform != "linux" and source != "127.0.0.1":
            raise SkipTest("only Linux has more loopback addresses by itself")
        self._gone = gone
        self.socket = socket.socket()
        self.socket.setblocking(False)
        self.socket.bind((source, 0))
        self.socket.connect_ex(("127.0.0.1", port))
        if says:
            self.socket.send(says)
        reactor.addReader(self)

    def fileno(self) -> int:
        return self.socket.fileno()

    def logPrefix(self) -> str:
        return "silent"

    def doRead(self) -> Failure | None:
        try:
            said = self.socket.recv(1)
        except BlockingIOError:
            return None
        except OSError:
            return Failure(ConnectionLost())
        return None if said else Failure(ConnectionDone())

    def connectionLost(self, reason: Failure) -> None:
        reactor.removeReader(self)
        self.socket.close()
        self._gone(self)


class Crowded(Scene):
    """The scene on real sockets, with descriptors for everybody."""

    make_arena = RealArena
    arena: RealArena
    victim: RealHouse
    friend: RealHouse
    timeout = 100

    async def setUp(self) -> None:  # type: ignore[override]
        if isinstance(reactor, SelectReactor):
            self.skipTest("select watches 1,024 descriptors")
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = 3 * CROWD
        if hard != resource.RLIM_INFINITY and hard < wanted:
            self.skipTest(f"needs {wanted} descriptors, may have {hard}")
        if soft != resource.RLIM_INFINITY and soft < wanted:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        await super().setUp()

    @asynccontextmanager
    async def flow(self) -> AsyncIterator[None]:
        """The friend says something every 5 ms, at least fifty times; all of it arrives, in order."""
        sent = 0

        def say() -> None:
            nonlocal sent
            self.friend.ensemble.route({"chi": NEWS, "n": sent, "to": self.victim.ensemble.me.full})
            sent += 1

        flowing = LoopingCall(say)
        done = flowing.start(0.005)
        try:
            yield
            await self.arena.until(lambda: sent >= 50)
        finally:
            flowing.stop()
        await done
        await self.arena.until(lambda: len(self.to_the_bee) == sent)
        self.assertEqual([tone["n"] for tone in self.to_the_bee], list(range(sent)))
        self.to_the_bee.clear()
        self.tap._lines.clear()

    async def disperse(self, crowd: set[Silent]) -> None:
        """The crowd leaves, and nothing of it stays."""
        for one in list(crowd):
            one.connectionLost(Failure(ConnectionDone()))
        await self.arena.until(lambda: self.victim.ensemble.pending == 0)
        await self.all_is_well()


class CrowdTests(Crowded):
    limits = evolve(UNPACED, address_pending_links=PENDING_LINKS)  # all of the crowd come from this machine

    async def test_thousands_at_once(self) -> None:
        """3,000 silent connections leave 256 pending; an honest peer links meanwhile, and a link keeps its tones."""
        crowd: set[Silent] = set()
        before = resident()
        async with self.flow():
            for _ in range(CROWD):
                crowd.add(Silent(self.victim.port, crowd.discard))
            honest = self.arena.house()
            linking = Deferred.fromCoroutine(self.arena.link(honest, self.victim))
            elsewhere = await self.linked(await self.arena.rogue(self.victim, source="127.0.0.2"))
            self.assertFalse(elsewhere.lost)
            await linking
            await self.arena.until(lambda: len(crowd) <= PENDING_LINKS)
            self.assertLessEqual(self.victim.ensemble.pending, PENDING_LINKS)
            self.assertGreaterEqual(self.counted("pending.limit"), CROWD - 2 * PENDING_LINKS)
            self.assertEqual(len(self.victim.ensemble.peers()), 3)
        self.assertLess(resident() - before, 100 * MEGABYTE)
        await self.disperse(crowd)

    async def test_a_peer_that_never_reads(self) -> None:
        """A peer that asks and never reads is held for with 8 MiB; another's answers are not delayed by it."""
        rogue = await self.linked()
        assert isinstance(rogue, RealRogue)
        rogue.stop_reading()
        link = self.victim.ensemble.link_to(rogue.id)
        assert link is not None
        before, full = resident(), False
        for number in range(24):
            try:
                self.victim.ensemble.route({"chi": "x", "to": rogue.id.full, "s": "x" * MEGABYTE})
            except Exception as error:  # noqa: BLE001
                full = True
                self.assertEqual(type(error).__name__, "QueueFull")
            if number % 4 == 0:
                await self.all_is_well()
        self.assertTrue(full)
        self.assertLessEqual(link.queued, DEFAULT_OUTBOX_LIMIT)
        self.assertLess(resident() - before, 60 * MEGABYTE)

    async def test_questions_without_reading_answers(self) -> None:
        """A peer that makes us answer 60,000 times and never reads costs no more than its queue."""
        rogue = await self.linked()
        rogue.stop_reading()
        link = self.victim.ensemble.link_to(rogue.id)
        assert link is not None
        line = b'{"chi":"prompt","rid":"' + b"r" * 1000 + b'","sid":"s","modelId":"none"}'
        before = resident()
        forged = b'{"chi":"x","rid":"' + b"r" * 1000 + b'","from":"humd_' + b"a" * 64 + b'"}'
        for _ in range(300):
            rogue.say(*[line, forged] * 100)
            await self.arena.until(lambda: not rogue.transport.dataBuffer and not rogue.transport._tempDataBuffer)  # type: ignore[attr-defined]
        await self.arena.until(lambda: self.counted("tones.refused.from.forged") == 30_000)
        await self.all_is_well_but_the_tap()
        self.assertLessEqual(link.queued, DEFAULT_OUTBOX_LIMIT)
        assert link._outbox is not None
        self.assertLess(len(link._outbox._lines), 50_000)
        self.assertLess(resident() - before, 60 * MEGABYTE)

    async def test_a_bee_that_never_reads(self) -> None:
        """What is asked of a worker whose queue is full is refused; who asked is told, nobody else notices."""
        lazy = await self.arena.program(self.victim)
        lazy.say({"chi": "hello", "hive": "lazy", "bee": ["worker"], "models": ["lazy"]})
        roster = self.victim.node.routes.roster
        await self.arena.until(lambda: roster.workers("lazy"))
        lazy.stop_reading()
        asker = await self.linked()
        for number in range(24):
            asker.say(
                {"chi": "prompt", "sid": f"s{number}", "rid": f"r{number}", "modelId": "lazy", "s": "x" * MEGABYTE}
            )
            await self.served(asker)
            if number % 6 == 0:
                await self.all_is_well_but_the_tap()
        self.assertEqual(len(roster.workers("lazy")), 1)
        refused = [tone["rid"] for tone in asker.tones("error")]
        self.assertEqual({tone["qualifier"] for tone in asker.tones("error")}, {"queue.full"})
        self.assertGreater(len(refused), 8)
        lazy.leave()
        await self.arena.until(lambda: not roster.workers("lazy"))
        await self.served(asker)
        lost = [tone["rid"] for tone in asker.tones("error") if tone["qualifier"] == "worker.lost"]
        self.assertEqual(sorted(refused + lost), sorted(f"r{number}" for number in range(24)))
        self.assertEqual(self.to_the_bee, [])

    async def test_a_program_that_asks_and_never_reads(self) -> None:
        """A program that makes us answer and never reads is disconnected, and only it."""
        lazy = await self.arena.program(self.victim)
        lazy.stop_reading()
        line = b'{"chi":"prompt","rid":"' + b"r" * 4000 + b'","modelId":"' + MODEL.encode() + b'"}'
        before = resident()
        while not lazy.lost and not self.victim.thrum.counters["thrum.disconnected.slow"]:
            lazy.say(*[line] * 100)
            await self.all_is_well()
        self.assertLess(resident() - before, 60 * MEGABYTE)
        lazy.leave()
        await self.all_is_well()


del Scene
