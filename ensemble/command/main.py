"""The ``ensemble`` command: reads its words, does what they say, and ends with a status that says how it went."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping, Sequence
from typing import BinaryIO, TextIO

# A good part of a short call goes by while these are read.  Ctrl-C must end it at once: where a KeyboardInterrupt comes
# out of what a module in C imports, the module may crash (msgspec does).
_interruptible = signal.getsignal(signal.SIGINT) is signal.default_int_handler
if _interruptible:
    signal.signal(signal.SIGINT, lambda _number, _frame: os._exit(130))
try:
    from ensemble.command.here import Here
    from ensemble.command.outcome import BROKEN_PIPE, INTERRUPTED, OK, BadUsage, verdict
    from ensemble.command.output import Screen, discard
    from ensemble.command.parser import build
    from ensemble.config import PLACES
    from ensemble.errors import EnsembleError
finally:
    if _interruptible:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def main(words: Sequence[str] | None = None) -> int:
    """
    The entry point.

    :param words: of the command line; those of this process where None.
    :returns: the exit status.
    """
    words = sys.argv[1:] if words is None else words
    for name, mode, access in (("stdin", "r", os.O_RDONLY), ("stdout", "w", os.O_RDONLY), ("stderr", "w", os.O_WRONLY)):
        if getattr(sys, name) is None:  # closed by whoever started us; this one stays open to the end
            # What is written to standard output has to be somewhere: there it fails, as it would on the closed one.
            setattr(sys, name, open(os.open(os.devnull, access), mode, encoding="utf-8", closefd=False))  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            # A terminal may know fewer letters than a peer's alias has; JSON is UTF-8 wherever it goes (RFC 8259).
            reconfigure(encoding="utf-8" if "--json" in words else None, errors="backslashreplace")
    try:
        status = run(words, os.environ, sys.stdin.buffer, sys.stdout, sys.stderr)
    except KeyboardInterrupt:
        status = INTERRUPTED
    except BrokenPipeError:
        discard(sys.stdout)
        status = BROKEN_PIPE
    return status


def run(words: Sequence[str], environ: Mapping[str, str], stdin: BinaryIO, out: TextIO, err: TextIO) -> int:
    """
    One call, with everything it may touch of the process.

    :returns: the exit status.
    :raises KeyboardInterrupt: Ctrl-C.
    :raises BrokenPipeError: nobody reads the output any more.
    """
    screen = Screen(out, err, environ, "--json" in words)
    try:
        status = _do(words, screen, environ, stdin)
        screen.flush()
        return status
    except EnsembleError as error:
        status, qualifier = verdict(error)
        screen.failure(qualifier, str(error), error.usage if isinstance(error, BadUsage) else "")
        return status


def _do(words: Sequence[str], screen: Screen, environ: Mapping[str, str], stdin: BinaryIO) -> int:
    parser = build()
    try:
        with screen.writing():  # the help, or the version
            options = parser.parse_args(words)
    except SystemExit:
        return OK  # that was printed
    if options.command is None:
        raise BadUsage("name a command", parser.format_help())
    given = ((f"--{name}", getattr(options, name.replace("-", "_"), None)) for name in PLACES)
    screen.leads = {option: value for option, value in given if value}
    here = Here(options, screen, environ, os.getuid(), stdin)
    screen.how_to_start = here.how_to_start
    status: int = options.run(here)
    return status
