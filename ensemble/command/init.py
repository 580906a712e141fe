"""
``ensemble init``: all that this machine needs to run a humd, and what to tell the other side.

What is there already stays as it is, whatever it says; only the unit can be replaced, with ``--force``.  Without it,
those of the daemon's options that are given on to it need not be given again: those of the unit hold, where it runs
the same humd.
"""

from __future__ import annotations

import difflib
import pwd
import shlex
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from attrs import asdict, frozen

from ensemble.command.control import texts_of
from ensemble.command.here import Here, has_state_dir
from ensemble.command.hints import inside_only, near_only, of_listeners, places, trust_line
from ensemble.command.outcome import OK, BadUsage, CommandFailed
from ensemble.command.start import Manager
from ensemble.command.unit import (
    RUNTIME_THRUM,
    UNIT,
    humd_words,
    kept_words,
    other_humd,
    twistd,
    unit_path,
    unit_text,
)
from ensemble.config import (
    Listening,
    Paths,
    check_advertise,
    create_text,
    read_peers,
    refuse_shared_state,
    row_json,
    shown,
    without_home,
    write_empty_peers,
    write_text,
)
from ensemble.errors import ConfigurationError
from ensemble.identity import HumdId, certificate_of, fingerprint, load_or_mint
from ensemble.tone import read_document

LISTEN: Final = "--listen"
ADVERTISE: Final = "--advertise"
LIMIT: Final = "--limit"
MAX_TONE: Final = "--max-tone"
GIVEN_ON: Final = (LISTEN, ADVERTISE, LIMIT, "--auth", "--admit", MAX_TONE, "--log-format")  # the daemon's own


@frozen
class Step:
    """
    One thing that was seen to.

    :ivar state: ``made``, ``there`` (as it was before), ``replaced``, or ``differs`` (as it was before, and not as
        asked).
    """

    what: str
    state: str
    path: str


@frozen
class Report:
    """
    What there is to tell.

    :ivar guessed: the hints are what this machine calls itself, and nobody vouches for them.
    """

    humd_id: HumdId
    steps: tuple[Step, ...]
    hints: tuple[str, ...]
    guessed: bool
    command: tuple[str, ...]

    @property
    def row(self) -> str:
        """The row for the other side."""
        return row_json(self.humd_id, self.hints)

    @property
    def rewritten(self) -> bool:
        """The unit is new, and the humd may run with the one before, also where that file was removed."""
        return self.steps[-1].state in ("made", "replaced")

    @property
    def starts(self) -> list[list[str]]:
        """The calls of systemctl that start the humd with the unit that is there now."""
        enable = [["enable", UNIT], ["restart", UNIT]] if self.rewritten else [["enable", "--now", UNIT]]
        return [["daemon-reload"], *enable]


def init(here: Here) -> int:
    """
    ``init``.

    :raises ConfigurationError: something cannot be read or written, or nothing says where home is.
    """
    paths, options = here.paths_given(), here.options
    what, mend = without_home(paths)
    if what:
        raise ConfigurationError(f"{what}: {mend}")
    refuse_shared_state(paths.state_dir)  # no daemon would start there
    unit = unit_path(here.environ)
    if unit is None:
        raise ConfigurationError("HOME is not set, so a unit of systemd has no place: set it, or XDG_CONFIG_HOME")
    given = {option: _values(getattr(options, option[2:].replace("-", "_"))) for option in GIVEN_ON}
    other = other_humd(unit, paths, here.environ.get("HOME", ""))
    keeps = not (options.force or other)
    kept = kept_words(unit, [option for option, values in given.items() if not values]) if keeps else {}
    passed = given | kept
    listen, advertise = passed[LISTEN], passed[ADVERTISE]
    _ask_daemon({option: given[option] for option in (LISTEN, LIMIT, MAX_TONE)})
    try:  # judged before anything is written
        hints, guesses = list(map(check_advertise, advertise)), of_listeners(map(Listening.parse, listen))
    except ConfigurationError as error:
        raise BadUsage(str(error)) from None
    key, minted = load_or_mint(paths.key)
    steps = [
        Step("key", "made" if minted else "there", shown(paths.key)),
        Step("peers", "made" if write_empty_peers(paths.peers_file) else "there", shown(paths.peers_file)),
    ]
    read_peers(paths.peers_file)  # one that is no JSON is told now, not by the daemon
    more = _words(passed)
    words = humd_words(twistd(), paths, more)
    text = unit_text(words if here.socket_given() else humd_words(twistd(), paths, more, RUNTIME_THRUM))
    steps.append(_write_unit(unit, text, options.force))
    status = _our_status(here, paths) if options.start or not (hints or guesses) else None
    if not hints:
        # Between a rotation and the restart the daemon still has the key before, whose certificate is another one.
        same = status is not None and status.get("id") == key.humd_id().full
        hints = guesses or (texts_of(status, "listening") if same else [])
    if any(hint.startswith("tls:") for hint in hints):
        hints = list(dict.fromkeys((*hints, f"tls-fp:{fingerprint(certificate_of(key))}")))
    guessed = bool(listen) and not advertise
    report = Report(key.humd_id(), tuple(steps), tuple(hints), guessed, tuple(words))
    if not here.screen.json:
        _tell(here, report)
    if steps[-1].state == "differs":
        for line in _difference(unit, text) if not (here.screen.json or other) else ():
            here.screen.note(line)
        again = shlex.join(_words(kept))
        why = (
            f"{shown(unit)} runs another humd, that of {other}, and stays as it was: --force would take its unit from "
            f"it; run this one by hand, or with a unit of your own: {shlex.join(words)}"
            if other
            else f"{shown(unit)} is not what these options give, and stays as it was: --force replaces it"
            + (f" (with {again}, or they are gone)" if again else "")
        )
        raise CommandFailed("init.differs", why + (" (nothing was started)" if options.start else ""))
    if other:
        here.screen.note(f"{shown(unit)} ran the humd of {other} before, which has no unit now", replaced=other)
    if options.start:
        pid = status.get("pid") if status is not None else None
        Manager(here.environ, unit, words).start(report.starts, pid if isinstance(pid, int) else 0)
    if here.screen.json:
        here.screen.document(
            {
                "ok": True,
                "id": report.humd_id.full,
                "steps": [asdict(step) for step in steps],
                "row": read_document(report.row),
                "command": words,
                "started": options.start,
            }
        )
    else:
        _tell_next(here, report, paths)
    return OK


def _our_status(here: Here, paths: Paths) -> dict[str, Any] | None:
    """What the daemon of this state dir says; None where none answers, or that of another one."""
    status = here.status()[0]
    return status if status is not None and has_state_dir(status, paths.state_dir) else None


def _words(options: Mapping[str, Iterable[str]]) -> list[str]:
    return [word for option, values in options.items() for value in values for word in (option, value)]


def _values(given: list[str] | str | None) -> list[str]:
    return [given] if isinstance(given, str) else given or []


def _ask_daemon(given: Mapping[str, Sequence[str]]) -> None:
    """
    Have the daemon look at them: it alone knows what it takes.

    :raises BadUsage: it would not start with them.
    :raises ConfigurationError: it cannot be run.
    """
    if not any(given.values()):
        return
    if not all("=" in limit for limit in given[LIMIT]):
        raise BadUsage("--limit needs NAME=VALUE; `twistd humd --limit help` lists them")
    words = [str(twistd()), "humd", *_words(given), "--version"]
    try:
        done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, check=False, text=True)
    except OSError as error:  # as one that an upgrade of the system left behind
        raise ConfigurationError(
            f"cannot run {words[0]}: {error.strerror}; is the Python there that its first line names?"
        ) from None
    if done.returncode:
        said = done.stderr.strip().splitlines()
        raise BadUsage(
            said[-1].removeprefix("twistd humd: ") if said else f"twistd humd: exit status {done.returncode}"
        )


def _write_unit(path: Path, text: str, force: bool) -> Step:
    try:
        if create_text(path, text):
            return Step("unit", "made", shown(path))
        if path.read_bytes() == text.encode():
            return Step("unit", "there", shown(path))
        if not force:
            return Step("unit", "differs", shown(path))
        write_text(path, text)
    except OSError as error:
        raise ConfigurationError(f"cannot write the unit {shown(path)}: {error.strerror}") from error
    return Step("unit", "replaced", shown(path))


def _difference(path: Path, text: str) -> list[str]:
    there = path.read_text(errors="replace").splitlines()
    return list(difflib.unified_diff(there, text.splitlines(), shown(path), "what init would write", lineterm="", n=0))


def _tell(here: Here, report: Report) -> None:
    screen = here.screen
    screen.table(
        ("WHAT", "STATE", "PATH"),
        [(step.what, step.state, here.below_home(step.path)) for step in report.steps],
        {"made": "green", "replaced": "yellow", "differs": "red", "there": "dim"},
    )
    screen.line()
    screen.line(f"This humd is {screen.paint(report.humd_id.full, 'bold')}")
    screen.line()
    screen.line("For the other side, to run there, or as a row of its peers.json:")
    screen.line(f"  {trust_line(report.humd_id, report.hints)}")
    screen.line(f"  {report.row}")
    for remark in _remarks(report):
        screen.line(f"  ({remark})")
    screen.line()


def _tell_next(here: Here, report: Report, paths: Paths) -> None:
    line = here.screen.line
    if here.options.start:
        line(f"{UNIT} runs, and will at each login.")
        line()
    line("Next:")
    if not here.options.start:
        line("  " + " && ".join(shlex.join(["systemctl", "--user", *words]) for words in report.starts))
        too = "" if report.steps[-1].state == "replaced" else " (as `ensemble init --start` does)"
        line(f"      starts it, now and at each login{too}; without systemd:")
        line(f"      {shlex.join(report.command)}")
    line("  loginctl enable-linger")
    line("      keeps it running while you are logged out (without polkit, as root:")
    line(f"      `loginctl enable-linger {_user(here.uid)}`)")
    line(f"  {here.screen.command('ensemble trust PEER HINT')}")
    line(f"      with what the other side shows; that puts its row into {here.below_home(shown(paths.peers_file))}")
    line(f"  {here.screen.command('ensemble doctor')}")
    line("      looks whether all is well, and names the mend where it is not")


def _user(uid: int) -> str:
    try:
        return shlex.quote(pwd.getpwuid(uid).pw_name)
    except KeyError:  # as in a container
        return str(uid)


def _remarks(report: Report) -> list[str]:
    if not report.hints:
        return ["it names no address: this humd dials, others cannot dial it; --listen tls:14731 changes that"]
    if near := near_only(report.hints):
        return [near]
    if report.guessed:
        wire = places(report.hints)[0].partition(":")[0]
        named = f"the address is what this machine calls itself; others may need another: --advertise {wire}:HOST:PORT"
        return list(filter(None, (inside_only(report.hints), named)))
    return []
