"""What every subcommand is given: its options, the places they mean, and where its words go."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from typing import Any, BinaryIO, Final

from attrs import frozen

from ensemble.command.control import DaemonRefused, NoDaemon, ask_daemon
from ensemble.command.output import Screen
from ensemble.config import Paths, ThrumPathTooLong, served

PLACES: Final = ("state_dir", "key", "peers", "thrum")  # options that say where the humd is
_NOWHERE: Final = "/dev/null"  # where no socket can be


@frozen
class Here:
    """One call of the command."""

    options: argparse.Namespace
    screen: Screen
    environ: Mapping[str, str]
    uid: int
    stdin: BinaryIO

    def paths(self) -> Paths:
        """
        The places that the options and the environment mean.  Where they say nothing of a socket, it is the one that
        the daemon of the state dir serves, whatever that daemon was told.

        :raises ThrumPathTooLong: no socket can be where they say.
        """
        said = self.options.thrum or self.environ.get("HUM_THRUM_SOCK") or self.environ.get("HUM_SOCKET")
        return self.paths_given() if said else served(self.paths_given())

    def paths_given(self) -> Paths:
        """The same, whether or not there is a daemon."""
        return self._paths(self.options.thrum)

    def paths_at_least(self) -> tuple[Paths, ThrumPathTooLong | None]:
        """The same for who can do without a socket; and why there can be none, or None."""
        try:
            return self.paths(), None
        except ThrumPathTooLong as error:
            return self._paths(_NOWHERE), error

    def _paths(self, thrum: str | None) -> Paths:
        given = self.options
        return Paths.resolve(
            self.environ,
            self.uid,
            state_dir=given.state_dir,
            key=given.key,
            peers=given.peers,
            thrum=thrum,
        )

    def status(self) -> dict[str, Any] | None:
        """What the daemon says of itself; None where none answers."""
        paths, _ = self.paths_at_least()
        try:
            return ask_daemon(paths.control, "status")
        except (NoDaemon, DaemonRefused):
            return None

    def agree(self) -> dict[str, Any] | None:
        """
        Mean the files of the daemon that answers, wherever the options do not say which are meant.

        :returns: L{status}.
        """
        status, given = self.status(), self.options
        if status is not None:
            given.thrum = str(self.paths().thrum)  # whose default may be in the state dir
            given.peers = given.peers or status.get("peers_file")
            given.state_dir = given.state_dir or status.get("state_dir")
            if os.path.realpath(given.state_dir or "") == os.path.realpath(str(status.get("state_dir"))):
                given.key = given.key or status.get("key")
        return status

    def ask(self, do: str, **more: Any) -> dict[str, Any]:
        """
        One question to the daemon.

        :raises NoDaemon: none answers.
        :raises DaemonRefused: it said no.
        """
        return ask_daemon(self.paths().control, do, **more)

    def below_home(self, place: str) -> str:
        """A path as people write it: C{~} for their home."""
        home = self.environ.get("HOME", "").rstrip("/")
        return f"~{place[len(home) :]}" if home and place.startswith(f"{home}/") else place


def shown(path: str | os.PathLike[str]) -> str:
    """A path as text that any output takes, also where its bytes are no text."""
    return os.fsencode(path).decode("utf-8", "replace")
