"""Has the user manager of systemd run the daemon, and says why it does not."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

from attrs import frozen

from ensemble.command.outcome import CommandFailed
from ensemble.command.unit import RETRY_SECONDS, UNIT
from ensemble.config import shown

SYSTEMCTL_SECONDS: Final = 90.0  # that one call may take; a start waits until the daemon is ready
_CAUSE: Final = f"`journalctl --user -u {UNIT} -n 20`"


@frozen
class Manager:
    """
    The user manager of systemd.

    :ivar unit: the file of the unit that is to run.
    :ivar command: the words that run the same daemon by hand.
    """

    environ: Mapping[str, str]
    unit: Path
    command: Sequence[str]

    def start(self, calls: Iterable[Sequence[str]], running: int) -> None:
        """
        Have it run the daemon.

        :param calls: of ``systemctl --user``, in their order; the first makes it read its units.
        :param running: the process of the daemon that has the state dir now; 0 where none answers.
        :raises CommandFailed: it does not run.
        """
        if shutil.which("systemctl", path=self.environ.get("PATH", os.defpath)) is None:
            raise CommandFailed(
                "init.no-systemd",
                "there is no systemctl here: run the daemon by hand, the command is in `ensemble init`",
            )
        if running and self._property("MainPID") != str(running):
            raise CommandFailed(
                "init.start-failed",
                f"a humd of this state dir runs by hand (process {running}): stop it first (nothing was started)",
            )
        reload, *others = calls
        self._systemctl(*reload)
        self._see_the_unit()
        for words in others:
            self._systemctl(*words)

    def _see_the_unit(self) -> None:
        """:raises CommandFailed: the manager has another unit of this name, or none."""
        found = self._property("FragmentPath")
        if found and os.path.realpath(found) == os.path.realpath(self.unit):
            return
        theirs = f"reads {found}" if found else "does not look there"
        # Its search path is that of its own start: `systemctl --user import-environment` does not move it.
        mend = (
            "it has not the XDG_CONFIG_HOME of this shell; leave the variable out"
            if self.environ.get("XDG_CONFIG_HOME")
            else "see `systemctl --user show -p UnitPath`"
        )
        raise CommandFailed(
            "init.start-failed", f"the unit is {shown(self.unit)}, and the user manager {theirs}: {mend}"
        )

    def _property(self, name: str) -> str:
        return self._systemctl("show", "-p", name, "--value", UNIT).strip()

    def _systemctl(self, *words: str) -> str:
        """
        One call.

        :returns: what it wrote.
        :raises CommandFailed: it failed, or took too long.
        """
        command = shlex.join(["systemctl", "--user", *words])
        try:
            done = subprocess.run(
                ["systemctl", "--user", *words],
                env=dict(self.environ),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=SYSTEMCTL_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise CommandFailed(
                "init.start-failed", f"`{command}` took longer than {SYSTEMCTL_SECONDS:g} s; see {_CAUSE}"
            ) from None
        if not done.returncode:
            return os.fsdecode(done.stdout)
        # "Created symlink ..." is no cause, and where to look is said below.
        lines = done.stderr.decode(errors="replace").splitlines()
        told = " ".join(line.strip() for line in lines if not line.startswith(("Created symlink ", 'See "')))
        said = told.strip().rstrip(".") or f"exit status {done.returncode}"
        if "bus" in said or "not been booted with systemd" in said:
            raise CommandFailed(
                "init.no-session",
                f"no systemd user session answers ({said}): log in as this user itself (not with su or sudo), or run "
                "`loginctl enable-linger` as root for it and set XDG_RUNTIME_DIR=/run/user/$(id -u); "
                "without systemd, run the command that `ensemble init` shows",
            )
        starts = "restart" in words or "--now" in words
        again = f"systemd tries again every {RETRY_SECONDS} s, but not after a wrong option; " if starts else ""
        raise CommandFailed(
            "init.start-failed",
            f"`{command}` failed: {said}; {again}see {_CAUSE}, or run the unit's command by hand: "
            f"{shlex.join(self.command)}",
        )
