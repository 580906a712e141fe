"""What every measured process does the same way: say a line, read its memory, sort its times."""

from __future__ import annotations

import gc
import os
import resource
import sys
from collections.abc import Sequence
from contextlib import suppress


def say(line: str) -> None:
    """One line for the harness, at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def resident() -> int:
    """Bytes of this process that are in memory now, what could be freed having been freed."""
    gc.collect()
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


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
    with suppress(OSError), open("/proc/self/autogroup", "w") as group:
        group.write("19")


def raise_descriptor_limit(wanted: int) -> None:
    """As many descriptors as the hard limit gives; a clear end where that is too few."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < wanted:
        raise SystemExit(f"{wanted} descriptors are needed and the hard limit is {hard}: raise it with ulimit -Hn")
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
