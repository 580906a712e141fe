"""The table for people and the document for programs."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable
from typing import Any

from bench.harness import Against, Outcome, spread


def document(what: str, rounds: int, peer: str | None, smoke: bool, outcomes: Iterable[Outcome]) -> dict[str, Any]:
    return {
        "bench": what,
        "rounds": rounds,
        "smoke": smoke,
        "peer": peer,
        "machine": {
            "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
            "system": platform.platform(),
            "python": platform.python_version(),
        },
        "contests": [outcome.to_json() for outcome in outcomes],
    }


def table(outcome: Outcome) -> str:
    """Figures first, then ratios; a ratio's range is that of the rounds."""
    contest = outcome.contest
    facts = ", ".join(f"{name.replace('_', ' ')} {value:,}" for name, value in contest.facts.items())
    lines = [f"{contest.name} ({contest.unit}; {facts})"]
    wide = max(len(name) for name in [*(p.name for p in contest.programs), *(a.name for a in contest.against)])
    for program in contest.programs:
        seen = spread(outcome.series(program.name))
        low_high = f"{_count(seen['min'])}..{_count(seen['max'])}"
        lines.append(f"  {program.name:{wide}}  {_count(seen['median']):>11}  {low_high:>21}  {program.about}")
    for against in contest.against:
        seen = spread(outcome.ratios(against))
        low_high = f"{seen['min']:.2f}..{seen['max']:.2f}"
        lines.append(
            f"  {against.name:{wide}}  {seen['median']:>9.2f} x  {low_high:>21}  {_verdict(against, seen['median'])}"
        )
    return "\n".join(line.rstrip() for line in lines)


def _count(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.1f}"


def _verdict(against: Against, value: float) -> str:
    words = []
    for name, goal in (("goal", against.goal), ("stretch", against.stretch)):
        if goal is not None:
            sign = "<=" if against.at_most else ">="
            words.append(f"{name} {sign} {goal:.2f}: {'reached' if against.reached(value, goal) else 'missed'}")
    return ", ".join(words)
