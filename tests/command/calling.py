"""Calls the command inside this process, and says what it said; and fakes of the two sockets that it talks to."""

from __future__ import annotations

import io
import shutil
import socket
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from threading import Thread
from typing import Any

from attrs import field, frozen
from twisted.trial.unittest import SynchronousTestCase

from ensemble.command.main import run
from ensemble.identity import HumdKey, mint
from ensemble.tone import read_document, write_document

ALPHA = HumdKey.from_seed(b"\1" * 32).humd_id()
BETA = HumdKey.from_seed(b"\2" * 32).humd_id()
RUN = "import sys; from ensemble.command.main import main; sys.exit(main())"


@frozen
class Call:
    """What one call came to."""

    status: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """Standard output as one JSON document."""
        return read_document(self.out)

    @property
    def lines(self) -> list[Any]:
        """Standard output as NDJSON."""
        return [read_document(line) for line in self.out.splitlines()]

    @property
    def failure(self) -> Any:
        """Standard error as one JSON document."""
        return read_document(self.err)


class Terminal(io.StringIO):
    """A text stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


class CommandTestCase(SynchronousTestCase):
    """A machine of its own: a home, a place for sockets, and no humd."""

    def setUp(self) -> None:
        # Short, for sockets are in it.
        self.home = Path(tempfile.mkdtemp(prefix="hum-", dir="/tmp"))
        self.addCleanup(shutil.rmtree, self.home)
        self.environ = {"HOME": str(self.home), "XDG_RUNTIME_DIR": str(self.home), "PATH": "/usr/bin:/bin"}
        self.thrum = self.home / "hum" / "thrum.sock"
        self.control = self.home / "hum" / "thrum.sock.control"
        self.key = self.home / ".local/state/hum/humd.key"
        self.peers_file = self.home / ".config/hum/peers.json"
        self.thrum.parent.mkdir(mode=0o700)

    def call(self, *words: str, stdin: bytes = b"", terminal: bool = False) -> Call:
        """One call; what ends it otherwise than by returning is raised."""
        out, err = Terminal() if terminal else io.StringIO(), io.StringIO()
        status = run(words, self.environ, io.BytesIO(stdin), out, err)
        return Call(status, out.getvalue(), err.getvalue())

    def mint(self) -> HumdKey:
        """Give the machine a key."""
        return mint(self.key)

    def write_peers(self, *rows: Mapping[str, Any]) -> None:
        """Give it a peers.json."""
        self.peers_file.parent.mkdir(parents=True, exist_ok=True)
        self.peers_file.write_text(write_document({"peers": list(rows)}))
        self.peers_file.chmod(0o600)

    def serve_control(self, **answers: Any) -> FakeSocket:
        """
        A daemon that has these answers to these verbs: an object, a list of them (the connection closes behind the
        last), or what makes one of the request.
        """

        def answer(request: dict[str, Any]) -> list[Any]:
            said = answers.get(request["do"], {"ok": False, "qualifier": "not.supported", "message": "no such verb"})
            said = said(request) if callable(said) else said
            return said if isinstance(said, list) else [said]

        return self.serve(self.control, answer, close=True)

    def serve(
        self, path: Path, answer: Callable[[dict[str, Any]], list[Any]], greeting: bytes = b"", close: bool = False
    ) -> FakeSocket:
        """Serve a socket until the test is over."""
        fake = FakeSocket(path, answer, greeting, close)
        self.addCleanup(fake.stop)
        return fake


@frozen
class FakeSocket:
    """
    Serves NDJSON in a thread.

    :ivar heard: every object that came.
    """

    path: Path
    answer: Callable[[dict[str, Any]], list[Any]]
    greeting: bytes = b""
    close: bool = False
    heard: list[dict[str, Any]] = field(factory=list)
    _server: socket.socket = field(factory=lambda: socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
    _open: list[socket.socket] = field(factory=list)
    _threads: list[Thread] = field(factory=list)

    def __attrs_post_init__(self) -> None:
        self._server.bind(str(self.path))
        self.path.chmod(0o600)
        self._server.listen(16)
        self._begin(self._accept)

    def stop(self) -> None:
        """
        Serve no more: whoever waits in a thread is woken, which a close alone does not do; that thread's end closes
        the last descriptor of its connection.
        """
        _end(self._server)
        self._threads[0].join(30)  # then there is no further connection
        for connection in self._open:
            _end(connection)
        for thread in self._threads:
            thread.join(30)
        self.path.unlink(missing_ok=True)

    def _begin(self, run: Callable[..., None], *args: object) -> None:
        self._threads.append(Thread(target=run, args=args, daemon=True))
        self._threads[-1].start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._server.accept()
            except OSError:
                return
            self._open.append(connection)
            self._begin(self._serve, connection)

    def _serve(self, connection: socket.socket) -> None:
        try:
            lines = connection.makefile("rb")  # before who is greeted can stop us: it is open until we end
            connection.sendall(self.greeting)
            for line in lines:
                request = read_document(line)
                self.heard.append(request)
                for said in self.answer(request):
                    if said is None:
                        connection.shutdown(socket.SHUT_RDWR)
                        return
                    raw = said if isinstance(said, bytes) else write_document(said).encode() + b"\n"
                    connection.sendall(raw)
                if self.close:
                    connection.shutdown(socket.SHUT_RDWR)
                    return
        except OSError:
            return  # the test is over


def _end(each: socket.socket) -> None:
    with suppress(OSError):  # whoever was at the other end may be gone
        each.shutdown(socket.SHUT_RDWR)
    each.close()


def status(**more: Any) -> dict[str, Any]:
    """What a daemon says of itself."""
    return {
        "ok": True,
        "id": ALPHA.full,
        "version": "0.1.0",
        "thrum_version": "0.8.0",
        "instance": "0" * 32,
        "pid": 4711,
        "started": "2026-01-02T03:04:05Z",
        "uptime_s": 3720.5,
        "listening": ["tcp:192.0.2.1:14730"],
        "auth": "proven",
        "admit": "known",
        "links": {"up": 1, "pending": 2},
        "asks": {"open": 3, "known": 4},
        "clients": [],
        "descriptors": {"soft": 4096, "used": 17},
        "counters": {"tones.received": 5, "tones.dropped": 0},
        "limits": {"max_tone_bytes": 4194304},
        **more,
    }


def linked(**more: Any) -> dict[str, Any]:
    """A row of a peer that is linked."""
    return {
        "id": BETA.full,
        "alias": "beta",
        "state": "linked",
        "stranger": False,
        "hints": ["tcp:192.0.2.2:14730"],
        "last_failure": None,
        "lost": None,
        "lost_s": None,
        "redial_in_s": None,
        "waits": False,
        "wire": "tcp",
        "address": "192.0.2.2",
        "level": "proven",
        "since_s": 61.0,
        "dialled": True,
        "round_trip_ms": 1.234,
        "skew_ms": 12,
        "queued_bytes": 0,
        "dropped": 0,
        **more,
    }
