"""Back-pressure and losses between local programs and linked humds."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from twisted.logger import LogLevel, capturedLogs
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from ensemble.conversations import Node
from ensemble.errors import LinkRefused
from ensemble.interfaces import IClient
from ensemble.mesh import KnownPeer, Limits, Link, Policy
from ensemble.testing import House, World
from ensemble.tone import decode, encode, peek
from tests.mesh.plain_peer import PlainPeer
from tests.thrum.test_session import Program


@implementer(IClient)
class Stuck:
    """A local program that reads nothing any more, so that its queue takes only what came before ``full``."""

    congested = False

    def __init__(self, node: Node, client_id: str) -> None:
        self.node, self.client_id = node, client_id
        self.full = self.gone = self.refuses = False
        node.client_joined(self)

    def deliver(self, line: bytes, droppable: bool = False, final: bool = False) -> bool:
        """As a session that has no room: it refuses, or where it is too late for that it is disconnected."""
        if self.refuses and not final:
            return False
        if self.full and not self.gone:
            self.gone = True
            self.node.client_left(self)
        return not self.full

    def pause(self) -> None:
        pass

    def resume(self) -> None:
        pass

    def say(self, **tone: object) -> None:
        """One tone."""
        line = encode(tone)
        self.node.client_said(self, peek(line), line)


class Talker(Stuck):
    """One that, once it is read again, goes on with another answer."""

    next_sid, paused = "", False

    def pause(self) -> None:
        self.paused = True

    def resume(self) -> None:
        self.paused = False
        self.say(chi="chunk", sid=self.next_sid)


class Interrupted(Stuck):
    """One that hears of the next tone in the middle of being told one."""

    def __init__(self, node: Node, client_id: str) -> None:
        super().__init__(node, client_id)
        self.told: list[str] = []
        self.coming: list[Callable[[], None]] = []

    def deliver(self, line: bytes, droppable: bool = False, final: bool = False) -> bool:
        text = decode(line)["text"]
        self.told.append(f"{text} begins")
        if self.coming:
            self.coming.pop(0)()
        self.told.append(f"{text} is there")
        return True


class OrderTests(SynchronousTestCase):
    """What comes in the middle of something else."""

    def test_one_piece_after_the_other(self) -> None:
        """A piece of a peer's answer that comes while another is handed on waits until that is done."""
        world = World()
        here, there = House(world), House(world)
        world.link(here.ensemble, there.ensemble)
        asker = Interrupted(here.node, "a")
        asker.say(chi="prompt", rid="r", sid="s", to=there.me.full)

        def hear(text: str) -> None:
            line = encode({"chi": "chunk", "sid": "s", "from": there.me.full, "to": here.me.full, "text": text})
            here.node.tone_arrived(there.me, peek(line), line)

        asker.coming = [partial(hear, "two"), partial(hear, "three")]
        hear("one")
        whole = [f"{text} {how}" for text in ("one", "two", "three") for how in ("begins", "is there")]
        self.assertEqual(asker.told, whole)


class LossTests(SynchronousTestCase):
    """Local programs that are lost."""

    def test_a_chain_of_stuck_workers(self) -> None:
        """However many programs wait for each other in a row, the loss of the last is told to all, one by one."""
        house = House(World())
        chain = [Stuck(house.node, f"c{number}") for number in range(2_000)]
        for number, worker in enumerate(chain):
            worker.say(chi="hello", hive="w", bee=["worker"], models=[f"m{number}"])
        for number, asker in enumerate(chain[:-1]):
            asker.say(chi="prompt", rid=f"r{number}", sid=f"s{number}", modelId=f"m{number + 1}")
        for program in chain:
            program.full = True
        house.node.client_left(chain[-1])
        self.assertEqual([program.client_id for program in chain[:-1] if not program.gone], [])
        self.assertEqual((house.node.clients, house.node.routes.known_asks), ({}, 0))

    def test_a_chain_of_paused_workers(self) -> None:
        """Each worker that is read again makes the program that the next one waits for go: not on the stack either."""
        house = House(World())
        askers = [Stuck(house.node, f"a{number}") for number in range(2_000)]
        workers = [Talker(house.node, f"w{number}") for number in range(len(askers) - 1)]
        for number, worker in enumerate(workers):
            worker.say(chi="hello", hive="w", bee=["worker"], models=[f"m{number}"])
            for asker, sid in ((askers[number], f"s{number}"), (askers[number + 1], f"t{number}")):
                asker.say(chi="prompt", rid=sid, sid=sid, modelId=f"m{number}")
            askers[number].congested = True
            worker.say(chi="chunk", sid=f"s{number}")
            worker.next_sid = f"t{number}"
        self.assertEqual([worker.client_id for worker in workers if not worker.paused], [])
        for asker in askers:
            asker.full = True
        house.node.client_left(askers[0])
        self.assertEqual([worker.client_id for worker in workers if worker.paused], [])
        self.assertEqual(sorted(house.node.clients), sorted(worker.client_id for worker in workers))


class FullTests(SynchronousTestCase):
    """What is asked of a program whose queue is full."""

    def setUp(self) -> None:
        world = World()
        self.house = House(world)
        self.peer = PlainPeer(world, self.house.ensemble)
        self.peer.say(self.peer.hello())
        self.bee = Stuck(self.house.node, "bee")
        self.bee.say(chi="hello", hive="w", bee=["worker"], models=["m"])

    def ask(self, sid: str) -> list[str]:
        """What a peer is told that asks the program."""
        before = len(self.peer.heard)
        self.peer.say({"chi": "prompt", "rid": sid, "sid": sid, "modelId": "m"})
        return [tone["qualifier"] for tone in self.peer.heard[before:]]

    def test_it_stays(self) -> None:
        """Whoever asks is refused, and asks again later; the program stays, and so does what it had got."""
        self.assertEqual(self.ask("a"), [])
        self.bee.refuses = True
        self.assertEqual(self.ask("b"), ["queue.full"])
        self.bee.refuses = False
        self.assertEqual(self.ask("c"), [])
        self.assertEqual(self.house.node.routes.open_asks, 2)

    def test_strangers_have_half_of_it(self) -> None:
        """What is behind the first half is for the known, and for local programs."""
        self.bee.congested = True
        self.assertEqual(self.ask("a"), ["queue.full"])
        self.house.ensemble.policy = Policy(known=[KnownPeer(self.peer.id)])
        self.assertEqual(self.ask("b"), [])
        asker = Stuck(self.house.node, "asker")
        asker.say(chi="prompt", rid="c", sid="c", modelId="m")
        self.assertEqual(self.house.node.routes.open_asks, 2)


class FloodTests(SynchronousTestCase):
    """A peer that answers faster than the program reads that asked."""

    def test_only_that_answer_breaks(self) -> None:
        """The program stays, is told of the one answer, and gets what others answer it; the flood is cancelled."""
        world = World()
        house = House(world)
        flood, other = (PlainPeer(world, house.ensemble) for _ in range(2))
        for peer in (flood, other):
            peer.say(peer.hello())
        program = Program(world, house)
        session = house.thrum.sessions["client-1"]
        for peer, sid in ((flood, "f"), (other, "o")):
            program.say({"chi": "prompt", "sid": sid, "modelId": "m", "to": peer.id.full})
        session.wire_full()
        chunk = {"chi": "chunk", "sid": "f", "delta": "x" * 1_000_000}
        for _ in range(40):
            flood.say(chunk)
        self.assertEqual(flood.heard[-1]["chi"], "cancel")
        self.assertEqual((flood.heard[-1]["sid"], house.node.routes.counters["replies.unmatched"]), ("f", 31))
        self.assertLess(session._outbox.size, 9_000_000)
        session.wire_drained()
        other.say({"chi": "chunk", "sid": "o"}, {"chi": "finish", "sid": "o"})
        ends = [(tone["chi"], tone["sid"], tone.get("qualifier")) for tone in program.heard[-3:]]
        self.assertEqual(ends, [("error", "f", "queue.full"), ("chunk", "o", None), ("finish", "o", None)])
        self.assertIsNone(program.lost)


class PauseTests(SynchronousTestCase):
    """Who is paused for whom, and what happens when one of them goes."""

    def setUp(self) -> None:
        self.world = World()
        self.here, self.there, self.third = House(self.world), House(self.world), House(self.world)
        for other in (self.there, self.third):
            self.world.link(self.here.ensemble, other.ensemble)
        self.program = Program(self.world, self.here)

    def fill(self, house: House) -> Link:
        """Let the program write to a humd that takes nothing, until it is paused."""
        link = self.here.ensemble.link_to(house.me)
        assert link is not None
        link.wire_full()
        for _ in range(5):
            self.program.say({"chi": "x-bulk", "rid": "r", "to": house.me.full, "text": "x" * 1_000_000})
        return link

    def test_a_program_that_goes_on(self) -> None:
        """One that says more before its pause has come about is paused once."""
        link = self.here.ensemble.link_to(self.there.me)
        assert link is not None
        link.wire_full()
        stuck = Stuck(self.here.node, "s")
        for _ in range(7):
            stuck.say(chi="x-bulk", rid="r", to=self.there.me.full, text="x" * 1_000_000)
        self.assertEqual(list(self.here.node._paused), ["s"])
        self.world.advance(5)
        self.assertEqual(self.here.node._paused, {})

    def test_a_paused_program_may_leave(self) -> None:
        """A program that goes while it is paused leaves no timer of its own behind."""
        self.fill(self.there)
        self.assertEqual(len(self.here.node._paused), 1)
        self.program.wire.close()
        self.world.settle()
        self.assertEqual((self.here.node._paused, self.here.node.clients), ({}, {}))

    def test_room_resumes(self) -> None:
        """The program is read again as soon as the queue is half empty."""
        link = self.fill(self.there)
        link.wire_drained()
        self.world.settle()
        self.assertEqual(self.here.node._paused, {})
        self.assertEqual([tone["chi"] for tone in self.program.say({"chi": "prompt", "rid": "p"})], ["echo", "error"])

    def test_a_program_that_reads_again_resumes(self) -> None:
        """The same where it was a program of ours that did not read."""
        forager = Program(self.world, self.here)
        forager.say({"chi": "hello", "hive": "f", "bee": ["forager"], "tools": [{"name": "t"}]})
        session = list(self.here.thrum.sessions.values())[1]
        session.wire_full()
        call = {"chi": "tool-call", "toolName": "t", "text": "x" * 1_000_000}
        self.program.say(*({**call, "callId": str(number)} for number in range(5)))
        self.assertEqual(len(self.here.node._paused), 1)
        session.wire_drained()
        self.world.settle()
        self.assertEqual(self.here.node._paused, {})

    def test_nobody_waits_for_itself(self) -> None:
        """A program that does not read what it said to itself is read on: nobody else's queue fills with it."""
        self.program.say({"chi": "hello", "hive": "f", "bee": ["forager"], "tools": [{"name": "t"}]})
        session = self.here.thrum.sessions["client-1"]
        session.wire_full()
        for number in range(6):
            self.program.say({"chi": "tool-call", "callId": f"{number}", "name": "t", "text": "x" * 1_000_000})
        self.assertEqual((session.congested, self.here.node._paused), (True, {}))

    def test_given_up_until_it_has_room(self) -> None:
        """Who took nothing for five seconds pauses nobody, until it has had room again."""
        link = self.fill(self.there)
        for _ in range(5):
            self.world.advance(1)
            link.bytes_trickled()  # it lives
        self.world.advance(0.1)
        self.program.say({"chi": "x-bulk", "rid": "r", "to": self.there.me.full})
        self.assertEqual(self.here.node._paused, {})
        link.wire_drained()
        self.world.settle()
        self.fill(self.there)
        self.assertEqual(len(self.here.node._paused), 1)

    def test_a_lost_destination_resumes(self) -> None:
        """When the destination is lost the program is read again at once, and told."""
        link = self.fill(self.there)
        link.abort()
        self.world.settle()
        self.assertEqual(self.here.node._paused, {})
        self.assertIn("peer.lost", {tone.get("qualifier") for tone in self.program.heard})

    def test_a_lost_forager_is_not_asked(self) -> None:
        """What a paused program had said already, and is read when a program is lost, does not go to that one."""
        foragers = [Program(self.world, self.here) for _ in range(2)]
        for number, forager in enumerate(foragers):
            forager.say({"chi": "hello", "hive": f"f{number}", "bee": ["forager"], "tools": [{"name": "t"}]})
        list(self.here.thrum.sessions.values())[1].wire_full()
        call = {"chi": "tool-call", "toolName": "t", "text": "x" * 1_000_000}
        self.program.say(*({**call, "callId": str(number)} for number in range(6)))
        foragers[0].wire.close()
        self.world.settle()
        lost = [tone["callId"] for tone in self.program.heard if tone.get("qualifier") == "bee.lost"]
        asked = [tone["callId"] for tone in foragers[1].heard if tone["chi"] == "tool-call"]
        self.assertEqual((lost, asked), (["0", "1", "2", "3", "4"], ["5"]))

    def test_a_replaced_link_is_asked(self) -> None:
        """What a paused program had said already is asked over the newer link, and waits for its answer."""
        link = self.here.ensemble.link_to(self.there.me)
        assert link is not None
        link.wire_full()
        ask = {"chi": "tool-call", "to": self.there.me.full, "text": "x" * 1_000_000}
        self.program.say(*({**ask, "rid": str(number)} for number in range(6)))
        self.world.link(self.world.humd(self.there.ensemble.key), self.here.ensemble)
        lost = [tone["rid"] for tone in self.program.heard if tone.get("qualifier") == "peer.lost"]
        self.assertEqual((lost, self.here.node.routes.open_asks), (["0", "1", "2", "3", "4"], 1))

    def test_a_link_that_comes_up_resumes(self) -> None:
        """A program that wrote too much for a link that was being made is read again as soon as that took it."""
        here, stranger = House(self.world, limits=Limits(peer_hold_bytes=1024 * 1024)), House(self.world)
        link = self.world.join(here.ensemble, stranger.ensemble)
        link.cut()
        Program(self.world, here).say({"chi": "x-bulk", "rid": "r", "to": stranger.me.full, "text": "x" * 1_000_000})
        self.assertEqual(len(here.node._paused), 1)
        link.heal()
        self.world.settle()
        self.assertEqual(here.node._paused, {})

    def test_a_link_that_never_comes_up_resumes(self) -> None:
        """Such a program is read again when nothing waits for the link any more, and no trace of that peer stays."""
        for seconds in (0, 6):
            here, stranger = House(self.world, limits=Limits(peer_hold_bytes=1024 * 1024)), House(self.world)
            link = self.world.join(here.ensemble, stranger.ensemble)
            link.cut()
            program = Program(self.world, here)
            program.say({"chi": "x-bulk", "rid": "r", "to": stranger.me.full, "text": "x" * 1_000_000})
            self.assertEqual(len(here.node._paused), 1)
            self.world.advance(seconds)
            here.ensemble.remove_peer(stranger.me)
            self.world.settle()
            self.assertEqual(program.heard[-1]["qualifier"], "route.send-failed")
            self.assertEqual((here.node._paused, here.node._given_up), ({}, set()))
            link.heal()
            self.world.settle()
            for up in link.up:
                self.failureResultOf(up, LinkRefused)

    def test_what_is_held_and_shed_resumes(self) -> None:
        """So is one whose lines for such a link were dropped because all queues together were too much."""
        size = 2 * 1024 * 1024
        here = House(self.world, limits=Limits(peer_hold_bytes=size, queues_bytes=size))
        program, other = Program(self.world, here), Program(self.world, here)
        for asker, length in ((program, 1_100_000), (other, 1_050_000)):
            self.assertEqual(here.ensemble.counters["holds.shed"], 0)
            stranger = House(self.world)
            self.world.join(here.ensemble, stranger.ensemble).cut()
            asker.say({"chi": "x-bulk", "rid": "r", "to": stranger.me.full, "text": "x" * length})
        self.world.settle()
        self.assertEqual(program.heard[-1]["qualifier"], "queue.full")
        self.assertEqual([destination for destination, _ in here.node._paused.values()], [stranger.me])

    def test_undelivered_is_told(self) -> None:
        """A tone that waited for a link that never came up is answered to the program that sent it."""
        stranger = House(self.world, policy=Policy(admit_any=False))
        link = self.world.join(self.here.ensemble, stranger.ensemble)
        answers = self.program.say({"chi": "prompt", "sid": "s", "rid": "p", "to": stranger.me.full})
        self.assertEqual([tone.get("qualifier") for tone in answers], [None, "route.send-failed"])
        for up in link.up:
            self.failureResultOf(up, LinkRefused)

    def test_what_a_hello_could_not_say_is_logged(self) -> None:
        """A hello that is not taken as it stands is told in the log, with the client."""
        with capturedLogs() as events:
            self.program.say({"chi": "hello", "hive": "x", "tools": ["add"]})
        self.assertIn("client-1", {event.get("client") for event in events})

    def test_what_is_dropped_is_in_the_debug_log(self) -> None:
        """A tone that goes no further leaves a trace, with its counter; a flood of them one a second."""
        with capturedLogs() as events:
            self.program.say(*[{"chi": "finish", "sid": "nobody-asked"}] * 3)
        told = [event["counter"] for event in events if event["log_level"] is LogLevel.debug]
        self.assertEqual(told, ["replies.unmatched"])
