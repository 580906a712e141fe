"""
Where things are: the XDG rules, the environment and the options, in one place.

===========  ===================================================================================================
path         first of these that is given
===========  ===================================================================================================
state dir    ``--state-dir``, ``$XDG_STATE_HOME/hum``, ``$HOME/.local/state/hum``, ``.local/state/hum``
key          ``--key``, ``<state dir>/humd.key``
peers file   ``--peers``, ``$XDG_CONFIG_HOME/hum/peers.json``, ``$HOME/.config/hum/peers.json``,
             ``.config/hum/peers.json``
thrum        ``--thrum``, ``$HUM_THRUM_SOCK``, ``$HUM_SOCKET``, ``$XDG_RUNTIME_DIR/hum/thrum.sock``,
             ``/run/user/<uid>/hum/thrum.sock`` where ``/run/user/<uid>`` is there and ours,
             ``<state dir>/thrum.sock``
control      always the thrum path with ``.control`` behind it
===========  ===================================================================================================

An empty value counts as not given, and so does a relative one of an XDG variable (the XDG specification says so).  All
results are absolute: a daemon changes its folder.
"""

from __future__ import annotations

import fcntl
import os
import stat
import sys
from collections.abc import Mapping
from pathlib import Path
from shlex import quote
from typing import Final

from attrs import evolve, field, frozen

from ensemble.config.atomic import at_once
from ensemble.errors import ConfigurationError
from ensemble.identity import StrPath

LOCK: Final = "humd.lock"  # in the state dir: the daemon's process, thrum socket, peers file, and inode of this
CONTROL_SUFFIX: Final = ".control"
_MAX_SOCKET: Final = 107 if sys.platform == "linux" else 103  # bytes, and a zero; macOS and the BSDs have less
MAX_THRUM: Final = _MAX_SOCKET - len(CONTROL_SUFFIX)
_MAX_LOCK: Final = 8192  # bytes of that file
_RUN_USER: Final = "/run/user"


class ThrumPathTooLong(ConfigurationError):
    """A Unix socket's path has a hard limit in the kernel, and this one is over it."""

    def __init__(self, path: str, length: int) -> None:
        super().__init__(
            f"the thrum socket's path has {length} bytes, at most {MAX_THRUM} are possible: "
            f"give a shorter one with --thrum PATH or HUM_THRUM_SOCK (this one is {path})"
        )
        self.path, self.length = path, length  # length in bytes


@frozen
class Paths:
    """
    Every place that the daemon and the command share.

    :ivar homeless: the places that are below the current folder, as nothing said where else, each by its option.
    """

    state_dir: Path
    key: Path
    peers_file: Path
    thrum: Path
    homeless: Mapping[str, Path] = field(factory=dict)

    @property
    def control(self) -> Path:
        """The socket of our own command, beside the thrum socket."""
        return self.thrum.with_name(self.thrum.name + CONTROL_SUFFIX)

    @classmethod
    def resolve(
        cls,
        environ: Mapping[str, str],
        uid: int,
        *,
        state_dir: StrPath | None = None,
        key: StrPath | None = None,
        peers: StrPath | None = None,
        thrum: StrPath | None = None,
        run_user: StrPath = _RUN_USER,
    ) -> Paths:
        """
        Apply the table above.  Looks at the runtime folder only; opens and makes nothing.

        :param environ: the environment, as ``os.environ``.
        :param uid: whose ``/run/user`` folder is meant.
        :param run_user: where those folders are.
        :raises ThrumPathTooLong: whichever rule gave it, the socket's path cannot be bound.
        :raises ConfigurationError: one of them is relative, and the current folder is gone.
        """
        state = _given(state_dir) or _xdg(environ, "XDG_STATE_HOME", ".local/state") / "hum"
        peers_file = _given(peers) or _xdg(environ, "XDG_CONFIG_HOME", ".config") / "hum" / "peers.json"
        socket = (
            _given(thrum)
            or _given(environ.get("HUM_THRUM_SOCK"))
            or _given(environ.get("HUM_SOCKET"))
            or _runtime(environ, uid, run_user)
            or state / "thrum.sock"
        )
        if not socket.name:
            raise ConfigurationError(f"{socket} is no place for the thrum socket; choose another path with --thrum")
        length = len(os.fsencode(socket))
        if length > MAX_THRUM:
            raise ThrumPathTooLong(str(socket), length)
        return cls(
            state_dir=state,
            key=_given(key) or state / "humd.key",
            peers_file=peers_file,
            thrum=socket,
            homeless={
                option: place
                for option, given, variable, place in (
                    ("--state-dir", state_dir, "XDG_STATE_HOME", state),
                    ("--peers", peers, "XDG_CONFIG_HOME", peers_file),
                )
                if not (given or os.path.isabs(environ.get(variable, "")) or environ.get("HOME"))
            },
        )


def without_home(paths: Paths) -> tuple[str, str]:
    """What is to be said where places are below the current folder for want of a home, and the mend; else empty."""
    if not paths.homeless:
        return "", ""
    places = " and ".join(map(str, paths.homeless.values()))
    options = " and ".join(paths.homeless)
    return f"HOME is not set, so below the current folder: {places}", f"give {options}, or set HOME"


def served(paths: Paths, thrum: bool = True, peers: bool = True) -> Paths:
    """
    The same places, but those of the daemon that has the state dir, or had it last, where it named them and they are
    there.

    :param thrum: its thrum socket counts.
    :param peers: its peers file counts.
    :raises PermissionError: this user may not look.
    """
    try:
        with open(paths.state_dir / LOCK, "rb", opener=at_once) as file:
            _, *named, end = file.read(_MAX_LOCK).split(b"\n")
            itself = b"%d" % os.fstat(file.fileno()).st_ino
    except PermissionError:
        raise
    except (OSError, ValueError):
        return paths
    if end or len(named) != 3 or named[2] != itself:  # cut short, or the directory is a copy, and they are another's
        return paths
    there = evolve(paths, thrum=Path(os.fsdecode(named[0])), peers_file=Path(os.fsdecode(named[1])))
    if thrum and there.thrum.is_absolute() and there.thrum.name and os.path.lexists(there.control):
        paths = evolve(paths, thrum=there.thrum)
    if peers and there.peers_file.is_absolute() and there.peers_file.parent.is_dir():
        paths = evolve(paths, peers_file=there.peers_file)
    return paths


def running(paths: Paths) -> int | None:
    """
    The process of the daemon that has this state dir and was told this socket, whether or not it serves it.

    :returns: None also where nobody can tell.
    """
    process = None
    try:
        with open(paths.state_dir / LOCK, "rb", opener=at_once) as file:
            said, thrum, *_ = file.read(_MAX_LOCK).split(b"\n")
            if thrum != os.fsencode(paths.thrum):
                return None
            process = int(said)
            os.kill(process, 0)  # first: where that one has ended our lock could be in the way of one that starts
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return process
    except (OSError, OverflowError, ValueError):
        pass
    return None


def shown(path: StrPath) -> str:
    """A path as text that any output takes, also where its bytes are no text, and whatever the locale."""
    return os.fsencode(path).decode("utf-8", "replace")


def meant(text: str) -> Path:
    """The path that another process `shown`."""
    return Path(os.fsdecode(text.encode()))


def refuse_shared_state(folder: Path) -> None:
    """
    Whatever else is wrong with the state dir its user finds.

    :raises ConfigurationError: it is somebody else's, or others can make files in it: a link of theirs, by the name of
        a file of ours, would lead us to any other.
    """
    try:
        found = os.stat(folder)
    except OSError:
        return
    if found.st_uid not in (os.geteuid(), 0):
        raise ConfigurationError(
            f"the state dir {folder} belongs to user {found.st_uid}, not to us ({os.geteuid()}); "
            "run as that user, or choose another with --state-dir"
        )
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise ConfigurationError(
            f"others can write to the state dir {folder}; run `chmod go-w {quote(os.fspath(folder))}` "
            "or choose another with --state-dir"
        )


def _given(path: StrPath | None) -> Path | None:
    text = "" if path is None else os.fspath(path)
    return _absolute(text) if text else None


def _xdg(environ: Mapping[str, str], variable: str, below_home: str) -> Path:
    base = environ.get(variable, "")
    if os.path.isabs(base):
        return _absolute(base)
    return _absolute(os.path.join(environ.get("HOME", ""), below_home))


def _absolute(path: str) -> Path:
    try:
        return Path(os.path.abspath(path))
    except FileNotFoundError:
        raise ConfigurationError(f"{path} begins in the current folder, which is gone: cd to another") from None


def _runtime(environ: Mapping[str, str], uid: int, run_user: StrPath) -> Path | None:
    base = environ.get("XDG_RUNTIME_DIR", "")
    if os.path.isabs(base):
        return Path(os.path.abspath(base)) / "hum" / "thrum.sock"
    folder = Path(run_user) / str(uid)
    try:
        found = os.lstat(folder)
    except OSError:
        return None
    ours = stat.S_ISDIR(found.st_mode) and found.st_uid == uid
    return folder / "hum" / "thrum.sock" if ours else None
