"""
Files that appear whole under their name, or not at all.

Each is written beside its place first, as ``.<name>.<8 letters>.tmp``.  Who is killed in the middle leaves that behind,
with a secret seed in it where it was to be a key: so whoever makes the next one removes what is left.
"""

from __future__ import annotations

import errno
import math
import os
import re
import stat
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final, TypeAlias

StrPath: TypeAlias = str | os.PathLike[str]

STALE_SECONDS: Final = 3600.0  # nobody writes one file for so long
# What file systems without hard links (FAT, some of FUSE, Android) say to link().
_NO_LINKS: Final = frozenset({errno.EPERM, errno.EACCES, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK})


def make_folders(folder: StrPath) -> None:
    """
    Those that are missing, 0700; what is there stays as it is.

    :raises OSError: one cannot be made.
    """
    before = os.umask(0o077)  # the mode of makedirs is that of the last one only
    try:
        os.makedirs(folder, exist_ok=True)
    finally:
        os.umask(before)


def make_temporary(name: str) -> tuple[int, str]:
    """
    A new file beside ``name``, 0600, where those are removed that were left an hour ago.

    :returns: its descriptor, and its path.
    :raises OSError: it cannot be made.
    """
    remove_leftovers(name)
    folder, base = os.path.split(os.path.abspath(name))
    return tempfile.mkstemp(prefix=f".{base}.", suffix=".tmp", dir=folder)


def leftovers(name: StrPath, kin: str = "") -> dict[str, float]:
    """
    The temporary files of ours beside ``name``, with the time at which each was changed last.

    :param kin: a pattern of what may stand behind the name, for the files that belong to it.
    """
    folder, base = os.path.split(os.path.abspath(name))
    ours = re.compile(rf"\.{re.escape(base)}(?:{kin})\.[a-z0-9_]{{8}}\.tmp")
    found = {}
    with suppress(OSError):
        for path in [os.path.join(folder, each) for each in os.listdir(folder) if ours.fullmatch(each)]:
            with suppress(OSError):  # it went meanwhile
                status = os.lstat(path)
                if stat.S_ISREG(status.st_mode) and status.st_uid == os.geteuid():
                    found[path] = status.st_mtime
    return found


def remove_leftovers(name: StrPath, kin: str = "", older: float = STALE_SECONDS) -> None:
    """
    Remove `leftovers`.

    :param older: than so many seconds; 0: all, for who knows that nobody else makes one now.
    """
    latest = time.time() - older if older else math.inf
    for path, changed in leftovers(name, kin).items():
        if changed < latest:
            with suppress(OSError):
                os.unlink(path)


def put_in_place(temporary: str, name: str, fill: Callable[[int], None]) -> None:
    """
    Give a file its name.  Unlike a rename this fails where the name is taken.

    :param fill: writes the same to a descriptor, and closes it: for file systems without hard links, where whoever is
        killed in the middle leaves a part of it.
    :raises FileExistsError: the name is taken.
    :raises OSError: it cannot be done; nothing of that name is left.
    """
    try:
        os.link(temporary, name)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
    else:
        return
    handle = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        fill(handle)
    except BaseException:
        with suppress(OSError):
            os.unlink(name)
        raise


def sync_folder(folder: StrPath) -> None:
    """See that what was made or renamed in it is on the disk."""
    # Not every file system can; what is in it stands under its name already.
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
