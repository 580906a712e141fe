"""The peers file in force: read at the start and on SIGHUP; a file that cannot be read leaves the last good one."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from attrs import frozen

from ensemble.config import PeersFile, read_peers
from ensemble.identity import HumdId
from ensemble.mesh import KnownPeer, Policy
from ensemble.protocols import Level


@frozen
class Change:
    """
    What a reading of the file changed.

    :ivar problems: what in it was left out, one line each.
    """

    added: tuple[HumdId, ...] = ()
    removed: tuple[HumdId, ...] = ()
    changed: tuple[HumdId, ...] = ()
    problems: tuple[str, ...] = ()
    missing: bool = False


class PeerBook:
    """
    Whom we know.

    :ivar known: the rows in force, by id, in the order of the file; never ourselves.
    """

    def __init__(self, path: Path, me: HumdId, level: Level, admit_any: bool, dialable: Iterable[str]) -> None:
        """:param dialable: the schemes of the hints that this daemon can dial."""
        self.path, self.known = path, dict[HumdId, KnownPeer]()
        self._me, self._level, self._admit_any = me, level, admit_any
        self._dialable = frozenset(dialable)
        self._file = PeersFile()

    def read(self) -> Change:
        """
        Read the file and put it in force.

        :raises ConfigurationError: it cannot be read, or is no JSON; nothing has changed then.
        """
        self._file = file = read_peers(self.path)
        before, problems = self.known, list(file.problems)
        self.known = {}
        for row in file.rows:
            if row.humd_id == self._me:
                problems.append("a row names this humd itself; it is skipped")
                continue
            known = self.known[row.humd_id] = KnownPeer.of(row)
            if known.hints and not known.dial_order(self._dialable):
                problems.append(self._undialable(known))
        return Change(
            added=tuple(peer for peer in self.known if peer not in before),
            removed=tuple(peer for peer in before if peer not in self.known),
            changed=tuple(peer for peer, row in self.known.items() if peer in before and before[peer] != row),
            problems=tuple(problems),
            missing=file.missing,
        )

    def policy(self) -> Policy:
        """The rules for links that follow."""
        return Policy(self._level, self._admit_any, self.known.values())

    def find(self, text: str) -> HumdId | None:
        """Whom an id or an alias means; an id need not have a row."""
        row = self._file.by_alias(text)
        if row is not None:
            return row.humd_id
        found = HumdId.try_parse(text)
        return None if found is None or found.is_short else found

    def _undialable(self, row: KnownPeer) -> str:
        who = row.alias or row.peer.short
        if row.needs_secure:
            return (
                f"{who} names a secure hint, so a plain wire is refused, and this humd has no other: "
                f"it will not be linked before `ensemble trust {row.peer.full} --plain`"
            )
        return f"{who} names no hint that this humd can dial; it is linked only when it dials us"
