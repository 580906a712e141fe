"""The deadlines that ``--limit`` sets, each waited for in a whole daemon: what is set is what is kept."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.testing import StringTransport

from ensemble.daemon.humd import Humd
from ensemble.mesh import Limits
from ensemble.protocols import InMemoryEndpoint, Level
from ensemble.tone import encode
from tests.daemon.memory import HumdTestCase, settle
from tests.protocols.recording import RecordingSink


class Stubborn(StringTransport):
    """A transport that closes only when it is cut."""

    closing = cut = False
    protocol: Any = None

    def loseConnection(self) -> None:
        self.closing = True

    def abortConnection(self) -> None:
        self.cut = True
        self.protocol.connectionLost()


class SetDeadlineTests(HumdTestCase):
    """None of these numbers is a default."""

    def daemon(self, **limits: int) -> Humd:
        return self.humd(
            self.settings(listen=("tcp:14730", "tls:14731"), level=Level.OPEN, admit_any=True, limits=Limits(**limits))
        )

    def link(self, **limits: int) -> tuple[Humd, Any, InMemoryEndpoint]:
        """A daemon, its link to another, and the other end of the wire."""
        one, two = self.daemon(**limits), self.daemon()
        near = self.join(two, one)
        link = one.ensemble.link_to(two.me)
        assert link is not None
        return one, link, near

    def accept(self, factory: Any) -> tuple[Any, Stubborn]:
        """A connection arrives at one of the ports or sockets."""
        where = IPv4Address("TCP", "192.0.2.1", 1)
        protocol, transport = factory.buildProtocol(where), Stubborn(peerAddress=where)
        transport.protocol = protocol
        protocol.makeConnection(transport)
        settle(self.reactor)
        return protocol, transport

    def assertTakes(self, seconds: int, holds: Callable[[], object]) -> None:
        """What is waited for has come after so many seconds, and not before."""
        for second in range(seconds):
            self.assertFalse(holds(), f"after {second} s")
            self.reactor.advance(1)
            settle(self.reactor)
        self.assertTrue(holds())

    def test_newcomers(self) -> None:
        """Who connects and says nothing is cut, over TCP and TLS."""
        humd = self.daemon(pending_seconds=3)
        for _, factory, *_ in self.reactor.tcpServers:
            _, transport = self.accept(factory)
            self.assertTakes(3, partial(getattr, transport, "cut"))
        self.assertEqual([humd.counters()[name] for name in ("handshake.timeout", "tls.late")], [1, 1])

    def test_hello(self) -> None:
        """So is a link of which only the half came up."""
        humd, (near, far) = self.daemon(pending_seconds=4), InMemoryEndpoint.pair(*self.ids(), self.reactor)
        humd.ensemble.install(far).addErrback(lambda _: None)
        near.start(sink := RecordingSink())
        self.assertTakes(4, lambda: "wire_lost" in sink.events)

    def ids(self) -> tuple[Any, None, Any, None]:
        who = self.humd(start=False).me
        return who, None, who, None

    def shows(self, humd: Humd, told: str) -> bool:
        return told in str(self.asker(humd).ask("peers"))

    def alone(self, humd: Humd) -> bool:
        return not humd.ensemble.peers()

    def test_dials(self) -> None:
        """A dial that nobody answers, over TCP and TLS."""
        humd = self.daemon(dial_seconds=4)
        for scheme in ("tcp", "tls"):
            self.write_peers(humd, {"humd_id": "11" * 32, "plain": True, "hints": [f"{scheme}:192.0.2.7:1"]})
            humd.reload()
            told = f"no answer from {scheme}:192.0.2.7:1 within 4 s"
            self.assertTakes(4, partial(self.shows, humd, told))

    def test_lines(self) -> None:
        """A line without an end, of a program and on the control socket; and the close behind it."""
        self.daemon(unfinished_line_seconds=7, connection_close_seconds=2)
        for _, factory, *_ in self.reactor.unixServers:
            protocol, transport = self.accept(factory)
            protocol.dataReceived(b'{"chi":')
            self.assertTakes(7, partial(getattr, transport, "closing"))
            self.assertTakes(2, partial(getattr, transport, "cut"))

    def test_silence(self) -> None:
        """A peer that says nothing, sooner where somebody waits."""
        limits = {"waited_for_ping_after_seconds": 2, "waited_for_gone_after_seconds": 5}
        for waits, seconds in ((False, 11), (True, 7)):
            humd, link, near = self.link(ping_after_seconds=5, gone_after_seconds=6, **limits)
            near.partition(True)
            humd.ensemble.set_waiting(link.peer, waits)
            self.assertTakes(seconds, partial(self.alone, humd))

    def test_stuck(self) -> None:
        """A peer that takes nothing."""
        humd, link, _ = self.link(ping_after_seconds=5, stuck_ping_seconds=8)
        link.wire_full()
        self.assertTakes(13, partial(self.alone, humd))

    def test_link_close(self) -> None:
        """A peer that does not read what is left for it."""
        humd, link, _ = self.link(link_close_seconds=12)
        link.wire_full()
        humd.ensemble.remove_peer(link.peer)
        self.assertTakes(12, lambda: not len(humd.ensemble._links))

    def test_throttled(self) -> None:
        """A peer that sent too fast is read again."""
        humd, _, near = self.link(throttled_seconds=6, stranger_tones_per_second=1, burst_seconds=1)
        for _ in range(2):  # the first leave it a debt of a minute and a half
            near.write([encode({"chi": "x"})] * 100)
            settle(self.reactor)
        self.assertTakes(6, lambda: humd.counters()["tones.received"] == 200)

    def test_programs(self) -> None:
        """A program that does not read: what is asked of it, and what is left for it."""
        humd = self.daemon(client_slow_seconds=13, client_close_seconds=2, client_queue_bytes=2**16)
        for what, seconds in ((b"x" * 2**17, 13), (b"x", 2)):
            near, far = InMemoryEndpoint.pair(*self.ids(), self.reactor)
            humd.thrum.accepted(far)
            near.start(sink := RecordingSink())
            (session,) = humd.thrum.sessions.values()
            session.wire_full()
            session.deliver(what)
            if seconds == 2:
                session.close()
            self.assertTakes(seconds, lambda: "wire_lost" in sink.events)

    def test_paused_program(self) -> None:
        """A program that says more than somebody takes is read again."""
        humd = self.daemon(client_pause_seconds=4)
        _, far = InMemoryEndpoint.pair(*self.ids(), self.reactor)
        humd.thrum.accepted(far)
        (session,) = humd.thrum.sessions.values()
        humd.node._pause(session, "somebody")
        self.assertTakes(4, lambda: session._reading)

    def test_control(self) -> None:
        """Who asks nothing, and a peer that does not answer."""
        humd, _, near = self.link(control_idle_seconds=14, probe_seconds=1)
        asks = self.asker(humd)
        near.partition(True)
        asks.say({"do": "probe"})
        self.assertTakes(1, asks.heard)
        self.assertTakes(13, lambda: "wire_lost" in asks.sink.events)
