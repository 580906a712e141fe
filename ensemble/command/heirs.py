"""
Ids that have no row, and are known all the same: those that others go on as (``docs/rekeying.rst``).

Only the daemon knows of them; ``peers.json`` has the row of the one before.
"""

from __future__ import annotations

from attrs import frozen

from ensemble.command.control import DaemonRefused, NoDaemon
from ensemble.command.here import Here
from ensemble.command.naming import rows_of
from ensemble.identity import HumdId


@frozen
class Heir:
    """
    One of them.

    :ivar before: who has the row.
    :ivar alias: of that row.
    :ivar mend: what gives the row to the heir; empty where the daemon knows nothing.
    """

    humd_id: HumdId
    before: HumdId
    alias: str | None
    mend: str

    def __str__(self) -> str:
        alias = "" if self.alias is None else f" ({self.alias})"
        return f"{self.humd_id.full} is the heir of {self.before.full}{alias}"


def heirs(here: Here) -> dict[HumdId, Heir]:
    """By their ids; none where no daemon answers."""
    try:
        rows = {str(row.get("id")): row for row in rows_of(here.ask("peers"))}
    except (NoDaemon, DaemonRefused):
        return {}
    found: dict[HumdId, Heir] = {}
    for name, row in rows.items():
        heir, before = (name, row["heir_of"]) if row.get("heir_of") else (row.get("heir"), name)
        one, other = HumdId.try_parse(heir), HumdId.try_parse(before)
        if one is None or other is None:
            continue
        owner, lent = rows.get(other.full, {}), rows.get(one.full, {})
        alias = owner.get("alias") or (lent.get("alias") if lent.get("heir_of") == other.full else None)
        found.setdefault(one, Heir(one, other, alias, str(owner.get("mend") or "")))
    return found
