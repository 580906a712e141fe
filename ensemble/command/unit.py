"""
The ``systemd --user`` unit that runs the daemon.

Everything in it is absolute: the user manager has neither the folder nor the environment of a shell.  Quoting is that
of systemd.service(5), "Command lines": C-style escapes inside double quotes, ``%%`` and ``$$`` for themselves.
"""

from __future__ import annotations

import os
import re
import sys
import sysconfig
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Final

from ensemble.config import Paths
from ensemble.errors import ConfigurationError

UNIT: Final = "humd.service"
SHELL: Final = "/bin/sh"
KILL: Final = "/bin/kill"
RETRY_SECONDS: Final = 5  # from a failure of the daemon to its next start

# Where pip puts the scripts of all users, and those of one.
_SCHEMES: Final = (sysconfig.get_default_scheme(), sysconfig.get_preferred_scheme("user"))
_BARE: Final = re.compile(r"[A-Za-z0-9_@:/.,=+-]+")
# systemd wants no quote, backslash or control character in the program itself, and leaves a `$` there alone.
_PLAIN_PROGRAM: Final = re.compile(r"[^\x00-\x1f\x7f\"'`\\$]+")
_ESCAPES: Final = {"\\": "\\\\", '"': '\\"', "%": "%%", "$": "$$", "\n": "\\n", "\t": "\\t", "\r": "\\r"}
_MEANT: Final = {escape: character for character, escape in _ESCAPES.items()}
_WORD: Final = re.compile(r'"(?:[^"\\]|\\.)*"|[^\s"]+')
_ESCAPED: Final = re.compile(r'%[%h]|\$\$|\\(?:[\\"ntr]|x[0-9a-f]{2})')


def unit_path(environ: Mapping[str, str]) -> Path | None:
    """
    Where the user manager looks for it (systemd.unit(5), "User Unit Search Path").

    :returns: None where nothing says where home is.
    """
    base, home = environ.get("XDG_CONFIG_HOME", ""), environ.get("HOME", "")
    if not (base.startswith("/") or home):
        return None
    folder = Path(base) if base.startswith("/") else Path(home) / ".config"
    return folder.absolute() / "systemd" / "user" / UNIT


def twistd() -> Path:
    """
    The ``twistd`` of this environment.

    :raises ConfigurationError: there is none.
    """
    # Not resolved: a virtualenv's python is a link, and beside the link is what belongs to it.
    folders = [Path(sys.executable).absolute().parent]
    folders += [Path(sysconfig.get_path("scripts", scheme)) for scheme in _SCHEMES]
    for folder in folders:
        if (found := folder / "twistd").is_file():
            return found
    # A virtualenv with --system-site-packages may have Twisted and no twistd; pip takes it for installed, unless told.
    raise ConfigurationError(
        f"there is no twistd in {folders[0]}: install Twisted there (where the system has it: "
        "`pip install --ignore-installed --no-deps twisted`), or run that ensemble's init"
    )


class Specifier(str):
    """A word of ``ExecStart=`` that systemd itself is to expand (systemd.unit(5), "Specifiers")."""


RUNTIME_THRUM: Final = Specifier("%t/hum/thrum.sock")  # the default in every session, which a cron job does not know


def humd_words(program: Path, paths: Paths, more: Iterable[str], thrum: str = "") -> list[str]:
    """
    The whole command line of the daemon, word by word: the places, and what is passed on.

    :param thrum: takes the place of the thrum socket's path.
    """
    words = [str(program), "-n", "--pidfile=", "humd"]
    words += ["--state-dir", str(paths.state_dir), "--key", str(paths.key)]
    words += ["--peers", str(paths.peers_file), "--thrum", thrum or str(paths.thrum)]
    return [*words, *more]


def quote(word: str) -> str:
    """
    One argument for ``ExecStart=``.

    :raises ConfigurationError: systemd reads UTF-8 only, and this is none.
    """
    if isinstance(word, Specifier) or _BARE.fullmatch(word):
        return word
    try:
        word.encode()
    except UnicodeEncodeError:
        raise ConfigurationError(f"systemd cannot read {word!r}, which is not UTF-8: choose another path") from None
    return '"' + "".join(_ESCAPES.get(each) or _control(each) for each in word) + '"'


def exec_line(words: Sequence[str]) -> str:
    """The value of ``ExecStart=`` that runs exactly these words."""
    program, *arguments = words
    if _PLAIN_PROGRAM.fullmatch(program):
        return " ".join([quote(program), *map(quote, arguments)])
    return " ".join(map(quote, [SHELL, "-c", 'exec "$0" "$@"', *words]))


def given_words(text: str, option: str, home: str = "") -> list[str]:
    """
    What a unit gives the daemon for an option that may be given more than once.

    :param text: of the whole unit, as `unit_text` makes it or as a person edited it.
    :param home: what ``%h`` means; stays as it is where empty.
    :returns: in their order; empty also where the unit cannot be read.
    """
    line = next((line for line in text.split("\n") if line.startswith("ExecStart=")), "")
    words = [_unquote(word, home) for word in _WORD.findall(line.removeprefix("ExecStart="))]
    found = [word.removeprefix(f"{option}=") for word in words if word.startswith(f"{option}=")]
    return found + [value for word, value in pairwise(words) if word == option]


def kept_words(unit: Path, options: Iterable[str], home: str = "") -> dict[str, list[str]]:
    """What the unit that is there gives for these options."""
    try:
        text = unit.read_text(errors="replace")
    except OSError:
        return {}
    return {option: given_words(text, option, home) for option in options}


def other_humd(unit: Path, paths: Paths, home: str) -> str:
    """The state dir of the humd that the unit runs, where it is another one; else empty."""
    given = kept_words(unit, ["--state-dir"], home).get("--state-dir")
    theirs = given[-1] if given else ""
    return "" if not theirs or os.path.realpath(theirs) == os.path.realpath(paths.state_dir) else theirs


def has_unit(environ: Mapping[str, str], uid: int) -> bool:
    """Whether the unit is there, and of the humd that is meant where no option says which."""
    unit = unit_path(environ)
    if unit is None or not unit.is_file():
        return False
    return not other_humd(unit, Paths.resolve(environ, uid), environ.get("HOME", ""))


def unit_text(words: Sequence[str]) -> str:
    """The whole unit."""
    return f"""\
# Written by `ensemble init`, which replaces it only with --force.
[Unit]
Description=humd: links this machine to other humds
StartLimitIntervalSec=0

[Service]
Type=notify
ExecStart={exec_line(words)}
ExecReload={KILL} -HUP $MAINPID
Restart=on-failure
RestartSec={RETRY_SECONDS}
RestartPreventExitStatus=2
TimeoutStopSec=10
WorkingDirectory=/
UMask=0077
SyslogIdentifier=humd
NoNewPrivileges=yes

[Install]
WantedBy=default.target
"""


def _unquote(word: str, home: str) -> str:
    meant = _MEANT | {"%h": home or "%h"}
    bare = word[1:-1] if word.startswith('"') else word
    return _ESCAPED.sub(lambda found: meant.get(found[0]) or chr(int(found[0][2:], 16)), bare)


def _control(character: str) -> str:
    return f"\\x{ord(character):02x}" if character < " " or character == "\x7f" else character
