"""The control socket: every verb, every refusal, and every ceiling."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from attrs import asdict
from twisted.internet.testing import MemoryReactorClock, StringTransportWithDisconnection

from ensemble.daemon.ceilings import ceilings
from ensemble.daemon.control import CONNECTIONS, REQUEST_BYTES, ControlServer
from ensemble.interfaces import IWireSink
from ensemble.mesh import Limits
from ensemble.protocols import InMemoryEndpoint, Turn
from tests.daemon.asking import ControlTestCase
from tests.daemon.memory import EPOCH, HumdTestCase, settle

PAGE = (Path(__file__).resolve().parent.parent.parent / "docs/daemon.rst").read_text()


class StatusTests(ControlTestCase):
    """``status``."""

    def test_who_and_where(self) -> None:
        """It says who this is, where its things are, and since when it runs."""
        self.reactor.advance(12.5)
        status = self.asks.ask("status")
        paths = self.one.settings.paths
        self.assertTrue(status["ok"])
        self.assertEqual(status["id"], self.one.me.full)
        self.assertEqual(status["uptime_s"], 12.5)
        self.assertEqual(status["started"], "2023-11-14T22:13:20Z")
        self.assertEqual(EPOCH, 1_700_000_000)
        self.assertEqual(
            [status[key] for key in ("thrum", "control", "state_dir", "peers_file")],
            [str(path) for path in (paths.thrum, paths.control, paths.state_dir, paths.peers_file)],
        )
        self.assertEqual((status["auth"], status["admit"]), ("proven", "any"))
        self.assertEqual(status["instance"], self.one.ensemble.instance)

    def test_counters_are_of_all_parts(self) -> None:
        """Links, local programs, delivery and this socket are all counted in one flat object."""
        self.join(self.one, self.two)
        self.two.ensemble.route({"chi": "pulse", "to": self.one.me.full})
        self.program(self.one, name="bee")
        counters = self.asks.ask("status")["counters"]
        self.assertEqual(counters["tones.received"], 1)
        self.assertEqual(counters["thrum.connected"], 1)
        self.assertEqual(counters["replies.unmatched"], 1)
        self.assertEqual(counters["control.requests"], 1)
        self.assertEqual(counters["orphans.evicted"], 0)

    def test_links_and_clients(self) -> None:
        """It counts links, and says of every local program what that said of itself."""
        self.join(self.one, self.two)
        self.program(self.one, name="echo", bee=["worker"], models=["m"], version="3", tools=[{"name": "t"}])
        _, far = InMemoryEndpoint.pair(self.one.me, None, self.one.me, None, self.reactor)
        self.one.thrum.accepted(far)
        status = self.asks.ask("status")
        self.assertEqual(status["links"], {"up": 1, "pending": 0})
        self.assertEqual(
            status["clients"],
            [
                {
                    "client_id": "client-1",
                    "name": "echo",
                    "roles": ["worker"],
                    "models": ["m"],
                    "tools": 1,
                    "version": "3",
                },
                {"client_id": "client-2", "name": None, "roles": [], "models": [], "tools": 0, "version": None},
            ],
        )

    def test_fields_are_in_the_page(self) -> None:
        """Every field that ``status`` and ``peers`` have is in the page on the daemon."""
        self.join(self.one, self.two)
        for verb, answer in (("status", self.asks.ask("status")), ("peers", self.asks.ask("peers")["peers"][0])):
            entry = re.search(rf"^   \* - ``{verb}``\n((?:     .*\n)*)", PAGE, re.M)
            assert entry is not None
            self.assertEqual(set(answer) - {"ok", *re.findall(r"``([a-z_]+)``", entry[1])}, set())

    def test_limits_have_units(self) -> None:
        """Every ceiling is a number, and its name says of what."""
        found = ceilings(self.one.settings)
        self.assertEqual(self.asks.ask("status")["limits"], found)
        self.assertTrue(all(isinstance(value, int | float) for value in found.values()))
        self.assertEqual((found["max_tone_bytes"], found["tls_handshake_bytes"]), (4 * 1024 * 1024, 12 * 1024))

    def test_limits_that_are_set(self) -> None:
        """Whatever ``--limit`` may set is among them, as it was set."""
        limits = Limits(**{one.name: one.most for one in Limits.about()})
        found = ceilings(self.settings(limits=limits))
        self.assertEqual({one.name: found.get(one.name) for one in Limits.about()}, asdict(limits))


class PeersTests(ControlTestCase):
    """``peers``, ``probe`` and ``forget``."""

    def test_own_row(self) -> None:
        """A row that names the humd itself is skipped, and named as a problem."""
        self.write_peers(self.one, {"humd_id": self.one.me.full})
        self.assertIn("names this humd itself", self.asks.ask("reload")["problems"][0])
        self.assertEqual(self.asks.ask("peers")["peers"], [])

    def test_states(self) -> None:
        """A row that we dial, one that can only dial us, a linked one and a linked stranger are told apart."""
        three = self.humd(self.settings(admit_any=True))
        self.write_peers(
            self.one,
            {"humd_id": "11" * 32, "hints": ["tcp:192.0.2.7:1"], "alias": "far"},
            {"humd_id": "22" * 32},
            {"humd_id": self.two.me.full, "alias": "two", "hints": ["tls:192.0.2.8:1"], "plain": True},
            {"humd_id": "33" * 32, "alias": "safe", "hints": ["tls:192.0.2.9:1", "tcp:192.0.2.9:1"]},
        )
        self.one.reload()
        self.join(self.one, self.two)
        self.join(three, self.one)
        self.reactor.advance(5)
        rows = self.asks.ask("peers")["peers"]
        self.assertEqual(
            [(row["alias"], row["state"], row["stranger"], row["dialled"]) for row in rows],
            [
                ("far", "dialling", False, None),
                (None, "down", False, None),
                ("two", "linked", False, True),
                ("safe", "dialling", False, None),
                (None, "linked", True, False),
            ],
        )
        self.assertEqual([row["secure_only"] for row in rows], [False, False, False, True, False])
        self.assertEqual(rows[0]["hints"], ["tcp:192.0.2.7:1"])
        self.assertEqual(rows[2]["level"], "proven")
        self.assertEqual(rows[2]["since_s"], 5)
        self.assertEqual(rows[2]["proto_version"], "0.8.0")
        self.assertEqual(set(rows[0]), set(rows[2]))

    def test_last_failure(self) -> None:
        """Why the last dial failed is in the row."""
        self.write_peers(self.one, {"humd_id": "11" * 32, "hints": ["tcp:192.0.2.7:1"]})
        self.one.reload()
        self.reactor.advance(10)
        settle(self.reactor)
        (row,) = self.asks.ask("peers")["peers"]
        self.assertIn("tcp:192.0.2.7:1", row["last_failure"])

    def test_lost(self) -> None:
        """Why a peer is away is in its row until it is back, and when it is dialled again."""
        row = {"humd_id": self.two.me.full, "hints": ["tcp:192.0.2.7:1"]}
        self.write_peers(self.one, row)
        self.one.reload()
        near = self.join(self.one, self.two)
        keys = ("lost", "lost_s", "redial_in_s")
        (row,) = self.asks.ask("peers")["peers"]
        self.assertEqual([row[key] for key in keys], [None, None, None])
        near.abort()
        settle(self.reactor)
        self.reactor.advance(0.5)
        (row,) = self.asks.ask("peers")["peers"]
        self.assertEqual((row["state"], row["lost_s"], row["last_failure"]), ("dialling", 0.5, None))
        self.assertIn("aborted", row["lost"])
        self.assertTrue(0 < row["redial_in_s"] <= 1.5, row["redial_in_s"])
        self.assertIs(row["waits"], False)
        self.join(self.one, self.two)
        (row,) = self.asks.ask("peers")["peers"]
        self.assertEqual([row[key] for key in keys], [None, None, None])

    def test_probe(self) -> None:
        """A probe pings, and answers with fresh times; another request on the connection waits for it."""
        self.join(self.one, self.two)
        self.assertIsNone(self.asks.ask("peers")["peers"][0]["round_trip_ms"])
        self.asks.say({"do": "probe"}, {"do": "status"})
        probed, status = self.asks.heard()
        self.assertEqual(probed["peers"][0]["round_trip_ms"], 0)
        self.assertEqual(probed["peers"][0]["skew_ms"], 0)
        self.assertIs(probed["peers"][0]["unanswered"], False)
        self.assertIn("uptime_s", status)

    def test_probe_does_not_wait_for_ever(self) -> None:
        """A peer that does not answer holds a probe up for three seconds and no longer."""
        self.join(self.one, self.two).partition(True)
        self.asks.say({"do": "probe", "peer": self.two.me.full})
        self.assertEqual(self.asks.heard(), [])
        self.reactor.advance(3)
        settle(self.reactor)
        (answer,) = self.asks.heard()
        self.assertIsNone(answer["peers"][0]["round_trip_ms"])
        self.assertIs(answer["peers"][0]["unanswered"], True)

    def test_probe_of_one(self) -> None:
        """With a peer only that one is asked and shown; its alias does."""
        self.write_peers(self.one, {"humd_id": self.two.me.full, "alias": "two"}, {"humd_id": "11" * 32})
        self.one.reload()
        self.join(self.one, self.two)
        self.assertEqual([row["id"] for row in self.asks.ask("probe", peer="two")["peers"]], [self.two.me.full])

    def test_forget(self) -> None:
        """What is remembered of a proof is gone, and the answer says whether there was any."""
        self.join(self.one, self.two)
        self.assertIs(self.asks.ask("forget", peer=self.two.me.full)["known"], True)
        self.assertIs(self.asks.ask("forget", peer=self.two.me.full)["known"], False)
        self.assertFalse(self.one.state.memory.ever_proven(self.two.me))

    def test_whom(self) -> None:
        """A peer that is missing, no string, a short id or nobody is refused, each with its word."""
        self.assertEqual(self.refused(do="forget"), "tone.malformed")
        self.assertEqual(self.refused(do="forget", peer=7), "tone.malformed")
        self.assertEqual(self.refused(do="forget", peer="nobody"), "route.unknown-peer")
        self.assertEqual(self.refused(do="probe", peer=self.two.me.short), "route.unknown-peer")


class ReloadTests(ControlTestCase):
    """``reload``."""

    def test_says_what_changed(self) -> None:
        """It answers who was added, removed and changed, and what in the file cannot be used."""
        eleven, twelve = "humd_" + "11" * 32, "humd_" + "12" * 32
        self.write_peers(self.one, {"humd_id": eleven}, {"humd_id": twelve})
        self.assertEqual(self.asks.ask("reload")["added"], [eleven, twelve])
        self.write_peers(self.one, {"humd_id": twelve, "alias": "t"}, {"humd_id": "x"})
        answer = self.asks.ask("reload")
        self.assertEqual((answer["added"], answer["removed"], answer["changed"]), ([], [eleven], [twelve]))
        self.assertEqual(len(answer["problems"]), 1)
        self.assertEqual(answer["peers_file"], str(self.one.peers.path))

    def test_broken_file(self) -> None:
        """A file that is no JSON is a refusal that says what stays."""
        self.one.settings.paths.peers_file.parent.mkdir(parents=True)
        self.one.settings.paths.peers_file.write_text("{")
        self.assertEqual(self.refused(do="reload"), "config.bad")


class RequestTests(ControlTestCase):
    """Requests that are wrong, or too many."""

    def test_wrong_requests(self) -> None:
        """What is no JSON, no object, has no verb or one that there is not is refused; the connection stays."""
        self.asks.say(b"{", b"[]", b'{"do":7}', {"do": "dance"}, {"do": "tap", "chi": "chunk"}, {"do": "status"})
        answers = self.asks.heard()
        self.assertEqual(
            [answer.get("qualifier") for answer in answers],
            ["tone.malformed", "tone.malformed", "tone.malformed", "not.supported", "tone.malformed", None],
        )
        self.assertIn("status", answers[3]["message"])

    def test_many_at_once(self) -> None:
        """Thousands of requests in one segment are all answered, in order."""
        self.asks.say(*[{"do": f"v{number}"} for number in range(3000)])
        answers = self.asks.heard()
        self.assertEqual(len(answers), 3000)
        self.assertIn("'v2999'", answers[-1]["message"])

    def test_a_verb_that_breaks(self) -> None:
        """A bug in a verb is a refusal for who asked, and a traceback in the log."""
        self.one.control.verbs = {"status": lambda request: {}[request["do"]]}
        self.assertEqual(self.refused(do="status"), "not.supported")
        self.assertEqual(len(self.flushLoggedErrors(KeyError)), 1)

    def test_too_long(self) -> None:
        """A request of more than 64 KiB is refused and the connection closed."""
        near = self.stream()
        near.dataReceived(b"x" * (REQUEST_BYTES + 1))
        settle(self.reactor)
        self.assertEqual(json.loads(near.transport.value())["qualifier"], "tone.too-large")
        self.assertFalse(near.transport.connected)

    def test_too_many_connections(self) -> None:
        """The seventeenth connection is told why it is closed; when one goes there is room again."""
        others = [self.asker(self.one) for _ in range(CONNECTIONS - 1)]
        late = self.asker(self.one)
        settle(self.reactor)
        self.assertEqual([answer["qualifier"] for answer in late.heard()], ["queue.full"])
        self.assertIn("wire_lost", late.sink.events)
        others[0].near.close()
        settle(self.reactor)
        self.assertTrue(self.asker(self.one).ask("status")["ok"])

    def test_silent_connections_end(self) -> None:
        """Who asks nothing for a minute, or does not read, makes room for others; a request gives a new minute."""
        self.reactor.advance(50)
        self.asks.ask("status")
        late = self.asker(self.one)
        self.reactor.advance(59)
        self.assertEqual((late.sink.events, self.asks.sink.events[-1]), ([], "lines_received"))
        for _ in range(300):
            late.near.write([b'{"do":"status"}'])
        late.near.pause()
        settle(self.reactor)
        self.reactor.advance(1.5)
        settle(self.reactor)
        self.assertEqual((len(self.one.control.sessions), self.asks.sink.events[-1]), (1, "wire_lost"))
        self.reactor.advance(60)
        settle(self.reactor)
        self.assertEqual((len(self.one.control.sessions), self.one.control.counters["control.idle"]), (0, 2))

    def test_a_tap_may_be_silent(self) -> None:
        """Who looks on asks nothing, and stays."""
        self.asks.ask("tap")
        self.reactor.advance(1000)
        settle(self.reactor)
        self.assertEqual(len(self.one.control.sessions), 1)

    def test_refusals_are_counted(self) -> None:
        """Whatever is answered with an error is counted."""
        self.refused(do="nothing")
        self.asks.say(b"x" * (REQUEST_BYTES + 1))
        self.assertEqual(self.one.control.counters["control.refused"], 2)

    def test_who_does_not_read_is_not_answered(self) -> None:
        """Answers do not pile up for somebody who only asks: the rest is done when there is room."""
        big = "x" * (300 * 1024)
        self.one.control.verbs = {"big": lambda request: {"ok": True, "big": big}}
        near = self.stream()
        sink = near._sink
        assert sink is not None
        IWireSink(sink).wire_full()
        near.dataReceived(b'{"do":"big"}\n' * 10)
        settle(self.reactor)
        self.assertEqual(near.transport.value(), b"")
        self.assertEqual(self.one.control.counters["control.requests"], 2)
        sink.wire_drained()
        settle(self.reactor)
        self.assertEqual(self.one.control.counters["control.requests"], 10)
        self.assertEqual(near.transport.value().count(b"\n"), 10)

    def test_answer_beyond_the_queue(self) -> None:
        """Answers that are longer than the queue arrive whole, and in order."""
        self.one.control.verbs = {"big": lambda request: {"ok": True, "big": "x" * (3 * 1024 * 1024)}}
        self.asks.say(*[{"do": "big"}] * 3)
        settle(self.reactor)
        self.assertEqual([len(answer["big"]) for answer in self.asks.heard()], [3 * 1024 * 1024] * 3)

    def stream(self) -> Any:
        """A connection over a stream that only pretends."""
        factory = next(server[1] for server in self.reactor.unixServers if server[0].endswith(".control"))
        protocol = factory.buildProtocol(None)
        transport = StringTransportWithDisconnection()
        transport.protocol = protocol
        protocol.makeConnection(transport)
        return protocol


class ServerTests(HumdTestCase):
    """The server by itself."""

    def test_stop_closes_connections(self) -> None:
        """When the daemon stops, whoever is connected sees the end."""
        humd = self.humd()
        asker = self.asker(humd)
        asker.ask("status")
        self.stop(humd)
        self.assertIn("wire_lost", asker.sink.events)

    def test_nothing_to_leave_behind(self) -> None:
        """A server that never started has nothing to leave behind."""
        reactor = MemoryReactorClock()
        server = ControlServer(reactor, str(self.folder() / "c"), {}, Turn(reactor))
        server.abandon()
        self.assertEqual(reactor.unixServers, [])
