"""What every measured process does the same way: say a line, read its memory, sort its times."""

from __future__ import annotations

import gc
import json
import os
import resource
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path


def say(line: str) -> None:
    """One line for the harness, at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def tell(figures: Mapping[str, float]) -> None:
    """The line of JSON that whoever measures ends with."""
    say(json.dumps(figures))


def tell_rate(count: int, began: float) -> None:
    """`tell` for so many since then, in the time of ``time.perf_counter``."""
    tell({"n": count, "rate": count / (time.perf_counter() - began)})


def perform(commands: Sequence[Callable[..., object]], words: Sequence[str]) -> None:
    """Call the one that the first word names, with the numbers that the others are."""
    command, *numbers = words
    {each.__name__: each for each in commands}[command](*map(int, numbers))


def resident() -> int:
    """Bytes of this process that are in memory now, what could be freed having been freed."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def percentiles(seconds: Sequence[float]) -> dict[str, float]:
    """The middle and the tail, in microseconds."""
    ordered = sorted(seconds)
    return {
        "p50": ordered[len(ordered) // 2] * 1e6,
        "p99": ordered[len(ordered) * 99 // 100] * 1e6,
    }


def be_nice() -> None:
    """Leave the processors to all others.  Linux shares them out among sessions first, and each side has its own."""
    os.nice(19)
    with suppress(OSError):
        Path("/proc/self/autogroup").write_text("19")


def raise_descriptor_limit(wanted: int) -> None:
    """As many descriptors as the hard limit gives; a clear end where that is too few."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < wanted:
        raise SystemExit(f"{wanted} descriptors are needed and the hard limit is {hard}: raise it with ulimit -Hn")
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
