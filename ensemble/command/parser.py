"""The command line of ``ensemble``: every subcommand and option, and nothing else."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import Any, Final, NoReturn, TypeAlias

from ensemble import __version__
from ensemble.command import about, completion, doctor, init, listen, peers, rekey, send, trust
from ensemble.command.here import Here
from ensemble.command.outcome import BadUsage
from ensemble.config import ADMIT, EMPTY_PLACE, LEVELS, LOG_FORMATS
from ensemble.tone import THRUM_VERSION

Run: TypeAlias = Callable[[Here], int]

PROGRAM: Final = "ensemble"
VERSION: Final = f"{PROGRAM} {__version__} (thrum {THRUM_VERSION})"
SECONDS: Final = 60.0  # before `send` and `trust --wait` give up
WEEK: Final = 604_800  # seconds, the most: beyond some centuries the system knows no time to wait

# Metavars say how a shell completes the value: FILE, PATH, DIR, PEER and CHI; see completion.


class Parser(argparse.ArgumentParser):
    """Raises instead of ending the process: a program may want to read the error as JSON."""

    def __init__(self, *words: Any, **options: Any) -> None:
        super().__init__(*words, **options)
        # Python 3.14 colours a usage where standard output is a terminal; that of an error goes to standard error.
        self.color = False

    def error(self, message: str) -> NoReturn:
        """:raises BadUsage: always."""
        raise BadUsage(message, self.format_usage())

    def _print_message(self, message: str, file: Any = None) -> None:
        # argparse passes over what cannot be written; unbuffered, the help would be lost without a word.
        if message:
            (file or sys.stderr).write(message)


class FirstParser(Parser):
    """Of what stands before the command, where no option of ours is read but two."""

    _first = ""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> tuple[Any, list[str]]:
        self._first = args[0] if args else ""
        return super().parse_known_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        """:raises BadUsage: always."""
        if self._first.startswith("-"):
            message = f"{message} (options stand behind the command: `{PROGRAM} status --json`)"
        super().error(message)


class MixedParser(Parser):
    """Takes options between the places of a list, too, which argparse does only where it is asked to."""

    _within = False

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> tuple[Any, list[str]]:
        if self._within:
            return super().parse_known_args(args, namespace)
        self._within = True  # for it asks this method in turn
        try:
            found, rest = self.parse_known_intermixed_args(args, namespace)
        finally:
            self._within = False
        if rest:  # said here, where the usage is that of the command
            self.error(f"unrecognized arguments: {' '.join(rest)}")
        return found, rest

    def _get_values(self, action: argparse.Action, arg_strings: list[str]) -> Any:
        if action.option_strings and arg_strings == ["--"]:  # behind a `=`; Python 3.11 drops it, as between the words
            value = self._get_value(action, "--")
            self._check_value(action, value)
            return value
        return super()._get_values(action, arg_strings)


def build() -> Parser:
    """The whole command line."""
    parser = FirstParser(
        prog=PROGRAM,
        usage=f"{PROGRAM} COMMAND [OPTION]... [ARGUMENT]...\n       {PROGRAM} --version | --help",
        description="Ask and look after the humd of this machine.",
        epilog="Exit status: 0 it worked, 1 it failed, 2 bad usage, 3 no humd answers. See ensemble(1).",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=VERSION)
    commands = parser.add_subparsers(
        title="commands", metavar="COMMAND", dest="command", prog=PROGRAM, parser_class=MixedParser
    )
    shared = _shared()

    def add(name: str, run: Run, help: str, description: str = "") -> MixedParser:
        added = commands.add_parser(
            name,
            help=help,
            description=description or f"{help[0].upper()}{help[1:]}.",
            parents=[shared],
            allow_abbrev=False,
        )
        added.set_defaults(run=run)
        return added

    one = add("id", about.identify, "who this humd is: its id, its public key, and where others can dial it")
    one.add_argument("--bare", action="store_true", help="the id alone, for $(ensemble id --bare)")

    one = add("status", about.status, "how the humd is doing, with its counters")
    one.add_argument("--limits", action="store_true", help="show every ceiling, too")

    one = add("peers", peers.peers, "who is known and who is linked")
    some = one.add_mutually_exclusive_group()
    some.add_argument(
        "--forget", metavar="PEER", help="forget what this peer has proved: its row in peers.json alone counts again"
    )
    some.add_argument(
        "--words", action="store_true", help="only aliases and ids, one on each line, for completion; not with --json"
    )

    one = add(
        "trust",
        trust.trust,
        "link with a peer: make its row in peers.json, or change it",
        "Make the row of a peer in peers.json, or change it, and have the humd read it at once. The rest of the file "
        "stays as it is.",
    )
    one.add_argument("peer", metavar="PEER", type=str.strip, help="full id; of a row that is there the alias, too")
    one.add_argument(
        "hints",
        metavar="HINT",
        type=str.strip,
        nargs="*",
        default=[],
        help="where to dial it, such as tls:192.0.2.10:14731; a tls-fp: takes the place of those that are there",
    )
    one.add_argument("--replace", action="store_true", help="the hints given are all that it has from now on")
    some = one.add_mutually_exclusive_group()
    some.add_argument("--alias", metavar="NAME", help="what you call it")
    some.add_argument("--no-alias", action="store_true", help="it has no alias any more")
    one.add_argument(
        "--auth",
        choices=(*LEVELS, trust.DEFAULT),
        help="how well it must show who it is, instead of the humd's own level (default: that again)",
    )
    yes_or_no = argparse.BooleanOptionalAction
    one.add_argument("--plain", action=yes_or_no, help="it may be linked over plain TCP although it has secure hints")
    one.add_argument("--follow", action=yes_or_no, help="it stays itself under the new key that it names")
    one.add_argument("--relays", action=yes_or_no, help="it may deliver tones of others")
    one.add_argument("--wait", action="store_true", help="wait until it is linked, and tell why it is not yet")
    _timeout(one, "without a link")

    one = add(
        "untrust",
        trust.untrust,
        "link no more with a peer: remove its row from peers.json",
        "Remove the row of a peer from peers.json, and have the humd read it at once. The rest of the file stays as it "
        "is.",
    )
    one.add_argument("peer", metavar="PEER", type=str.strip, help="alias or id")

    one = add(
        "send",
        send.send,
        "send a tone to a peer",
        "Send a tone to a peer, as any local program would. `to`, `rid`, and the `sid` of a prompt or the `callId` of "
        "a tool-call are filled in where they are missing. Without --wait, status 0 says that this humd has queued the "
        "tone for the peer; what the peer makes of it, only --wait shows.",
    )
    one.add_argument(
        "peer", metavar="PEER", type=str.strip, help="alias, id, or at least 6 hex digits of its beginning"
    )
    one.add_argument("tone", metavar="JSON", help="the tone; - reads one, or one on each line, from standard input")
    one.add_argument("--wait", action="store_true", help="show the reply, until its end")
    _timeout(one, "without a sign")

    one = add(
        "listen",
        listen.listen,
        "show tones as they arrive from peers",
        "Show tones as they arrive from peers, one JSON line each, until Ctrl-C. It only looks on: whoever a tone is "
        "for still gets it.",
    )
    _repeated(one, "--chi", "CHI", "only this kind")
    one.add_argument("--peer", metavar="PEER", help="only from this peer")
    one.add_argument("--count", metavar="N", type=positive, help="end after so many")

    add("doctor", doctor.doctor, "look whether all is well, and name the mend where it is not")

    one = add(
        "init",
        init.init,
        "make the key, an empty peers.json and a systemd user unit",
        "Make the key, an empty peers.json and a systemd user unit, each where it is missing, and show the row that "
        "the other side needs.",
    )
    _repeated(one, "--listen", "WIRE:ARGS", "where the humd is to listen, such as tls:14731")
    _repeated(one, "--advertise", "HINT", "where others can dial it, such as tls:192.0.2.10:14731")
    _repeated(one, "--limit", "NAME=VALUE", "set one of the humd's limits; `twistd humd --limit help` lists them")
    one.add_argument("--auth", choices=LEVELS, help="what a peer must show of who it is (the humd's default: proven)")
    one.add_argument("--admit", choices=ADMIT, help="whom the humd links with (its default: known)")
    one.add_argument("--max-tone", metavar="BYTES", help="the longest tone that the humd accepts from a peer")
    one.add_argument("--log-format", choices=LOG_FORMATS, help="how the humd writes its log (its default: text)")
    one.add_argument("--force", action="store_true", help="replace a unit that differs")
    one.add_argument("--start", action="store_true", help="enable the unit and start it")

    one = add(
        "rotate",
        rekey.rotate,
        "put a new key in the place of this humd's, and tell its peers",
        "Mint the next key, sign it with this one, and tell the peers that are linked. Nothing changes until --finish. "
        "There is no way back. For a key that somebody else may have: `ensemble revoke`.",
    )
    some = one.add_mutually_exclusive_group()
    some.add_argument("--finish", action="store_true", help="make the next key the key; the old one is kept")
    some.add_argument("--again", action="store_true", help="also where the key replaced another one already")

    one = add(
        "revoke",
        rekey.revoke,
        "end the trust in this humd's key, or in one of which a file says so",
        "End the trust in the key of this humd, everywhere and for ever: all peers that hear of it refuse its id. With "
        "--file, take in what another humd's key said of itself.",
    )
    one.add_argument("--yes", action="store_true", help="it is meant: there is no way back")
    some = one.add_mutually_exclusive_group()
    some.add_argument("--file", metavar="FILE", help="the revocation in this file")
    some.add_argument("--out", metavar="FILE", help="only write one for this humd's key, to be kept for a bad day")

    one = add(
        "completion", lambda here: completion.completion(here, parser), "print a script that completes this command"
    )
    one.add_argument("shell", choices=completion.SHELLS, help="whose script")
    return parser


def seconds(text: str) -> float:
    """A time that is neither zero nor longer than a week."""
    try:
        value = float(text)
    except ValueError:
        value = 0
    if not 0 < value <= WEEK:
        asked = "a number of seconds above 0, such as 2.5, and a week at most"
        raise argparse.ArgumentTypeError(f"invalid value {text!r}: {asked}")
    return value


def positive(text: str) -> int:
    """A number from one up."""
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"invalid value {text!r}: a whole number from 1 up")
    return value


def place(text: str) -> str:
    """A path."""
    if not text:
        raise argparse.ArgumentTypeError(f"it {EMPTY_PLACE}")
    return text


def _repeated(parser: Parser, name: str, metavar: str, help: str) -> None:
    parser.add_argument(name, metavar=metavar, action="append", default=[], help=f"{help} (may be given again)")


def _timeout(parser: Parser, without: str) -> None:
    text = f"give up after S seconds {without} ({SECONDS:g})"
    parser.add_argument("--timeout", metavar="S", type=seconds, default=SECONDS, help=text)


def _shared() -> MixedParser:
    shared = MixedParser(add_help=False, allow_abbrev=False)
    group = shared.add_argument_group("where the humd is (the same options, with the same defaults, as of the daemon)")
    group.add_argument("--key", metavar="FILE", type=place, help="its key file")
    group.add_argument("--state-dir", metavar="DIR", type=place, help="its state")
    group.add_argument("--thrum", metavar="PATH", type=place, help="its socket for local programs")
    group.add_argument("--peers", metavar="FILE", type=place, help="its peers.json")
    shared.add_argument("--json", action="store_true", help="for programs: JSON, errors too (on standard error)")
    return shared
