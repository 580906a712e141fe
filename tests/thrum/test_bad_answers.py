"""Lines of a bee that are no tones and were to be part of an answer."""

from __future__ import annotations

from twisted.internet.error import ConnectionDone
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from ensemble.protocols import StreamWire
from ensemble.testing import House, World
from tests.mesh.plain_peer import PlainPeer
from tests.thrum.test_session import Program

# What makes a line no tone, and what might write it: half of a character cut from a text, a number that JSON has not,
# bytes of another encoding, a rid that is counted.
SLIPS = (rb'"delta":"\ud83d"', b'"delta":NaN', b'"delta":"\xff"', b'"rid":7')


class BadAnswerTests(SynchronousTestCase):
    """The asker could not see that something is missing, nor that nothing more comes."""

    def setUp(self) -> None:
        world = World()
        self.house = House(world)
        self.bee, self.asker = Program(world, self.house), Program(world, self.house)
        tools = [{"name": "t"}]
        self.bee.say({"chi": "hello", "hive": "w", "bee": ["worker", "forager"], "models": ["m"], "tools": tools})

    def ask(self, sid: str) -> None:
        self.asker.say({"chi": "prompt", "sid": sid, "rid": f"r-{sid}", "modelId": "m"})
        self.bee.say({"chi": "chunk", "sid": sid})

    def told(self) -> list[tuple[str | None, ...]]:
        """The errors that the asker has heard."""
        errors = [tone for tone in self.asker.heard if tone["chi"] == "error"]
        return [tuple(tone.get(key) for key in ("qualifier", "rid", "sid", "callId")) for tone in errors]

    def test_a_piece(self) -> None:
        """An answer with a hole in it ends with an error for who waits, who hears nothing more; the worker goes on."""
        for sid, slip in zip("abcd", SLIPS, strict=True):
            self.ask(sid)
            heard = self.bee.say(b'{"chi":"chunk","sid":"%b",%b}' % (sid.encode(), slip))
            self.assertEqual([tone["qualifier"] for tone in heard], ["tone.malformed"])
            self.assertEqual(self.told()[-1], ("tone.malformed", f"r-{sid}", sid, None))
            before = len(self.asker.heard)
            self.bee.say({"chi": "chunk", "sid": sid}, {"chi": "finish", "sid": sid})
            self.assertEqual(len(self.asker.heard), before)
        self.assertEqual((len(self.told()), self.house.node.routes.open_asks), (4, 0))

    def test_asked_again(self) -> None:
        """The worker is still at it: whoever asks again under the sid takes over what it goes on to say."""
        self.ask("s")
        self.bee.say(b'{"chi":"chunk","sid":"s","rid":7}')
        self.assertEqual(self.house.node.routes.open_asks, 1)
        self.asker.say({"chi": "prompt", "sid": "s", "rid": "again", "modelId": "m"})
        self.bee.say({"chi": "finish", "sid": "s"})
        self.assertEqual((self.asker.heard[-1]["chi"], len(self.told())), ("finish", 1))

    def test_the_end(self) -> None:
        """Where it was the last word, nothing of the ask stays; an error is one, too, though nobody answers it."""
        for chi in (b"finish", b"error"):
            self.ask(chi.decode())
            self.bee.say(b'{"chi":"%b","sid":"%b","rid":7}' % (chi, chi))
            self.assertEqual(self.told()[-1][:3], ("tone.malformed", f"r-{chi.decode()}", chi.decode()))
            self.assertEqual(self.house.node.routes.known_asks, 0)
        self.asker.say({"chi": "tool-call", "callId": "c", "toolName": "t"})
        self.bee.say(b'{"chi":"tool-result","callId":"c","output":1e999}')
        self.assertEqual(self.told()[-1], ("tone.malformed", None, None, "c"))
        self.asker.say({"chi": "tool-call", "rid": "r", "toolName": "t"})
        self.bee.say(b'{"chi":"tool-result","rid":"r","output":1e999}')
        self.assertEqual(self.told()[-1], ("tone.malformed", "r", None, None))
        self.assertEqual(self.house.node.routes.known_asks, 0)

    def test_it_is_told_in_its_place(self) -> None:
        """Whatever comes behind it, in one read or in the next, does not come before the error, nor hide it."""
        for sid, said in (("a", [b'{"chi":"finish","sid":"a"}']), ("b", [])):
            self.ask(sid)
            self.bee.say(b'{"chi":"chunk","sid":"%b","rid":7}' % sid.encode(), *said)
            self.bee.say(b'{"chi":"finish","sid":"%b"}' % sid.encode())
            self.assertEqual(self.asker.heard[-1].get("qualifier"), "tone.malformed")

    def test_two_reads_at_once(self) -> None:
        """Nor does what comes in another read before the reactor comes round."""
        world, _, wire, asker = self.wired()
        wire.dataReceived(b'{"chi":"chunk","sid":"s","rid":7}\n')
        wire.dataReceived(b'{"chi":"finish","sid":"s"}\n')
        world.settle()
        self.assertEqual([tone.get("qualifier") for tone in asker.heard[1:]], ["tone.malformed"])

    def wired(self) -> tuple[World, House, StreamWire, Program]:
        """A worker on a wire of its own, which was asked under the sid ``s``, and who asked."""
        world = World()
        house = House(world)
        built: list[StreamWire] = []
        wire = StreamWire(world.clock, built.append, kind="unix")
        wire.makeConnection(StringTransport())
        house.thrum.accepted(built[0])
        wire.dataReceived(b'{"chi":"hello","hive":"w","bee":["worker"],"models":["m"]}\n')
        asker = Program(world, house)
        asker.say({"chi": "prompt", "sid": "s", "modelId": "m"})
        return world, house, wire, asker

    def test_a_line_that_was_cut(self) -> None:
        """Where the connection ended in the line the program is lost, and nothing of it needs to be mended."""
        world, house, wire, asker = self.wired()
        wire.dataReceived(b'{"chi":"chunk","sid":"s","delta":"x"}\n{"chi":"chunk","sid":"s","del')
        wire.connectionLost(Failure(ConnectionDone()))
        world.settle()
        self.assertEqual([tone.get("qualifier") for tone in asker.heard[1:]], [None, "worker.lost"])
        self.assertEqual(house.thrum.counters["thrum.malformed"], 1)

    def test_what_breaks_nothing(self) -> None:
        """What may be dropped, what comes behind the end, and the slip of somebody who was not asked, end no answer."""
        self.ask("s")
        self.bee.say(b'{"chi":"pulse","sid":"s","rid":7}', b'{"chi":"prompt","sid":"s","rid":7}', b'{"sid":"s"}')
        self.asker.say(b'{"chi":"chunk","sid":"s","rid":7}')
        self.bee.say({"chi": "finish", "sid": "s"}, b'{"chi":"chunk","sid":"s","rid":7}')
        self.assertEqual([tone["chi"] for tone in self.asker.heard[1:]], ["echo", "chunk", "error", "finish"])
        self.bee.say({"chi": "chunk", "sid": "s"})  # what comes late still finds who asked
        self.assertEqual(self.asker.heard[-1]["chi"], "chunk")


class BadPeerTests(SynchronousTestCase):
    """The same from a peer, as one of 0.7.0 may hand it on."""

    def setUp(self) -> None:
        world = World()
        self.house = House(world)
        self.asker = Program(world, self.house)
        self.peer = PlainPeer(world, self.house.ensemble)
        self.peer.say(self.peer.hello())
        for chi, key in (("prompt", "sid"), ("tool-call", "callId")):
            self.asker.say({"chi": chi, key: key, "to": self.peer.id.full})

    def test_who_waits_is_told(self) -> None:
        """Whoever asked the peer is told, once, and the peer is not answered where its line has no rid."""
        before = len(self.peer.heard)
        for slip in SLIPS[:3] * 2:
            self.peer.say(b'{"chi":"chunk","sid":"sid",%b}' % slip)
        self.peer.say(b'{"chi":"tool-result","callId":"callId","output":1e999}')
        errors = [tone for tone in self.asker.heard if tone["chi"] == "error"]
        self.assertEqual(
            [(tone["qualifier"], tone.get("sid"), tone.get("callId")) for tone in errors],
            [("tone.malformed", "sid", None), ("tone.malformed", None, "callId")],
        )
        self.assertEqual((len(self.peer.heard), self.house.node.routes.open_asks), (before, 0))

    def test_of_somebody_else(self) -> None:
        """What nobody asked of that peer ends nothing, nor does a line that is no part of an answer, or has no chi."""
        other = PlainPeer(self.peer.world, self.house.ensemble)
        other.say(other.hello())
        other.say(b'{"chi":"chunk","sid":"sid","rid":7}', b'{"chi":"tool-result","callId":"callId","x":NaN}')
        self.peer.say(b'{"chi":"prompt","sid":"sid","rid":7}', b'{"sid":"sid","rid":7}', b'{"chi":"chunk","rid":7}')
        self.assertEqual([tone["chi"] for tone in self.asker.heard if tone["chi"] == "error"], [])
        self.assertEqual(self.house.node.routes.open_asks, 2)
