"""
The thrum socket: where local programs join (wire-0.8 section 8).

File permissions are the only local trust boundary: a directory that we make is 0700, the socket is never reachable
with a wider mode than 0600, and a socket that somebody serves is never taken away.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
from collections import Counter
from collections.abc import Callable
from functools import partial
from shlex import quote
from typing import Any, cast

from twisted.application.service import Service
from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IReactorTime, IReactorUNIX
from twisted.internet.protocol import ServerFactory
from twisted.internet.tcp import Port as TCPPort
from twisted.internet.unix import Port as UNIXPort
from twisted.logger import Logger
from twisted.python.failure import Failure

from ensemble.errors import ConfigurationError
from ensemble.identity import make_folders, others_write
from ensemble.interfaces import INode, IWire
from ensemble.protocols import (
    DEADLINES,
    DEFAULT_OUTBOX_LIMIT,
    Deadlines,
    LineBudget,
    StreamWireFactory,
    Turn,
)
from ensemble.thrum.session import MAX_LINE, Session


class SocketInUse(ConfigurationError):
    """Another process serves this socket."""


def prepare_directory(path: str) -> None:
    """
    Make the directory of the socket ``path``, 0700; refuse one in which others could put a socket of theirs.

    :raises ConfigurationError: it cannot be made, or others can write to it.
    """
    directory = os.path.dirname(os.path.abspath(path))
    try:
        make_folders(directory)
        found = os.stat(directory)
    except OSError as error:
        raise ConfigurationError(
            f"cannot make the directory {directory} for the thrum socket: {error.strerror}; "
            "choose another path with --thrum"
        ) from None
    if found.st_uid not in (0, os.geteuid()):
        raise ConfigurationError(
            f"{directory}, where the thrum socket should be, belongs to somebody else (user {found.st_uid}), who could "
            "put another in its place; choose another path with --thrum"
        )
    if others_write(found):
        raise ConfigurationError(
            f"others can write to {directory}, where the thrum socket should be; "
            f"run `chmod go-w {quote(directory)}` or choose another path with --thrum"
        )


def clear_stale(path: str) -> None:
    """
    Remove a dead socket at ``path``; nothing where there is none.

    Between the look and the removal another process could put its own there: where two may start at once, hold a
    lock from here until you listen, as the daemon does.

    :raises SocketInUse: somebody answers there.
    :raises ConfigurationError: what is there is no socket, or cannot be tried.
    """
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    except OSError as error:
        raise _untold(path, error) from None
    if not stat.S_ISSOCK(mode):
        raise ConfigurationError(f"{path} exists and is no socket; move it away or choose another path with --thrum")
    probe = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        probe.settimeout(1.0)
        probe.connect(path)
    except OSError as error:
        if error.errno in (errno.ECONNREFUSED, errno.ENOENT):
            _unlink_dead(path)
            return
        if error.errno is not None and error.errno not in (errno.EAGAIN, errno.EINPROGRESS):
            raise _untold(path, error) from None
    finally:
        probe.close()
    raise SocketInUse(
        f"another humd already serves {path}; stop it, or give this one a --thrum and --state-dir of its own"
    )


def _untold(path: str, error: OSError) -> ConfigurationError:
    return ConfigurationError(
        f"cannot tell whether {path} is in use: {error.strerror}; choose another path with --thrum"
    )


def _unlink_dead(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
    except OSError as error:  # in a directory with the sticky bit it may be somebody else's
        raise ConfigurationError(
            f"cannot remove the dead socket {path}: {error.strerror}; choose another path with --thrum"
        ) from None


class UnixListener(Service):
    """
    A Unix socket, 0600, that appears when the service starts and is gone when it has stopped.

    As this is our own start-up code, `startService` raises what is wrong instead of logging it.
    """

    log = Logger()

    def __init__(self, reactor: IReactorUNIX, path: str, factory: ServerFactory) -> None:
        self._reactor, self._path, self._factory = reactor, path, factory
        self._port: IListeningPort | None = None
        self._file: tuple[int, int] | None = None  # our socket's: nobody else's can be the same while it is open

    def startService(self) -> None:
        """:raises ConfigurationError: the path cannot be used; the text says why."""
        prepare_directory(self._path)
        clear_stale(self._path)
        before = os.umask(0o177)  # so the socket never exists with a wider mode
        try:
            self._port = port = self._reactor.listenUNIX(self._path, self._factory, backlog=128, mode=0o600)
        except (CannotListenError, OSError) as error:  # the latter of its chmod
            cause = error.socketError if isinstance(error, CannotListenError) else error
            why = cause.strerror if isinstance(cause, OSError) else None
            raise ConfigurationError(
                f"cannot listen on {self._path}: {why or cause}; choose another path with --thrum"
            ) from None
        finally:
            os.umask(before)
        self._file = _file_at(self._path)
        if isinstance(port, UNIXPort):
            cast(Any, port).connectionLost = partial(self._port_closed, port)
        super().startService()

    def stopService(self) -> Deferred[None]:
        super().stopService()
        port, self._port = self._port, None
        return succeed(None) if port is None else maybeDeferred(cast(Any, port).stopListening)

    def abandon(self) -> None:
        """Leave no socket behind, at once and for good: for a process that ends before its reactor ran."""
        if self._port is not None:
            self._unlink()

    def _port_closed(self, port: UNIXPort, reason: Failure) -> None:
        """Twisted's own unlinks whatever is there by then, and where that fails leaves the socket open."""
        self._unlink()
        TCPPort.connectionLost(port, reason)

    def _unlink(self) -> None:
        try:
            found = _file_at(self._path)
            if found is not None and found == self._file:
                os.unlink(self._path)
            elif found is not None:
                self.log.warn("{path} is the socket of somebody else by now, so it stays", path=self._path)
        except OSError as error:
            self.log.warn("cannot remove the socket {path}: {cause}", path=self._path, cause=error.strerror)


def _file_at(path: str) -> tuple[int, int] | None:
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


class ThrumServer(Service):
    """The thrum socket and the programs on it."""

    def __init__(
        self,
        reactor: Any,
        path: str,
        node: INode,
        *,
        wall_ms: Callable[[], int],
        client_ids: Callable[[], str],
        queues: LineBudget,
        turn: Turn | None = None,
        max_line: int = MAX_LINE,
        queue_bytes: int = DEFAULT_OUTBOX_LIMIT,
        budget: LineBudget | None = None,
        deadlines: Deadlines = DEADLINES,
    ) -> None:
        """
        :param reactor: ``IReactorUNIX`` and ``IReactorTime``.
        :param client_ids: a fresh UUIDv4 text each time.
        :param queues: over what waits to be written, of the process.
        :param max_line: bytes of one tone; a longer one closes the connection that sent it.
        :param queue_bytes: unread by a program: then it is disconnected.
        :param budget: over all unfinished lines of the process.
        """
        self.counters = Counter[str]()
        self.sessions: dict[str, Session] = {}
        self.node, self.wall_ms, self._client_ids = node, wall_ms, client_ids
        self.clock: IReactorTime = reactor
        self.queue_bytes, self.queues, self.deadlines = queue_bytes, queues, deadlines
        self.turn = turn if turn is not None else Turn(reactor)
        factory = StreamWireFactory(
            reactor, self.accepted, kind="unix", budget=budget, max_line=max_line, deadlines=deadlines
        )
        self._listener = UnixListener(reactor, path, factory)

    def accepted(self, wire: IWire) -> None:
        """Serve one connection; for tests on memory reactors, too."""
        session = Session(wire, self._client_ids(), self)
        self.sessions[session.client_id] = session
        self.counters["thrum.connected"] += 1
        session.begin()

    def startService(self) -> None:
        """:raises ConfigurationError: the socket cannot be made; the text says why."""
        self._listener.startService()
        super().startService()

    def stopService(self) -> Deferred[None]:
        super().stopService()
        for session in list(self.sessions.values()):
            session.close()
        return self._listener.stopService()
