"""Other users, odd files and odd programs around the sockets on this machine."""

from __future__ import annotations

import os
import shutil
import socket
import stat
import tempfile
from collections.abc import Mapping
from typing import Any
from unittest import mock

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import UNIXClientEndpoint, connectProtocol
from twisted.internet.protocol import Factory
from twisted.trial.unittest import SynchronousTestCase, TestCase

from ensemble.daemon.control import CONNECTIONS, REQUEST_BYTES, TAPS, ControlServer, Watch
from ensemble.errors import ConfigurationError
from ensemble.mesh import Ensemble, Tap
from ensemble.protocols import Turn
from ensemble.testing import World
from ensemble.thrum import SocketInUse, UnixListener, clear_stale, prepare_directory
from ensemble.tone import decode, encode
from tests.attacks.arena import RealArena, RealRogue, reactor


class SocketFileTests(SynchronousTestCase):
    """The directory of a socket, and what may be there already."""

    def setUp(self) -> None:
        self.directory = tempfile.mkdtemp(dir="/tmp")
        self.addCleanup(shutil.rmtree, self.directory, ignore_errors=True)
        self.path = os.path.join(self.directory, "thrum.sock")

    def mode(self, path: str) -> int:
        return stat.S_IMODE(os.stat(path).st_mode)

    def test_directories_are_made_closed(self) -> None:
        """Every directory that we make is 0700, the ones above the last too, whatever the umask."""
        before = os.umask(0)
        self.addCleanup(os.umask, before)
        prepare_directory(os.path.join(self.directory, "a", "b", "thrum.sock"))
        self.assertEqual(os.umask(0), 0)
        for name in ("a", "a/b"):
            self.assertEqual(self.mode(os.path.join(self.directory, name)), 0o700)

    def test_others_can_write(self) -> None:
        """A directory in which others can put their own socket is refused; with the sticky bit it is not."""
        for mode in (0o777, 0o770, 0o720):
            os.chmod(self.directory, mode)
            self.assertRaisesRegex(ConfigurationError, "chmod go-w", prepare_directory, self.path)
            self.assertEqual(self.mode(self.directory), mode)
        os.chmod(self.directory, 0o1777)
        prepare_directory(self.path)

    def test_somebody_elses_directory(self) -> None:
        """A directory of another user is refused though only he can write to it, behind a symbolic link too."""
        link = f"{self.directory}-link"
        os.symlink(self.directory, link)
        self.addCleanup(os.unlink, link)
        with mock.patch("os.geteuid", return_value=os.geteuid() + 1):
            found = os.stat(self.directory)
            there = os.stat_result((found.st_mode, *found[1:4], os.geteuid() + 1, *found[5:]))
            with mock.patch("os.stat", return_value=there):
                for path in (self.path, os.path.join(link, "thrum.sock")):
                    self.assertRaisesRegex(ConfigurationError, "somebody else", prepare_directory, path)

    def test_what_is_no_socket(self) -> None:
        """A file, a directory, a pipe or a symbolic link where the socket should be is refused and left alone."""
        target = os.path.join(self.directory, "target")
        with open(target, "w", encoding="ascii") as file:
            file.write("precious")
        for make in (
            lambda: os.symlink(target, self.path),
            lambda: os.symlink("nowhere", self.path),
            lambda: os.mkfifo(self.path),
            lambda: shutil.copy(target, self.path),
        ):
            make()
            self.assertRaisesRegex(ConfigurationError, "no socket", clear_stale, self.path)
            self.assertTrue(os.path.lexists(self.path))
            os.unlink(self.path)
        self.assertTrue(os.path.exists(target))

    def test_a_live_socket_stays(self) -> None:
        """A socket that somebody serves is never taken away, one whose owner died is."""
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(self.path)
            server.listen(1)
            self.assertRaises(SocketInUse, clear_stale, self.path)
            self.assertTrue(os.path.exists(self.path))
        clear_stale(self.path)
        self.assertFalse(os.path.exists(self.path))

    def test_a_dead_socket_that_is_not_ours(self) -> None:
        """A dead socket that we may not remove is a clear error."""
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(self.path)
        with mock.patch("os.unlink", side_effect=PermissionError(1, "Operation not permitted")):
            self.assertRaisesRegex(ConfigurationError, "cannot remove the dead socket", clear_stale, self.path)


class ControlTests(TestCase):
    """The control socket and programs that use it badly."""

    timeout = 30

    async def setUp(self) -> None:  # type: ignore[override]
        self.arena = RealArena()
        self.world = World()
        self.ensemble: Ensemble = self.world.humd()
        directory = tempfile.mkdtemp(dir="/tmp")
        self.addCleanup(shutil.rmtree, directory)
        self.path = os.path.join(directory, "c")
        self.server = ControlServer(reactor, self.path, {"hi": self.hi, "tap": self.tap}, Turn(reactor))
        self.server.startService()
        self.rogues: list[RealRogue] = []

        self.addCleanup(lambda: Deferred.fromCoroutine(self.close()))

    async def close(self) -> None:
        """End it all; nothing is left of any tap."""
        await self.server.stopService()
        for rogue in self.rogues:
            rogue.leave()
        await self.arena.until(lambda: not self.server.sessions and all(rogue.lost for rogue in self.rogues))
        self.assertEqual((self.server.taps, self.ensemble._links.taps), (0, []))

    def hi(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """An answer of a megabyte."""
        return {"ok": True, "said": "x" * int(request.get("size", 1))}

    def tap(self, request: Mapping[str, Any]) -> Watch:
        """All there is."""
        tap: Tap = self.ensemble.subscribe()
        return Watch(tap, lambda tone: True)

    async def connect(self) -> RealRogue:
        """One more program."""
        rogue: RealRogue = await connectProtocol(UNIXClientEndpoint(reactor, self.path), RealRogue())
        self.rogues.append(rogue)
        return rogue

    async def ask(self, rogue: RealRogue, line: bytes) -> dict[str, Any]:
        """What it is answered."""
        before = len(rogue.lines)
        rogue.say(line)
        await self.arena.until(lambda: len(rogue.lines) > before or rogue.lost)
        return decode(b'{"chi":"x",' + rogue.lines[-1][1:])

    async def test_bad_requests(self) -> None:
        """Whatever is no request is answered as such, and the next request works."""
        rogue = await self.connect()
        deep = b'{"do":' + b"[" * 30_000
        for line in (b"{", b"[]", b"7", b'{"do":7}', b'{"do":null}', b"{}", b"\xff", deep, b'{"do":"hi","n":NaN}'):
            answer = await self.ask(rogue, line)
            self.assertEqual((answer["ok"], answer["qualifier"]), (False, "tone.malformed"))
        answer = await self.ask(rogue, b'{"do":"rm -rf"}')
        self.assertEqual((answer["ok"], answer["qualifier"]), (False, "not.supported"))
        self.assertTrue((await self.ask(rogue, b'{"do":"hi"}'))["ok"])

    async def test_a_request_too_long(self) -> None:
        """A request line over 64 KiB is told, and its connection closed."""
        rogue = await self.connect()
        answer = await self.ask(rogue, b'{"do":"' + b"x" * REQUEST_BYTES + b'"}')
        self.assertEqual(answer["qualifier"], "tone.too-large")
        await self.arena.until(lambda: rogue.lost)

    async def test_too_many(self) -> None:
        """The seventeenth connection and the ninth tap are turned away, with a line that says why."""
        rogues = [await self.connect() for _ in range(CONNECTIONS)]
        self.assertTrue((await self.ask(rogues[0], b'{"do":"hi"}'))["ok"])
        late = await self.connect()
        await self.arena.until(lambda: late.lost)
        self.assertEqual(decode(b'{"chi":"x",' + late.lines[0][1:])["qualifier"], "queue.full")
        answers = [await self.ask(rogue, b'{"do":"tap"}') for rogue in rogues]
        self.assertEqual([answer["ok"] for answer in answers], [True] * TAPS + [False] * (CONNECTIONS - TAPS))
        self.assertEqual(len(self.ensemble._links.taps), TAPS)

    async def test_who_asks_and_never_reads(self) -> None:
        """A program that asks for much and reads nothing is not read either; others are answered."""
        lazy, other = await self.connect(), await self.connect()
        lazy.stop_reading()
        request = encode({"do": "hi", "size": 1_000_000})
        for _ in range(100):
            lazy.say(*[request] * 10)
            self.assertTrue((await self.ask(other, b'{"do":"hi"}'))["ok"])
        self.assertLessEqual(sum(session._outbox.size for session in self.server.sessions), 8 * 1024 * 1024)
        self.assertLess(self.server.counters["control.requests"], 200)

    async def test_never_wider(self) -> None:
        """At the moment of its making the socket is 0600, whatever the umask; afterwards the umask is as it was."""
        before = os.umask(0)
        self.addCleanup(os.umask, before)
        modes: list[int] = []
        real_chmod = os.chmod

        def chmod(path: str, mode: int) -> None:
            modes.append(stat.S_IMODE(os.stat(path).st_mode))
            real_chmod(path, mode)

        path = f"{self.path}-2"
        listener = UnixListener(reactor, path, Factory())  # type: ignore[arg-type]
        with mock.patch("os.chmod", chmod):
            listener.startService()
        modes.append(stat.S_IMODE(os.stat(path).st_mode))
        await listener.stopService()
        self.assertEqual(set(modes), {0o600})
        self.assertEqual(os.umask(0), 0)
