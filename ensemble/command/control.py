"""
Asks the daemon over its control socket: one request line, one answer line; a tap goes on.

Blocking, for our own short-lived command; a Twisted program talks to the thrum socket instead.
"""

from __future__ import annotations

import os
import select
import socket
from collections.abc import Generator, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from ensemble.errors import EnsembleError
from ensemble.identity import denied, refuse_strangers
from ensemble.tone import BadDocument, read_document, write_document

SECONDS: Final = 10.0  # that the daemon may take to answer
MAX_ANSWER: Final = 64 * 1024 * 1024  # bytes of one answer line
BY_HAND: Final = "start one with `twistd humd`"
BY_UNIT: Final = "start it with `systemctl --user start humd`"
NOT_FIRST: Final = "put the socket where others cannot be first, with --thrum"
AS_ITS_USER: Final = "run this as the user that the humd runs as"


class NoDaemon(EnsembleError):
    """Nobody answers on the control socket."""


class Unanswered(NoDaemon):
    """Somebody is there, or may be, and does not answer, or may not be asked."""


class DaemonRefused(EnsembleError):
    """
    The daemon answered ``"ok": false``.

    :ivar qualifier: its word for the cause.
    """

    def __init__(self, qualifier: str, message: str) -> None:
        super().__init__(message)
        self.qualifier = qualifier


def unreachable(path: Path, error: OSError) -> NoDaemon:
    """Why nobody could be asked on the socket at ``path``, with the mend."""
    cause = error.strerror or str(error)
    if isinstance(error, PermissionError) and error.errno is None:
        return Unanswered(f"{path}: {cause}; {NOT_FIRST if os.geteuid() else AS_ITS_USER}")
    if isinstance(error, PermissionError):
        return Unanswered(f"this user may not use {path} ({denied(path, error)}); {AS_ITS_USER}")
    if isinstance(error, TimeoutError | BlockingIOError):
        return silent(path, error)
    if isinstance(error, BrokenPipeError | ConnectionResetError):
        return closed(path)
    return NoDaemon(f"no humd answers on {path} ({cause}); {BY_HAND}")


def closed(path: Path) -> Unanswered:
    """Somebody was there, and hung up."""
    return Unanswered(
        f"the humd on {path} closed the connection without an answer: it ends, or has no descriptor left for another "
        "(LimitNOFILE in its unit, or `ulimit -Hn`)"
    )


def silent(path: Path, error: OSError) -> Unanswered:
    """Somebody is there."""
    return Unanswered(
        f"the humd on {path} does not answer ({error}); is it stopped, or its machine too busy? "
        "Look at its log, or start it again"
    )


def ask_daemon(path: Path, do: str, seconds: float = SECONDS, **more: Any) -> dict[str, Any]:
    """
    One question, one answer.

    :param path: of the control socket.
    :raises NoDaemon: nobody answers there.
    :raises DaemonRefused: the daemon said no, and why.
    """
    lines = converse(path, do, seconds, **more)
    try:
        return next(lines)
    finally:
        lines.close()


def converse(
    path: Path, do: str, seconds: float | None, output: int | None = None, **more: Any
) -> Generator[dict[str, Any], None, None]:
    """
    One question, and every line that comes back: the first is the answer.

    :param seconds: that each line may take; None waits for ever behind the first.
    :param output: the descriptor to which the lines behind the first go, where somebody may stop to read.
    :raises NoDaemon: nobody answers there, or the daemon went away before the first line.
    :raises DaemonRefused: the daemon said no, and why.
    :raises BrokenPipeError: nobody reads ``output`` any more.
    """
    request = write_document({"do": do, **more}).encode() + b"\n"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(seconds if seconds is not None else SECONDS)
        try:
            connection.connect(str(path))
            refuse_strangers(connection, path)
            connection.sendall(request)
        except OSError as error:
            raise unreachable(path, error) from None
        yield from _answers(connection, seconds, path, output)


def texts_of(told: Mapping[str, Any] | None, key: str) -> list[str]:
    """A list of texts in what the daemon said, or did not say; empty where there is none."""
    texts = told.get(key) if told is not None else None
    return [str(text) for text in texts] if isinstance(texts, list) else []


def dict_of(told: Mapping[str, Any], key: str) -> dict[str, Any]:
    """An object in what the daemon said; empty where there is none."""
    found = told.get(key)
    return found if isinstance(found, dict) else {}


def _answers(
    connection: socket.socket, seconds: float | None, path: Path, output: int | None
) -> Iterator[dict[str, Any]]:
    first, buffer = True, bytearray()
    while True:
        end = buffer.find(b"\n")
        if end < 0:
            if len(buffer) > MAX_ANSWER:
                raise NoDaemon(f"what answers on {path} is no humd: its line does not end")
            if output is not None and not first:
                _wait(connection, output)
            try:
                data = connection.recv(1 << 16)
            except OSError as error:
                raise (closed(path) if isinstance(error, ConnectionResetError) else silent(path, error)) from None
            if not data:
                if first:
                    raise closed(path)
                return
            buffer += data
            continue
        try:
            answer = read_document(bytes(buffer[:end]))
        except BadDocument as error:
            raise NoDaemon(f"what answers on {path} is no humd: {error}") from None
        del buffer[: end + 1]
        if first:
            if not isinstance(answer, dict) or answer.get("ok") is not True:
                said = answer if isinstance(answer, dict) else {}
                raise DaemonRefused(str(said.get("qualifier", "")), str(said.get("message", "it said no")))
            first = False
            connection.settimeout(seconds)
        yield answer


def _wait(connection: socket.socket, output: int) -> None:
    """Until there is something to receive, or to complain of."""
    poll = select.poll()
    poll.register(connection, select.POLLIN)
    poll.register(output, 0)  # that its other end is gone is told without being asked for
    if dict(poll.poll()).get(output, 0) & (select.POLLERR | select.POLLHUP):  # not where it cannot be polled
        raise BrokenPipeError
