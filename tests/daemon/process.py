"""
Real daemons, each in a folder of its own: for tests that must see processes, sockets and signals.

Nothing here sleeps: a thread reads the daemon's output as it comes, and whoever waits is woken, or fails at a
deadline that only a hang reaches.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from threading import Condition, Thread
from types import TracebackType
from typing import Any, Self
from unittest import SkipTest

import ensemble

PATIENCE = 30.0  # seconds; a hang, not a slow machine, takes longer
ROOT = Path(ensemble.__file__).resolve().parent.parent
RUN = "import sys; from twisted.scripts.twistd import run; sys.argv[0] = 'twistd'; run()"
TWISTD = (sys.executable, "-c", RUN)


class Folder:
    """A place for one humd, with a path short enough for a socket; removed at the end."""

    def __init__(self) -> None:
        self.path = Path(tempfile.mkdtemp(prefix="humd-", dir="/tmp"))
        self.state, self.thrum = self.path / "state", self.path / "run" / "hum" / "thrum.sock"
        self.control = self.path / "run" / "hum" / "thrum.sock.control"
        self.peers_file = self.path / "config" / "hum" / "peers.json"
        (self.path / "run").mkdir(mode=0o700)

    def environ(self) -> dict[str, str]:
        """The environment of a user who lives here and nowhere else."""
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("HUM_", "XDG_")) and name != "NOTIFY_SOCKET"
        }
        return kept | {
            "HOME": str(self.path),
            "XDG_RUNTIME_DIR": str(self.path / "run"),
            "XDG_CONFIG_HOME": str(self.path / "config"),
            "PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT), kept.get("PYTHONPATH")))),
        }

    def write_peers(self, *rows: Mapping[str, Any]) -> None:
        """Replace the peers file."""
        self.peers_file.parent.mkdir(parents=True, exist_ok=True)
        self.peers_file.write_text(json.dumps({"peers": list(rows)}))

    def remove(self) -> None:
        """Nothing stays behind."""
        shutil.rmtree(self.path, ignore_errors=True)


class Lines:
    """What a process writes, line by line, read by a thread so that its pipe is never full."""

    def __init__(self, stream: Any) -> None:
        self.all: list[str] = []
        self._more = Condition()
        self._ended = False
        self._thread = Thread(target=self._read, args=(stream,), daemon=True)
        self._thread.start()

    def _read(self, stream: Any) -> None:
        with stream:
            for line in stream:
                with self._more:
                    self.all.append(line.rstrip("\n"))
                    self._more.notify_all()
        with self._more:
            self._ended = True
            self._more.notify_all()

    def wait_for(self, text: str, after: int = 0, patience: float = PATIENCE) -> str:
        """
        The first line with ``text`` in it.

        :param after: lines before this one do not count; ``len(lines.all)`` waits for a new one.
        :raises AssertionError: the process ended, or the time is up.
        """
        deadline = time.monotonic() + patience
        with self._more:
            while True:
                for line in self.all[after:]:
                    if text in line:
                        return line
                left = deadline - time.monotonic()
                if self._ended or left <= 0:
                    why = "the process ended" if self._ended else f"{patience:g} s passed"
                    raise AssertionError("\n".join((f"no line with {text!r}: {why}", *self.all)))
                self._more.wait(left)

    def finish(self) -> list[str]:
        """All lines of a process that has ended."""
        self._thread.join(PATIENCE)
        return self.all


class Talk:
    """A program's end of a Unix socket: JSON objects, one per line."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(PATIENCE)
        self._socket.connect(str(path))
        self._file = self._socket.makefile("rb")

    def say(self, said: Mapping[str, Any] | bytes) -> None:
        """Send one object, or bytes as they are."""
        self._socket.sendall(said if isinstance(said, bytes) else json.dumps(said).encode() + b"\n")

    def hear(self) -> dict[str, Any] | None:
        """The next object; None where the other end closed."""
        line = self._file.readline()
        heard: dict[str, Any] | None = json.loads(line) if line else None
        return heard

    def hear_until(self, chi: str) -> dict[str, Any]:
        """The next tone of this chi; those before it are dropped."""
        while True:
            heard = self.hear()
            assert heard is not None, f"the connection closed before a {chi}"
            if heard.get("chi") == chi:
                return heard

    def ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Say one thing and hear one thing."""
        self.say(request)
        answer = self.hear()
        assert answer is not None, "the connection closed without an answer"
        return answer

    def close(self) -> None:
        self._file.close()
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Daemon:
    """
    One ``twistd -n humd``.

    :ivar lines: its log, as it is written to stdout.
    :ivar errors: its stderr.
    """

    def __init__(
        self,
        *options: str,
        folder: Folder | None = None,
        environ: Mapping[str, str] | None = None,
        descriptors: int | None = None,
        first: str = "",
    ) -> None:
        """
        :param options: of humd.
        :param folder: where it lives; the default is a fresh one, which ends with it.
        :param environ: added to the environment of the folder.
        :param descriptors: how many it may have open, at most.
        :param first: Python that its interpreter runs before anything else.
        """
        limit = () if descriptors is None else ("sh", "-c", f'ulimit -n {descriptors}; exec "$@"', "sh")
        self.folder = folder if folder is not None else Folder()
        self._owns_folder = folder is None
        self._talks: list[Talk] = []
        self.process = subprocess.Popen(
            [*limit, sys.executable, "-c", f"{first}\n{RUN}", "-n", "--pidfile=", "humd", *options],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=self.folder.path,
            env=self.folder.environ() | dict(environ or {}),
            text=True,
        )
        self.lines, self.errors = Lines(self.process.stdout), Lines(self.process.stderr)

    def ready(self) -> Self:
        """Wait until it serves: the log says so, and the thrum socket greets."""
        self.lines.wait_for("ready")
        with Talk(self.folder.thrum) as talk:
            greeting = talk.hear()
            assert greeting is not None and greeting["chi"] == "breath", greeting
        return self

    def thrum(self) -> Talk:
        """A fresh local program; it has heard its first breath."""
        talk = Talk(self.folder.thrum)
        self._talks.append(talk)
        talk.hear_until("breath")
        return talk

    def control(self) -> Talk:
        """A fresh connection to the control socket."""
        talk = Talk(self.folder.control)
        self._talks.append(talk)
        return talk

    def ask(self, do: str, **more: Any) -> dict[str, Any]:
        """One request on the control socket, and its answer."""
        with Talk(self.folder.control) as talk:
            return talk.ask({"do": do, **more})

    def row(self) -> dict[str, Any]:
        """The row of ``peers.json`` that another humd needs to know and find this one."""
        status = self.ask("status")
        return {"humd_id": status["id"], "hints": status["listening"]}

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def wait(self, patience: float = PATIENCE) -> int:
        """Its exit status; negative where a signal ended it."""
        return self.process.wait(patience)

    def stop(self, patience: float = PATIENCE) -> int:
        """SIGTERM, and the exit status."""
        self.signal(signal.SIGTERM)
        return self.wait(patience)

    def close(self) -> None:
        """Whatever state it is in: nothing is left of it."""
        for talk in self._talks:
            talk.close()
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.lines.finish()
        self.errors.finish()
        if self._owns_folder:
            self.folder.remove()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.close()


def start_in_background(folder: Folder, *options: str) -> subprocess.CompletedProcess[str]:
    """
    ``twistd humd`` as a daemon; its log is ``humd.log`` in the folder, its pid in ``humd.pid``.

    :returns: what whoever typed it sees, once ``twistd`` has come back.
    """
    return _run(folder, "--pidfile=humd.pid", "--logfile=humd.log", "humd", *options)


def run_to_end(folder: Folder, *options: str) -> subprocess.CompletedProcess[str]:
    """``twistd -n humd`` that is expected to end by itself."""
    return _run(folder, "-n", "--pidfile=humd.pid", "humd", *options)


def _run(folder: Folder, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*TWISTD, *words],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        cwd=folder.path,
        env=folder.environ(),
        text=True,
        timeout=PATIENCE,
        check=False,
    )


def wait_for_end(pid: int, patience: float = PATIENCE) -> None:
    """
    Wait until a process that is no child of ours is gone.

    :raises AssertionError: it is still there.
    :raises SkipTest: nothing but waiting would tell.
    """
    if not hasattr(os, "pidfd_open"):
        raise SkipTest("only Linux tells when another's child is gone")
    handle = os.pidfd_open(pid)
    try:
        gone, _, _ = select.select([handle], [], [], patience)
        assert gone, f"process {pid} is still there after {patience:g} s"
    finally:
        os.close(handle)
