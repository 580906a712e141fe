"""Links cut at any byte and dialled again: no tone doubled, none reordered, and whoever waits is told."""

from __future__ import annotations

from functools import partial
from itertools import pairwise
from random import Random
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from ensemble.errors import RouteError
from ensemble.thrum.client import Stream, ThrumClient
from ensemble.tone import Envelope, MalformedTone, decode_checked, encode, peek
from tests.attacks.arena import RealArena
from tests.attacks.between import Between
from tests.attacks.network import Connection
from tests.attacks.scene import MODEL, NEWS
from tests.attacks.tls_arena import TlsArena

CUTS = 15
CHUNKS = 3
SENT_AT_ONCE = 20
LOSSES = {"peer.lost", "route.unknown-peer", "route.send-failed"}


class Cuts(Between):
    """Alice and Bob say numbers to each other, and a program of Alice's asks a bee of Bob's."""

    async def storm(self, seed: int) -> None:
        """Cut ``CUTS`` times, each at another byte of either direction and in another way; then let it be."""
        random = Random(seed)

        def began(connection: Connection) -> None:
            if len(self.middle.connections) > CUTS:
                return
            pipe = random.choice((connection.up, connection.down))
            pipe.left = random.choice((random.randrange(1, 6000), random.randrange(6000, 60_000)))
            pipe.end = random.choice((connection.cut, connection.finish, connection.cut_near))

        self.middle.began = began
        at_bob: list[int] = []
        at_alice: list[int] = []
        there = await self.arena.join(self.alice, "there", bee=["worker"], chis=[NEWS])
        for bee, numbers in ((self.bee, at_bob), (there, at_alice)):
            bee.on_tone = partial(self.heard_by, bee, numbers)
        asker = await self.arena.join(self.alice, "asker")
        streams: list[Stream] = []
        ends = (self.alice.ensemble, self.bob.ensemble)
        sent = 0

        def say() -> None:
            nonlocal sent
            for _ in range(SENT_AT_ONCE):
                sent += 1
                for one, other in (ends, ends[::-1]):
                    try:
                        one.route({"chi": NEWS, "n": sent, "s": "x" * random.randrange(300), "to": other.me.full})
                    except RouteError:
                        pass  # no link, and who said it was told so
            streams.append(asker.ask({"chi": "prompt", "modelId": MODEL, "to": self.bob.ensemble.me.full}))

        def cut() -> bool:
            say()
            if not self.alice.ensemble._links:
                self.clock.advance(60)
            return len(self.middle.connections) > CUTS

        self.dialler_of_alice.startService()
        await self.arena.until(cut)
        await self.both_linked(self.alice)
        await self.arena.until(self.bob_knows)
        say()
        await self.arena.until(lambda: at_alice[-1:] == at_bob[-1:] == [sent])
        await self.arena.until(lambda: all(stream._done for stream in streams))
        for numbers in (at_bob, at_alice):
            self.assertEqual(numbers, sorted(set(numbers)))
            gaps = sum(after != before + 1 for before, after in pairwise(numbers))
            self.assertLessEqual(gaps, CUTS, "something was lost on a link that was up")
        finished = [await self.judge(stream) for stream in streams]
        self.assertTrue(finished[-1])
        self.assertIn(False, finished)
        self.assertEqual(self.alice.node.routes.open_asks, 0)
        self.assertEqual(self.flushLoggedErrors(), [])

    def bob_knows(self) -> bool:
        """Bob writes on the last connection: he may have been told late that the one before is gone."""
        link = self.bob.ensemble.link_to(self.alice.ensemble.me)
        wire: Any = None if link is None else link.wire
        last: Any = self.middle.last.far
        return wire is not None and wire.transport.getPeer().port == last.transport.getHost().port

    def heard_by(self, bee: ThrumClient, numbers: list[int], envelope: Envelope, line: bytes) -> None:
        """A bee writes numbers down and answers prompts."""
        if envelope.chi == NEWS:
            numbers.append(decode_checked(line)["n"])
        elif envelope.chi == "prompt":
            for number in range(CHUNKS):
                bee.send({"chi": "chunk", "sid": envelope.sid, "n": number})
            bee.send({"chi": "finish", "sid": envelope.sid})

    async def judge(self, stream: Stream) -> bool:
        """An answer is whole, or its beginning with an error behind.  :returns: True where it is whole."""
        *chunks, last = [tone async for tone in stream if tone["chi"] not in ("echo", "breath")]
        self.assertEqual([tone["n"] for tone in chunks], list(range(len(chunks))))
        if last["chi"] == "finish":
            self.assertEqual(len(chunks), CHUNKS)
            return True
        self.assertIn(last["qualifier"], LOSSES)
        return False

    async def test_one_storm(self) -> None:
        """What arrives is what was said, once and in order; every ask ends, with its answer or with a loss."""
        await self.storm(1)

    async def test_another_storm(self) -> None:
        """The same, cut elsewhere."""
        await self.storm(2)


class PrefixTests(SynchronousTestCase):
    """Why the last line may come without its LF (mesh 2.2), on plain TCP too, where anything may cut it."""

    def test_no_part_is_a_tone(self) -> None:
        """A tone that was cut anywhere is no other tone: all of it is there, or it is malformed."""
        line = encode({"chi": "x", "rid": "{}", "n": 1.5, "s": "}\\", "deep": {"a": [{}, None]}, "to": "t"})
        peek(line)
        for at in range(len(line)):
            self.assertRaises(MalformedTone, peek, line[:at])


class TcpCutTests(Cuts):
    """Over plain TCP."""

    make_arena = RealArena


class TlsCutTests(Cuts):
    """Over TLS."""

    make_arena = TlsArena


del Between, Cuts
