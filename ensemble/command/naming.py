"""
Whom a person means: a full id, an alias of ``peers.json``, or the beginning of an id.

The daemon is asked first, as it also knows who is linked without a row; where none answers the file is read.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

from attrs import frozen

from ensemble.command.control import DaemonRefused
from ensemble.command.here import Here
from ensemble.command.outcome import CommandFailed
from ensemble.config import read_peers
from ensemble.identity import HumdId, Role

MIN_PREFIX: Final = 6  # hex digits
_PREFIX: Final = re.compile(rf"(?:humd_)?([0-9a-f]{{{MIN_PREFIX},63}})", re.IGNORECASE)


@frozen
class Known:
    """Somebody who has a name here."""

    humd_id: HumdId
    alias: str | None = None


def known_peers(here: Here) -> list[Known]:
    """
    Everybody with a row or a link.

    :raises ConfigurationError: there is no daemon, and the file cannot be read.
    :raises Unanswered: there is one, and it does not answer.
    """
    try:
        answer = here.ask_anybody("peers")
    except DaemonRefused:
        answer = None
    if answer is None:
        return [Known(row.humd_id, row.alias) for row in read_peers(here.paths().peers_file).rows]
    return [known for row in rows_of(answer) if (known := _known(row)) is not None]


def rows_of(answer: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows of an answer to ``peers`` or ``probe``; what is none is passed over."""
    rows = answer.get("peers")
    return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []


def find_peer(here: Here, text: str) -> HumdId:
    """
    The id that ``text`` means.  Nobody is asked where it is a full id already.

    :raises CommandFailed: nobody, or more than one, is meant.
    """
    full = full_id(text)
    return full if full is not None else match(text, known_peers(here))


def full_id(text: str) -> HumdId | None:
    """
    The id, where the text is a full one.

    :raises CommandFailed: it is the id of a bee: tones go to humds.
    """
    humd_id = HumdId.try_parse(text)
    if humd_id is None or humd_id.is_short:
        return None
    if humd_id.role is not Role.HUMD:
        raise CommandFailed("peer.unknown", f"{humd_id.short} is a bee; name the humd that it belongs to")
    return humd_id


def match(text: str, known: Sequence[Known]) -> HumdId:
    """
    The one among ``known`` that the text means: its alias, else the beginning of its id.

    :raises CommandFailed: nobody, or more than one.
    """
    for each in known:
        if each.alias == text:
            return each.humd_id
    prefix = _PREFIX.fullmatch(text)
    if prefix is None and text.lower().startswith("humd_"):
        if not text.startswith("humd_"):
            raise CommandFailed("peer.unknown", f"{text!r} is no id: its prefix is humd_, in lower case")
        raise CommandFailed(
            "peer.unknown",
            f"{text!r} is no id: behind humd_ are 64 digits, 0 to 9 and a to f, without a blank or a line break, "
            f"or {MIN_PREFIX} of a known one",
        )
    if prefix is None:
        names = ", ".join(sorted(each.alias for each in known if each.alias is not None))
        raise CommandFailed(
            "peer.unknown",
            f"no peer has the alias {text!r}; {f'there are {names}' if names else 'no row of peers.json has one'} "
            f"(or give an id, or at least {MIN_PREFIX} digits of its beginning)",
        )
    beginning = prefix[1].lower()
    found = [each for each in known if begins(each.humd_id, text)]
    if not found:
        raise CommandFailed("peer.unknown", f"no peer's id begins with {beginning}; `ensemble peers` lists them")
    if len(found) > 1:
        names = ", ".join(each.alias or each.humd_id.short for each in found)
        raise CommandFailed("peer.ambiguous", f"{beginning} is the beginning of more than one id: {names}")
    return found[0].humd_id


def begins(humd_id: HumdId, text: str) -> bool:
    """Whether the text is the beginning of the id, long enough to name it."""
    prefix = _PREFIX.fullmatch(text)
    return prefix is not None and humd_id.digest.hex().startswith(prefix[1].lower())


def _known(row: dict[str, Any]) -> Known | None:
    humd_id, alias = HumdId.try_parse(row.get("id")), row.get("alias")
    return None if humd_id is None else Known(humd_id, alias if isinstance(alias, str) else None)
