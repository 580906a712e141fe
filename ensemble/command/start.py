"""Has the user manager of systemd run the daemon, and says why it does not."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from ensemble.command.outcome import CommandFailed
from ensemble.command.unit import UNIT

SYSTEMCTL_SECONDS: Final = 90.0  # that one call may take; a start waits until the daemon is ready
_JOURNAL: Final = f"see `journalctl --user -u {UNIT} -n 20`"


def start(environ: Mapping[str, str], calls: Iterable[Sequence[str]]) -> None:
    """
    Have the user manager start the humd.

    :param calls: of C{systemctl --user}, in their order.
    :raises CommandFailed: it does not run.
    """
    if shutil.which("systemctl", path=environ.get("PATH", os.defpath)) is None:
        raise CommandFailed(
            "init.no-systemd", "there is no systemctl here: run the daemon by hand, the command is in `ensemble init`"
        )
    for words in calls:
        _systemctl(environ, *words)


def _systemctl(environ: Mapping[str, str], *words: str) -> None:
    command = ["systemctl", "--user", *words]
    try:
        done = subprocess.run(
            command,
            env=dict(environ),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=SYSTEMCTL_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise CommandFailed(
            "init.start-failed",
            f"`{shlex.join(command)}` took longer than {SYSTEMCTL_SECONDS:g} s; {_JOURNAL}",
        ) from None
    if not done.returncode:
        return
    said = done.stderr.decode(errors="replace").strip() or f"exit status {done.returncode}"
    if "bus" in said or "not been booted with systemd" in said:
        raise CommandFailed(
            "init.no-session",
            f"no systemd user session answers ({said}): log in as this user itself (not with su or sudo), or run "
            "`loginctl enable-linger` as root for it and set XDG_RUNTIME_DIR=/run/user/$(id -u); "
            "without systemd, run the command that `ensemble init` shows",
        )
    raise CommandFailed(
        "init.start-failed",
        f"`{shlex.join(command)}` failed: {said}; {_JOURNAL}",
    )
