"""
Processes and rounds.

A *contest* is a set of programs that do the same work, each in processes of its own.  One round runs every program
once; a ratio is computed within its round, and only then the median is taken.  The machine may slow down between two
rounds, it rarely does within one.
"""

from __future__ import annotations

import ctypes
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory, TemporaryFile
from typing import Any, Self

from attrs import define, field, frozen

ROOT = Path(__file__).resolve().parent.parent
PATIENCE = 120.0  # seconds for one line of one process
PR_SET_PDEATHSIG = 1
STOPPERS = (signal.SIGINT, signal.SIGTERM)


class SideFailed(Exception):
    """A measured process ended badly or fell silent; the text has the end of what it said."""


def free_port() -> int:
    """A port for a program that cannot choose one itself."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


def _in_child() -> None:
    """Take signals again; and Linux ends the child when the harness dies, of whatever cause."""
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class Side:
    """One measured process: what it says line by line, and its end."""

    def __init__(self, argv: Sequence[str], glance: Callable[[], None], talks: bool) -> None:
        """
        :param glance: called twice a second while we wait; raises when waiting is pointless.
        :param talks: False for a program whose stdout is a log: it is kept with its stderr.
        """
        self.name = " ".join(argv)
        self._glance = glance
        self._errors = TemporaryFile()  # noqa: SIM115 (closed in stop)
        self._said = b""
        # A session of its own: Ctrl-C reaches the harness alone, which then ends its children.
        self._process = subprocess.Popen(
            list(argv),
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE if talks else self._errors,
            stderr=self._errors,
            start_new_session=True,
            preexec_fn=_in_child,
        )
        self._selector = selectors.DefaultSelector()
        if self._process.stdout is not None:
            self._selector.register(self._process.stdout, selectors.EVENT_READ)

    def line(self, patience: float = PATIENCE) -> str:
        """
        The next line on its stdout.

        :raises SideFailed: it ended, or said nothing for ``patience`` seconds.
        """
        deadline = time.monotonic() + patience
        while b"\n" not in self._said:
            if not self._selector.select(0.5):
                self._glance()
                if time.monotonic() > deadline:
                    raise SideFailed(f"{self.name}: silent for {patience:.0f} s\n{self.complaint()}")
                continue
            assert self._process.stdout is not None
            data = os.read(self._process.stdout.fileno(), 65536)
            if not data:
                code = self._process.wait()
                raise SideFailed(f"{self.name}: ended with status {code}\n{self.complaint()}")
            self._said += data
        line, _, self._said = self._said.partition(b"\n")
        return line.decode()

    def ready(self) -> int:
        """Wait for ``READY [PORT]``; the port, 0 where none was said."""
        word, _, port = self.line().partition(" ")
        if word != "READY":
            raise SideFailed(f"{self.name}: said {word!r} instead of READY")
        return int(port or 0)

    def result(self) -> dict[str, Any]:
        """The line of JSON with its figures."""
        line = self.line()
        try:
            return dict(json.loads(line))
        except ValueError:
            raise SideFailed(f"{self.name}: said {line!r} instead of its figures") from None

    def tell(self, line: str) -> None:
        """Write one line to its stdin."""
        assert self._process.stdin is not None
        self._process.stdin.write(line.encode() + b"\n")
        self._process.stdin.flush()

    def check(self) -> None:
        """:raises SideFailed: it has ended badly."""
        code = self._process.poll()
        if code:
            raise SideFailed(f"{self.name}: ended with status {code}\n{self.complaint()}")

    def stop(self, gently: bool = False) -> None:
        """End it, if it still runs; the whole session, so that nothing it started stays."""
        if gently and self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(5.0)
            except subprocess.TimeoutExpired:
                pass  # killed below
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout, self._errors):
            if pipe is not None:
                try:
                    pipe.close()
                except BrokenPipeError:
                    pass
        self._selector.close()

    def complaint(self) -> str:
        """The end of what it wrote to stderr."""
        self._errors.seek(0)
        return self._errors.read()[-2000:].decode(errors="replace")


class Crew:
    """The processes of one run of one program; none outlives the ``with`` block."""

    def __init__(self) -> None:
        self._sides: list[Side] = []
        self._folder: TemporaryDirectory[str] | None = None

    def folder(self) -> Path:
        """A folder for their files, which goes after them."""
        if self._folder is None:
            self._folder = TemporaryDirectory(prefix="humd-bench-", dir="/tmp")  # TMPDIR may be too deep for a socket
        return Path(self._folder.name)

    def start(self, *argv: str, talks: bool = True) -> Side:
        # A Ctrl-C between the birth of a process and its entry in the list would forget it.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, STOPPERS)
        try:
            side = Side(argv, self.check, talks)
            self._sides.append(side)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        return side

    def python(self, module: str, *argv: object) -> Side:
        """Start ``python -m MODULE``."""
        return self.start(sys.executable, "-m", module, *map(str, argv))

    def check(self) -> None:
        """:raises SideFailed: one of them has ended badly."""
        for side in self._sides:
            side.check()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        for side in self._sides:
            side.stop(gently=kind is None)
        if self._folder is not None:
            self._folder.cleanup()


@frozen
class Program:
    """One contestant: ``run`` gives its figures by name, of which ``figure`` is the one that is compared."""

    name: str
    about: str
    run: Callable[[Crew], dict[str, float]]
    figure: str


@frozen
class Against:
    """A ratio that the table shows, and what it should reach."""

    over: str
    under: str
    goal: float | None = None
    stretch: float | None = None
    at_most: bool = False

    @property
    def name(self) -> str:
        return f"{self.over} / {self.under}"

    def reached(self, value: float, goal: float | None) -> bool | None:
        if goal is None:
            return None
        return value <= goal if self.at_most else value >= goal


@frozen
class Contest:
    """What is measured together, in the same rounds."""

    name: str
    unit: str
    programs: tuple[Program, ...]
    against: tuple[Against, ...]
    facts: dict[str, Any] = field(factory=dict)


@define
class Outcome:
    """The raw figures: for each program a list with one entry per counted round."""

    contest: Contest
    raw: dict[str, list[dict[str, float]]]

    def series(self, program: str) -> list[float]:
        figure = next(p.figure for p in self.contest.programs if p.name == program)
        return [figures[figure] for figures in self.raw[program]]

    def ratios(self, against: Against) -> list[float]:
        return [over / under for over, under in zip(self.series(against.over), self.series(against.under), strict=True)]

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.contest.name,
            "unit": self.contest.unit,
            **self.contest.facts,
            "programs": {program.name: self._program(program) for program in self.contest.programs},
            "ratios": {against.name: self._ratio(against) for against in self.contest.against},
        }

    def _program(self, program: Program) -> dict[str, Any]:
        return {"about": program.about, **spread(self.series(program.name)), "raw": self.raw[program.name]}

    def _ratio(self, against: Against) -> dict[str, Any]:
        raw = self.ratios(against)
        middle = median(raw)
        return {
            **spread(raw),
            "raw": raw,
            "goal": against.goal,
            "stretch": against.stretch,
            "at_most": against.at_most,
            "reached": against.reached(middle, against.goal),
            "stretch_reached": against.reached(middle, against.stretch),
        }


def spread(values: Sequence[float]) -> dict[str, float]:
    return {"median": median(values), "min": min(values), "max": max(values)}


def hold_contest(contest: Contest, rounds: int, progress: Callable[[str], None]) -> Outcome:
    """
    Run every program once per round, after one round that is not counted.

    Whoever goes first in one round goes last in the next, so that no one always meets a warm or a tired machine.
    """
    raw: dict[str, list[dict[str, float]]] = {program.name: [] for program in contest.programs}
    for number in range(rounds + 1):
        turn = number % len(contest.programs)
        for program in contest.programs[turn:] + contest.programs[:turn]:
            what = f"round {number} of {rounds}" if number else "warm-up"
            progress(f"{contest.name}: {what}: {program.name}")
            with Crew() as crew:
                figures = program.run(crew)
            if number:
                raw[program.name].append(figures)
    return Outcome(contest, raw)
