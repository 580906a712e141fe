"""What ``ensemble doctor`` finds: one line for each thing that it looked at."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Final

from attrs import asdict, evolve, frozen

from ensemble.command.output import Screen, visible

# Where the key of a humd that runs is gone.
LOSING_ITS_KEY: Final = "put a copy back: a humd that starts without makes a new key, and has with it a new id"


class Grade(StrEnum):
    """How bad it is."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


_STYLES: Final = {Grade.OK: "green", Grade.WARN: "yellow", Grade.FAIL: "red"}


@frozen
class Finding:
    """
    One line.

    :ivar check: what was looked at, in a word that stays the same.
    :ivar what: what was found.
    :ivar mend: what to do about it; empty where nothing is to be done.
    """

    grade: Grade
    check: str
    what: str
    mend: str = ""


def ok(check: str, what: str) -> Finding:
    """All is well."""
    return Finding(Grade.OK, check, what)


def warn(check: str, what: str, mend: str) -> Finding:
    """It works, but perhaps not as meant."""
    return Finding(Grade.WARN, check, what, mend)


def fail(check: str, what: str, mend: str) -> Finding:
    """It does not work."""
    return Finding(Grade.FAIL, check, what, mend)


def count(findings: Sequence[Finding], grade: Grade) -> int:
    """How many there are of a grade."""
    return sum(finding.grade is grade for finding in findings)


def show(screen: Screen, findings: Sequence[Finding]) -> None:
    """All of them, and how many of each grade."""
    findings = [evolve(each, what=screen.told(each.what), mend=screen.told(each.mend)) for each in findings]
    counts = {grade.value: count(findings, grade) for grade in Grade}
    if screen.json:
        screen.document({"ok": not counts["fail"], "counts": counts, "checks": [asdict(f) for f in findings]})
        return
    widest = max((len(finding.check) for finding in findings), default=0)
    for finding in findings:
        grade = screen.paint(finding.grade.value.ljust(4), _STYLES[finding.grade])
        mend = f"  -> {visible(finding.mend)}" if finding.mend else ""
        screen.line(f"{grade}  {finding.check.ljust(widest)}  {visible(finding.what)}{mend}")
    screen.line()
    screen.line(
        f"{counts['fail']} to mend, {counts['warn']} to look at"
        if counts["fail"] or counts["warn"]
        else f"all is well ({len(findings)} things looked at)"
    )
