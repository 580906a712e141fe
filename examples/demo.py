"""
The main job, end to end: two real daemons, a worker on one, a question asked on the other.

Everything lives in a temporary folder and is gone afterwards, also after Ctrl-C.  `make demo` runs this.
"""

from __future__ import annotations

import os
import signal

# It takes a moment to read the rest, and Ctrl-C then ends it at once.
if __name__ == "__main__":
    signal.signal(signal.SIGINT, lambda _number, _frame: os._exit(130))

import select
import shutil
import subprocess
import sys
import tempfile
import time
from argparse import ArgumentParser
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ensemble.command.control import NoDaemon, ask_daemon
from ensemble.config import row_json
from ensemble.identity import HumdId, load_or_mint

QUESTION = "Two machines met on a wire and each proved to the other who it was before a single word was said."
PATIENCE = 30.0  # seconds for each step


class Failed(Exception):
    """The demo could not go on; the text says why."""


class Stage:
    """The temporary folder, and the processes that must not outlive us."""

    def __init__(self) -> None:
        # Socket paths have a hard limit of about 100 bytes, and TMPDIR may be long.
        base = tempfile.gettempdir()
        self.folder = Path(tempfile.mkdtemp(prefix="hum-", dir=base if len(base) < 40 else "/tmp"))
        self.running: list[tuple[str, subprocess.Popen[bytes]]] = []

    def start(self, name: str, *words: str) -> subprocess.Popen[bytes]:
        """Start one process; its output goes to a file, shown when something fails."""
        log = (self.folder / f"{name}.log").open("wb")
        process = subprocess.Popen([sys.executable, *words], stdout=log, stderr=subprocess.STDOUT, cwd=self.folder)
        log.close()
        self.running.append((name, process))
        return process

    def until(self, what: str, ready: Callable[[], Any]) -> Any:
        """Try until it is there, or a process died, or patience ran out."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            found = ready()
            if found:
                return found
            for name, process in self.running:
                if process.poll() is not None:
                    raise Failed(f"{name} stopped while waiting for {what}:\n{self.tail(name)}")
            select.select([], [], [], 0.05)
        raise Failed(f"no {what} within {PATIENCE:g} s:\n" + "\n".join(self.tail(name) for name, _ in self.running))

    def tail(self, name: str) -> str:
        """The last lines that a process said."""
        lines = (self.folder / f"{name}.log").read_text(errors="replace").splitlines()[-15:]
        return "\n".join(f"  {name} | {line}" for line in lines)

    def clear(self) -> bool:
        """Stop everything, last started first, and remove the folder. True where every process ended well."""
        well = True
        for _, process in reversed(self.running):
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for name, process in reversed(self.running):
            try:
                status = process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                status = process.wait()
            well = well and (status == 0 or not name.startswith("humd"))
        shutil.rmtree(self.folder, ignore_errors=True)
        return well


class Machine:
    """One of the two: its folder, its key, its daemon."""

    def __init__(self, stage: Stage, name: str) -> None:
        self.stage, self.name, self.home = stage, name, stage.folder / name
        self.home.mkdir(mode=0o700)
        self.thrum, self.peers = self.home / "thrum.sock", self.home / "peers.json"
        self.id: HumdId = load_or_mint(self.home / "humd.key", os.urandom)[0].humd_id()

    def knows(self, *rows: str) -> None:
        """Write its peers.json."""
        self.peers.write_text('{"peers":[' + ",".join(rows) + "]}\n")

    def start(self, *words: str) -> None:
        """Start its daemon and wait until it serves."""
        self.stage.start(
            f"humd-{self.name}",
            *("-c", "from twisted.scripts.twistd import run; run()", "-n", "--pidfile=", "humd"),
            *("--state-dir", str(self.home), "--peers", str(self.peers), "--thrum", str(self.thrum), *words),
        )
        self.stage.until(f"humd on {self.name}", self.thrum.exists)
        say(self.name, f"{self.id}")

    def ask(self, do: str) -> dict[str, Any]:
        """Ask its daemon."""
        try:
            return ask_daemon(Path(f"{self.thrum}.control"), do)
        except NoDaemon:
            return {}

    def linked(self) -> dict[str, Any] | None:
        """The row of a peer that is linked."""
        return next((row for row in self.ask("peers").get("peers", ()) if row["state"] == "linked"), None)


def say(who: str, text: str) -> None:
    """One line for the person who watches."""
    colour = {"alpha": "36", "beta": "35"}.get(who, "1") if sys.stdout.isatty() else ""
    print(f"\033[{colour}m{who:>6}\033[0m  {text}" if colour else f"{who:>6}  {text}", flush=True)


def play(stage: Stage) -> None:
    """The story; raises `Failed` where it does not end well."""
    here = Path(__file__).resolve().parent
    alpha, beta = Machine(stage, "alpha"), Machine(stage, "beta")
    alpha.knows(row_json(beta.id, alias="beta"))
    alpha.start("--listen", "tcp:0:interface=127.0.0.1")
    hints: Sequence[str] = alpha.ask("status")["listening"]
    say("alpha", f"listens on {' '.join(hints)}")
    beta.knows(row_json(alpha.id, hints, alias="alpha"))
    beta.start()
    row = stage.until("link", beta.linked)
    say("beta", f"linked to alpha over {row['wire']}; each has proved its id to the other ({row['level']})")
    stage.start("bee", str(here / "echo_bee.py"), "--thrum", str(alpha.thrum), "--pause", "0.04")
    stage.until("worker", lambda: any("echo" in bee["models"] for bee in alpha.ask("status").get("clients", ())))
    say("alpha", "an echo bee joined; it serves the model 'echo'")
    say("beta", f"asks alpha: {QUESTION}")
    say("alpha", "answers, piece by piece:")
    print("        ", end="", flush=True)
    words = (sys.executable, str(here / "ask.py"), "--thrum", str(beta.thrum), "--to", alpha.id.full, QUESTION)
    asked = subprocess.run(words, stderr=subprocess.PIPE, timeout=PATIENCE, check=False)
    if asked.returncode:
        raise Failed(asked.stderr.decode(errors="replace").strip())
    pieces = asked.stderr.decode().partition("ask: ")[2].strip()
    row = beta.ask("probe")["peers"][0]
    tones = sum(machine.ask("status")["counters"].get("tones.received", 0) for machine in (alpha, beta))
    say("done", f"{pieces}; {tones} tones crossed the link; round trip {row['round_trip_ms']:.2f} ms")


def main() -> int:
    """Play, and leave nothing behind."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)  # a KeyboardInterrupt
    stage, status = Stage(), 0
    try:
        play(stage)
    except Failed as error:
        print(f"\ndemo: {error}", file=sys.stderr)
        status = 1
    except KeyboardInterrupt:
        print("\ndemo: stopped", file=sys.stderr)
        status = 130
    except BrokenPipeError:
        status = 141
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nor when Python flushes at its end
    finally:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        if not stage.clear() and not status:
            print("demo: a daemon did not stop cleanly", file=sys.stderr)
            status = 1
    return status


if __name__ == "__main__":
    ArgumentParser(description=__doc__).parse_args()
    sys.exit(main())
