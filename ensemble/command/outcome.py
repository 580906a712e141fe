"""
How a command ends: its exit status, and the failures that lead to each.

=====  ==========================================================================
0      it worked
1      it failed; ``doctor``: something must be mended
2      it was called in a wrong way
3      no humd answers, and one is needed
130    Ctrl-C
141    whoever read our output has gone away (as a shell reports ``SIGPIPE``)
=====  ==========================================================================
"""

from __future__ import annotations

from typing import Final

from ensemble.command.control import DaemonRefused, NoDaemon
from ensemble.errors import ConfigurationError, EnsembleError

OK: Final = 0
FAILED: Final = 1
BAD_USAGE: Final = 2
NO_DAEMON: Final = 3
INTERRUPTED: Final = 130
BROKEN_PIPE: Final = 141


class CommandFailed(EnsembleError):
    """
    The command cannot do what it was asked for.

    :ivar qualifier: one word for programs; those of error tones come from the humd.
    """

    status = FAILED

    def __init__(self, qualifier: str, message: str) -> None:
        super().__init__(message)
        self.qualifier = qualifier


class BadUsage(CommandFailed):
    """
    The command line, or what came on standard input, makes no sense.

    :ivar usage: shown before the message to people; may be empty.
    """

    status = BAD_USAGE

    def __init__(self, message: str, usage: str = "") -> None:
        super().__init__("command.usage", message)
        self.usage = usage


def verdict(error: EnsembleError) -> tuple[int, str]:
    """The exit status and the qualifier of anything that this package raises on purpose."""
    if isinstance(error, CommandFailed):
        return error.status, error.qualifier
    if isinstance(error, NoDaemon):
        return NO_DAEMON, "daemon.absent"
    if isinstance(error, DaemonRefused):
        return FAILED, error.qualifier or "daemon.refused"
    if isinstance(error, ConfigurationError):
        return FAILED, "config.unusable"
    return FAILED, "command.failed"
