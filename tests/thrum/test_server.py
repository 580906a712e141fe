"""The socket file of a service: what may be in its way when it comes and when it goes."""

from __future__ import annotations

import os
import shutil
import socket
import stat
import tempfile
from typing import Any, cast
from unittest import mock

from twisted.internet import reactor as _reactor
from twisted.internet.interfaces import IFileDescriptor
from twisted.internet.protocol import ServerFactory
from twisted.logger import capturedLogs
from twisted.trial.unittest import TestCase

from ensemble.errors import ConfigurationError
from ensemble.thrum import SocketInUse, UnixListener, clear_stale, prepare_directory

reactor = cast(Any, _reactor)


class UnixListenerTests(TestCase):
    """On the real reactor, for the file is what matters."""

    def setUp(self) -> None:
        self.directory = tempfile.mkdtemp(prefix="hum d-", dir="/tmp")
        self.addCleanup(shutil.rmtree, self.directory)
        self.path = os.path.join(self.directory, "thrum.sock")
        self.listener = UnixListener(reactor, self.path, ServerFactory())

    def test_stop_without_start(self) -> None:
        """What never started stops at once."""
        self.successResultOf(self.listener.stopService())

    async def test_the_socket_was_taken_away(self) -> None:
        """A service whose socket somebody removed stops as any other, and can be abandoned before."""
        self.listener.startService()
        os.unlink(self.path)
        self.listener.abandon()
        await self.listener.stopService()
        self.assertEqual(os.listdir(self.directory), [])

    async def test_the_socket_is_somebody_elses(self) -> None:
        """A service whose path has the socket of another by now leaves that alone, and its own is closed."""
        self.listener.startService()
        handle = IFileDescriptor(self.listener._port).fileno()
        os.unlink(self.path)
        other = UnixListener(reactor, self.path, ServerFactory())
        other.startService()
        self.listener.abandon()
        await self.listener.stopService()
        self.assertRaises(OSError, os.fstat, handle)
        self.assertRaises(SocketInUse, clear_stale, self.path)
        await other.stopService()
        self.assertEqual(os.listdir(self.directory), [])

    async def test_the_socket_cannot_be_removed(self) -> None:
        """Where the socket cannot be removed the log says so, and it is closed all the same."""
        self.listener.startService()
        with capturedLogs() as events, mock.patch("os.unlink", side_effect=OSError(30, "Read-only file system")):
            await self.listener.stopService()
        self.assertEqual([event["cause"] for event in events if "cause" in event], ["Read-only file system"])
        clear_stale(self.path)
        self.assertEqual(os.listdir(self.directory), [])

    async def test_again(self) -> None:
        """A service that stopped starts again at the same path."""
        for _ in range(2):
            self.listener.startService()
            self.assertTrue(os.path.exists(self.path))
            await self.listener.stopService()
            self.assertFalse(os.path.exists(self.path))

    def test_a_file_for_a_directory(self) -> None:
        """Where a file is in the place of the directory the error says which, and names the option that helps."""
        with open(self.path, "w", encoding="ascii"):
            pass
        below = os.path.join(self.path, "thrum.sock")
        self.assertRaisesRegex(ConfigurationError, f"{self.path} .*--thrum", prepare_directory, below)
        self.assertRaisesRegex(ConfigurationError, f"{below} .*--thrum", clear_stale, below)

    def test_a_directory_of_somebody_else(self) -> None:
        """Where others could put another socket in the place of ours it is refused, and nowhere else."""
        me, told = os.geteuid(), f"others can write .* `chmod go-w '{self.directory}'`"
        for owner, mode, refused in (
            (me, 0o700, None),
            (0, 0o755, None),
            (0, 0o1777, None),
            (me, 0o1770, None),
            (me + 1, 0o700, "somebody else"),
            (me, 0o770, told),
            (me, 0o702, told),
        ):
            found = os.stat_result((stat.S_IFDIR | mode, *os.stat(self.directory)[1:4], owner, *[0] * 5))
            with mock.patch("os.stat", return_value=found):
                if refused is None:
                    prepare_directory(self.path)
                else:
                    self.assertRaisesRegex(ConfigurationError, refused, prepare_directory, self.path)

    def test_never_wider(self) -> None:
        """When the socket is bound, and so before anybody could change its mode, it is for us alone."""
        masks: list[int] = []

        class Reactor:
            def listenUNIX(self, *args: Any, **more: Any) -> None:
                masks.append(os.umask(0o177))

        UnixListener(cast(Any, Reactor()), self.path, ServerFactory()).startService()
        self.assertEqual(masks, [0o177])

    def test_nobody_can_tell(self) -> None:
        """A socket that cannot be tried is left alone, and the error says why."""
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(self.path)
        with mock.patch("socket.socket.connect", side_effect=PermissionError(13, "Permission denied")):
            self.assertRaisesRegex(ConfigurationError, "in use: Permission denied", self.listener.startService)
        self.assertTrue(os.path.exists(self.path))

    def test_a_dead_socket_that_goes_by_itself(self) -> None:
        """A dead socket that somebody else removes first is as good as removed."""
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(self.path)
        with mock.patch("os.unlink", side_effect=FileNotFoundError(2, "No such file")):
            clear_stale(self.path)

    def test_no_room_to_listen(self) -> None:
        """Where the system gives no socket the error says so, and the umask is as it was."""
        listener = UnixListener(reactor, os.path.join(self.directory, "x" * 100), ServerFactory())
        before = os.umask(0o022)
        self.addCleanup(os.umask, before)
        error = self.assertRaises(ConfigurationError, listener.startService)
        self.assertRegex(str(error), "^cannot listen on /.*: AF_UNIX path too long; choose another path with --thrum$")
        self.assertEqual(os.umask(0o022), 0o022)

    def test_read_only_in_the_middle(self) -> None:
        """Where the socket can be made and its mode not be set, that is one clear error, too."""
        with mock.patch("os.chmod", side_effect=OSError(30, "Read-only file system")):
            error = self.assertRaises(ConfigurationError, self.listener.startService)
        self.assertIn(f"cannot listen on {self.path}: Read-only file system; choose", str(error))
