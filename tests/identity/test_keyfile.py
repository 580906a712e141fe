"""The key file: made once, never written over, refused where others can read it."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from shlex import quote
from unittest.mock import patch

from twisted.trial.unittest import SynchronousTestCase

from ensemble.errors import ConfigurationError
from ensemble.identity import HumdKey, KeyFileError, KeyFileExists, KeyFileMissing, leftovers, load, load_or_mint, mint

SEED = bytes(range(32))


def seed(count: int) -> bytes:
    return SEED[:count]


class KeyFileCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(f"{self.mktemp()} b")
        self.folder.mkdir()
        self.path = self.folder / "humd.key"

    def put(self, content: bytes, mode: int = 0o600) -> None:
        self.path.write_bytes(content)
        self.path.chmod(mode)


class LoadTests(KeyFileCase):
    def test_load(self) -> None:
        """A file of 32 bytes for our eyes only is the seed of the key."""
        for mode in (0o600, 0o400):
            self.put(SEED, mode)
            self.assertEqual(load(self.path), HumdKey.from_seed(SEED))
            self.path.unlink()

    def test_missing(self) -> None:
        """A file that is not there is told apart from one that cannot be used."""
        error = self.assertRaises(KeyFileMissing, load, self.path)
        self.assertIsInstance(error, ConfigurationError)
        self.assertIn(str(self.path), str(error))

    def test_wrong_length(self) -> None:
        """Anything but 32 bytes is refused, and no byte of it is shown."""
        for content in (b"", SEED[:-1], SEED + b"\n", b"A" * 4096):
            self.put(content)
            error = self.assertRaises(KeyFileError, load, self.path)
            self.assertIn(str(self.path), str(error))
            self.assertNotIn("AAAA", str(error))

    def test_others_can_read(self) -> None:
        """A mode that lets anybody else in is refused, with the mend."""
        for mode in (0o640, 0o604, 0o620, 0o601, 0o644):
            self.put(SEED, mode)
            error = self.assertRaises(KeyFileError, load, self.path)
            self.assertIn(f"chmod 600 {quote(str(self.path))}", str(error))

    def test_not_ours(self) -> None:
        """A key of another user is refused, with the mend."""
        self.put(SEED)
        stranger = os.geteuid() + 1
        with patch("os.geteuid", lambda: stranger):
            error = self.assertRaises(KeyFileError, load, self.path)
        self.assertIn(f"chown {stranger} {quote(str(self.path))}", str(error))

    def test_not_a_file(self) -> None:
        """A folder or a FIFO of that name is refused at once."""
        self.assertIn("regular", str(self.assertRaises(KeyFileError, load, self.folder)))
        os.mkfifo(self.path, 0o600)
        self.assertIn("regular", str(self.assertRaises(KeyFileError, load, self.path)))

    def test_unreachable(self) -> None:
        """What the system says against opening or reading is passed on in one line."""
        self.put(SEED)
        error = self.assertRaises(KeyFileError, load, self.path / "below")
        self.assertIn(os.strerror(errno.ENOTDIR), str(error))
        with patch("os.read", side_effect=OSError(errno.EIO, os.strerror(errno.EIO))):
            error = self.assertRaises(KeyFileError, load, self.path)
        self.assertIn(os.strerror(errno.EIO), str(error))


class MintTests(KeyFileCase):
    def test_mint(self) -> None:
        """A fresh key is 32 bytes of the given entropy in a file of mode 0600, and nothing else is left."""
        old = os.umask(0)
        try:
            key = mint(self.path, seed)
        finally:
            os.umask(old)
        self.assertEqual(key.seed, SEED)
        self.assertEqual(self.path.read_bytes(), SEED)
        self.assertEqual(stat.S_IMODE(self.path.stat().st_mode), 0o600)
        self.assertEqual(os.listdir(self.folder), ["humd.key"])
        self.assertEqual(load(self.path), key)

    def test_narrow_umask(self) -> None:
        """Whatever the umask, we can read the key that we made."""
        old = os.umask(0o777)
        try:
            mint(self.path, seed)
        finally:
            os.umask(old)
        self.assertEqual(stat.S_IMODE(self.path.stat().st_mode), 0o600)

    def test_missing_folders(self) -> None:
        """Folders that are missing are made; the last one is ours alone."""
        path = self.folder / "a" / "hum" / "humd.key"
        mint(path, seed)
        self.assertEqual(stat.S_IMODE(path.parent.stat().st_mode), 0o700)

    def test_never_over_another(self) -> None:
        """A file that is there already stays as it is."""
        self.put(b"precious")
        self.assertRaises(KeyFileExists, mint, self.path, seed)
        self.assertEqual(self.path.read_bytes(), b"precious")
        self.assertEqual(os.listdir(self.folder), ["humd.key"])

    def test_folder_is_a_file(self) -> None:
        """A file where the folder should be is told as such, not as an existing key."""
        self.put(b"")
        error = self.assertRaises(KeyFileError, mint, self.path / "humd.key", seed)
        self.assertNotIsInstance(error, KeyFileExists)

    def test_leftover(self) -> None:
        """What a killed process left there is removed by the next that makes this key, an hour later."""
        names = [
            ".humd.key.abcd_123.tmp",
            ".humd.key.fresh__1.tmp",
            ".humd.key.short.tmp",
            ".humd.key.next.abcd_123.tmp",
        ]
        for name in (*names, ".humd.key.folder_1.tmp/x"):
            path = self.folder / name
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(SEED)
            os.utime(path.parent if path.name == "x" else path, None if "fresh" in name else (0, 0))
        link = self.folder / ".humd.key.a_link_1.tmp"
        link.symlink_to("elsewhere")
        os.utime(link, (0, 0), follow_symlinks=False)
        mint(self.path, seed)
        kept = [*names[1:], ".humd.key.folder_1.tmp", link.name, "humd.key"]
        self.assertEqual(sorted(os.listdir(self.folder)), sorted(kept))

    def test_leftover_of_somebody_else(self) -> None:
        """That of another user stays."""
        left = self.folder / ".humd.key.abcd_123.tmp"
        left.touch()
        self.assertEqual(list(leftovers(self.path)), [str(left.absolute())])
        with patch("os.geteuid", return_value=os.geteuid() + 1):
            self.assertEqual(leftovers(self.path), {})
        self.assertEqual(leftovers(self.folder / "none" / "humd.key"), {})

    def test_read_only_in_the_middle(self) -> None:
        """Where nothing can be removed any more, what went wrong first is what is told."""
        gone = OSError(errno.EROFS, os.strerror(errno.EROFS))
        with patch("os.link", side_effect=gone), patch("os.unlink", side_effect=gone):
            error = self.assertRaises(KeyFileError, mint, self.path, seed)
        self.assertIn(f"cannot write the key file {self.path}: {os.strerror(errno.EROFS)}", str(error))

    def test_full_disk(self) -> None:
        """If writing fails there is no key file and no temporary one either."""
        full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        with patch("os.fsync", side_effect=full):
            error = self.assertRaises(KeyFileError, mint, self.path, seed)
        self.assertIn(os.strerror(errno.ENOSPC), str(error))
        self.assertEqual(os.listdir(self.folder), [])

    def test_without_hard_links(self) -> None:
        """A file system without hard links gets the same key file, and keeps an existing one too."""
        with patch("os.link", side_effect=PermissionError(errno.EPERM, os.strerror(errno.EPERM))):
            mint(self.path, seed)
            self.assertEqual(load(self.path).seed, SEED)
            self.assertRaises(KeyFileExists, mint, self.path, bytes)
        self.assertEqual(self.path.read_bytes(), SEED)
        self.assertEqual(os.listdir(self.folder), ["humd.key"])

    def test_full_disk_without_hard_links(self) -> None:
        """There, too, a failure leaves nothing behind."""
        synced: list[int] = []

        def sync(handle: int) -> None:
            synced.append(handle)
            if len(synced) == 2:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        with patch("os.link", side_effect=PermissionError(errno.EPERM, "")), patch("os.fsync", sync):
            self.assertRaises(KeyFileError, mint, self.path, seed)
        self.assertEqual(os.listdir(self.folder), [])

    def test_link_fails(self) -> None:
        """Another failure to put the file in place is told, and leaves nothing behind."""
        with patch("os.link", side_effect=OSError(errno.EROFS, os.strerror(errno.EROFS))):
            error = self.assertRaises(KeyFileError, mint, self.path, seed)
        self.assertIn(os.strerror(errno.EROFS), str(error))
        self.assertEqual(os.listdir(self.folder), [])

    def test_folder_cannot_be_opened(self) -> None:
        """Nor is one whose folder cannot be opened for that: the key is in place by then."""
        real = os.open

        def opened(path: str, flags: int, *more: int) -> int:
            if flags & os.O_DIRECTORY:
                raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
            return real(path, flags, *more)

        with patch("os.open", opened):
            self.assertEqual(mint(self.path, seed).seed, SEED)

    def test_folder_cannot_be_synced(self) -> None:
        """A file system that cannot sync a folder is no reason to fail."""
        real = os.fsync

        def sync(handle: int) -> None:
            if stat.S_ISDIR(os.fstat(handle).st_mode):
                raise OSError(errno.EINVAL, "")
            real(handle)

        with patch("os.fsync", sync):
            self.assertEqual(mint(self.path, seed).seed, SEED)


class LoadOrMintTests(KeyFileCase):
    def test_twice(self) -> None:
        """The first call makes the key and says so, the second finds it."""
        self.assertEqual(load_or_mint(self.path, seed), (HumdKey.from_seed(SEED), True))
        self.assertEqual(load_or_mint(self.path, bytes), (HumdKey.from_seed(SEED), False))

    def test_race(self) -> None:
        """Who loses a race of two that mint uses the winner's key."""

        def slow(count: int) -> bytes:
            mint(self.path, seed)
            return bytes(count)

        self.assertEqual(load_or_mint(self.path, slow), (HumdKey.from_seed(SEED), False))

    def test_unusable_stays(self) -> None:
        """A key that cannot be used is an error; no new identity is made in its place."""
        self.put(SEED, 0o644)
        self.assertRaises(KeyFileError, load_or_mint, self.path, bytes)
        self.assertEqual(self.path.read_bytes(), SEED)
