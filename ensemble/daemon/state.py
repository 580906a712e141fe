"""
The state directory: the key, what is remembered of peers, and the lock that makes it one daemon's.

The lock is an ``flock`` on ``humd.lock``, which the system lets go of when the process ends, however it ends.  Who
holds it writes down its process, its thrum socket, its peers file and the inode of the lock, a line each, for who looks
for the daemon of this directory.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from attrs import frozen

from ensemble.config import LOCK, OwnStatements, Paths, read_own_statements, refuse_shared_state, remove_seeds
from ensemble.errors import ConfigurationError
from ensemble.identity import HumdKey, denied, load_or_mint, make_folders
from ensemble.mesh import PEERS_DATABASE, SqliteProofMemory


class StateDirLocked(ConfigurationError):
    """Another daemon runs on this state directory."""


class StateLock:
    """The lock, held until `release` or the end of the process."""

    def __init__(self, path: Path, handle: int) -> None:
        self._path = path
        self._handle: int | None = handle

    @classmethod
    def take(cls, folder: Path, thrum: Path, peers_file: Path) -> StateLock:
        """
        :param thrum: the socket that we shall serve.
        :param peers_file: the file that we read.
        :raises StateDirLocked: another process has it.
        :raises ConfigurationError: it cannot be tried.
        """
        path = folder / LOCK
        try:
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise ConfigurationError(f"cannot write {path}: {error.strerror}; is the state dir ours?") from None
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.pread(handle, 32, 0).partition(b"\n")[0].decode("ascii", "replace")
            os.close(handle)
            raise StateDirLocked(
                f"another humd{f' (process {owner})' if owner.isdigit() else ''} runs on the state dir {folder}; "
                "stop it, or give this one a --state-dir, --thrum and --peers of its own"
            ) from None
        except OSError as error:  # of file systems that know no locks
            os.close(handle)
            raise ConfigurationError(
                f"cannot lock {path}: {error.strerror}; choose a --state-dir on another file system"
            ) from None
        with suppress(OSError):  # the lock holds without, and whatever must be written says itself why it cannot
            os.ftruncate(handle, 0)
            places, itself = (os.fsencode(thrum), os.fsencode(peers_file)), os.fstat(handle).st_ino
            os.pwrite(handle, b"%d\n%s\n%s\n%d\n" % (os.getpid(), *places, itself), 0)
        return cls(path, handle)

    @property
    def held(self) -> bool:
        """Until `release`."""
        return self._handle is not None

    def is_in_place(self) -> bool:
        """False once somebody else has a lock of that name: the folder was moved away, and there is another."""
        try:
            return self._handle is not None and os.path.samestat(os.stat(self._path), os.fstat(self._handle))
        except FileNotFoundError:
            return True

    def release(self) -> None:
        """Let go (idempotent).  The file stays: to remove it would let two hold two of the same name."""
        handle, self._handle = self._handle, None
        if handle is not None:
            os.close(handle)


@frozen
class State:
    """
    What was found, or made, in the state directory.

    :ivar minted: the key is new.
    :ivar own: what we have said of our keys.
    """

    lock: StateLock
    key: HumdKey
    minted: bool
    memory: SqliteProofMemory
    own: OwnStatements

    def close(self) -> None:
        """Let go of everything."""
        self.memory.close()
        self.lock.release()


def open_state(paths: Paths, entropy: Callable[[int], bytes] = os.urandom) -> State:
    """
    Lock the state directory and read what is in it; what is missing is made.

    :raises ConfigurationError: something cannot be used; nothing is held then.
    """
    _prepare(paths.state_dir)
    lock = StateLock.take(paths.state_dir, paths.thrum, paths.peers_file)
    try:
        key, minted = load_or_mint(paths.key, entropy)
        remove_seeds(paths.key)
        own = read_own_statements(paths.state_dir)
        memory = SqliteProofMemory(paths.state_dir / PEERS_DATABASE, ours=lock.is_in_place)
        return State(lock, key, minted, memory, own)
    except BaseException:
        lock.release()
        raise


def _prepare(folder: Path) -> None:
    try:
        make_folders(folder)
    except OSError as error:
        raise ConfigurationError(
            f"cannot make the state dir {folder}: {denied(folder, error)}; choose another with --state-dir"
        ) from None
    refuse_shared_state(folder)
