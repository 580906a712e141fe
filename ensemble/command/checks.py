"""The looks of ``ensemble doctor`` at this machine: package, key, folders, sockets, files, limits."""

from __future__ import annotations

import os
import re
import resource
import shlex
import socket
import sqlite3
import stat
from collections.abc import Iterable
from contextlib import closing
from importlib.metadata import Distribution
from pathlib import Path
from typing import Any, Final

from ensemble import __version__
from ensemble.command.control import AS_ITS_USER, NOT_FIRST
from ensemble.command.findings import LOSING_ITS_KEY, Finding, fail, ok, warn
from ensemble.command.hints import near_only
from ensemble.config import (
    KEY_KIN,
    Paths,
    PeersFile,
    lost_key,
    meant,
    next_key_trouble,
    read_own_statements,
    read_peers,
    refuse_shared_state,
    shown,
    without_home,
)
from ensemble.errors import ConfigurationError
from ensemble.identity import (
    HumdId,
    HumdKey,
    KeyFileError,
    KeyFileMissing,
    denied,
    leftovers,
    load,
    others_write,
    refuse_strangers,
)

OTHER_DISTRIBUTION: Final = "ensemble-client"
FEW_DESCRIPTORS: Final = 1024
CROWDED: Final = 0.8  # of the descriptors in use
LITTLE_ROOM: Final = 1024 * 1024  # bytes
CHEAP_OPENSSL: Final = 0x30500000  # 3.5: the first without a key exchange of 8,192 bits, a tenth of a second each
PROOFS: Final = "peers.sqlite"  # in the state dir, the humd's
PROOFS_SCHEMA: Final = 2  # the user_version of that
_DAMAGED: Final = frozenset((sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB))
RELOAD: Final = "`systemctl --user reload humd`, or kill -HUP its process"


def package(distributions: Iterable[Distribution]) -> Finding:
    """Which ``ensemble`` this is, and whether the other one is in its way."""
    folder = shown(Path(__file__).resolve().parent.parent)
    for each in distributions:
        name = re.sub(r"[-_.]+", "-", str(each.metadata["Name"] or "")).lower()
        if name == OTHER_DISTRIBUTION:
            return fail(
                "package",
                f"{OTHER_DISTRIBUTION} {each.version} is in the same environment, and overwrites files in {folder}",
                f"pip uninstall {OTHER_DISTRIBUTION}, then pip install --force-reinstall ensemble-humd; "
                "the SDK belongs in a virtualenv of its own",
            )
    return ok("package", f"ensemble-humd {__version__} in {folder}")


def openssl() -> list[Finding]:
    """Whether whoever connects over TLS may choose what takes us long."""
    from OpenSSL.SSL import OPENSSL_VERSION_NUMBER  # which takes a while, and nothing else here needs it

    if OPENSSL_VERSION_NUMBER >= CHEAP_OPENSSL:
        return []
    what = "OpenSSL is older than 3.5: strangers may choose a key exchange that takes a tenth of a second each"
    return [warn("package", what, "upgrade `cryptography`, to 45 at least, and `pyopenssl`")]


def key(path: Path, status: dict[str, Any] | None = None) -> tuple[HumdKey | None, Finding]:
    """
    The key, where it can be used.

    :param status: of the daemon, where one answers.
    """
    try:
        found = load(path)
    except KeyFileMissing:
        if status is not None and status.get("key") == shown(path):
            return None, fail("key", f"{shown(path)}, the key of the humd that runs, is gone", LOSING_ITS_KEY)
        return None, warn(
            "key", f"there is no key yet at {shown(path)}", "`ensemble init` (or the first start) makes one"
        )
    except KeyFileError as error:
        text, mend = str(error), "make it readable for this user, or name another with --key"
        if _of_another(path, error.__cause__):
            mend = AS_ITS_USER
        elif not isinstance(error.__cause__, OSError) and ": " in text:
            text, _, mend = text.rpartition(": ")
        return None, fail("key", text, mend)
    return found, ok("key", f"{found.humd_id().full} in {shown(path)}")


def seeds(path: Path) -> list[Finding]:
    """What a process that was killed left of our keys: it outlives the key that is destroyed."""
    left = sorted(leftovers(path, KEY_KIN) | leftovers(os.path.realpath(path), KEY_KIN))
    if not left:
        return []
    how_many = "a secret key was" if len(left) == 1 else f"{len(left)} secret keys were"
    return [
        warn(
            "key",
            f"{how_many} left beside {shown(path)} by a process that was killed",
            f"rm {shlex.join(map(shown, left))}",
        )
    ]


def statements(state_dir: Path, key_file: Path, own: HumdId | None) -> tuple[bool, list[Finding]]:
    """Whether our key is revoked, and what is wrong, or unfinished, with what we have said of our keys."""
    try:
        said = read_own_statements(state_dir)
    except ConfigurationError as error:
        text, _, mend = str(error).partition("; ")
        return False, [fail("key", text, mend or "humd does not start before that is mended")]
    if own is not None and said.revoked(own) is not None:
        what = f"{own.full} was revoked here, and others refuse it"
        return True, [fail("key", what, "move the key away and start humd anew")]
    if lost := lost_key(key_file, said, own):
        what, _, mend = lost.partition(": ")
        return False, [warn("key", what, mend)]
    if own is None or (begun := said.begun(own)) is None:
        return False, []
    what, _, mend = next_key_trouble(key_file, begun).rpartition(": put ")
    if what:
        return False, [fail("key", what, f"put {mend}")]
    what = f"{own.full} is to go on as {begun.heir.full}"
    return False, [warn("key", what, "`ensemble rotate --finish`, when all who should know were linked")]


def home(paths: Paths) -> list[Finding]:
    """Whether the places are where somebody wanted them."""
    what, mend = without_home(paths)
    return [warn("state", what, mend)] if what else []


def folder(path: Path, status: dict[str, Any] | None = None, little: int = LITTLE_ROOM) -> Finding:
    """
    The state dir.

    :param status: of the daemon, where one answers.
    :param little: its disk counts as full where less bytes are left.
    """
    name = shown(path)
    try:
        found, disk = path.stat(), os.statvfs(path)
    except FileNotFoundError:
        if status is not None and status.get("state_dir") == name:
            what = f"{name}, the state dir of the humd that runs, is gone, and what it learns is kept nowhere"
            return fail("state", what, "put a copy back, then restart humd")
        return warn("state", f"{name} is not there yet", "`ensemble init` (or the first start) makes it")
    except OSError as error:
        mend = "make it readable for this user, or choose another --state-dir"
        return fail("state", f"{name}: {denied(path, error)}", AS_ITS_USER if _of_another(path, error) else mend)
    if not stat.S_ISDIR(found.st_mode):
        return fail("state", f"{name} is no folder", "move it away, or choose another --state-dir")
    if disk.f_flag & os.ST_RDONLY:
        return fail("state", f"{name} is on a read-only file system", "remount it, or choose another --state-dir")
    try:
        refuse_shared_state(path)
    except ConfigurationError as error:
        what, _, mend = str(error).partition("; ")
        return fail("state", what, mend)
    if not os.access(path, os.W_OK | os.X_OK):
        return fail("state", f"this user cannot write to {name}", "chown it, or choose another --state-dir")
    if disk.f_bavail * disk.f_frsize < little:
        return fail("state", f"the disk of {name} is full", "make room: what humd has to remember is not written")
    return ok("state", name)


def proofs(state_dir: Path) -> list[Finding]:
    """What a humd that does not run remembers of peers: with a damaged file none starts."""
    path = state_dir / PROOFS
    try:
        # Looked at only: where no log of changes is there SQLite is not to make one, nor to lock.
        how = "mode=ro" if os.path.exists(f"{path}-wal") else "immutable=1"
        if not os.access(path, os.R_OK):
            return []  # there is none yet, or it is another user's
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?{how}", uri=True)) as file:
            (version,) = file.execute("PRAGMA user_version").fetchone()
            if version > PROOFS_SCHEMA:
                what = f"a newer humd wrote {shown(path)} (version {version}), and this one does not start with it"
                return [fail("state", what, "start the newer humd again, and leave the file there")]
            (state,) = file.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.Error as error:
        # Other causes are of the disk, or of whoever is at the file: it may be as good as ever.
        state = str(error) if error.sqlite_errorcode & 0xFF in _DAMAGED else "ok"
    except UnicodeDecodeError as error:
        state = str(error)
    if state == "ok":
        return []
    mend = (
        "move it away: then each peer counts as one that never proved itself, until it does, and revoked keys as good"
    )
    return [fail("state", f"{shown(path)} cannot be used, and humd does not start: {' '.join(state.split())}", mend)]


def unwritten(status: dict[str, Any]) -> list[Finding]:
    """Whether something of what a humd that runs remembers of peers is in its RAM only."""
    told = status.get("unwritten")
    if not isinstance(told, str):
        return []
    mend = "make room there, or see what else takes no writes: humd tries again each minute"
    return [fail("state", f"what humd learned last, a revocation too, is gone when it ends: {told}", mend)]


def thrum(path: Path) -> list[Finding]:
    """The thrum socket: its folder, its mode, and whether somebody serves it."""
    name, parent = shown(path), path.parent
    found = []
    try:
        if others_write(parent.stat()):
            place = shown(parent)
            found.append(
                fail("thrum", f"others can put a socket of theirs into {place}", f"chmod go-w {shlex.quote(place)}")
            )
    except OSError:
        pass  # without a folder there is no socket, either
    if not_ours(path):
        return [*found, fail("thrum", f"this user may not use {name}", AS_ITS_USER)]
    try:
        mode = path.lstat().st_mode
    except OSError:
        return [*found, fail("thrum", f"there is no socket {name}", "start humd, or name its socket with --thrum")]
    if not stat.S_ISSOCK(mode):
        return [*found, fail("thrum", f"{name} is no socket", "move it away, or choose another with --thrum")]
    if stat.S_IMODE(mode) & 0o077:
        found.append(fail("thrum", f"others can use the socket {name}", f"chmod 600 {shlex.quote(name)}"))
    trouble, mend = _greeting(path)
    if trouble:
        return [*found, fail("thrum", f"{name}: {trouble}", mend)]
    return [*found, ok("thrum", f"{name} is served")]


def not_ours(path: Path) -> bool:
    """Whether a socket is there that this user may not use, as far as that can be told."""
    try:
        path.lstat()
    except OSError as error:
        return isinstance(error, PermissionError)
    return not os.access(path, os.W_OK)


def _of_another(path: Path, error: BaseException | None) -> bool:
    """Whether what this user may not read is another's, and so not to be made readable for this one."""
    if not isinstance(error, PermissionError):
        return False
    try:
        return path.stat().st_uid != os.geteuid()
    except OSError:
        return True  # the folder is another's, too


def peers_file(path: Path, me: HumdId | None = None) -> tuple[PeersFile | None, list[Finding]]:
    """
    The file, with a line for each thing in it that cannot be used; None where none of it can.

    :param me: this humd, which has no place in its own file.
    """
    name = shown(path)
    try:
        file = read_peers(path)
        mode = 0 if file.missing else path.stat().st_mode
    except ConfigurationError as error:
        mend = "mend the file; until then humd keeps what it read before, or starts with no peers"
        return None, [fail("peers file", str(error), AS_ITS_USER if _of_another(path, error.__cause__) else mend)]
    except OSError as error:
        return None, [fail("peers file", f"{name}: {error.strerror}", "make it readable for this user")]
    if file.missing:
        mend = "`ensemble trust PEER HINT` makes it, with what ensemble id shows on the other machine"
        return file, [warn("peers file", f"there is no {name}: nobody is known", mend)]
    found = [warn("peers file", f"{name}: {each}", f"mend it, then {RELOAD}") for each in file.problems]
    if me is not None and file.row(me) is not None:
        found.append(
            warn(
                "peers file",
                f"{name}: a row names this humd itself, and is not used",
                f"remove the row with {me.full}: it belongs into the other side's file; where that is another humd "
                "here, start each with a --peers of its own",
            )
        )
    if mode & stat.S_IWGRP:
        # What any user can write was refused above.
        what = f"its group can write to {name}, and so let anybody in"
        found.append(warn("peers file", what, f"chmod g-w {shlex.quote(name)}, unless you are alone in that group"))
    if not found:
        found.append(ok("peers file", f"{name}, {len(file.rows)} {'row' if len(file.rows) == 1 else 'rows'}"))
    return file, found


def descriptors(status: dict[str, Any] | None) -> Finding:
    """How many connections there can be: the daemon's own limit, else what a daemon would get here."""
    told = status.get("descriptors") if status is not None else None
    if isinstance(told, dict) and isinstance(told.get("soft"), int) and isinstance(told.get("used"), int):
        soft, used = told["soft"], told["used"]
        what = f"humd uses {used} of {soft} descriptors"
        crowded = used > CROWDED * soft
    else:
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        soft = hard if hard != resource.RLIM_INFINITY else 1 << 20
        what, crowded = f"a humd started here may have {soft} descriptors", False
    if crowded or soft < FEW_DESCRIPTORS:
        return warn("descriptors", what, "raise the limit: LimitNOFILE=65536 in the unit, or `ulimit -Hn`")
    return ok("descriptors", what)


def same_places(paths: Paths, status: dict[str, Any]) -> list[Finding]:
    """Whether the daemon that answers is the one that the options mean."""
    found, key = [], paths.key
    if key == paths.state_dir / "humd.key":  # not given, and so found once the folder is
        key = meant(str(status.get("state_dir", shown(paths.state_dir)))) / "humd.key"
    for told, option, ours in (
        ("state_dir", "--state-dir", paths.state_dir),
        ("key", "--key", key),
        ("peers_file", "--peers", paths.peers_file),
    ):
        theirs = status.get(told)
        if isinstance(theirs, str) and theirs != shown(ours):
            found.append(
                warn("daemon", f"it uses {theirs}, this looks at {shown(ours)}", f"add {option} {shlex.quote(theirs)}")
            )
    return found


def same_version(status: dict[str, Any]) -> list[Finding]:
    """Whether the daemon that answers is of our version."""
    version = status.get("version")
    if version == __version__:
        return []
    return [warn("daemon", f"it is {version}, this command is {__version__}", "restart humd")]


def admission(status: dict[str, Any], listening: Iterable[str]) -> list[Finding]:
    """Whether strangers may pass for others, from elsewhere."""
    if (status.get("admit"), status.get("auth")) != ("any", "open") or near_only(listening):
        return []
    what = "whoever reaches it may link, under any id that never proved itself here and has no stricter row"
    return [warn("admission", f"--admit any with --auth open: {what}", "leave out one of the two, or both")]


def _greeting(path: Path) -> tuple[str, str]:
    """What is wrong with who serves the socket, and the mend: a humd greets with a breath."""
    mend = "restart humd: it replaces a socket that nobody serves"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(3.0)
        try:
            connection.connect(str(path))
            refuse_strangers(connection, path)
            greeting = connection.recv(1 << 16)
        except PermissionError as error:
            return error.strerror or str(error), NOT_FIRST
        except TimeoutError:
            return (
                "no greeting within 3 s",
                "is humd stopped, or its machine too busy? look at its log, or start it again",
            )
        except OSError as error:
            return (error.strerror or str(error)).lower(), mend
    return ("", "") if b'"breath"' in greeting else ("who serves it is no humd", mend)
