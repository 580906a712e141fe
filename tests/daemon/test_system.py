"""What we ask of the system: descriptors, the service manager, and whose network a link crosses."""

from __future__ import annotations

import errno
import os
import resource
import shutil
import socket
import sys
import tempfile
from typing import Any
from uuid import uuid4

from twisted.internet.selectreactor import SelectReactor
from twisted.logger import capturedLogs
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from ensemble.daemon import cautions
from ensemble.daemon.cautions import in_the_open
from ensemble.daemon.descriptors import KEPT, KEPT_FROM_DIALS, Descriptors
from ensemble.daemon.notify import Notifier
from ensemble.protocols import InMemoryEndpoint
from tests.daemon.memory import HumdTestCase, settle


class Limits:
    """A process's limit that can be raised to ``most``."""

    def __init__(self, soft: int, hard: int, most: int | None = None) -> None:
        self.limits, self._most = (soft, hard), most

    def read(self) -> tuple[int, int]:
        return self.limits

    def write(self, limits: tuple[int, int]) -> None:
        if self._most is not None and limits[0] > self._most:
            raise ValueError("exceeds maximum limit")
        self.limits = limits


class DescriptorTests(SynchronousTestCase):
    """The limit of open files."""

    def raised(self, soft: int, hard: int, most: int | None = None) -> int:
        limits = Limits(soft, hard, most)
        found = Descriptors(limits.read, limits.write)
        self.assertEqual(found.raise_limit(), (soft, found.soft))
        return found.soft

    def test_raised_to_the_hard_one(self) -> None:
        """The soft limit becomes the hard one; what is as high already stays."""
        self.assertEqual(self.raised(1024, 4096), 4096)
        self.assertEqual(self.raised(4096, 4096), 4096)

    def test_no_hard_limit(self) -> None:
        """Where there is no hard limit, or the system has one it does not tell, we take what we get."""
        infinite = resource.RLIM_INFINITY
        self.assertEqual(self.raised(1024, infinite), 1024 * 1024)
        self.assertEqual(self.raised(1024, infinite, most=20_000), 10_240)
        self.assertEqual(self.raised(1024, infinite, most=2000), 1024)
        self.assertEqual(self.raised(infinite, infinite), infinite)

    def test_refused(self) -> None:
        """A system that does not let us raise it costs nothing but the rest."""
        self.assertEqual(self.raised(1024, 4096, most=1024), 1024)

    def test_spare(self) -> None:
        """All but the last 64 may be links; of a tiny limit half."""
        limits, following = Limits(1024, 1024), [0]
        found = Descriptors(limits.read, limits.write, following.pop)

        def spare(number: int, *kept: int) -> bool:
            following.append(number)
            return found.spare(*kept)

        self.assertTrue(spare(1024 - KEPT))
        self.assertFalse(spare(1024 - KEPT + 1))
        self.assertTrue(spare(1024 - KEPT_FROM_DIALS, KEPT_FROM_DIALS))
        self.assertFalse(spare(1024 - KEPT_FROM_DIALS + 1, KEPT_FROM_DIALS))
        found.soft = 64
        self.assertEqual([number for number in range(64) if spare(number)][-1], 32)
        found.soft = resource.RLIM_INFINITY
        self.assertTrue(spare(10**6))

    def test_select(self) -> None:
        """What select cannot watch is not there to be used: the last of what it can are kept."""
        limits, infinite = Limits(256, 4096), Limits(resource.RLIM_INFINITY, resource.RLIM_INFINITY)
        found = Descriptors(limits.read, limits.write, lambda: 1000, most=1024)
        self.assertEqual((found.soft, found.raise_limit(), found.spare()), (256, (256, 1024), False))
        self.assertEqual(Descriptors(infinite.read, infinite.write, most=1024).soft, 1024)
        self.assertEqual(
            Descriptors.of(SelectReactor.__new__(SelectReactor)).soft, min(Descriptors.of(object()).soft, 1024)
        )

    def test_none_left(self) -> None:
        """Where not one more can be opened, nothing is spare; here and now there is."""

        def none() -> int:
            raise OSError(errno.EMFILE, "Too many open files")

        self.assertFalse(Descriptors(probe=none).spare())
        self.assertTrue(Descriptors().spare())

    def test_used(self) -> None:
        """What is open is counted; where the system does not say, that is said."""
        found = Descriptors()
        before = found.used()
        assert before is not None
        with open(os.devnull):
            self.assertEqual(found.used(), before + 1)

        def unreadable(_: str) -> list[str]:
            raise OSError(errno.ENOENT, "no such thing")

        self.patch(os, "listdir", lambda _: ["0", "1", "2"])  # FreeBSD, where no more than that is mounted
        self.assertIsNone(found.used())
        self.patch(os, "listdir", unreadable)
        self.assertIsNone(found.used())

    def test_real_limit(self) -> None:
        """The limit of this process can be read and asked for."""
        before = resource.getrlimit(resource.RLIMIT_NOFILE)
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, before)
        self.assertEqual(Descriptors().raise_limit()[1], resource.getrlimit(resource.RLIMIT_NOFILE)[0])


class NotifierTests(SynchronousTestCase):
    """``sd_notify``."""

    def listen(self, address: str | bytes) -> socket.socket:
        manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(manager.close)
        manager.settimeout(10)
        manager.bind(address)
        return manager

    def test_words(self) -> None:
        """Ready, reloading with its time, ready again, stopping: each one datagram."""
        folder = tempfile.mkdtemp(prefix="humd-", dir="/tmp")
        self.addCleanup(shutil.rmtree, folder)
        path = os.path.join(folder, "notify")
        manager = self.listen(path)
        notifier = Notifier({"NOTIFY_SOCKET": path}, lambda: 1_234_567_891)
        notifier.ready("all is well")
        self.assertEqual(
            manager.recv(4096).decode().split("\n"), ["READY=1", f"MAINPID={os.getpid()}", "STATUS=all is well"]
        )
        notifier.reloading()
        self.assertEqual(manager.recv(4096), b"RELOADING=1\nMONOTONIC_USEC=1234567")
        notifier.stopping()
        self.assertTrue(manager.recv(4096).startswith(b"STOPPING=1\n"))

    def test_abstract(self) -> None:
        """A name that begins with ``@`` is in the abstract namespace."""
        if sys.platform != "linux":
            raise SkipTest("only Linux has one")
        name = f"humd-notify-{uuid4()}"  # not the pid: processes of other containers may have both it and this network
        manager = self.listen(b"\0" + name.encode())
        Notifier({"NOTIFY_SOCKET": f"@{name}"}).ready("here")
        self.assertIn(b"READY=1", manager.recv(4096))

    def test_nobody_listens(self) -> None:
        """No variable, one that names no socket, and a socket that nobody has: nothing happens, and nothing breaks."""
        for environ in ({}, {"NOTIFY_SOCKET": "vsock:1:2"}, {"NOTIFY_SOCKET": "/nowhere/at/all"}):
            self.assertIsNone(Notifier(environ).stopping())  # type: ignore[func-returns-value]


class Plain(InMemoryEndpoint):
    """As TCP from afar."""

    __slots__ = ()
    secure, address = False, "8.8.8.8"


class CautionTests(HumdTestCase):
    """Plain links across networks that others share."""

    def test_addresses(self) -> None:
        """Loopback, private and link-local addresses are ours to trust; the rest of the world is not."""
        for address in ("127.0.0.1", "::1", "10.1.2.3", "169.254.1.1", "fd00::1", "fe80::1%eth0", "", "memory"):
            self.assertFalse(in_the_open(address), address)
        for address in ("8.8.8.8", "2606:4700::1111", "100.64.0.1"):
            self.assertTrue(in_the_open(address), address)

    def link(self, address: str, secure: bool = False) -> list[Any]:
        """The warnings when two humds link over such a wire, twice."""
        one, two = self.humd(self.settings(admit_any=True)), self.humd(self.settings(admit_any=True))
        self.patch(InMemoryEndpoint, "secure", secure)
        self.patch(InMemoryEndpoint, "address", address)
        with capturedLogs() as events:
            for _ in range(2):
                self.join(one, two).abort()
                self.reactor.advance(0.1)
        return [event for event in events if event.get("event") == "plain-link"]

    def test_warned_once(self) -> None:
        """A plain link from afar is warned of once, however often it comes up."""
        first, second = self.link("8.8.8.8")
        self.assertEqual((first["address"], first["proof"]), ("8.8.8.8", "proven"))
        self.assertNotEqual(first["peer"], second["peer"])

    def test_second_link(self) -> None:
        """Where both dial at once, the second of the two links is warned of as the first would be."""
        one, two = self.humd(self.settings(admit_any=True)), self.humd(self.settings(admit_any=True))
        with capturedLogs() as events:
            for dialler, listener, kind in ((one, two, InMemoryEndpoint), (two, one, Plain)):
                ends = kind.pair(dialler.me, None, listener.me, None, self.reactor)
                for humd, wire in zip((dialler, listener), ends, strict=True):
                    humd.ensemble.install(wire).addErrback(lambda failure: None)
            settle(self.reactor)
        warned = {event["peer"] for event in events if event.get("event") == "plain-link"}
        self.assertEqual(warned, {one.me.full, two.me.full})

    def test_no_warning(self) -> None:
        """A secure wire, and a plain one at home, need none."""
        self.assertEqual(self.link("8.8.8.8", secure=True), [])
        self.assertEqual(self.link("192.168.1.2"), [])

    def test_memory_is_bounded(self) -> None:
        """What was warned of is forgotten in the end, the oldest first."""
        self.patch(cautions, "REMEMBERED", 0)
        self.assertEqual(len(self.link("8.8.8.8")), 4)
