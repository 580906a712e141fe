"""What may be listened on, and what is said of it before."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from ensemble.config import Listening, check_advertise
from ensemble.errors import ConfigurationError


class ListeningTests(SynchronousTestCase):
    """Of one endpoint string."""

    def test_places(self) -> None:
        """Port and address are found wherever Twisted allows them to stand."""
        for description, wire, host, port in (
            ("tcp:14730", "tcp", "0.0.0.0", 14730),
            ("tls6:0", "tls", "::", 0),
            ("tcp:port=14730:interface=127.0.0.1", "tcp", "127.0.0.1", 14730),
            ("tls:interface=192.0.2.1:65535", "tls", "192.0.2.1", 65535),
            ("tcp:1:192.0.2.1:5", "tcp", "192.0.2.1", 1),
            ("tls6:1:5", "tls", "::", 1),
            (r"tls6:1:5:\:\:1", "tls", "::1", 1),
            (r"tcp6:1:interface=\:\:1:backlog=5", "tcp", "::1", 1),
        ):
            self.assertEqual(Listening.parse(description), Listening(wire, host, port), description)

    def test_no_listener(self) -> None:
        """What names no wire or no port of ours is told so."""
        for description, told in (
            ("14730", "there is no wire '14730' here, only tcp, tcp6, tls, tls6;"),
            ("unix:/x", "there is no wire 'unix'"),
            ("tcp", "a port is missing"),
            ("tcp:", "a port is missing"),
            ("tcp:-1", "a port is a number up to 65535"),
            ("tcp:65536", "a port is a number up to 65535"),
            ("tcp:interface=127.0.0.1", "a port is a number up to 65535"),
        ):
            cause = self.assertRaises(ConfigurationError, Listening.parse, description)
            self.assertIn(f"--listen {description}: {told}", str(cause))

    def test_advertised(self) -> None:
        """What is advertised is a hint."""
        self.assertEqual(check_advertise("tcp:a:1"), "tcp:a:1")
        cause = self.assertRaises(ConfigurationError, check_advertise, "tcp:a")
        self.assertIn("--advertise tcp:a: ", str(cause))
