"""
``python -m bench wire|daemon|rtt|fanout|idle|tls [--rounds N] [--tones N] [--peer PATH] [--json]``.

Progress goes to stderr, the figures to stdout.  Exit status 0 when everything was measured, whatever the figures;
1 when a process failed; 130 after Ctrl-C.  No process is left in any case.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from collections.abc import Callable

from bench import report
from bench.contests import CONTESTS, Size
from bench.harness import SideFailed, hold_contest

LEAST_ROUNDS = 7
WEIGHING = frozenset({"idle", "tls"})  # these look at the memory of a process
SMOKE_TONES, SMOKE_PEERS, SMOKE_LINKS, SMOKE_HANDSHAKES = 640, 5, 20, 20


def _count(least: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        value = int(text)
        if value < least:
            raise argparse.ArgumentTypeError(f"at least {least}")
        return value

    return parse


def parser() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(
        prog="python -m bench",
        description="Our figures beside those of a bare-socket pump, an asyncio+json program and a compiled peer, "
        "with ratios of the same round.",
    )
    options.add_argument("what", choices=sorted(CONTESTS), help="what to measure")
    options.add_argument("--rounds", type=_count(LEAST_ROUNDS), default=LEAST_ROUNDS, help="counted rounds (7 or more)")
    options.add_argument("--tones", type=_count(1), help="tones (or round trips) in one run")
    options.add_argument("--peer", metavar="PATH", help="the compiled peer, tokio-pump")
    options.add_argument("--json", action="store_true", help="one JSON document with every raw figure")
    options.add_argument("--smoke", action="store_true", help="one tiny round: shows that it runs, measures nothing")
    return options


class Progress:
    """One line on stderr that is written over on a terminal, one line per step elsewhere."""

    def __init__(self) -> None:
        self._live = sys.stderr.isatty()

    def step(self, text: str) -> None:
        sys.stderr.write(f"\r\x1b[K{text}" if self._live else f"{text}\n")
        sys.stderr.flush()

    def clear(self) -> None:
        if self._live:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()


def main(argv: list[str]) -> int:
    options = parser().parse_args(argv)
    peer = os.path.abspath(options.peer) if options.peer else None
    if peer and not os.access(peer, os.X_OK):
        parser().error(f"--peer {options.peer}: not a program that can be run")
    if options.what in WEIGHING and sys.platform != "linux":
        parser().error(f"{options.what} asks what processes weigh, and only Linux tells")
    build, defaults = CONTESTS[options.what]
    rounds = 1 if options.smoke else options.rounds
    if options.smoke:
        size = Size(options.tones or SMOKE_TONES, peer, SMOKE_PEERS, SMOKE_LINKS, SMOKE_HANDSHAKES)
    else:
        size = Size(options.tones or defaults["tones"], peer)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a KeyboardInterrupt
    progress = Progress()
    outcomes = []
    try:
        for contest in build(size):
            outcome = hold_contest(contest, rounds, progress.step)
            outcomes.append(outcome)
            progress.clear()
            if not options.json:
                print(report.table(outcome), flush=True)
    except SideFailed as failed:
        progress.clear()
        print(f"bench: {failed}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        progress.clear()
        print("bench: stopped; nothing is left running", file=sys.stderr)
        return 130
    if options.json:
        print(json.dumps(report.document(options.what, rounds, peer, options.smoke, outcomes), indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
