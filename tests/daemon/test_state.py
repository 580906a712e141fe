"""The state directory, and what a daemon leaves in it."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
from pathlib import Path
from shlex import quote
from unittest import mock

from attrs import evolve
from twisted.logger import capturedLogs

from ensemble.config import LOCK, Paths, meant, running, served, shown
from ensemble.daemon.state import StateDirLocked, StateLock, open_state
from ensemble.errors import ConfigurationError
from ensemble.identity import HumdKey, KeyFileError
from tests.daemon.memory import HumdTestCase

THRUM, PEERS = Path("/run/thrum.sock"), Path("/etc/peers.json")


class StateTests(HumdTestCase):
    """The state directory."""

    def paths(self) -> Paths:
        return self.settings().paths

    def test_writable_by_others(self) -> None:
        """A state directory that others can write to is refused, a sticky one too, for they can add links."""
        paths = self.paths()
        paths.state_dir.mkdir(parents=True)
        for mode in (0o777, 0o1777, 0o1770):
            paths.state_dir.chmod(mode)
            error = self.assertRaises(ConfigurationError, open_state, paths)
            self.assertIn(f"chmod go-w {quote(str(paths.state_dir))}", str(error))
        paths.state_dir.chmod(0o755)
        open_state(paths).close()

    def test_of_somebody_else(self) -> None:
        """A state directory of another user is refused, with what to do."""
        paths = self.paths()
        paths.state_dir.mkdir(parents=True)
        os.chown(paths.state_dir, os.geteuid(), -1)
        found = os.stat(paths.state_dir)
        theirs = os.stat_result((*found[:4], 4711, *found[5:]))
        with mock.patch("ensemble.config.paths.os.stat", return_value=theirs):
            error = self.assertRaises(ConfigurationError, open_state, paths)
        self.assertIn("belongs to user 4711, not to us", str(error))

    def test_cannot_be_made(self) -> None:
        """A state directory that cannot be made is one clear error."""
        paths = self.paths()
        paths.state_dir.parent.mkdir(parents=True)
        paths.state_dir.write_text("a file")
        error = self.assertRaises(ConfigurationError, open_state, paths)
        self.assertIn("--state-dir", str(error))

    def test_lock_that_cannot_be_written(self) -> None:
        """A lock file that is a folder is one clear error."""
        paths = self.paths()
        (paths.state_dir / LOCK).mkdir(parents=True)
        self.assertIn(LOCK, str(self.assertRaises(ConfigurationError, open_state, paths)))

    def test_no_locks(self) -> None:
        """A file system that knows no locks is called that, and is not taken for another humd."""
        for code in (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EIO):
            refusal = OSError(code, os.strerror(code))
            with mock.patch("ensemble.daemon.state.fcntl.flock", side_effect=refusal):
                error = self.assertRaises(ConfigurationError, StateLock.take, self.folder(), THRUM, PEERS)
            self.assertNotIsInstance(error, StateDirLocked)
            self.assertIn(f"{os.strerror(code)}; choose a --state-dir on another file system", str(error))

    def test_bad_key_lets_go(self) -> None:
        """Where the key is refused the lock is free again."""
        paths = self.paths()
        paths.state_dir.mkdir(parents=True)
        paths.key.write_bytes(b"short")
        paths.key.chmod(0o600)
        self.assertRaises(KeyFileError, open_state, paths)
        StateLock.take(paths.state_dir, paths.thrum, paths.peers_file).release()

    def test_seeds(self) -> None:
        """What a killed process left of our keys goes when the state is opened."""
        paths = self.paths()
        paths.state_dir.mkdir(parents=True)
        left = [paths.state_dir / f".humd.key{kin}.abcd_123.tmp" for kin in ("", ".next", ".old-0123456789ab")]
        for path in left:
            path.touch()
            os.utime(path, (0, 0))
        open_state(paths).close()
        self.assertEqual([path for path in left if path.exists()], [])

    def test_full_disk(self) -> None:
        """A lock whose owner cannot be written down is held all the same."""
        folder = self.folder()

        def full(*_: object) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

        self.patch(os, "pwrite", full)
        lock = StateLock.take(folder, THRUM, PEERS)
        error = self.assertRaises(StateDirLocked, StateLock.take, folder, THRUM, PEERS)
        self.assertNotIn("process", str(error))
        lock.release()

    def test_served(self) -> None:
        """Who holds the lock says where it serves: the command finds that, as long as there is a socket."""
        paths = self.paths()
        usual = evolve(paths, thrum=self.folder() / "thrum.sock")
        self.assertEqual(served(usual), usual, "nobody was ever here")
        open_state(paths).close()
        self.assertEqual(served(usual), usual, "there is none")
        paths.control.parent.mkdir(parents=True)
        paths.control.touch()
        self.assertEqual(served(usual), paths)
        lock, thrum = paths.state_dir / LOCK, os.fsencode(paths.thrum)
        whole, itself = lock.read_bytes(), lock.stat().st_ino
        for said in (
            b"",
            b"1\n",
            b"1\n%s\n" % thrum,
            whole[:-1],
            whole + b"\n",
            b"x" * 5000,
            b"1\nt\np\n%d\n" % itself,
            b"1\n/\np\n%d\n" % itself,
        ):
            lock.write_bytes(said)
            self.assertEqual(served(usual), usual, said[:20])
        lock.unlink()
        lock.touch()
        lock.write_bytes(whole.replace(b"\n%d\n" % itself, b"\n%d\n" % (lock.stat().st_ino + 1)))
        self.assertEqual(served(usual), usual, "a copy is not served where the original is")
        (paths.state_dir / LOCK).unlink()
        os.mkfifo(paths.state_dir / LOCK)
        self.assertEqual(served(usual), usual, "and nobody hangs")

    def test_another_in_its_place(self) -> None:
        """Where the folder is moved away and another humd has one there, its memory is not written over."""
        paths, (ours, theirs) = self.paths(), (HumdKey.generate().humd_id() for _ in range(2))
        state = open_state(paths)
        self.addCleanup(state.close)
        paths.state_dir.rename(paths.state_dir.with_name("moved"))
        other = open_state(paths)
        other.memory.note_proven(theirs, True)
        with capturedLogs():
            state.memory.note_proven(ours, True)
        self.assertIn("another humd has its state dir there", state.memory.trouble)
        other.close()
        other = open_state(paths)
        self.assertEqual([other.memory.ever_proven(who) for who in (ours, theirs)], [False, True])
        other.close()
        shutil.rmtree(paths.state_dir)
        paths.state_dir.mkdir()
        with capturedLogs():
            state.memory.catch_up()
        self.assertEqual(state.memory.trouble, "", "nobody has it")

    def test_running(self) -> None:
        """Whoever has the lock runs, whatever became of its sockets; nobody does where it was let go of, or is torn."""
        paths = self.paths()
        self.assertIsNone(running(paths))
        state = open_state(paths)
        self.assertEqual(running(paths), os.getpid())
        lock = paths.state_dir / LOCK
        whole = lock.read_bytes()
        self.assertIsNone(running(evolve(paths, thrum=THRUM)), "it was told another")
        itself = b"%d\n" % os.getpid()
        for said in (b"", b"x\n", b"%d\n" % 10**30, b"%d\n" % (2**31 - 1)):
            lock.write_bytes(whole.replace(itself, said))
            self.assertIsNone(running(paths), said)
        lock.write_bytes(whole)
        state.close()
        self.assertIsNone(running(paths))
        with lock.open() as onlooker:
            fcntl.flock(onlooker, fcntl.LOCK_SH)
            self.assertIsNone(running(paths), "another one looks just now")

    def test_whose_peers_file(self) -> None:
        """The file of the daemon that was there last is the one that is meant, also while it is down."""
        paths = self.paths()
        usual = evolve(paths, peers_file=self.folder() / "usual.json")
        open_state(paths).close()
        self.assertEqual(served(usual), usual, "its folder is not there")
        paths.peers_file.parent.mkdir(parents=True, exist_ok=True)
        self.assertEqual(served(usual), paths, "it may be about to be made")
        self.assertEqual(served(usual, peers=False), usual, "another was given")
        self.assertEqual(served(evolve(usual, thrum=Path("/t")), thrum=False), evolve(paths, thrum=Path("/t")))

    def test_who_may_not_look(self) -> None:
        """Another user is told so, and not of other files."""
        with mock.patch("ensemble.config.paths.at_once", side_effect=PermissionError(errno.EACCES, "no")):
            self.assertRaises(PermissionError, served, self.paths())

    def test_shown(self) -> None:
        """A path that one process shows means the same to another, whatever the encoding of its file names."""
        self.assertEqual((shown("/a/w\xf6rk"), meant("/a/w\xf6rk")), ("/a/w\xf6rk", Path("/a/w\xf6rk")))
        self.assertEqual(shown(os.fsdecode(b"/a/\xff")), "/a/\ufffd")

    def test_release_twice(self) -> None:
        """A lock may be let go of twice."""
        folder = self.folder()
        lock = StateLock.take(folder, THRUM, PEERS)
        lock.release()
        lock.release()
        StateLock.take(folder, THRUM, PEERS).release()

    def test_nameless_holder(self) -> None:
        """A holder that wrote no number is still a holder."""
        folder = self.folder()
        lock = StateLock.take(folder, THRUM, PEERS)
        self.addCleanup(lock.release)
        (folder / LOCK).write_text("")
        self.assertNotIn("process", str(self.assertRaises(ConfigurationError, StateLock.take, folder, THRUM, PEERS)))
