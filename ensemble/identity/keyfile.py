"""
The key file: exactly 32 raw bytes, the Ed25519 secret seed; no header, no newline (mesh 1.1).

Stricter than 0.7.0 in two ways: a file that others can read, or that is not ours, is refused; and two processes that
mint at the same time end up with one key, because a key file that is there is never written over.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from shlex import quote
from typing import Final

from ensemble.errors import ConfigurationError
from ensemble.identity.key import SEED_LENGTH, HumdKey
from ensemble.identity.placing import StrPath, make_folders, make_temporary, put_in_place, sync_folder
from ensemble.identity.users import denied, others_write

_OTHERS: Final = 0o077


class KeyFileError(ConfigurationError):
    """The key file cannot be used, or not be made.  The message names the mend."""


class KeyFileMissing(KeyFileError):
    """There is no file of that name."""


class KeyFileExists(KeyFileError):
    """There is one already; it was not touched."""


class KeyFileSpoilt(KeyFileError):
    """It has not the length of a key."""


def load(path: StrPath) -> HumdKey:
    """
    Read a key.

    :raises KeyFileMissing: there is none.
    :raises KeyFileError: it is not a file of ours of 32 bytes that nobody else can read.
    """
    name = os.fspath(path)
    try:
        # Not blocking: a FIFO of that name must not hang the start.
        handle = os.open(name, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        raise KeyFileMissing(f"there is no key file {name}") from None
    except OSError as error:
        raise KeyFileError(f"cannot read the key file {name}: {denied(name, error)}") from error
    try:
        _judge(name, os.fstat(handle))
        _judge_folder(os.path.dirname(os.path.abspath(name)))
        return HumdKey.from_seed(os.read(handle, SEED_LENGTH))
    except OSError as error:
        raise KeyFileError(f"cannot read the key file {name}: {error.strerror}") from error
    finally:
        os.close(handle)


def mint(path: StrPath, entropy: Callable[[int], bytes] = os.urandom) -> HumdKey:
    """
    Make a fresh key and write it; folders that are missing are made.

    :raises KeyFileExists: there is a file already; it stays as it is.
    :raises KeyFileError: it could not be written; nothing is left behind.
    """
    key = HumdKey.generate(entropy)
    save(path, key)
    return key


def save(path: StrPath, key: HumdKey) -> None:
    """
    Write a key to a file that is not there; folders that are missing are made.

    :raises KeyFileError: as `mint`.
    """
    name = os.fspath(path)
    folder = os.path.dirname(os.path.abspath(name))
    try:
        make_folders(folder)
        _judge_folder(folder)
        handle, temporary = make_temporary(name)
    except OSError as error:
        raise KeyFileError(f"cannot make a key file in {folder}: {error.strerror}") from error
    fill = partial(_fill, seed=key.seed)
    try:
        fill(handle)
        put_in_place(temporary, name, fill)  # a rename would cost a key in a race
        sync_folder(folder)
    except FileExistsError:
        raise KeyFileExists(f"there is a key file {name} already: it was not touched") from None
    except OSError as error:
        raise KeyFileError(f"cannot write the key file {name}: {error.strerror}") from error
    finally:
        with suppress(OSError):  # what was wrong before is what counts
            os.unlink(temporary)


def load_or_mint(path: StrPath, entropy: Callable[[int], bytes] = os.urandom) -> tuple[HumdKey, bool]:
    """
    The key in the file, which is made if there is none.

    :returns: the key, and whether it was minted just now.
    :raises KeyFileError: as `load` and `mint`.
    """
    try:
        return load(path), False
    except KeyFileMissing:
        pass
    try:
        return mint(path, entropy), True
    except KeyFileExists:
        return load(path), False  # somebody was quicker


def _judge_folder(folder: str) -> None:
    if others_write(os.stat(folder)):  # they could take the key away, and we would begin anew as somebody else
        raise KeyFileError(f"others can write to {folder}, where the key file is: chmod go-w {quote(folder)}")


def _judge(name: str, found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise KeyFileError(f"the key file {name} is not a regular file")
    if found.st_size != SEED_LENGTH:  # first: of a file that is no key nobody is asked to change the mode
        raise KeyFileSpoilt(
            f"the key file {name} must have exactly {SEED_LENGTH} bytes and has {found.st_size}: "
            "put the backup back, or move it away to get a new key (and with it a new id)"
        )
    if found.st_uid != os.geteuid():
        raise KeyFileError(
            f"the key file {name} belongs to user {found.st_uid}, not to us ({os.geteuid()}): "
            f"run as that user, or chown {os.geteuid()} {quote(name)}"
        )
    if stat.S_IMODE(found.st_mode) & _OTHERS:
        raise KeyFileError(
            f"others can get at the key file {name} (mode {stat.S_IMODE(found.st_mode):04o}): chmod 600 {quote(name)}"
        )


def _fill(handle: int, seed: bytes) -> None:
    with os.fdopen(handle, "wb") as file:
        os.fchmod(handle, 0o600)
        file.write(seed)
        file.flush()
        os.fsync(handle)
