"""
The log: text for people, or one JSON object per line for programs.  Text for the journal of systemd has no time of its
own, and a level that it knows.

A JSON line has ``time`` (RFC 3339, UTC), ``level``, ``event`` (the event's own name, or the first words of its format),
``message`` (the text that people get), ``source`` (the class that says it), and the event's fields as they are.  What a
peer wrote may stand in either format, so control characters never reach the file as they are, nor does a field begin a
line.
"""

from __future__ import annotations

import os
import re
import signal
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import IO, Any, Final, cast

from attrs import frozen
from twisted.internet.interfaces import IReactorFromThreads
from twisted.logger import (
    FileLogObserver,
    FilteringLogObserver,
    ILogObserver,
    LogEvent,
    LogLevel,
    LogLevelFilterPredicate,
    eventAsText,
    formatEvent,
    formatEventAsClassicLogText,
)
from twisted.python.failure import Failure
from twisted.python.logfile import LogFile
from zope.interface import provider

from ensemble.config import CONTROLS, CONTROLS_BUT_LINES, escaped_json
from ensemble.errors import ConfigurationError
from ensemble.tone import BadDocument, write_document

LEVEL_VARIABLE: Final = "HUM_LOG_LEVEL"
OLD_FILES: Final = 9  # that are kept when the log is rotated, a megabyte each; then the oldest goes

LEVELS: Final[Mapping[str, LogLevel]] = {
    "trace": LogLevel.debug,
    "debug": LogLevel.debug,
    "info": LogLevel.info,
    "warn": LogLevel.warn,
    "error": LogLevel.error,
}

# Words of the envelope of an event; none of them is a field.
_NOT_FIELDS: Final = frozenset({"event", "failure", "format", "isError", "message", "system", "time", "why"})
_TAKEN: Final = frozenset({"level", "source", "traceback"})
_WORDS_IN_A_NAME: Final = 5
_INSTEAD: Final = "\N{REPLACEMENT CHARACTER}"  # of a control character
_PRIORITIES: Final = {LogLevel.debug: 7, LogLevel.info: 6, LogLevel.warn: 4, LogLevel.error: 3, LogLevel.critical: 2}


def level_of(environ: Mapping[str, str]) -> LogLevel:
    """The least level that is written: ``$HUM_LOG_LEVEL``, or ``info`` where that says nothing we know."""
    return LEVELS.get(environ.get(LEVEL_VARIABLE, "").lower(), LogLevel.info)


def unknown_level(environ: Mapping[str, str]) -> str | None:
    """What ``$HUM_LOG_LEVEL`` says, where that is no level."""
    said = environ.get(LEVEL_VARIABLE, "")
    return said if said and said.lower() not in LEVELS else None


def text_line(event: LogEvent) -> str | None:
    """An event as ``twistd`` shows it, without control characters; only what is ours has more than one line."""
    text = formatEventAsClassicLogText(_tamed(event))
    return None if text is None else CONTROLS_BUT_LINES.sub(_INSTEAD, text)


def journal_line(event: LogEvent) -> str | None:
    """The same for the journal of systemd, which has the time, and keeps each line with its level (sd-daemon(3))."""
    text = CONTROLS_BUT_LINES.sub(_INSTEAD, eventAsText(_tamed(event), includeTimestamp=False))
    level = f"<{_PRIORITIES.get(event.get('log_level', LogLevel.info), 6)}>"
    return "".join(f"{level}{line}\n" for line in text.split("\n") if line) or None


def is_journal(environ: Mapping[str, str], file: IO[Any]) -> bool:
    """Does what is written to ``file`` go to the journal?  systemd says which file that is (systemd.exec(5))."""
    try:
        status = os.fstat(file.fileno())
    except (OSError, ValueError):
        return False
    return environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"


def _tamed(event: LogEvent) -> LogEvent:
    """With fields of one line each."""
    fields = {key: CONTROLS.sub(_INSTEAD, each) for key, each in event.items() if type(each) is str and _is_field(key)}
    return {**event, **fields}


def _is_field(key: str) -> bool:
    return not key.startswith("log_") and key not in _NOT_FIELDS


def json_line(event: LogEvent) -> str | None:
    """An event as one JSON object and an LF."""
    level = event.get("log_level", LogLevel.info)
    told: dict[str, Any] = {
        "time": _rfc3339(event.get("log_time")),
        "level": level.name,
        "event": _name(event),
        "message": formatEvent(event),
        "source": event.get("log_namespace", "-"),
    }
    if "log_legacy" not in event and "log_text" not in event:  # their fields are live objects
        for key, value in event.items():
            if _is_field(key):
                told[f"field_{key}" if key in _TAKEN else key] = value
    failure = event.get("log_failure")
    if isinstance(failure, Failure):
        told["traceback"] = failure.getTraceback()
    try:
        return escaped_json(write_document(told, fallback=str)) + "\n"
    except BadDocument:
        plain = {key: str(value).encode(errors="replace").decode() for key, value in told.items()}
        return escaped_json(write_document(plain)) + "\n"


def make_observer(file: IO[Any], log_format: str, least: LogLevel) -> ILogObserver:
    """
    An observer that writes events of at least this level.

    :param log_format: ``text``, ``json`` or ``journal``.
    """
    forms = {"json": json_line, "journal": journal_line}
    written = FileLogObserver(file, forms.get(log_format, text_line))
    observer: ILogObserver = FilteringLogObserver(written, [LogLevelFilterPredicate(defaultLogLevel=least)])
    return observer


def rewording(observer: ILogObserver, reword: Callable[[str], str]) -> ILogObserver:
    """An observer of the same events, with each of their texts as ``reword`` has it."""

    @provider(ILogObserver)
    def observe(event: LogEvent) -> None:
        observer({key: reword(value) if isinstance(value, str) else value for key, value in event.items()})

    return cast(ILogObserver, observe)


@frozen
class LogPlan:
    """
    Where the log goes: as ``twistd``'s own options say, which we must follow since we bring our own observer.

    :ivar elsewhere: ``--syslog`` or ``--logger`` was given: then it is not ours.
    """

    log_format: str
    least: LogLevel
    file: str = "-"
    elsewhere: bool = False

    @classmethod
    def of(cls, twistd: Mapping[str, Any], log_format: str, least: LogLevel) -> LogPlan:
        """
        :param twistd: its options; nothing where there are none.
        :raises ConfigurationError: JSON was asked for where the log is not ours, or a daemon is to log to stdout.
        """
        elsewhere = bool(twistd.get("syslog") or twistd.get("logger"))
        if elsewhere and log_format != "text":
            raise ConfigurationError(f"--log-format {log_format} does not go with twistd's --syslog or --logger")
        foreground = bool(twistd.get("nodaemon", True) or twistd.get("debug"))
        file = twistd.get("logfile") or ("-" if foreground else "twistd.log")
        if file == "-" and not foreground:
            raise ConfigurationError("a daemon cannot log to stdout: give twistd a --logfile, or -n")
        return cls(log_format, least, file, elsewhere)

    def observer(self) -> ILogObserver | None:
        """
        Open the log.

        :returns: None where it is not ours.
        :raises ConfigurationError: the file cannot be written.
        """
        if self.elsewhere:
            return None
        if self.file == "-":
            journal = self.log_format == "text" and is_journal(os.environ, sys.stdout)
            return make_observer(sys.stdout, "journal" if journal else self.log_format, self.least)
        path = os.path.abspath(self.file)
        try:
            if not os.path.lexists(path):  # the mode that is found is that of all which follow
                os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
            file = _KeptLogFile.fromFullPath(path, maxRotatedFiles=OLD_FILES)
        except OSError as error:
            raise ConfigurationError(f"cannot write the log {self.file}: {error.strerror}") from None
        if signal.getsignal(signal.SIGUSR1) in (signal.SIG_DFL, None):
            signal.signal(signal.SIGUSR1, lambda *_: _rotate(file))
        return make_observer(cast(Any, file), self.log_format, self.least)


class _KeptLogFile(LogFile):
    """Goes on in the file that there is where none can be begun; each line that is too much tries again."""

    def rotate(self) -> None:
        """As Twisted does; where something has moved the file away, which waits for us, only begin another."""
        try:
            before = os.dup(self._file.fileno())
        except OSError:
            return  # no descriptor is left
        try:
            if os.path.exists(self.path):
                super().rotate()
            else:
                self.reopen()
        except OSError:
            self._file = os.fdopen(before, "rb+", 0)
        else:
            os.close(before)


def _rotate(file: _KeptLogFile) -> None:
    from twisted.internet import reactor

    IReactorFromThreads(reactor).callFromThread(file.rotate)


def _rfc3339(seconds: float | None) -> str:
    return datetime.fromtimestamp(seconds or 0.0, UTC).isoformat(timespec="microseconds")[:-6] + "Z"


def _name(event: LogEvent) -> str:
    named = event.get("event")
    if isinstance(named, str):
        return named
    form = event.get("log_format")
    return _first_words(form) if isinstance(form, str) else "log"


@lru_cache(maxsize=1024)
def _first_words(form: str) -> str:
    """``linked {peer} over {wire}`` is ``linked``; ``{peer} says goodbye: {reason}`` is ``says-goodbye``."""
    for clause in re.split(r"\{[^{}]*\}|[:;,.(]", form):
        words = re.findall(r"[a-z0-9]+", clause.lower())
        if words:
            return "-".join(words[:_WORDS_IN_A_NAME])
    return "log"
