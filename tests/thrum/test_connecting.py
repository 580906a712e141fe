"""The client's wire, and how it comes by it."""

from __future__ import annotations

import socket
from typing import Any
from unittest import mock

from twisted.internet.error import ConnectError
from twisted.internet.testing import StringTransport, StringTransportWithDisconnection
from twisted.logger import capturedLogs
from twisted.python.failure import Failure

from ensemble.thrum.client import connect
from ensemble.tone import decode
from tests.thrum.daemon_end import DaemonTestCase


class WireTests(DaemonTestCase):
    """The connection itself."""

    def test_a_line_too_long(self) -> None:
        """A daemon that says more than one tone may hold is left, and the loss says why."""
        self.near.max_line = 100
        self.say({"chi": "x-news", "text": "x" * 100})
        self.assertIn("limit 100", str(self.successResultOf(self.client.gone)))
        self.assertEqual(self.daemon.lost, "aborted")

    def test_half_a_line_is_no_news(self) -> None:
        """Bytes that complete no line change nothing."""
        stream = self.client.tones()
        self.client.bytes_trickled()
        self.assertEqual(stream.untaken, 0)

    def test_connect(self) -> None:
        """A client that connects says and hears tones on the socket, with rids of the given time."""
        connecting = connect(self.world.clock, "/thrum", wall=lambda: 36.0)
        path, factory, *_ = self.world.clock.unixClients[0]
        self.assertEqual(path, "/thrum")
        protocol = factory.buildProtocol(None)
        assert protocol is not None
        transport = StringTransport()
        protocol.makeConnection(transport)
        client = self.successResultOf(connecting)
        client.hello("bee", bee=["worker"])
        self.world.settle()
        said = decode(transport.value().rstrip(b"\n"))
        self.assertEqual((said["chi"], said["hive"], said["bee"]), ("hello", "bee", ["worker"]))
        self.assertTrue(said["rid"].startswith("rs0"), said["rid"])
        stream = client.tones()
        protocol.dataReceived(b'{"chi":"x-news"}\n')
        self.assertEqual(stream.untaken, 1)

    def test_log(self) -> None:
        """A program that connects often finds nothing of that in its log."""
        with capturedLogs() as events:
            connect(self.world.clock, "/thrum")
            factory = self.world.clock.unixClients[0][1]
            factory.doStart()
            factory.doStop()
        self.assertEqual(events, [])

    def test_somebody_else_serves(self) -> None:
        """Who was the first with the name of the socket gets nothing; the program is told."""
        connecting = connect(self.world.clock, "/thrum")
        protocol = self.world.clock.unixClients[0][1].buildProtocol(None)
        assert protocol is not None
        transport: Any = StringTransportWithDisconnection()
        transport.protocol, transport.socket = protocol, socket.socket(socket.AF_UNIX)
        self.addCleanup(transport.socket.close)
        with mock.patch("ensemble.thrum.client.refuse_strangers", side_effect=PermissionError("user 4711")):
            protocol.makeConnection(transport)
        self.assertIn("4711", str(self.failureResultOf(connecting, PermissionError).value))
        self.assertEqual((transport.connected, transport.value()), (False, b""))

    def test_nobody_listens(self) -> None:
        """Where nobody listens connecting fails with the cause."""
        connecting = connect(self.world.clock, "/thrum")
        self.world.clock.unixClients[0][1].clientConnectionFailed(
            None,
            Failure(ConnectError(string="nobody")),
        )
        self.assertIn("nobody", str(self.failureResultOf(connecting, ConnectError).value))
