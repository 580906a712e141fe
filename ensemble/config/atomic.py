"""Files that are either the old or the new one, whatever happens in between."""

from __future__ import annotations

import errno
import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from shlex import quote
from typing import Final

from ensemble.errors import ConfigurationError
from ensemble.identity import StrPath, make_folders, make_temporary, put_in_place, sync_folder

FILE_MODE: Final = 0o600  # of files that were not there before
LOCK_SECONDS: Final = 10.0  # that we wait for somebody else's edit
LOCK_PAUSE: Final = 0.05  # seconds between two tries


def at_once(name: str, flags: int) -> int:
    """For ``open(opener=)``: a FIFO of that name hangs nobody."""
    return os.open(name, flags | os.O_NONBLOCK)


def write_text(path: StrPath, text: str, lasting: bool = True) -> None:
    """
    Write a whole file, or leave the old one as it was.

    A link is followed, so that it goes on pointing at the file.  Mode and (where we may) owner stay; a new file gets
    0600 and the owner of its folder, so that root can write one for somebody else, and a new folder 0700.

    :param lasting: wait for the disk, so that it is there after a power cut; a busy disk takes its time.
    :raises OSError: it could not be written.
    """
    name = os.path.realpath(os.fspath(path))
    folder = os.path.dirname(name)
    make_folders(folder)
    if os.path.exists(name) and not os.path.isfile(name):
        raise OSError(errno.EINVAL, "not a regular file")  # a device would be replaced
    handle, temporary = make_temporary(name)
    try:
        _fill(handle, text, lasting, name)
        os.replace(temporary, name)
    except BaseException:
        with suppress(OSError):  # what was wrong before is what counts
            os.unlink(temporary)
        raise
    if lasting:
        sync_folder(folder)


def create_text(path: StrPath, text: str) -> bool:
    """
    Write a file that is not there; one that is there stays as it is.

    :returns: whether it was written.
    :raises OSError: it could not be.
    """
    name = os.fspath(path)
    if os.path.lexists(name):
        return False
    folder = os.path.dirname(os.path.abspath(name))
    make_folders(folder)
    handle, temporary = make_temporary(name)
    fill = partial(_fill, text=text)
    try:
        fill(handle)
        put_in_place(temporary, name, fill)
    except FileExistsError:
        return False  # somebody was quicker
    finally:
        with suppress(OSError):
            os.unlink(temporary)
    sync_folder(folder)
    return True


@contextmanager
def alone(folder: StrPath, seconds: float | None = None) -> Iterator[None]:
    """
    Nobody else who asks for it edits, or starts to serve a socket, in this folder.

    The lock is the folder's, as what is in it is replaced; the system lets go of it when the process ends.

    :param seconds: to wait for it, ten where None; 0: one try.
    :raises ConfigurationError: somebody else does not let go of it, or the folder cannot be opened.
    """
    try:
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise ConfigurationError(f"cannot open the folder {os.fspath(folder)}: {error.strerror}") from None
    seconds = LOCK_SECONDS if seconds is None else seconds
    try:
        for _ in range(max(1, int(seconds / LOCK_PAUSE))):
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                time.sleep(LOCK_PAUSE)
            except OSError:
                break  # not every file system can
            else:
                break
        else:
            place = quote(os.fspath(folder))
            raise ConfigurationError(
                f"somebody else has held the lock on {place} for {seconds:g} s; try again (who may look into it "
                f"can hold it: `fuser {place}` names the process, `chmod go= {place}` leaves other users out)"
            )
        yield
    finally:
        os.close(handle)


def _fill(handle: int, text: str, lasting: bool = True, dressed_as: str | None = None) -> None:
    with os.fdopen(handle, "w", encoding="utf-8", newline="") as file:
        if dressed_as is not None:
            _dress(handle, dressed_as)
        file.write(text)
        file.flush()
        if lasting:
            os.fsync(handle)


def _dress(handle: int, name: str) -> None:
    try:
        old = os.stat(name)
    except FileNotFoundError:
        owner, group, mode = os.stat(os.path.dirname(name)).st_uid, -1, FILE_MODE
    else:
        owner, group, mode = old.st_uid, old.st_gid, old.st_mode & 0o7777
    try:
        os.fchown(handle, owner, group)
    except PermissionError:
        pass  # only root can give files away; the mode is ours to keep
    os.fchmod(handle, mode)
