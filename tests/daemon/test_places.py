"""The peers file, ``bees.json`` and the listening ports."""

from __future__ import annotations

import errno
import os
from typing import Any

from twisted.internet import error as internet_error
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.testing import StringTransportWithDisconnection
from twisted.logger import capturedLogs

from ensemble.daemon import listeners as listeners_module
from ensemble.daemon.descriptors import KEPT, Descriptors
from ensemble.daemon.listeners import BACKLOG, Listeners, endpoint_of
from ensemble.daemon.peerbook import PeerBook
from ensemble.daemon.snapshot import DEBOUNCE_SECONDS, BeesFile
from ensemble.errors import ConfigurationError
from ensemble.hives import NestlingManifest, Roster
from ensemble.identity import HumdId, HumdKey
from ensemble.mesh import Ensemble, Limits
from ensemble.protocols import Level, TlsTransport
from ensemble.tone import read_document
from tests.daemon.memory import HumdTestCase

ME, FRIEND = HumdId.parse("aa" * 32), HumdId.parse("bb" * 32)


class PeerBookTests(HumdTestCase):
    """The peers file in force."""

    def book(self) -> PeerBook:
        return PeerBook(self.paths.peers_file, ME, Level.PROVEN, False, ("tcp",))

    def setUp(self) -> None:
        super().setUp()
        settings = self.settings()
        self.paths, self.write = settings.paths, lambda *rows: self.write_peers(settings, *rows)

    def test_own_row(self) -> None:
        """A row with our own id is left out, and named."""
        self.write({"humd_id": ME.full}, {"humd_id": FRIEND.full})
        book = self.book()
        change = book.read()
        self.assertEqual(list(book.known), [FRIEND])
        self.assertIn("itself", change.problems[0])

    def test_levels(self) -> None:
        """A row's own level reaches the policy; without one it is the daemon's."""
        self.write({"humd_id": FRIEND.full, "auth": "open", "relays": True})
        book = self.book()
        book.read()
        self.assertEqual(book.policy().level_for(FRIEND), Level.OPEN)
        self.assertEqual(book.policy().level_for(ME), Level.PROVEN)
        self.assertTrue(book.known[FRIEND].relays)

    def test_what_cannot_be_dialled(self) -> None:
        """A row with hints of which none can be dialled is named, with what would help."""
        self.write(
            {"humd_id": FRIEND.full, "hints": ["tls:192.0.2.1:1"], "alias": "safe"},
            {"humd_id": "cc" * 32, "hints": ["relay:" + "dd" * 32 + "@h:1"]},
            {"humd_id": "dd" * 32},
            {"humd_id": "ee" * 32, "hints": ["tls:192.0.2.1:1", "tcp:192.0.2.1:1"], "plain": True},
        )
        problems = self.book().read().problems
        self.assertEqual(len(problems), 2)
        self.assertIn("safe names a secure hint", problems[0])
        self.assertIn(f"ensemble trust {FRIEND.full} --plain", problems[0])
        self.assertIn("only when it dials us", problems[1])

    def test_find(self) -> None:
        """An alias, a full id and bare hex are found; a short id and nonsense are nobody."""
        self.write({"humd_id": FRIEND.full, "alias": "friend"})
        book = self.book()
        book.read()
        for text in ("friend", FRIEND.full, "bb" * 32):
            self.assertEqual(book.find(text), FRIEND)
        for text in (FRIEND.short, "foe", ""):
            self.assertIsNone(book.find(text))

    def test_missing(self) -> None:
        """No file is no peers, and no error."""
        change = self.book().read()
        self.assertTrue(change.missing)
        self.assertEqual(change.problems, ())


class BeesFileTests(HumdTestCase):
    """``bees.json``."""

    def setUp(self) -> None:
        super().setUp()
        self.path = self.folder() / "bees.json"
        self.roster = Roster()
        self.bees = BeesFile(self.path, self.roster, self.reactor)

    def read(self) -> Any:
        return read_document(self.path.read_bytes())

    def test_debounced(self) -> None:
        """Many changes are one write, a second later; an evicted claim of the same id goes with it."""
        self.path.write_text('{"stale": {}}')
        self.bees.startService()
        self.assertEqual(self.read(), {})
        for number in range(5):
            self.roster.register(f"c{number}", NestlingManifest("bee", hid=FRIEND))
        self.assertEqual(self.read(), {})
        self.assertEqual(len(self.reactor.getDelayedCalls()), 1)
        self.reactor.advance(DEBOUNCE_SECONDS)
        self.assertEqual(list(self.read()), ["c4"])
        self.roster.remove("nobody")
        self.assertEqual(self.reactor.getDelayedCalls(), [])
        self.roster.remove("c4")
        self.reactor.advance(DEBOUNCE_SECONDS)
        self.assertEqual(self.read(), {})

    def test_end(self) -> None:
        """When we stop nobody is connected any more, and no timer is left."""
        self.bees.startService()
        self.roster.register("c", NestlingManifest("bee"))
        self.bees.stopService()
        self.assertEqual(self.read(), {})
        self.assertEqual(self.reactor.getDelayedCalls(), [])
        self.roster.register("d", NestlingManifest("bee"))
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_does_not_wait_for_the_disk(self) -> None:
        """A disk that takes its time does not stop the reactor: what is written need not outlive a power cut."""
        self.patch(os, "fsync", self.fail)
        self.bees.startService()
        self.assertEqual(self.read(), {})

    def test_full_disk(self) -> None:
        """A file that cannot be written is told once, until it could be."""
        self.path.mkdir()
        (self.path / "x").touch()
        with capturedLogs() as events:
            self.bees.startService()
            self.assertEqual(len(events), 1)
            self.roster.register("c", NestlingManifest("bee"))
            self.reactor.advance(DEBOUNCE_SECONDS)
        self.assertEqual(len(events), 1)
        (self.path / "x").unlink()
        self.path.rmdir()
        self.roster.register("d", NestlingManifest("bee"))
        self.reactor.advance(DEBOUNCE_SECONDS)
        self.assertEqual(list(self.read()), ["c", "d"])


class Port:
    """A port that is bound at an address."""

    def __init__(self, address: object) -> None:
        self._address = address

    def getHost(self) -> object:
        return self._address

    def stopListening(self) -> None:
        """Nothing was open."""


class Patient:
    """An endpoint that opens later."""

    def listen(self, factory: object) -> Deferred[object]:
        return Deferred()


class ListenerTests(HumdTestCase):
    """The ports that are open to other humds."""

    def listeners(self, *descriptions: str, **more: Any) -> Listeners:
        self.following = 10  # the number that the next file would get
        descriptors = Descriptors(lambda: (1024, 1024), lambda limits: None, lambda: self.following)
        return Listeners(self.reactor, descriptions, descriptors, **more)

    def serve(self, listeners: Listeners, **more: Any) -> Ensemble:
        """There is a humd behind the ports."""
        key = HumdKey(bytes(32))
        ensemble = Ensemble(key.humd_id(), clock=self.reactor, key=key, **more)
        listeners.serve(ensemble, TlsTransport(self.reactor, key))
        return ensemble

    def test_hints(self) -> None:
        """A hint is ready to paste: the real port, brackets around IPv6, and our own address for a wildcard."""
        hosts = {
            1: IPv4Address("TCP", "127.0.0.1", 4001),
            2: IPv6Address("TCP", "::1", 4002),
            3: IPv4Address("TCP", "0.0.0.0", 4003),
            4: IPv6Address("TCP", "::", 4004),
        }
        self.reactor.listenTCP = lambda port, *args, **more: Port(hosts[port])  # type: ignore[method-assign]
        ours = {"0.0.0.0": ["192.0.2.9"], "::": ["2001:db8::9", "192.0.2.9"]}
        found = self.listeners("tcp:1", "tcp:2", "tcp:3", "tcp:4", outward=lambda host: ours.get(host, [host]))
        found.startService()
        self.assertEqual(found.hints[:2], ["tcp:127.0.0.1:4001", "tcp:[::1]:4002"])
        self.assertEqual(found.hints[2:], ["tcp:192.0.2.9:4003", "tcp:[2001:db8::9]:4004", "tcp:192.0.2.9:4004"])
        self.successResultOf(found.stopService())

    def test_tls(self) -> None:
        """A ``tls`` port is a TCP port whose hint says tls; what comes before there is a key is closed."""
        listeners = self.listeners("tls:1", r"tls6:2:interface=\:\:1", outward=lambda host: [host])
        listeners.bind()
        self.assertEqual(listeners.hints, ["tls:0.0.0.0:1", "tls:[::1]:2"])
        self.assertEqual([server[2] for server in self.reactor.tcpServers], [BACKLOG, BACKLOG])
        self.assertIsNone(self.accept())
        ensemble = self.serve(listeners)
        transport = self.accept()
        assert transport is not None
        self.reactor.advance(0)
        with capturedLogs() as events:
            transport.protocol.dataReceived(b"no ClientHello\n")
        self.assertFalse(transport.connected)
        self.assertEqual([(event["counter"], event["peer"]) for event in events], [("tls.handshake", "192.0.2.1")])
        self.assertEqual(ensemble.counters["tls.handshake"], 1)

    def test_backlog(self) -> None:
        """The backlog is large unless the operator named one, by word or by place."""
        self.listeners("tcp:1", "tcp:2:backlog=7", "tcp:3:127.0.0.1:8").bind()
        self.assertEqual([server[2] for server in self.reactor.tcpServers], [BACKLOG, 7, 8])

    def test_endpoints(self) -> None:
        """What Twisted cannot read is one clear error."""
        for text in ("tcp:x", "nothing:1", "tcp:1:a:b:c:d", "tcp:1:colour=red"):
            self.assertIn(text, str(self.assertRaises(ConfigurationError, endpoint_of, self.reactor, text)))

    def test_endpoint_that_waits(self) -> None:
        """An endpoint that would open later is refused: the start does not wait."""
        listeners = self.listeners("tcp:1")
        self.patch(listeners_module, "endpoint_of", lambda *_: Patient())
        self.assertRaises(ConfigurationError, listeners.bind)

    def test_causes(self) -> None:
        """A cause without a number is told as it is."""

        def listen(*args: object, **more: object) -> None:
            raise internet_error.CannotListenError("", 1, Exception("no such thing"))

        self.reactor.listenTCP = listen  # type: ignore[method-assign]
        self.assertIn("no such thing", str(self.assertRaises(ConfigurationError, self.listeners("tcp:1").bind)))

    def test_addresses(self) -> None:
        """An address that is not there, and one that a port of ours has already, are told as what they are."""
        for before, number, host, told in (
            ((), errno.EADDRNOTAVAIL, "192.0.2.9", "no interface of this machine has that address (yet)"),
            (("tcp6:7",), errno.EADDRINUSE, "::", "of ours has that port; tcp6:7 alone is for IPv4, too"),
            (("tcp6:7",), errno.EACCES, "::", f"{os.strerror(errno.EACCES)}; choose another place"),
            (("tls6:7",), errno.EADDRINUSE, "::", f"{os.strerror(errno.EADDRINUSE)}; choose another place"),
            (("tcp6:8",), errno.EADDRINUSE, "::", f"{os.strerror(errno.EADDRINUSE)}; choose another place"),
        ):
            at, last = [Port(IPv6Address("TCP", host, int(each[-1]))) for each in before], f"tcp:7:interface={host}"
            refused = internet_error.CannotListenError(host, 7, OSError(number, os.strerror(number)))

            def listen(*args: object, at: list[Port] = at, refused: Exception = refused, **more: object) -> object:
                if not at:
                    raise refused
                return at.pop(0)

            self.reactor.listenTCP = listen  # type: ignore[method-assign]
            listeners = self.listeners(*before, last.replace("::", r"\:\:"))
            self.assertIn(told, str(self.assertRaises(ConfigurationError, listeners.bind)))

    def accept(self) -> StringTransportWithDisconnection | None:
        """A connection arrives at the first port; None where it is closed before anything is made of it."""
        protocol: Any = self.reactor.tcpServers[0][1].buildProtocol(IPv4Address("TCP", "192.0.2.1", 1))
        if protocol is None:
            return None
        transport = StringTransportWithDisconnection(peerAddress=IPv4Address("TCP", "192.0.2.1", 1))
        transport.protocol = protocol
        protocol.makeConnection(transport)
        return transport

    def test_last_descriptors_are_kept(self) -> None:
        """A connection that takes one of the last 64 descriptors is closed at once, and told."""
        listeners = self.listeners("tcp:1")
        listeners.bind()
        ensemble = self.serve(listeners)
        self.following = 1024 - KEPT
        self.assertIsNotNone(self.accept())
        self.following += 1
        with capturedLogs() as events:
            self.assertIsNone(self.accept())
        self.assertEqual(ensemble.pending, 1)
        (event,) = events
        self.assertEqual((event["counter"], event["peer"]), ("descriptors.refused", "192.0.2.1"))

    def test_an_address_that_is_full(self) -> None:
        """A connection of an address with too many newcomers is closed at once, on a ``tcp`` port, too."""
        listeners = self.listeners("tcp:1")
        listeners.bind()
        ensemble = self.serve(listeners, limits=Limits(address_pending_links=2))
        self.assertEqual([self.accept() is not None for _ in range(3)], [True, True, False])
        self.assertEqual(ensemble.pending, 2)

    def test_before_anybody_listens(self) -> None:
        """What connects before there is a humd is dropped, also when descriptors are short."""
        listeners = self.listeners("tcp:1")
        listeners.bind()
        self.assertIsNone(self.accept())
        self.following = 1023
        self.assertIsNone(self.accept())
