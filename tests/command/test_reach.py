"""``doctor``'s look at the ports of others, over real sockets: what it finds, and what the other side sees of it."""

from __future__ import annotations

import errno
import os
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast
from unittest import mock

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import SkipTest, SynchronousTestCase, TestCase

from ensemble.command import reach
from ensemble.identity import HumdKey
from ensemble.protocols import StreamWire, TlsTransport
from tests.protocols.recording import RecordingSink

ALICE, BOB = HumdKey.from_seed(b"\xaa" * 32), HumdKey.from_seed(b"\xbb" * 32)


class ListenerTests(TestCase):
    """At a humd's own listener."""

    timeout = 30

    async def test_a_look_is_no_refusal(self) -> None:
        """To who listens over TLS a look is a connection that showed our id, and ended as it should."""
        sink, seen = RecordingSink(), Deferred[StreamWire | str]()

        def built(wire: StreamWire) -> None:
            wire.start(sink)
            seen.callback(wire)

        def failed(_counter: str, cause: str, _address: str) -> None:
            seen.callback(cause)

        endpoint: Any = TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1")
        port: Any = await TlsTransport(reactor, BOB).listen(endpoint, built, failed=failed)
        self.addCleanup(port.stopListening)
        hint = f"tls:127.0.0.1:{port.getHost().port}"
        found = await deferToThread(reach.reach, [hint], ALICE)
        wire = await seen
        self.assertIsInstance(wire, StreamWire, wire)
        self.assertEqual((found[hint].trouble, found[hint].found), ("", BOB.humd_id().full))
        self.assertEqual(getattr(wire, "leaf", None), ALICE.humd_id())
        await sink.told("wire_lost")
        self.assertEqual((sink.lines, sink.clean), ([], True))


class OtherPortTests(SynchronousTestCase):
    """Where something else listens."""

    @contextmanager
    def port(self, said: bytes | None) -> Iterator[str]:
        """
        A port that says this to the first who connects, and closes.

        :param said: None for one that says nothing and never closes.
        """
        with socket.create_server(("127.0.0.1", 0)) as server:
            accepted: list[socket.socket] = []

            def serve() -> None:
                connection, _ = server.accept()
                accepted.append(connection)
                connection.recv(1 << 14)
                if said is not None:
                    connection.sendall(said)
                    connection.close()

            thread = threading.Thread(target=serve)
            thread.start()
            yield f"tls:127.0.0.1:{server.getsockname()[1]}"
            thread.join()
            accepted[0].close()

    def test_no_tls(self) -> None:
        """What is no TLS, or ends too soon, or says nothing, is told from a port that is closed."""
        for said, trouble in (
            (b"", "it accepts connections, and ends them in the TLS handshake"),
            (b"SSH-2.0-x\r\n", "it accepts connections, and does not speak our TLS"),
            (None, "it accepts connections, and no TLS within 0.05 s"),
        ):
            seconds = 0.05 if said is None else 30.0
            with self.port(said) as hint, mock.patch.multiple(reach, SECONDS=seconds, SLACK=30.0):
                self.assertEqual(reach.reach([hint], ALICE)[hint].trouble, trouble)


class ReachTests(SynchronousTestCase):
    """Trying hints."""

    def test_real_ports(self) -> None:
        """A port that accepts is told from one that refuses; no thread dies of having nothing more to try."""
        died: list[threading.ExceptHookArgs] = []
        self.patch(threading, "excepthook", died.append)
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
            found = reach.reach([f"tcp:127.0.0.1:{port}", f"tls:127.0.0.1:{port}"])
            self.assertEqual([each.trouble for each in found.values()], ["", ""])
        found = reach.reach([f"tcp:127.0.0.1:{port}"])
        self.assertEqual(found[f"tcp:127.0.0.1:{port}"].trouble, "connection refused")
        self.assertEqual(died, [])

    def test_what_cannot_be_tried(self) -> None:
        """Hints of other wires are left out; one that cannot be read says why."""
        self.assertEqual(reach.reach(["udp:a:1", "x"]), {})
        self.assertIn("host:port", reach.reach(["tcp:a"])["tcp:a"].trouble)

    def test_stuck(self) -> None:
        """A name that is looked up for ever keeps nobody waiting."""
        stuck = threading.Event()
        self.addCleanup(stuck.set)

        def look_up(*where: object, **more: object) -> list[object]:
            stuck.wait(60)
            return []

        began = time.monotonic()
        with mock.patch("ensemble.command.reach.SECONDS", 0.05), mock.patch("ensemble.command.reach.SLACK", 0.05):
            with mock.patch("socket.getaddrinfo", look_up):
                found = reach.reach(["tcp:a:1"])
        self.assertIn("in time", found["tcp:a:1"].trouble)
        self.assertLess(time.monotonic() - began, 30)

    def test_silent(self) -> None:
        """A name that was looked up is not blamed where its addresses keep silent."""
        connecting, stuck = threading.Event(), threading.Event()
        self.addCleanup(stuck.set)

        def connect(_places: object) -> bytes:
            connecting.set()
            stuck.wait(60)
            return b""

        class Stuck(threading.Thread):
            def join(self, timeout: float | None = None) -> None:
                """The time is over when it connects."""
                connecting.wait(60)

        with mock.patch.multiple(reach, SECONDS=0.05, Thread=Stuck):
            found = reach.reach(["tcp:127.0.0.1:1"], connect=connect)
        self.assertEqual(found["tcp:127.0.0.1:1"].trouble, "nothing answers within 0.05 s")

    def test_dead_addresses(self) -> None:
        """Of the addresses of a name each has its share of the time, so the last that answers is found."""
        if sys.platform != "linux":
            raise SkipTest("only Linux has 127.0.0.2 by itself, and is silent where a backlog is full")
        with (
            socket.create_server(("127.0.0.1", 0)) as server,
            socket.create_server(("127.0.0.2", 0), backlog=0) as full,
        ):
            port, sides = server.getsockname()[1], []
            for _ in range(2):  # then the system answers nobody
                sides.append(socket.socket())
                sides[-1].setblocking(False)
                sides[-1].connect_ex(full.getsockname())
            there = [(socket.AF_INET, 0, 0, "", each) for each in (full.getsockname(), ("127.0.0.1", port))]
            with mock.patch("socket.getaddrinfo", lambda *_, **__: there), mock.patch.object(reach, "SECONDS", 0.5):
                self.assertEqual(reach.reach(["tcp:a:1"])["tcp:a:1"].trouble, "")
                there.pop()
                self.assertEqual(reach.reach(["tcp:a:1"])["tcp:a:1"].trouble, "nothing answers within 0.5 s")
                there.pop()
                self.assertEqual(reach.reach(["tcp:a:1"])["tcp:a:1"].trouble, "it has no address")
            for side in sides:
                side.close()

    def test_no_way(self) -> None:
        """An address to which this machine has no way is not what is told where there is another."""
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
        odd = (cast(socket.AddressFamily, 12345), ("127.0.0.1", 1))
        dead, before = (socket.AF_INET, ("127.0.0.1", port)), os.listdir("/dev/fd")
        for places, number in (
            ([odd, dead], errno.ECONNREFUSED),
            ([dead, odd], errno.ECONNREFUSED),
            ([odd], errno.EAFNOSUPPORT),
        ):
            self.assertEqual(self.assertRaises(OSError, reach._open, places).errno, number)
        self.assertEqual(len(os.listdir("/dev/fd")), len(before))

    def test_mends(self) -> None:
        """What this machine itself lacks is told from what the other side may lack."""

        def failing(error: OSError) -> reach.Connect:
            def connect(_places: object) -> bytes:
                raise error

            return connect

        for error, mend in (
            (OSError(errno.ENETUNREACH, "x"), "has this machine a network"),
            (OSError(errno.EADDRNOTAVAIL, "x"), "has this machine a network"),
            (socket.gaierror(socket.EAI_AGAIN, "x"), "is the name right"),
            (OSError(errno.ECONNREFUSED, "x"), ""),
        ):
            found = reach.reach(["tcp:127.0.0.1:1"], connect=failing(error))["tcp:127.0.0.1:1"]
            self.assertEqual((found.trouble, found.mend[: len(mend)] or found.mend), ("x", mend))
        lost = reach.reach(["tcp:[fe80::1]:1"])["tcp:[fe80::1]:1"]
        self.assertEqual(lost.trouble, "a link-local address needs an interface")
        self.assertEqual(lost.mend, "name this machine's behind it: tcp:[fe80::1%eth0]:1")
