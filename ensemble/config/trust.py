"""
Changes one row of ``peers.json`` and leaves every other byte as the operator wrote it.

Two that edit at once lose nothing: each waits for the other's lock on the folder.  What would be written is read back
first, and must say exactly what was meant: the row as wanted, and every other one as it was.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, Final

from attrs import evolve, field, frozen
from attrs.converters import optional

from ensemble.config.atomic import alone, write_text
from ensemble.config.peers import EMPTY, FLAGS, MAX_FILE, PeerRow, PeersFile, check_alias, parse_peers, read_bytes
from ensemble.config.splice import BLANKS, Container, blank_behind
from ensemble.errors import ConfigurationError
from ensemble.identity import Hint, HumdId, StrPath, make_folders
from ensemble.tone import read_document, write_document

PIN: Final = "tls-fp:"
BOM: Final = "\ufeff"


def _usable(hints: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(_plain(str(Hint.parse(text))) for text in hints))


@frozen(kw_only=True)
class Trust:
    """
    What the row of a peer is to say; None leaves as it is what it says.

    :ivar hints: added.  A ``tls-fp:`` takes the place of those that are there: they pin the same certificate.
    :ivar only: the hints are all that it has from now on.
    :ivar unset: of ``alias`` and ``auth``, what it does not say from now on.
    :raises BadHint: one is none.
    :raises BadAlias: nobody can be called so.
    """

    peer: HumdId
    hints: tuple[str, ...] = field(default=(), converter=_usable)
    only: bool = False
    alias: str | None = field(default=None, converter=optional(check_alias))
    auth: str | None = None
    relays: bool | None = None
    plain: bool | None = None
    follow: bool | None = None
    unset: tuple[str, ...] = ()

    @property
    def fields(self) -> dict[str, Any]:
        """What is wanted besides the hints."""
        wanted = {key: getattr(self, key) for key in ("alias", "auth", *FLAGS)}
        return {key: value for key, value in wanted.items() if value is not None}

    def drops(self, hint: object) -> bool:
        """A hint of the row that is not to stay."""
        pins = [each for each in self.hints if each.startswith(PIN)]
        if self.only:
            return not isinstance(hint, str) or _plain(hint) not in self.hints
        return bool(pins) and isinstance(hint, str) and hint.startswith(PIN) and _plain(hint) not in pins

    def applied(self, row: PeerRow) -> PeerRow:
        """What the row says then."""
        kept = tuple(hint for hint in row.hints if not self.drops(hint))
        there = {_plain(hint) for hint in kept}
        said = self.fields | dict.fromkeys(self.unset)
        return evolve(row, hints=(*kept, *(hint for hint in self.hints if hint not in there)), **said)


class AliasTaken(ConfigurationError):
    """Another row has the alias."""

    def __init__(self, name: str, alias: str, owner: HumdId) -> None:
        super().__init__(
            f"{name} has the alias {alias!r} in the row of {owner.full} already: choose another, "
            f"or take it from that one first: `ensemble trust {owner.full} --no-alias`"
        )
        self.owner = owner


@frozen
class Edit:
    """
    What became of a row.

    :ivar before: None where there was none.
    :ivar after: None where it is gone.
    :ivar written: the file is not as it was.
    :ivar problems: of the row that is there now, and of the file beside its rows.
    """

    before: PeerRow | None
    after: PeerRow | None
    written: bool
    problems: tuple[str, ...] = ()


def trust_peer(path: StrPath, trust: Trust) -> Edit:
    """
    Make the row of a peer, or change the one that counts.  A file that is not there is made, mode 0600.

    :raises ConfigurationError: the file cannot be read or written, or would not say what was meant; it is as before.
    """
    return _edit(path, trust.peer, lambda text, name: trusted(text, trust, name))


def untrust_peer(path: StrPath, peer: HumdId) -> Edit:
    """
    Remove every row of a peer: without the first the second would count.

    :raises ConfigurationError: as `trust_peer`.
    """
    return _edit(path, peer, lambda text, name: untrusted(text, peer, name))


def trusted(text: str, trust: Trust, name: str = "peers.json") -> str:
    """
    The text of the file with the row as wanted.

    :raises ConfigurationError: it cannot be read, or would not say what was meant.
    """
    before = parse_peers(text.encode(), name)
    old = before.row(trust.peer)
    lead, body, tail = _document(text)
    owner = None if trust.alias is None else before.by_alias(trust.alias)
    if trust.alias is not None and owner is not None and owner is not old:
        raise AliasTaken(name, trust.alias, owner.humd_id)
    colon = body.colon or ": "
    blank = blank_behind(colon)
    if body.value("peers") is None:
        body = Container(body.with_member("peers", "[]", colon))
    rows = Container(body.value("peers") or "")
    if old is not None:
        index = before.places[before.rows.index(old)]
        listed = rows.replaced(index, _changed(rows.items[index], trust, colon))
    elif skipped := _places(rows, trust.peer):
        number = skipped[0] + 1
        why = next((each for each in before.problems if each.startswith(f"row {number}:")), f"row {number} is skipped")
        raise ConfigurationError(
            f"{name}: {why}; mend it by hand, or remove it first: `ensemble untrust {trust.peer.full}`"
        )
    elif rows.spans:
        listed = rows.appended(_new(trust, rows.items[-1], colon), blank)
    else:
        listed = body.opened(_new(trust, "", colon), "peers")
    after = f"{lead}{body.with_member('peers', listed, colon)}{tail}"
    wanted = trust.applied(old if old is not None else PeerRow(trust.peer))
    _verify(before, after, trust.peer, wanted, name)
    return after


def untrusted(text: str, peer: HumdId, name: str = "peers.json") -> str:
    """
    The text of the file without the rows of a peer.

    :raises ConfigurationError: as `trusted`.
    """
    before = parse_peers(text.encode(), name)
    lead, body, tail = _document(text)
    rows = Container(body.value("peers") or "[]")
    places = _places(rows, peer)
    if not places:
        return text
    after = f"{lead}{body.with_member('peers', rows.removed(set(places)), '')}{tail}"
    _verify(before, after, peer, None, name)
    return after


def _edit(path: StrPath, peer: HumdId, change: Callable[[str, str], str]) -> Edit:
    name = os.path.realpath(os.fspath(path))
    folder = os.path.dirname(name)
    try:
        make_folders(folder)
        with alone(folder):
            raw = read_bytes(name)
            text = _text(raw, name) if raw else EMPTY  # without a byte it is as good as none
            changed = change(text, name)
            written = changed != text
            if written:
                if raw is not None and not os.access(name, os.W_OK):
                    raise ConfigurationError(f"{name} is read-only and stays as it was; {_mend(name)}")
                write_text(name, changed)
    except OSError as error:
        raise ConfigurationError(f"cannot write {name}: {error.strerror}; it stays as it was") from error
    before, after = parse_peers(text.encode()), parse_peers(changed.encode())
    return Edit(before.row(peer), after.row(peer), written, after.about(peer))


def _mend(name: str) -> str:
    if os.statvfs(name).f_flag & os.ST_RDONLY:
        return "so is its whole file system: remount it, or name another with --peers"
    return "chmod u+w lets it be edited"


def _text(raw: bytes, name: str) -> str:
    parse_peers(raw, name)  # says where, if it is no text
    return raw.decode()


def _document(text: str) -> tuple[str, Container, str]:
    """What stands before the object of the file, the object, and what stands behind."""
    body = text.lstrip(BOM + BLANKS)
    end = len(body.rstrip(BLANKS))
    return text[: len(text) - len(body)], Container(body[:end]), body[end:]


def _places(rows: Container, peer: HumdId) -> list[int]:
    """Where an object names this id, whether or not the row can be used."""
    return [place for place, value in enumerate(read_document(rows.text)) if _names(value, peer)]


def _names(value: Any, peer: HumdId) -> bool:
    return isinstance(value, dict) and HumdId.try_parse(value.get("humd_id")) == peer


def _new(trust: Trust, model: str, colon: str) -> str:
    """A row, laid out as the one it is to stand behind."""
    blank = blank_behind(colon)
    like = Container(model if model.startswith("{") else "{}")
    hints = _array(like.value("hints"))
    members = {"humd_id": write_document(trust.peer.full)}
    if trust.hints:
        members["hints"] = hints.like(map(write_document, trust.hints), blank)
    members |= {key: write_document(value) for key, value in trust.fields.items()}
    return like.like((f"{write_document(key)}{like.colon or colon}{value}" for key, value in members.items()), blank)


def _changed(text: str, trust: Trust, colon: str) -> str:
    """A row that is there, with what is wanted."""
    row = Container(text)
    colon = row.colon or colon
    if trust.hints or (trust.only and row.value("hints") is not None):
        hints = _changed_hints(_array(row.value("hints")), trust, blank_behind(colon))
        row = Container(row.with_member("hints", hints.text, colon))
    for key, value in trust.fields.items():
        there = row.value(key)
        if value != (False if there is None else read_document(there)):
            row = Container(row.with_member(key, write_document(value), colon))
    for key in trust.unset:
        if row.value(key) not in (None, "null"):
            row = Container(row.without_member(key))
    return row.text


def _changed_hints(hints: Container, trust: Trust, blank: str) -> Container:
    there = [read_document(item) for item in hints.items]
    known = {_plain(hint) for hint in there if isinstance(hint, str)}
    missing = [hint for hint in trust.hints if hint not in known]
    pins = [hint for hint in missing if hint.startswith(PIN)]
    dropped = {place for place, hint in enumerate(there) if trust.drops(hint)}
    for place in sorted(dropped):
        if pins and isinstance(there[place], str) and there[place].startswith(PIN):
            missing.remove(pin := pins.pop(0))
            hints = Container(hints.replaced(place, write_document(pin)))
            dropped.remove(place)
    hints = Container(hints.removed(dropped))
    for hint in missing:
        hints = Container(hints.appended(write_document(hint), blank))
    return hints


def _array(text: str | None) -> Container:
    return Container(text if text is not None and text[0] == "[" else "[]")


def _verify(before: PeersFile, text: str, peer: HumdId, wanted: PeerRow | None, name: str) -> None:
    """:raises ConfigurationError: the new text does not say what was meant."""
    raw = text.encode()
    if len(raw) > MAX_FILE:
        raise ConfigurationError(f"{name} would be larger than {MAX_FILE} bytes; it stays as it was")
    after = parse_peers(raw, name)
    others = [row for row in before.rows if row.humd_id != peer]
    found = [row for row in after.rows if row.humd_id != peer]
    # An alias that only this row kept another from having is that one's now: so the file says.
    kept = len(others) == len(found) and all(
        new in (old, evolve(old, alias=old.alias or new.alias)) for old, new in zip(others, found, strict=True)
    )
    row = after.row(peer)
    if not kept or (row is None) != (wanted is None) or (row and wanted and _order(row) != _order(wanted)):
        why = "; ".join([each for each in after.problems if each not in before.problems] or after.problems)
        raise ConfigurationError(f"{name} would not say what was meant, so it stays as it was: {why}")


def _order(row: PeerRow) -> PeerRow:
    return evolve(row, hints=tuple(sorted(map(_plain, row.hints))))


def _plain(hint: str) -> str:
    """A pin in lower case, as we write it; other hints as they are."""
    return hint.lower() if hint.startswith(PIN) else hint
