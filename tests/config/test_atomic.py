"""Files that are either the old or the new one."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from unittest.mock import ANY, patch

from twisted.trial.unittest import SynchronousTestCase

from ensemble.config import create_text, write_text


class Killed(BaseException):
    """The process is gone."""


def no_links(*_: object) -> None:
    raise PermissionError(errno.EPERM, "")


class AtomicCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.path = self.folder / "peers.json"

    def mode(self, path: Path) -> int:
        return stat.S_IMODE(path.stat().st_mode)


class WriteTextTests(AtomicCase):
    def test_new_file(self) -> None:
        """A file that was not there is for our eyes only, in a folder of our own, as UTF-8 byte for byte."""
        path = self.folder / "hum" / "peers.json"
        write_text(path, "é\r\n")
        self.assertEqual(path.read_bytes(), "é\r\n".encode())
        self.assertEqual((self.mode(path), self.mode(path.parent)), (0o600, 0o700))
        self.assertEqual(os.listdir(path.parent), ["peers.json"])

    def test_keeps_the_mode(self) -> None:
        """A file that is written over keeps its mode."""
        self.path.write_text("old")
        self.path.chmod(0o640)
        write_text(self.path, "new")
        self.assertEqual((self.path.read_text(), self.mode(self.path)), ("new", 0o640))

    def test_follows_a_link(self) -> None:
        """A link to the file stays a link to the file."""
        self.path.write_text("old")
        link = self.folder / "link"
        link.symlink_to("peers.json")
        write_text(link, "new")
        self.assertTrue(link.is_symlink())
        self.assertEqual(self.path.read_text(), "new")

    def test_failure_keeps_the_old(self) -> None:
        """If anything fails the old file is whole and nothing is left beside it."""
        self.path.write_text("old")
        full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        for step in ("os.fsync", "os.replace", "os.fchmod"):
            with patch(step, side_effect=full):
                self.assertRaises(OSError, write_text, self.path, "new")
            self.assertEqual(os.listdir(self.folder), ["peers.json"])
            self.assertEqual(self.path.read_text(), "old")

    def test_read_only_in_the_middle(self) -> None:
        """Where what was begun cannot be removed, what went wrong first is what is told."""
        for call, step in ((write_text, "os.fsync"), (create_text, "os.fsync"), (create_text, "os.link")):
            full = OSError(errno.ENOSPC, "")
            with patch(step, side_effect=full), patch("os.unlink", side_effect=OSError(errno.EROFS, "")):
                self.assertIs(self.assertRaises(OSError, call, self.path, "new"), full)

    def test_no_file(self) -> None:
        """What is no file, as a device, is not replaced by one."""
        os.mkfifo(self.path)
        self.assertRaisesRegex(OSError, "not a regular file", write_text, self.path, "new")
        self.assertTrue(stat.S_ISFIFO(os.stat(self.path).st_mode))

    def test_new_folders(self) -> None:
        """New folders are for nobody else, whatever the umask, and that is as before."""
        self.addCleanup(os.umask, os.umask(0))
        write_text(f"{self.path}.d/e/f", "new")
        modes = [stat.S_IMODE(os.stat(f"{self.path}.d{each}").st_mode) for each in ("", "/e", "/e/f")]
        self.assertEqual((modes, os.umask(0)), ([0o700, 0o700, 0o600], 0))

    def test_leftover(self) -> None:
        """What a killed process left there goes with the next that writes, an hour later."""
        for call in (write_text, create_text):
            left = self.folder / ".peers.json.abcd_123.tmp"
            left.touch()
            os.utime(left, (0, 0))
            call(self.path, "new")
            self.assertEqual(os.listdir(self.folder), ["peers.json"])
            self.path.unlink()

    def test_text_that_is_no_utf8(self) -> None:
        """A text that cannot be encoded costs nothing."""
        self.path.write_text("old")
        self.assertRaises(UnicodeEncodeError, write_text, self.path, "\ud800")
        self.assertEqual((os.listdir(self.folder), self.path.read_text()), (["peers.json"], "old"))

    def test_owner_that_we_cannot_keep(self) -> None:
        """Where we may not give a file away, it is written all the same."""
        self.path.write_text("old")
        with patch("os.fchown", side_effect=PermissionError(errno.EPERM, "")):
            write_text(self.path, "new")
        self.assertEqual(self.path.read_text(), "new")

    def test_owner_of_a_new_file(self) -> None:
        """A new file is the owner's of its folder: what root writes there is of use to them."""
        with patch("os.fchown") as given:
            write_text(self.path, "new")
        given.assert_called_once_with(ANY, self.folder.stat().st_uid, -1)

    def test_leaves_nothing_open(self) -> None:
        """However often it is written, no descriptor stays open."""

        def following() -> int:
            handle = os.open(os.devnull, os.O_RDONLY)
            os.close(handle)
            return handle

        before = following()
        for _ in range(3):
            write_text(self.path, "text")
        self.assertEqual(following(), before)

    def test_folder_cannot_be_synced(self) -> None:
        """A file system that cannot sync a folder is no reason to fail."""
        real = os.fsync

        def sync(handle: int) -> None:
            if stat.S_ISDIR(os.fstat(handle).st_mode):
                raise OSError(errno.EINVAL, "")
            real(handle)

        with patch("os.fsync", sync):
            write_text(self.path, "new")
        self.assertEqual(self.path.read_text(), "new")


class CreateTextTests(AtomicCase):
    def test_create(self) -> None:
        """A file is made once; the second time it stays as it is."""
        path = self.folder / "hum" / "peers.json"
        self.assertTrue(create_text(path, "first"))
        self.assertFalse(create_text(path, "second"))
        self.assertEqual((path.read_text(), self.mode(path), self.mode(path.parent)), ("first", 0o600, 0o700))

    def test_failure_leaves_nothing(self) -> None:
        """A file that could not be filled is not there."""
        for links in (os.link, no_links):
            with patch("os.fsync", side_effect=OSError(errno.ENOSPC, "")), patch("os.link", links):
                self.assertRaises(OSError, create_text, self.path, "text")
            self.assertEqual(os.listdir(self.folder), [])

    def test_whole_or_not_at_all(self) -> None:
        """Whenever the process is killed, a file of that name has all of the text."""
        for step in ("os.fsync", "os.link"):
            with patch(step, side_effect=Killed), patch("os.unlink"):
                self.assertRaises(Killed, create_text, self.path, "text")
            self.assertFalse(self.path.exists())
        self.assertTrue(create_text(self.path, "text"))

    def test_race(self) -> None:
        """Who is second by a hair changes nothing."""
        for links in (os.link, no_links):
            self.path.write_text("theirs")
            with patch("os.path.lexists", return_value=False), patch("os.link", links):
                self.assertFalse(create_text(self.path, "ours"))
            self.assertEqual((self.path.read_text(), os.listdir(self.folder)), ("theirs", ["peers.json"]))

    def test_without_hard_links(self) -> None:
        """A file system without hard links gets the same file."""
        with patch("os.link", no_links):
            self.assertTrue(create_text(self.path, "text"))
        self.assertEqual((self.path.read_text(), self.mode(self.path)), ("text", 0o600))
        self.assertEqual(os.listdir(self.folder), ["peers.json"])

    def test_full_disk_without_hard_links(self) -> None:
        """There a file of which only a part was written goes again."""
        real = os.fsync

        def full(handle: int) -> None:
            if os.path.exists(self.path):
                raise OSError(errno.ENOSPC, "full")
            real(handle)

        with patch("os.link", no_links), patch("os.fsync", full):
            self.assertRaisesRegex(OSError, "full", create_text, self.path, "text")
        self.assertEqual(os.listdir(self.folder), [])
