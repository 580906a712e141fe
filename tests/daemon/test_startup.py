"""The start: silence, or one line and status 1."""

from __future__ import annotations

import os
import signal
import socket
from functools import partial
from typing import Any

from twisted.application.service import MultiService
from twisted.internet.error import CannotListenError
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import LogLevel, capturedLogs
from twisted.python.monkey import MonkeyPatcher

from ensemble.config import Paths
from ensemble.daemon.settings import Settings
from ensemble.daemon.signals import Signals
from ensemble.daemon.startup import Launch, Program
from tests.daemon.memory import HumdTestCase, settle


class Reactor(MemoryReactorClock):
    """Runs what is to run when it runs at once, or when told; hands over calls of signals in ``run_calls``."""

    def __init__(self) -> None:
        super().__init__()
        self.stopped = 0
        self.thread_calls: list[tuple[Any, ...]] = []

    def callFromThread(self, call: Any, *args: object, **more: object) -> None:
        self.thread_calls.append((call, *args))

    def run_calls(self) -> None:
        calls, self.thread_calls = self.thread_calls, []
        for call, *args in calls:
            call(*args)

    def stop(self) -> None:
        self.stopped += 1


class Written(Launch):
    """A launch whose stderr we can read."""

    def __init__(self, test: HumdTestCase, **twistd: Any) -> None:
        super().__init__(twistd)
        reading, writing = os.pipe()
        assert self._stderr is not None
        os.dup2(writing, self._stderr)
        os.close(writing)
        self._reading = os.fdopen(reading)
        test.addCleanup(self._reading.close)

    def lines(self) -> list[str]:
        """What was written, once it is closed."""
        return self._reading.read().splitlines()


class StartupTestCase(HumdTestCase):
    """Makes programs as ``twistd`` would."""

    def setUp(self) -> None:
        super().setUp()
        self.reactor: Reactor = Reactor()
        self.signals: dict[int, Any] = {}
        self.alarms: list[float] = []

    def program(self, settings: Settings | None = None, launch: Launch | None = None, **more: Any) -> Program:
        self.launch = launch if launch is not None else Written(self)
        return Program(
            settings if settings is not None else self.settings(),
            self.reactor,
            self.launch,
            signals=partial(Signals, install=self.signals.__setitem__, alarm=self.alarms.append),
            **more,
        )

    def start(self, program: Program) -> Program:
        program.privilegedStartService()
        program.startService()
        self.addCleanup(self.end, program)
        return program

    def end(self, program: Program) -> None:
        if program.running:
            stopped = program.stopService()
            settle(self.reactor)
            self.successResultOf(stopped)

    def fails(self, program: Program) -> str:
        """Starts it; the one line of the failure."""

        def start() -> None:
            program.privilegedStartService()
            program.startService()

        with capturedLogs() as events:
            error = self.assertRaises(SystemExit, start)
        self.assertEqual(error.code, 1)
        told = [event["event"] for event in events if event["log_level"] is LogLevel.critical]
        self.assertEqual(told, ["start-failed"])
        assert isinstance(self.launch, Written)
        (line,) = self.launch.lines()
        return line


class ProgramTests(StartupTestCase):
    """What ``twistd`` runs."""

    def test_silence(self) -> None:
        """A start that succeeds says nothing and lets go of the terminal."""
        self.start(self.program())
        assert isinstance(self.launch, Written)
        self.assertEqual(self.launch.lines(), [])

    def test_ready(self) -> None:
        """The service manager hears READY once the reactor runs, and STOPPING when the end begins."""
        manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(manager.close)
        manager.bind(str(self.folder() / "notify"))
        manager.setblocking(False)
        program = self.start(self.program(environ={"NOTIFY_SOCKET": manager.getsockname()}))
        self.assertRaises(BlockingIOError, manager.recv, 4096)
        for call, args, more in self.reactor.whenRunningHooks:
            call(*args, **more)
        said = manager.recv(4096).decode()
        self.assertIn("READY=1\n", said)
        self.assertIn(program.humd.me.full, said)
        self.end(program)
        self.assertIn("STOPPING=1", manager.recv(4096).decode())

    def test_unknown_log_level(self) -> None:
        """A ``HUM_LOG_LEVEL`` that is no level is told in one warning, with those that there are."""
        for word, count in (("loud", 1), ("debug", 0)):
            with capturedLogs() as events:
                self.end(self.start(self.program(environ={"HUM_LOG_LEVEL": word})))
            told = [event for event in events if event.get("event") == "log-level"]
            self.assertEqual([event["value"] for event in told], ["loud"] * count)

    def test_no_home(self) -> None:
        """A humd whose files are below the current folder for want of a home says so."""
        paths = Paths.resolve({"XDG_RUNTIME_DIR": str(self.folder())}, 0, state_dir=self.folder())
        with capturedLogs() as events:
            self.end(self.start(self.program(Settings(paths=paths))))
            self.end(self.start(self.program()))
        (told,) = (event for event in events if event.get("event") == "no-home")
        self.assertEqual(told["mend"], "give --peers, or set HOME")

    def test_signals(self) -> None:
        """SIGTERM stops the reactor, once however often it comes; SIGHUP reads the peers again."""
        program = self.start(self.program())
        self.write_peers(program.humd, {"humd_id": "11" * 32})
        self.signals[signal.SIGHUP](signal.SIGHUP, None)
        self.assertEqual(len(program.humd.peers.known), 0)  # not in the handler itself
        self.reactor.run_calls()
        self.assertEqual(len(program.humd.peers.known), 1)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGTERM):
            self.signals[number](number, None)
        self.reactor.run_calls()
        self.assertEqual(self.reactor.stopped, 1)

    def test_the_end_has_an_end(self) -> None:
        """What does not end within two seconds of the signal is ended, with status 0 and without its pid file."""
        pidfile = self.folder() / "pid"
        pidfile.write_text(f"{os.getpid()}")
        self.start(self.program(launch=Written(self, pidfile=str(pidfile))))
        self.signals[signal.SIGTERM](signal.SIGTERM, None)
        self.reactor.run_calls()
        self.assertEqual(len(self.alarms), 1)
        self.assertLess(self.alarms[0], 2)
        left: list[int] = []
        self.patch(os, "_exit", left.append)
        self.signals[signal.SIGALRM](signal.SIGALRM, None)
        self.assertEqual((left, pidfile.exists()), ([0], False))

    def test_the_alarm_ends_with_the_reactor(self) -> None:
        """Once the reactor and its threads have ended there is no alarm any more, which would be an exit status."""
        self.start(self.program())
        self.signals[signal.SIGTERM](signal.SIGTERM, None)
        self.reactor.run_calls()
        for call, args, more in self.reactor.triggers["after"]["shutdown"]:
            call(*args, **more)
        self.assertEqual(self.alarms[1:], [0.0])

    def test_signals_are_taken_again(self) -> None:
        """When the reactor runs it has put its own handlers in place: ours replace them."""
        self.start(self.program())
        self.signals.clear()
        for call, args, more in self.reactor.whenRunningHooks:
            call(*args, **more)
        self.assertEqual(set(self.signals), {signal.SIGTERM, signal.SIGINT, signal.SIGHUP})

    def test_low_ports(self) -> None:
        """Ports are bound before privileges are shed, files made after."""
        settings = self.settings(listen=("tcp:443",))
        program = self.program(settings, Written(self, uid=1000))
        program.privilegedStartService()
        self.assertEqual([server[0] for server in self.reactor.tcpServers], [443])
        self.assertFalse(settings.paths.state_dir.exists())
        program.startService()
        self.addCleanup(self.end, program)
        self.assertEqual(len(self.reactor.tcpServers), 1)
        self.assertEqual(len(program.humd.hints), 1)

    def test_ends_before_it_started(self) -> None:
        """A program that never started can be stopped."""
        self.successResultOf(self.program().stopService())
        self.launch.succeeded()

    def test_without_twistd(self) -> None:
        """It is a service like any other: a parent that is no application will do."""
        parent = MultiService()
        program = self.program(observer=object())
        program.setServiceParent(parent)
        self.assertIs(program.parent, parent)
        self.launch.succeeded()


class FailureTests(StartupTestCase):
    """What cannot start."""

    def refuse_to_listen(self, error: Exception) -> MonkeyPatcher:
        """No TCP port can be had; :returns: what ends that."""

        def listen(*args: object, **more: object) -> None:
            raise error

        patched: MonkeyPatcher = self.patch(self.reactor, "listenTCP", listen)
        return patched

    def test_taken_port(self) -> None:
        """The line names the port and the cause; the state directory is free again."""
        taken = self.refuse_to_listen(CannotListenError("127.0.0.1", 14730, OSError(98, "Address already in use")))
        settings = self.settings(listen=("tcp:14730",))
        line = self.fails(self.program(settings))
        self.assertIn("cannot listen on tcp:14730: Address already in use", line)
        taken.restore()
        self.start(self.program(settings))

    def test_place_that_is_none(self) -> None:
        """An address that cannot be looked up is said in words, though its number is none of the system's errors."""
        self.refuse_to_listen(CannotListenError("999.1.1.1", 14730, socket.gaierror(-2, "Name or service not known")))
        line = self.fails(self.program(self.settings(listen=("tcp:14730:interface=999.1.1.1",))))
        self.assertIn(": Name or service not known; choose another place", line)

    def test_taken_low_port(self) -> None:
        """The same where the ports come first."""
        self.refuse_to_listen(CannotListenError("", 443, OSError(13, "Permission denied")))
        launch = Written(self, uid=1000)
        self.assertIn("Permission denied", self.fails(self.program(self.settings(listen=("tcp:443",)), launch)))

    def test_port_that_is_none(self) -> None:
        """A number that no port has is one line too."""
        self.refuse_to_listen(OverflowError("bind(): port must be 0-65535."))
        self.assertIn("0-65535", self.fails(self.program(self.settings(listen=("tcp:99999",)))))

    def test_a_bug(self) -> None:
        """A bug is one line for the terminal, and its traceback is in the log."""

        def broken(*args: object) -> Any:
            raise KeyError("oops")

        line = self.fails(self.program(open_state=broken))
        self.assertIn("KeyError", line)
        self.assertIn("the log has the traceback", line)
        self.assertEqual(len(self.flushLoggedErrors(KeyError)), 1)

    def test_pidfile(self) -> None:
        """The pid file that ``twistd`` made goes, if it is ours."""
        ours, other = self.folder() / "pid", self.folder() / "pid"
        ours.write_text(f"{os.getpid()}")
        other.write_text("1")
        settings = self.settings()
        settings.paths.state_dir.mkdir(parents=True)
        settings.paths.key.write_bytes(b"short")
        for path in (ours, other):
            self.fails(self.program(settings, Written(self, pidfile=str(path))))
        self.assertFalse(ours.exists())
        self.assertTrue(other.exists())

    def test_in_the_background(self) -> None:
        """The process in front is told to leave with status 1, before this one does."""
        killed: list[tuple[int, int]] = []
        self.patch(os, "kill", lambda *args: killed.append(args))
        before = signal.getsignal(signal.SIGUSR2)
        self.addCleanup(signal.signal, signal.SIGUSR2, before)
        launch = Written(self, nodaemon=0)
        handler = signal.getsignal(signal.SIGUSR2)
        settings = self.settings()
        settings.paths.state_dir.mkdir(parents=True)
        settings.paths.key.write_bytes(b"short")
        self.fails(self.program(settings, launch))
        self.assertEqual(killed, [(os.getpid(), signal.SIGUSR2)])
        self.assertIs(signal.getsignal(signal.SIGUSR2), signal.SIG_DFL)
        left: list[int] = []
        self.patch(os, "_exit", left.append)
        assert callable(handler)
        handler(signal.SIGUSR2, None)
        self.assertEqual(left, [1])

    def test_no_stderr(self) -> None:
        """Without a stderr, or with one that nobody reads, the start fails all the same."""

        def closed(_: int) -> int:
            raise OSError(9, "Bad file descriptor")

        with_reader_gone = Launch({})
        assert with_reader_gone._stderr is not None
        reading, writing = os.pipe()
        os.dup2(writing, with_reader_gone._stderr)
        os.close(reading)
        os.close(writing)
        self.assertRaises(SystemExit, with_reader_gone.failed, "why")
        self.patch(os, "dup", closed)
        self.assertRaises(SystemExit, Launch({}).failed, "why")


class LaunchTests(HumdTestCase):
    """What ``twistd``'s options say of the start."""

    def test_of_twistd(self) -> None:
        """Without ``-n`` there will be a process in front; with a uid or gid, privileges are shed."""
        before = signal.getsignal(signal.SIGUSR2)
        self.addCleanup(signal.signal, signal.SIGUSR2, before)
        for twistd, background, sheds in (
            ({}, False, False),
            ({"nodaemon": 1, "uid": None, "gid": None}, False, False),
            ({"nodaemon": 0, "debug": False, "uid": 1000}, True, True),
            ({"nodaemon": 0, "debug": True, "gid": 1000}, False, True),
        ):
            launch = Launch(twistd)
            self.assertEqual((launch._front is not None, launch.sheds_privileges), (background, sheds))
            launch.succeeded()
