"""The tree of services: what it starts, in which order, and what a reload changes."""

from __future__ import annotations

import os
import socket
import stat
from typing import Any
from unittest import mock

from attrs import evolve
from twisted.internet.address import IPv4Address
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IReactorPluggableNameResolver
from twisted.internet.testing import MemoryReactorClock, StringTransportWithDisconnection
from twisted.logger import LogLevel, capturedLogs
from zope.interface import implementer

from ensemble.daemon.descriptors import KEPT_FROM_DIALS, Descriptors
from ensemble.daemon.humd import Humd
from ensemble.daemon.report import peer_rows
from ensemble.daemon.settings import Settings
from ensemble.daemon.state import StateDirLocked, open_state
from ensemble.errors import ConfigurationError
from ensemble.mesh import Limits
from ensemble.protocols import InMemoryEndpoint, Level
from tests.daemon.memory import HumdTestCase, settle


class OrderlyReactor(MemoryReactorClock):
    """Writes down in which order ports are opened."""

    def __init__(self) -> None:
        super().__init__()
        self.opened: list[str] = []

    def listenTCP(self, port: int, *args: object, **more: object) -> object:
        self.opened.append(f"tcp {port}")
        return super().listenTCP(port, *args, **more)

    def listenUNIX(self, address: str, *args: object, **more: object) -> object:
        self.opened.append(os.path.basename(address))
        return super().listenUNIX(address, *args, **more)

    def connectTCP(self, host: str, *args: object, **more: object) -> object:
        self.opened.append(f"dials {host}")
        return super().connectTCP(host, *args, **more)


@implementer(IReactorPluggableNameResolver)
class NamingReactor(MemoryReactorClock):
    """One that may have a resolver."""

    nameResolver: Any


class StartTests(HumdTestCase):
    """What is there once it has started."""

    def test_order(self) -> None:
        """The ports open first, the thrum socket appears last, and only then a dial takes a descriptor."""
        self.reactor = reactor = OrderlyReactor()
        settings = self.settings(listen=("tcp:14730", "tcp:14731:interface=127.0.0.1"))
        self.write_peers(settings, {"humd_id": "humd_" + "ab" * 32, "hints": ["tcp:192.0.2.1:1"]})
        self.humd(settings)
        sockets = ["thrum.sock.control", "thrum.sock"]
        self.assertEqual(reactor.opened, ["tcp 14730", "tcp 14731", *sockets, "dials 192.0.2.1"])

    def test_descriptors_that_are_kept(self) -> None:
        """Nobody is dialled with one of the last descriptors, and as soon as there are others."""
        following = [1024 - KEPT_FROM_DIALS + 1]
        descriptors = Descriptors(lambda: (1024, 1024), probe=lambda: following[0])
        settings = self.settings()
        self.write_peers(settings, {"humd_id": "humd_" + "ab" * 32, "hints": ["tcp:192.0.2.1:1"]})
        humd = self.humd(settings, descriptors=descriptors)
        self.assertEqual(self.reactor.tcpClients, [])
        self.assertEqual([row["waits"] for row in peer_rows(humd)], [True])
        following[0] -= 1
        self.reactor.advance(1)
        self.assertEqual(len(self.reactor.tcpClients), 1)

    def test_names_over_all_wires(self) -> None:
        """What one peer may have looked up counts over TLS and TCP together."""
        resolver = mock.Mock()
        self.reactor = reactor = NamingReactor()
        reactor.nameResolver = resolver  # Twisted's name for it
        settings = self.settings()
        hints = ["tls:a.test:1", "tls:b.test:1", "tcp:c.test:1"]
        self.write_peers(settings, {"humd_id": "humd_" + "ab" * 32, "hints": hints, "plain": True})
        self.humd(settings)
        reactor.pump([0.5] * 10)
        self.assertEqual([call.args[1] for call in resolver.resolveHostName.call_args_list], ["a.test", "b.test"])

    def test_says_who_and_where(self) -> None:
        """Its first lines tell id, hints, what it wants of peers, and the socket."""
        settings = self.settings(listen=("tcp:14730:interface=127.0.0.1",), advertise=("tcp:humd.example:1",))
        with capturedLogs() as events:
            humd = self.humd(settings)
        told = {event.get("event"): event for event in events}
        self.assertEqual(told["identity"]["id"], humd.me.full)
        self.assertEqual(told["listening"]["hints"], humd.hints)
        self.assertEqual(humd.hints[0], "tcp:humd.example:1")
        self.assertEqual((told["admission"]["auth"], told["admission"]["admit"]), ("proven", "known"))
        self.assertEqual(told["thrum"]["thrum"], str(settings.paths.thrum))

    def test_new_key_is_told_once(self) -> None:
        """That a key is new is said when it was minted, and not at the next start."""
        settings = self.settings()
        with capturedLogs() as events:
            self.stop(self.humd(settings))
            self.stop(self.humd(settings))
        self.assertEqual([event["key"] for event in events if "key" in event], [str(settings.paths.key)])

    def test_one_per_state_dir(self) -> None:
        """A second daemon on the same state directory is refused, and told which one is there."""
        settings = self.settings()
        self.humd(settings)
        error = self.assertRaises(StateDirLocked, open_state, settings.paths)
        self.assertIn(str(os.getpid()), str(error))

    def test_state_is_free_after_the_end(self) -> None:
        """Once stopped, the state directory is free, and the next humd has the same id."""
        settings = self.settings()
        first = self.humd(settings)
        self.stop(first)
        self.assertEqual(self.humd(settings).me, first.me)

    def test_one_starts_at_a_time(self) -> None:
        """While one looks at a thrum path that was left behind, and until it serves it, no other one starts there."""
        one, settings = self.humd(start=False), self.settings()
        thrum = one.settings.paths.thrum
        rival = self.humd(evolve(settings, paths=evolve(settings.paths, thrum=thrum)), start=False)
        thrum.parent.mkdir()
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(str(thrum))

        def meanwhile(path: str) -> None:
            with mock.patch.multiple("ensemble.config.atomic", LOCK_SECONDS=0.001, LOCK_PAUSE=0.001):  # one try
                told = f"somebody else has held the lock .*`chmod go= '{thrum.parent}'`"
                self.assertRaisesRegex(ConfigurationError, told, rival.startService)
            os.unlink(path)

        with mock.patch("ensemble.thrum.server._unlink_dead", side_effect=meanwhile) as removal:
            one.startService()
        self.addCleanup(self.stop, one)
        self.assertEqual(removal.call_count, 1)
        rival.startService()
        self.addCleanup(self.stop, rival)

    def test_broken_peers_file(self) -> None:
        """A peers file that cannot be read costs the peers, not the start; the log says so."""
        settings = self.settings()
        settings.paths.peers_file.parent.mkdir(parents=True)
        settings.paths.peers_file.write_text("[")
        with capturedLogs() as events:
            humd = self.humd(settings)
        self.assertEqual(len([event for event in events if event["log_level"] is LogLevel.error]), 1)
        self.assertEqual(humd.peers.known, {})
        self.assertTrue(humd.running)

    def test_abandoned_start_leaves_no_socket(self) -> None:
        """Where the thrum socket cannot be had after all, the control socket goes again, and so does the lock."""
        settings = self.settings()
        control, thrum = settings.paths.control, settings.paths.thrum

        class Refusing(MemoryReactorClock):
            def listenUNIX(self, address: str, *args: object, **more: object) -> object:
                if address == str(thrum):
                    raise CannotListenError(None, None, OSError(98, "in use"))
                control.touch()
                return super().listenUNIX(address, *args, **more)

        self.reactor = Refusing()
        humd = self.humd(settings, start=False)
        self.assertRaises(ConfigurationError, humd.startService)
        humd.abandon()
        self.assertFalse(control.exists())
        open_state(settings.paths).close()

    def test_many_problems_are_not_a_flood(self) -> None:
        """A peers file in which all is wrong is a few lines in the log, with the number of the rest."""
        settings = self.settings()
        self.write_peers(settings, *({"humd_id": "nobody"} for _ in range(50)))
        with capturedLogs() as events:
            self.humd(settings)
        problems = [event for event in events if event.get("event") == "peers-problem"]
        self.assertEqual(len(problems), 20)
        self.assertEqual([event["more"] for event in events if "more" in event], [30])


class StopTests(HumdTestCase):
    """The end."""

    def test_goodbye_within_two_seconds(self) -> None:
        """A peer that takes nothing any more does not hold up the end for longer than two seconds."""
        one, two = self.pair()
        wire = self.join(one, two)
        wire.partition(True)
        stopped = one.stopService()
        settle(self.reactor)
        self.reactor.advance(1.99)
        settle(self.reactor)
        self.successResultOf(stopped)

    def test_for_good(self) -> None:
        """One that was stopped has let go of its state dir, and does not start again; nor does one that never did."""
        humd = self.humd()
        self.stop(humd)
        with self.assertRaisesRegex(ConfigurationError, "make a new one, of a new state"):
            humd.startService()
        with self.assertRaisesRegex(ConfigurationError, "was stopped"):
            humd.startService()
        self.assertEqual((humd.running, self.reactor.getDelayedCalls()), (0, []))

    def test_peer_reads_the_goodbye(self) -> None:
        """The peer is told that we shut down, and has no link to us any more."""
        one, two = self.pair()
        self.join(one, two)
        self.assertEqual(two.ensemble.peers(), [one.me])
        with capturedLogs() as events:
            self.stop(one)
        self.assertIn("shutdown", [event.get("reason") for event in events])
        self.assertEqual(two.ensemble.peers(), [])

    def pair(self) -> tuple[Humd, Humd]:
        return self.humd(self.settings(admit_any=True)), self.humd(self.settings(admit_any=True))


class ReloadTests(HumdTestCase):
    """SIGHUP, and the verb of the same name."""

    def test_new_rows_are_dialled(self) -> None:
        """A row that is new is dialled at once, and its id admitted."""
        humd = self.humd()
        peer = "11" * 32
        self.write_peers(humd, {"humd_id": peer, "hints": ["tcp:192.0.2.7:14730"], "alias": "far"})
        change = humd.reload()
        self.assertEqual([who.digest.hex() for who in change.added], [peer])
        self.assertEqual([client[:2] for client in self.reactor.tcpClients], [("192.0.2.7", 14730)])
        self.assertIsNone(humd.ensemble.policy.admits(change.added[0], False))

    def linked(self, **more: Any) -> tuple[Humd, Humd]:
        """Two that are linked, the second of which has a row with the first."""
        one, two = self.humd(self.settings(**more)), self.humd(self.settings(admit_any=True))
        self.write_peers(one, {"humd_id": two.me.full})
        one.reload()
        self.join(two, one)
        self.assertEqual(one.ensemble.peers(), [two.me])
        return one, two

    def test_removed_rows_are_told(self) -> None:
        """A row that is gone costs the link, with ``--admit any`` too: the peer reads that it was removed."""
        for admit_any in (False, True):
            one, two = self.linked(admit_any=admit_any)
            self.write_peers(one)
            with capturedLogs() as events:
                change = one.reload()
                settle(self.reactor)
            self.assertEqual(change.removed, (two.me,))
            self.assertIn("removed", [event.get("reason") for event in events])
            self.assertEqual((one.ensemble.peers(), two.ensemble.peers()), ([], []))

    def test_changed_rows_are_judged_again(self) -> None:
        """A row that only got an alias keeps its link; one that now demands a secure wire loses a plain one."""
        one, two = self.linked()
        self.write_peers(one, {"humd_id": two.me.full, "alias": "two"})
        self.assertEqual(one.reload().changed, (two.me,))
        settle(self.reactor)
        self.assertEqual(one.ensemble.peers(), [two.me])
        self.patch(InMemoryEndpoint, "secure", False)
        self.write_peers(one, {"humd_id": two.me.full, "hints": ["tls:192.0.2.7:1"]})
        one.reload()
        settle(self.reactor)
        self.assertEqual(one.ensemble.peers(), [])

    def test_a_slip_in_a_secure_hint(self) -> None:
        """A secure hint that cannot be read is left out, and plain wires stay out with it."""
        one, two = self.humd(), self.humd(self.settings(admit_any=True))
        self.write_peers(one, {"humd_id": two.me.full, "hints": ["tls://192.0.2.7:1", "tcp:192.0.2.7:2"]})
        self.assertIn("the hint is left out", one.reload().problems[0])
        self.patch(InMemoryEndpoint, "secure", False)
        self.join(two, one)
        self.assertEqual(one.ensemble.peers(), [])
        self.assertFalse(one.dialler.dials(two.me))

    def test_missing_file(self) -> None:
        """A file that is gone costs all peers, and the log says so."""
        humd = self.humd()
        self.write_peers(humd, {"humd_id": "11" * 32})
        humd.reload()
        self.assertIn("1 peer known", humd.in_short())
        humd.settings.paths.peers_file.unlink()
        with capturedLogs() as events:
            humd.reload_and_tell()
        (told,) = [event for event in events if event.get("event") == "peers-missing"]
        self.assertEqual((told["log_level"], told["removed"]), (LogLevel.warn, 1))
        self.assertIn("0 peers known", humd.in_short())

    def test_in_short(self) -> None:
        """What the service manager keeps has no address that may change."""
        humd = self.humd(self.settings(listen=("tcp:14730",), advertise=("tls:a.example:1",)))
        self.assertIn("; tls:a.example:1, tcp:14730; ", humd.in_short())
        self.assertIn("; listens nowhere; ", self.humd().in_short())

    def test_broken_file_changes_nothing(self) -> None:
        """A file that is no JSON leaves the last good list in force, and the signal only logs it."""
        humd = self.humd()
        self.write_peers(humd, {"humd_id": "11" * 32})
        humd.reload()
        humd.settings.paths.peers_file.write_text('{"peers":')
        with capturedLogs() as events:
            humd.reload_and_tell()
        self.assertEqual([event.get("event") for event in events], ["reload-failed"])
        self.assertEqual(len(humd.peers.known), 1)

    def test_service_manager_hears_of_it(self) -> None:
        """A reload is announced, and ended with READY, also where it failed."""
        humd = self.humd()
        humd.settings.paths.peers_file.parent.mkdir(parents=True)
        humd.settings.paths.peers_file.write_text("[")
        humd.reload_and_tell()
        self.assertEqual(humd.notifier.words, ["RELOADING=1", "READY=1"])  # type: ignore[attr-defined]

    def test_rows_keep_what_was_proven(self) -> None:
        """An id that proved itself as a stranger is remembered for good once it has a row."""
        one, two = self.humd(self.settings(admit_any=True)), self.humd(self.settings(admit_any=True))
        self.join(two, one)
        self.write_peers(one, {"humd_id": two.me.full, "auth": "open"})
        one.reload()
        self.assertTrue(one.state.memory.ever_proven(two.me))


class SettingsTests(HumdTestCase):
    """Settings that reach the parts."""

    def test_shared_ceilings(self) -> None:
        """What waits to be written, and what is unfinished, counts over peers and programs together."""
        humd = self.humd(self.settings(limits=Limits(client_queue_bytes=3 * 2**20)))
        self.assertIs(humd.thrum.queues, humd.ensemble.queues)
        self.assertEqual(humd.thrum.queue_bytes, 3 * 2**20)
        self.assertIs(humd.tls._budget, humd.ensemble.budget)

    def test_level_and_ceilings(self) -> None:
        """The level, who is admitted and the ceiling of a tone are those of the options."""
        humd = self.humd(self.settings(level=Level.SIGNED, admit_any=True, max_tone=20 * 1024 * 1024))
        self.assertEqual((humd.ensemble.policy.level, humd.ensemble.policy.admit_any), (Level.SIGNED, True))
        self.assertEqual(humd.ensemble.max_tone, 20 * 1024 * 1024)

    def test_ceiling_of_a_local_tone(self) -> None:
        """A local program may say what the limit allows, and never less than a peer may."""
        mib = 1024 * 1024
        for said, most in (
            ({}, 16 * mib),
            ({"max_tone": 20 * mib}, 20 * mib),
            ({"limits": Limits(thrum_max_tone_bytes=mib)}, 4 * mib),
            ({"limits": Limits(thrum_max_tone_bytes=32 * mib)}, 32 * mib),
        ):
            self.humd(self.settings(**said))
            *_, (path, factory, *_) = self.reactor.unixServers  # the last to appear
            self.assertEqual((os.path.basename(path), factory.buildProtocol(None).max_line), ("thrum.sock", most))

    def test_state_dir_is_ours_alone(self) -> None:
        """What it makes in the state directory nobody else can read."""
        settings: Settings = self.settings()
        self.humd(settings)
        for path in (settings.paths.state_dir, *settings.paths.state_dir.iterdir()):
            self.assertEqual(stat.S_IMODE(path.stat().st_mode) & 0o077, 0, path)

    def test_accepted_connections_are_installed(self) -> None:
        """What connects to a listening port shakes hands: silent, it is gone after ten seconds."""
        humd = self.humd(self.settings(listen=("tcp:14730",)))
        factory: Any = self.reactor.tcpServers[0][1]
        protocol = factory.buildProtocol(IPv4Address("TCP", "192.0.2.1", 1))
        transport = StringTransportWithDisconnection()
        transport.protocol = protocol
        protocol.makeConnection(transport)
        self.assertEqual(humd.ensemble.pending, 1)
        self.reactor.advance(10)
        settle(self.reactor)
        self.assertEqual(humd.ensemble.pending, 0)
        self.assertFalse(transport.connected)
