"""Other users of this machine."""

from __future__ import annotations

import errno
import os
import pwd
import socket
import struct
import sys
import tempfile
from pathlib import Path
from shlex import quote
from typing import Any
from unittest import mock

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from ensemble.identity import KeyFileError, denied, load, mint, refuse_strangers

ELSEWHERE = 4711  # a user


class Served:
    """Our end of a connection to a socket of this user."""

    def __init__(self, user: int) -> None:
        self.user = user

    def getsockopt(self, *what: int) -> bytes:
        assert what[:2] == (socket.SOL_SOCKET, socket.SO_PEERCRED), what
        return struct.pack("3i", 1, self.user, self.user)[: what[2]]


class WhoServesTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="hum-", dir="/tmp"))
        self.path = self.folder / "thrum.sock"
        self.addCleanup(self.folder.rmdir)

    def test_we_ourselves(self) -> None:
        """What the system says of a real socket of ours is that it is ours."""
        with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
            server.bind(str(self.path))
            self.addCleanup(self.path.unlink)
            server.listen(1)
            client.connect(str(self.path))
            refuse_strangers(client, self.path)

    def test_others(self) -> None:
        """Root, we, and whose the folder is may serve in it; anybody else was merely the first there."""
        if sys.platform != "linux":
            raise SkipTest("only Linux is asked")
        other: Any = Served(ELSEWHERE)
        error = self.assertRaises(PermissionError, refuse_strangers, other, self.path)
        self.assertIn(str(ELSEWHERE), str(error))
        root: Any = Served(0)
        refuse_strangers(root, self.path)
        with mock.patch("os.geteuid", return_value=ELSEWHERE):
            refuse_strangers(other, self.path)
        owner: Any = Served(os.stat(self.folder).st_uid)
        with mock.patch("os.geteuid", return_value=ELSEWHERE):
            refuse_strangers(owner, self.path)

    def test_a_system_that_does_not_tell(self) -> None:
        """Nobody is refused where nothing is known."""
        other: Any = Served(ELSEWHERE)
        with mock.patch("sys.platform", "plan9"):
            refuse_strangers(other, self.path)


class DeniedTests(SynchronousTestCase):
    """What is said where this user may not."""

    def test_whose(self) -> None:
        """The outermost thing of another that is in the way is named, with its owner; other causes stay as they are."""
        folder = Path(self.mktemp()).absolute()
        (folder / "hum").mkdir(parents=True)
        key, no = folder / "hum" / "humd.key", PermissionError(errno.EACCES, "Permission denied")
        theirs = mock.patch("os.geteuid", return_value=ELSEWHERE)
        with theirs, mock.patch("os.access", lambda path, how: not path.startswith(str(folder))):
            owner = pwd.getpwuid(os.stat(folder).st_uid).pw_name
            self.assertEqual(denied(key, no), f"Permission denied, for {folder} belongs to {owner}")
            with mock.patch("pwd.getpwuid", side_effect=KeyError):
                self.assertIn("belongs to user ", denied(key, no))
            self.assertEqual(denied(key, FileNotFoundError(errno.ENOENT, "gone")), "gone")
        self.assertEqual(denied(key, no), "Permission denied")

    def test_said(self) -> None:
        """It is said of a key."""
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        refused = mock.patch("os.open", side_effect=PermissionError(errno.EACCES, "Permission denied"))
        with refused, mock.patch("os.geteuid", return_value=ELSEWHERE), mock.patch("os.access", return_value=False):
            error = self.assertRaises(KeyFileError, load, folder / "a.key")
        self.assertRegex(str(error), "Permission denied, for .* belongs to ")


class KeyFolderTests(SynchronousTestCase):
    def test_where_others_can_take_it_away(self) -> None:
        """No key is made or read in a folder where others could put another in its place."""
        folder = Path(f"{self.mktemp()} b")
        folder.mkdir()
        mint(folder / "a.key")
        for mode in (0o777, 0o770):
            folder.chmod(mode)
            for deed, name in ((load, "a.key"), (mint, "b.key")):
                error = self.assertRaises(KeyFileError, deed, folder / name)
                self.assertIn(f"chmod go-w {quote(str(folder.absolute()))}", str(error))
        self.assertEqual([each.name for each in folder.iterdir()], ["a.key"])
        folder.chmod(0o1777)
        load(folder / "a.key")
