"""What every subcommand is given: its options, the places they mean, and where its words go."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO, Final

from attrs import evolve, frozen

from ensemble.command.control import BY_HAND, BY_UNIT, DaemonRefused, NoDaemon, Unanswered, ask_daemon, unreachable
from ensemble.command.output import Screen
from ensemble.command.unit import has_unit
from ensemble.config import Paths, ThrumPathTooLong, meant, running, served, shown
from ensemble.errors import ConfigurationError

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
        The places that the options and the environment mean.  Where they say nothing of a socket, or of a peers file,
        it is that of the daemon of the state dir, whatever that daemon was told; the socket of another state dir's
        daemon is not meant where ``--state-dir`` is given.

        :raises ThrumPathTooLong: no socket can be where they say.
        :raises Unanswered: this user may not look.
        """
        given, said = self.paths_given(), self.options
        socket = self.socket_given()
        try:
            found = served(given, thrum=not socket, peers=not said.peers)
        except PermissionError as error:
            raise unreachable(given.state_dir, error) from None
        if said.state_dir and not socket:
            if not _is_of(found):
                found = evolve(found, thrum=found.state_dir / found.thrum.name)
            said.thrum = str(found.thrum)  # looked at once
        return found

    def paths_given(self) -> Paths:
        """The same, whether or not there is a daemon."""
        return self._paths(self.options.thrum)

    def socket_given(self) -> str:
        """The thrum socket that the options or the environment name; empty where the default is meant."""
        named = (self.options.thrum, self.environ.get("HUM_THRUM_SOCK"), self.environ.get("HUM_SOCKET"))
        return next(filter(None, named), "")

    def paths_at_least(self) -> tuple[Paths, ThrumPathTooLong | None]:
        """The same for who can do without a socket; and why there can be none, or None."""
        try:
            return self.paths(), None
        except Unanswered:
            return self.paths_given(), None
        except ThrumPathTooLong as error:
            return self._paths(_NOWHERE), error

    def _paths(self, thrum: str | None) -> Paths:
        said = self.options
        return Paths.resolve(
            self.environ, self.uid, state_dir=said.state_dir, key=said.key, peers=said.peers, thrum=thrum
        )

    def status(self) -> tuple[dict[str, Any] | None, Unanswered | None]:
        """What the daemon says of itself, None where none answers; and why one that is there does not."""
        try:
            return self.ask_anybody("status"), None
        except Unanswered as error:
            return None, error
        except (DaemonRefused, ThrumPathTooLong):
            return None, None

    def agree(self) -> dict[str, Any] | None:
        """
        Mean the files of the daemon that answers, wherever the options do not say which are meant.

        :returns: `status`.
        :raises Unanswered: there is one that does not answer: who knows which are its files?
        """
        status, silent = self.status()
        if silent is not None:
            raise silent
        given = self.options
        if status is not None:
            ours = self.paths()
            files = {
                name: theirs(getattr(ours, name), place)
                for name in ("state_dir", "key", "peers_file")
                if isinstance(place := status.get(name), str)
            }
            given.thrum = str(ours.thrum)  # whose default may be in the state dir
            given.peers = given.peers or files.get("peers_file")
            given.state_dir = given.state_dir or files.get("state_dir")
            if os.path.realpath(given.state_dir or "") == os.path.realpath(files.get("state_dir", "")):
                given.key = given.key or files.get("key")
        return status

    def ask_anybody(self, do: str) -> dict[str, Any] | None:
        """
        One question to the daemon, where there is one.

        :returns: None where there is none.
        :raises Unanswered: there is one, and it does not answer.
        :raises DaemonRefused: it said no.
        """
        try:
            return self.ask(do)
        except Unanswered:
            raise
        except NoDaemon:
            return None

    def ask(self, do: str, **more: Any) -> dict[str, Any]:
        """
        One question to the daemon.

        :raises NoDaemon: none answers.
        :raises DaemonRefused: it said no.
        """
        paths = self.paths()
        try:
            return ask_daemon(paths.control, do, **more)
        except NoDaemon as error:
            if not isinstance(error, Unanswered) and paths.peers_file != self.paths_given().peers_file:
                # Who starts it again is to name the file that it had.
                self.screen.leads = {**self.screen.leads, "--peers": str(paths.peers_file)}
            raise

    def how_to_start(self) -> str:
        """For whoever finds no humd."""
        if gone := socket_gone(self.paths()):
            return gone
        return BY_UNIT if not self.screen.leads and has_unit(self.environ, self.uid) else BY_HAND

    def below_home(self, place: str) -> str:
        """A path as people write it: ``~`` for their home."""
        home = self.environ.get("HOME", "").rstrip("/")
        return f"~{place[len(home) :]}" if home and place.startswith(f"{home}/") else place


def socket_gone(paths: Paths) -> str:
    """What is to be said, with the mend, where nobody answers and the humd runs all the same; else empty."""
    process = running(paths)
    if process is None:
        return ""
    return f"the humd that runs, process {process}, lost its socket, unless it starts or ends just now; restart it"


def _is_of(paths: Paths) -> bool:
    """False where the daemon on this socket says that its state dir is another one."""
    try:
        return has_state_dir(ask_daemon(paths.control, "status"), paths.state_dir)
    except (NoDaemon, DaemonRefused):
        return True  # who asks next is told why


def has_state_dir(status: Mapping[str, Any], ours: Path) -> bool:
    """False where a daemon's status names another state dir than this one."""
    told = status.get("state_dir")
    if not isinstance(told, str) or told == shown(ours):
        return True
    return os.path.realpath(meant(told)) == os.path.realpath(ours)


def theirs(ours: Path, told: str) -> Path:
    """
    The path that the daemon named, by its bytes.

    :param ours: where it is, as far as we know.
    :raises ConfigurationError: they are not in what it told.
    """
    if told == shown(ours):
        return ours
    if "\N{REPLACEMENT CHARACTER}" in told:
        raise ConfigurationError(f"the humd uses {told}, a name that is not UTF-8: give the options that it was given")
    return meant(told)
