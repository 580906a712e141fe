"""
``twistd humd``: the options, and the service that they describe.

Whatever is wrong ends in one line on stderr: a bad option with exit status 2, a start that fails with 1
(`ensemble.daemon.startup`).
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final, NoReturn, cast

from twisted.application.service import IService
from twisted.python import usage

from ensemble import __version__
from ensemble.config import ADMIT, EMPTY_PLACE, LEVELS, LOG_FORMATS, PLACES, Listening, Paths, check_advertise
from ensemble.daemon.listeners import endpoint_of
from ensemble.daemon.logs import LogPlan, level_of, rewording
from ensemble.daemon.settings import Settings, leads_to, read_max_tone
from ensemble.daemon.startup import Launch, Program
from ensemble.errors import ConfigurationError, EnsembleError
from ensemble.mesh import Limits
from ensemble.protocols import DEFAULT_MAX_TONE, Level
from ensemble.tone import THRUM_VERSION

MAX_LISTEN = 64  # listeners
MAX_ADVERTISE = 32  # hints; as many as one address may have

BROKEN_PIPE = 141  # the exit status where nobody reads what we say, as a shell reports SIGPIPE

STEADY: Final[Callable[[], float]] = (
    partial(time.clock_gettime, time.CLOCK_BOOTTIME) if sys.platform == "linux" else time.monotonic
)
"""Seconds of a clock that nobody sets; where the system has one, one that goes on while the machine sleeps."""


class Options(usage.Options):
    """Every option has a default; ``twistd humd`` alone is a good start."""

    synopsis = "[options]"
    longdesc = (
        "Link this machine to other humds, and serve the local programs that join over the thrum socket. "
        "SIGHUP reads the peers file again; SIGTERM says goodbye and ends. See humd(1)."
    )

    optParameters = [
        ["peers", None, None, "Whom we know and how to find them; default: peers.json in the hum config directory."],
        ["key", None, None, "Our secret key, made if there is none; default: humd.key in the state directory."],
        ["state-dir", None, None, "Where what must survive is kept; default: by the XDG rules."],
        ["thrum", None, None, "Path of the socket for local programs; default: in the XDG runtime directory."],
        ["auth", None, "proven", f"What a peer must show of who it is: {', '.join(LEVELS)}."],
        ["admit", None, "known", "Whom we link with: known (those in the peers file) or any."],
        [
            "max-tone",
            None,
            DEFAULT_MAX_TONE,
            "Bytes of one tone that we accept from a peer.",
            lambda text: _usable(read_max_tone, text),
        ],
        ["log-format", None, "text", f"How the log is written: {' or '.join(LOG_FORMATS)} (one object per line)."],
    ]

    compData = usage.Completions(
        optActions={
            "peers": usage.CompleteFiles("*.json"),
            "key": usage.CompleteFiles(),
            "state-dir": usage.CompleteDirs(),
            "thrum": usage.CompleteFiles(),
            "auth": usage.CompleteList(LEVELS),
            "admit": usage.CompleteList(ADMIT),
            "log-format": usage.CompleteList(LOG_FORMATS),
            "limit": usage.CompleteList([f"{one.name}=" for one in Limits.about()]),
        }
    )

    def __init__(self) -> None:
        super().__init__()
        self["listen"], self["advertise"], self["limit"] = [], [], []
        self["limits"] = Limits()

    def opt_listen(self, description: str) -> None:
        """Listen for other humds there, for instance tls:14731 (may be given more than once)."""
        if len(self["listen"]) == MAX_LISTEN:
            raise usage.UsageError(f"--listen: at most {MAX_LISTEN} times")
        _usable(Listening.parse, description)
        _usable(partial(endpoint_of, None), description)  # a reactor is needed only to listen
        self["listen"].append(description)

    def opt_advertise(self, hint: str) -> None:
        """Where others reach us, for instance tls:humd.example:14731 (may be given more than once)."""
        if len(self["advertise"]) == MAX_ADVERTISE:
            raise usage.UsageError(f"--advertise: at most {MAX_ADVERTISE} times")
        self["advertise"].append(_usable(check_advertise, hint))

    def opt_limit(self, setting: str) -> None:
        """Set one of the limits, for instance pending_links=64 (may be given more than once); help lists them."""
        if setting == "help":
            _say(
                "".join(
                    f"{one.name}={one.default}\n    {one.unit}, {one.least} to {one.most}: {one.meaning}\n"
                    for one in Limits.about()
                )
            )
        self["limit"].append(setting)
        try:
            self["limits"] = Limits.parse(self["limit"])
        except ConfigurationError as error:
            _refuse(f"{error}; twistd humd --limit help lists them", 2)

    def opt_version(self) -> NoReturn:
        """Say which version this is, and end."""
        _say(f"humd {__version__} (thrum {THRUM_VERSION})\n")

    def opt_help(self) -> NoReturn:
        """Display this help and exit."""
        _say(f"{self}\n")

    def parseArgs(self, *args: str) -> None:
        if args:
            raise usage.UsageError(f"{args[0]!r} is not an option")

    def postOptions(self) -> None:
        for option, words in (("auth", LEVELS), ("admit", ADMIT), ("log-format", LOG_FORMATS)):
            if self[option] not in words:
                raise usage.UsageError(f"--{option} {self[option]}: one of {', '.join(words)} is needed")
        for option in PLACES:
            if self[option] == "":
                raise usage.UsageError(f"--{option} {EMPTY_PLACE}")
        if self["max-tone"] > self["limits"].unfinished_lines_bytes:
            raise usage.UsageError("--max-tone must not pass --limit unfinished_lines_bytes: raise that, too")
        if self["limits"].thrum_max_tone_bytes > self["limits"].unfinished_lines_bytes:
            raise usage.UsageError("thrum_max_tone_bytes must not pass unfinished_lines_bytes: raise that, too")

    def parseOptions(self, options: Sequence[str] | None = None) -> None:
        """
        As always; but instead of a page of help, which is what ``twistd`` makes of a ``UsageError``, one line.

        :raises SystemExit: with 2, the line written.
        """
        try:
            super().parseOptions(options)
        except usage.UsageError as error:
            _refuse(f"{error}; twistd humd --help lists the options", 2)


def makeService(options: Options) -> IService:
    """
    The daemon, not started; it opens nothing but its log.

    :raises SystemExit: it cannot be made; the line is written.
    """
    from twisted.internet import reactor  # not above: to import it is to choose one, and `twistd` has a --reactor

    twistd: dict[str, Any] = options.parent if options.parent is not None else {}
    try:
        # Now, while relative paths mean what they meant to who typed them.
        paths = Paths.resolve(
            os.environ,
            os.getuid(),
            state_dir=options["state-dir"],
            key=options["key"],
            peers=options["peers"],
            thrum=options["thrum"],
        )
        leads = leads_to(paths, Paths.resolve(os.environ, os.getuid(), thrum=os.devnull))
        observer = LogPlan.of(twistd, options["log-format"], level_of(os.environ)).observer()
    except ConfigurationError as error:
        _refuse(str(error), 1)
    settings = Settings(
        paths=paths,
        listen=tuple(options["listen"]),
        advertise=tuple(options["advertise"]),
        level=Level.named(options["auth"]),
        admit_any=options["admit"] == "any",
        max_tone=options["max-tone"],
        limits=options["limits"],
        home=os.environ.get("HOME") or "/",
        leads=leads,
    )
    if observer is not None and leads:
        observer = rewording(observer, settings.told)
    # Twisted's own clock is the one on the wall: when somebody sets that back, nothing is due for as long.
    cast(Any, reactor).seconds = STEADY
    return Program(settings, reactor, Launch(twistd), observer=observer, environ=os.environ)


def _usable(read: Any, given: Any) -> Any:
    try:
        return read(given)
    except EnsembleError as error:
        raise usage.UsageError(str(error)) from None


def _say(text: str) -> NoReturn:
    """What was asked for, and the end."""
    if sys.stdout is None:
        _refuse("cannot write standard output: it is closed", 1)
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is left is no second error at the end
        if isinstance(error, BrokenPipeError):
            raise SystemExit(BROKEN_PIPE) from None
        _refuse(f"cannot write standard output: {error.strerror}", 1)
    raise SystemExit(0)


def _refuse(message: str, status: int) -> NoReturn:
    sys.stderr.write(f"twistd humd: {message}\n")
    raise SystemExit(status)
