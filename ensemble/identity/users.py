"""The other users of this machine: what they can replace, and whether it is one of them who serves a socket."""

from __future__ import annotations

import os
import pwd
import socket
import stat
import struct
import sys
from contextlib import suppress
from pathlib import Path
from typing import Final

_CREDENTIALS: Final = struct.Struct("3i")  # of unix(7), SO_PEERCRED: process, user, group


def others_write(folder: os.stat_result) -> bool:
    """True where somebody else could replace what is in this folder, a key too: theirs to write, and not sticky."""
    return bool(folder.st_mode & (stat.S_IWGRP | stat.S_IWOTH)) and not folder.st_mode & stat.S_ISVTX


def denied(path: str | os.PathLike[str], error: OSError) -> str:
    """
    The text of ``error``, and where this user is kept out because somebody else's is on the way, whose: a command that
    root ran by mistake leaves such a folder.
    """
    text = error.strerror or str(error)
    if not isinstance(error, PermissionError):
        return text
    whole = os.path.abspath(path)
    for at in (*reversed([str(each) for each in Path(whole).parents]), whole):
        with suppress(OSError):
            found = os.stat(at)
            if found.st_uid != os.geteuid() and not os.access(at, os.X_OK if stat.S_ISDIR(found.st_mode) else os.R_OK):
                return f"{text}, for {at} belongs to {_name(found.st_uid)}"
    return text


def _name(user: int) -> str:
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:  # as in a container
        return f"user {user}"


def refuse_strangers(connection: socket.socket, path: str | os.PathLike[str]) -> None:
    """
    See that it is not just anybody who serves the Unix socket that we connected to: where many may make files, as in
    ``/tmp``, whoever is first has the name.

    :raises PermissionError: it is neither we, nor root, nor the owner of the folder.
    """
    if sys.platform != "linux":
        return  # others do not tell, or in another form
    _, user, _ = _CREDENTIALS.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
    if user not in (os.geteuid(), 0, os.stat(os.path.dirname(os.path.abspath(path))).st_uid):
        raise PermissionError(f"user {user} serves it, and not we")
