"""The daemon as a process: what whoever types ``twistd humd`` sees, hears and gets back."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
from shlex import quote
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.daemon.process import (
    Daemon,
    Folder,
    Talk,
    run_to_end,
    start_in_background,
    wait_for_end,
)

LOOPBACK = "tcp:0:interface=127.0.0.1"


class ProcessTestCase(SynchronousTestCase):
    """Daemons and folders that end with the test."""

    def daemon(self, *options: str, **more: Any) -> Daemon:
        daemon = Daemon(*options, **more)
        self.addCleanup(daemon.close)
        return daemon.ready()

    def folder(self) -> Folder:
        folder = Folder()
        self.addCleanup(folder.remove)
        return folder


class LifeTests(ProcessTestCase):
    """From the start to the end."""

    def test_no_options(self) -> None:
        """With no option at all it starts, and its first lines say its id, its socket and that it listens nowhere."""
        daemon = self.daemon()
        status = daemon.ask("status")
        log = "\n".join(daemon.lines.all[:12])
        self.assertIn(status["id"], log)
        self.assertIn(str(daemon.folder.thrum), log)
        self.assertIn("listens nowhere", log)
        self.assertIn("auth proven, admit known", log)
        self.assertIn("key is new", log)
        self.assertEqual(status["listening"], [])
        for path in (daemon.folder.thrum, daemon.folder.control):
            self.assertEqual(stat.S_IMODE(os.stat(path).st_mode), 0o600)

    def test_real_port(self) -> None:
        """Of port 0 the real one is in the log, in the hints, and open; advertised hints come first."""
        daemon = self.daemon("--listen", LOOPBACK, "--advertise", "tcp:humd.example:14730")
        advertised, hint = daemon.ask("status")["listening"]
        self.assertEqual(advertised, "tcp:humd.example:14730")
        self.assertIn(hint, daemon.lines.wait_for("others find it at"))
        host, port = hint.removeprefix("tcp:").rsplit(":", 1)
        socket.create_connection((host, int(port)), 10).close()

    def test_sigterm(self) -> None:
        """SIGTERM ends it before its alarm does: with status 0, no socket left, and local programs disconnected."""
        daemon = self.daemon()
        program = daemon.thrum()
        self.assertEqual(daemon.stop(), 0)
        self.assertIsNone(program.hear())
        self.assertEqual(os.listdir(daemon.folder.thrum.parent), [])  # the alarm would leave them
        self.assertEqual(daemon.errors.finish(), [])

    def test_sigint(self) -> None:
        """Ctrl-C is the same."""
        daemon = self.daemon()
        daemon.signal(signal.SIGINT)
        self.assertEqual(daemon.wait(), 0)

    def test_clock_set_back(self) -> None:
        """When somebody sets the clock of the machine back, what waits for a while does not wait for longer."""
        folder = self.folder()
        first = f"""
import os, time
wall = time.time
time.time = lambda: wall() - 86400 * os.path.exists({str(folder.path / "back")!r})
"""
        daemon = self.daemon(folder=folder, first=first)
        before = daemon.ask("status")["uptime_s"]
        (folder.path / "back").touch()
        asked = (daemon.ask("status")["uptime_s"] for _ in range(100))  # the first may come in the same millisecond
        self.assertGreater(next((uptime for uptime in asked if uptime != before), before), before)

    def test_starts_again(self) -> None:
        """Killed, it leaves a dead socket and a lock file; the next one has the same id and takes both over."""
        folder = self.folder()
        first = self.daemon(folder=folder)
        who = first.ask("status")["id"]
        first.signal(signal.SIGKILL)
        first.wait()
        self.assertTrue(folder.thrum.exists())
        again = self.daemon(folder=folder)
        self.assertEqual(again.ask("status")["id"], who)
        self.assertNotIn("key is new", "\n".join(again.lines.all))

    def test_json_log(self) -> None:
        """Every line of a JSON log is one object with time, level, event and message."""
        daemon = self.daemon("--log-format", "json")
        self.assertEqual(daemon.stop(), 0)
        events = [json.loads(line) for line in daemon.lines.finish()]
        for event in events:
            self.assertLessEqual({"time", "level", "event", "message"}, set(event))
        self.assertLessEqual({"identity", "thrum", "ready", "stopping"}, {event["event"] for event in events})

    def test_readiness(self) -> None:
        """The service manager hears READY=1 once it serves, and STOPPING=1 when it goes."""
        folder = self.folder()
        manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(manager.close)
        manager.settimeout(20)
        manager.bind(str(folder.path / "notify"))
        daemon = Daemon(folder=folder, environ={"NOTIFY_SOCKET": str(folder.path / "notify")})
        self.addCleanup(daemon.close)
        self.assertIn("READY=1", manager.recv(4096).decode().split("\n"))
        with Talk(folder.thrum) as talk:
            self.assertEqual((talk.hear() or {})["chi"], "breath")
        daemon.stop()
        self.assertIn("STOPPING=1", manager.recv(4096).decode().split("\n"))

    def test_slow_name_server(self) -> None:
        """A name that is still being looked up does not hold up the end."""
        folder = self.folder()
        folder.write_peers({"humd_id": "11" * 32, "hints": ["tcp:slow.example:14730"]})
        hanging = "import socket, time; socket.getaddrinfo = lambda *args, **more: time.sleep(600)"
        daemon = self.daemon(folder=folder, first=hanging)
        self.assertEqual(daemon.stop(), 0)
        self.assertFalse(folder.thrum.exists())

    def test_last_descriptors(self) -> None:
        """However many connect, local programs are still served, and the refusals counted."""
        daemon = self.daemon("--listen", LOOPBACK, "--limit", "address_pending_links=256", descriptors=200)
        host, port = daemon.ask("status")["listening"][0].removeprefix("tcp:").rsplit(":", 1)
        crowd = [socket.create_connection((host, int(port)), 10) for _ in range(250)]
        for one in crowd:
            self.addCleanup(one.close)
        crowd[-1].settimeout(20)
        try:
            self.assertEqual(crowd[-1].recv(1), b"")
        except ConnectionResetError:
            pass  # the same, said more rudely
        status = daemon.ask("status")
        self.assertEqual(status["descriptors"]["soft"], 200)
        self.assertLess(status["descriptors"]["used"], 200 - 60)
        self.assertGreater(status["counters"]["descriptors.refused"], 100)
        self.assertGreater(status["links"]["pending"], 50)
        daemon.thrum().say({"chi": "hello", "hive": "x"})

    def test_select(self) -> None:
        """With the select reactor it counts on no more descriptors than that can watch, whatever the limit."""
        daemon = self.daemon(first="from twisted.internet import selectreactor; selectreactor.install()")
        self.assertLessEqual(daemon.ask("status")["descriptors"]["soft"], 1024)


class BackgroundTests(ProcessTestCase):
    """Without ``-n``."""

    def test_daemonises(self) -> None:
        """It comes back with 0 and not a word once it serves, and ends at SIGTERM without its pid file."""
        folder = self.folder()
        done = start_in_background(folder)
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, "", ""))
        pid = int((folder.path / "humd.pid").read_text())
        with Talk(folder.thrum) as talk:
            self.assertEqual((talk.hear() or {})["chi"], "breath")
        os.kill(pid, signal.SIGTERM)
        wait_for_end(pid)
        self.assertFalse((folder.path / "humd.pid").exists())
        self.assertIn("stopped", (folder.path / "humd.log").read_text())

    def test_failure_comes_back(self) -> None:
        """Where it cannot start, the terminal gets one line and status 1, the log too, and no pid file stays."""
        folder = self.folder()
        running = self.daemon(folder=folder)
        done = start_in_background(folder)
        self.assertEqual(done.returncode, 1)
        (line,) = done.stderr.splitlines()
        self.assertIn(f"process {running.process.pid}", line)
        self.assertIn("--state-dir", line)
        log = (folder.path / "humd.log").read_text()
        self.assertIn("another humd", log)
        self.assertNotIn("Traceback", log)
        self.assertFalse((folder.path / "humd.pid").exists())


class FailureTests(ProcessTestCase):
    """What cannot start says why in one line."""

    def fails(self, folder: Folder, *options: str, status: int = 1) -> str:
        done = run_to_end(folder, *options)
        self.assertEqual(done.returncode, status, done.stderr)
        self.assertNotIn("Traceback", done.stdout + done.stderr)
        (line,) = done.stderr.splitlines()
        self.assertFalse((folder.path / "humd.pid").exists())
        return line

    def test_bad_option(self) -> None:
        """An option that there is not, or a value that makes no sense: status 2."""
        folder = self.folder()
        for options, told in (
            (["--frobnicate"], "--frobnicate"),
            (["--auth", "perhaps"], "open, signed, proven"),
            (["--listen", "udp:14731"], "'udp'"),
            (["--listen", "tcp:here"], "tcp:here"),
        ):
            self.assertIn(told, self.fails(folder, *options, status=2))

    def test_taken_port(self) -> None:
        """A port that somebody has is named; nothing is left of the start."""
        taken = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(taken.close)
        place = f"tcp:{taken.getsockname()[1]}:interface=127.0.0.1"
        folder = self.folder()
        line = self.fails(folder, "--listen", place)
        self.assertIn(place, line)
        self.assertIn("in use", line)
        self.assertFalse(folder.thrum.exists())

    def test_readable_key(self) -> None:
        """A key that others can read is refused, with the mend."""
        folder = self.folder()
        key = folder.path / "key"
        key.write_bytes(b"\0" * 32)
        key.chmod(0o644)
        self.assertIn(f"chmod 600 {quote(str(key))}", self.fails(folder, "--key", str(key)))

    def test_live_socket(self) -> None:
        """The socket of a running humd is never taken away."""
        running = self.daemon()
        folder = self.folder()
        line = self.fails(folder, "--thrum", str(running.folder.thrum))
        self.assertIn(f"already serves {running.folder.thrum}", line)
        running.ready()

    def test_locked_state(self) -> None:
        """Two on one state dir: the second names the first."""
        running = self.daemon()
        line = self.fails(running.folder, "--thrum", str(running.folder.path / "other.sock"))
        self.assertIn(f"process {running.process.pid}", line)


class TwoDaemonsTests(ProcessTestCase):
    """Two real daemons over TCP."""

    def test_hangup_links_and_parts(self) -> None:
        """SIGHUP dials a row that is new, and says goodbye to one that is gone."""
        one, two = self.daemon("--listen", LOOPBACK), self.daemon("--listen", LOOPBACK)
        one_row, two_row = one.row(), two.row()
        one.folder.write_peers(two_row)
        two.folder.write_peers({"humd_id": one_row["humd_id"]})
        two.signal(signal.SIGHUP)
        two.lines.wait_for("1 added, 0 removed")
        one.signal(signal.SIGHUP)
        one.lines.wait_for(f"linked {two_row['humd_id']}")
        two.lines.wait_for(f"linked {one_row['humd_id']}")
        (row,) = one.ask("probe")["peers"]
        self.assertEqual((row["state"], row["level"], row["dialled"]), ("linked", "proven", True))
        self.assertGreaterEqual(row["round_trip_ms"], 0)
        self.assertLess(abs(row["skew_ms"]), 5000)
        one.folder.write_peers()
        one.signal(signal.SIGHUP)
        one.lines.wait_for("0 added, 1 removed")
        two.lines.wait_for("goodbye: removed")
        self.assertEqual(one.ask("peers")["peers"], [])

    def test_broken_file_keeps_the_last(self) -> None:
        """A peers file that is no JSON costs nothing: the last good list stays, and the link with it."""
        two = self.daemon("--listen", LOOPBACK, "--admit", "any")
        folder = self.folder()
        folder.write_peers(two.row())
        one = self.daemon(folder=folder)
        one.lines.wait_for("linked")
        folder.peers_file.write_text('{"peers":[')
        one.signal(signal.SIGHUP)
        one.lines.wait_for("the last good list stays")
        self.assertEqual(one.ask("status")["links"]["up"], 1)
        self.assertEqual(one.ask("reload")["qualifier"], "config.bad")

    def test_goodbye(self) -> None:
        """At SIGTERM the peer is told, and a program that waits there hears that the peer is lost."""
        two = self.daemon("--listen", LOOPBACK, "--admit", "any")
        worker = two.thrum()
        worker.say({"chi": "hello", "rid": "h", "hive": "slow", "bee": ["worker"], "models": ["slow"]})
        worker.hear_until("breath")
        folder = self.folder()
        folder.write_peers(two.row())
        one = self.daemon(folder=folder)
        one.lines.wait_for("linked")
        asker = one.thrum()
        asker.say({"chi": "prompt", "rid": "p", "sid": "s", "modelId": "slow", "text": "?", "to": two.row()["humd_id"]})
        worker.hear_until("prompt")
        self.assertEqual(two.stop(), 0)
        one.lines.wait_for("goodbye: shutdown")
        error = asker.hear_until("error")
        self.assertEqual((error["qualifier"], error["sid"]), ("peer.lost", "s"))
