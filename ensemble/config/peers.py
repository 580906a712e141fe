"""
``peers.json``: whom we know, and how to find them.

::

    {"peers": [{"humd_id": "humd_…", "hints": ["tcp:192.0.2.10:14730"], "alias": "workstation",
                "auth": "proven", "relays": false, "plain": false, "follow": false}]}

Only ``humd_id`` is needed; unknown keys are passed over, and told where they are nearly known.  Tolerance is per row: a
hint or an alias that cannot be used is left out, any other mistake costs the row, because a guess at ``auth``,
``plain`` or ``follow`` would be a guess at safety.  What was left out is told as a problem.  Of rows with the same id,
and of equal aliases, the first counts; of equal keys of a row the last, and that is told.  Two lists of peers are an
error of the file: one of them would be lost.  A file without a list has no rows (mesh 9.2), and that is told where it
says something else.
"""

from __future__ import annotations

import os
import shlex
import stat
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any, Final

from attrs import field, frozen

from ensemble.config.atomic import alone, at_once, create_text, write_text
from ensemble.config.slips import nearly_known
from ensemble.config.splice import BLANKS, Container, may_repeat
from ensemble.errors import ConfigurationError, EnsembleError
from ensemble.identity import MAX_HINTS, BadHint, BadHumdId, Hint, HumdId, Role, StrPath, names_secure
from ensemble.tone import read_document, write_document

MAX_FILE: Final = 4 * 1024 * 1024  # bytes
MAX_ROWS: Final = 16_384
MAX_ALIAS: Final = 128  # characters
MAX_PROBLEMS: Final = 100  # told one by one; the rest is counted
EMPTY: Final = write_document({"peers": []}, pretty=True) + "\n"  # the file with no rows
FLAGS: Final = ("relays", "plain", "follow")  # of a row
KEYS: Final = ("humd_id", "hints", "alias", "auth", *FLAGS)  # of a row
LEVELS: Final = ("open", "signed", "proven")  # of proof, the weakest first (wire-0.8 section 1)


@frozen
class PeerRow:
    """
    What the operator says of one peer.

    :ivar hints: only those that can be read, in their order.
    :ivar auth: one of `LEVELS`, or None for the daemon's own.
    :ivar relays: may deliver tones of others.
    :ivar plain: may be linked over plain TCP although it has secure hints.
    :ivar follow: the id that it says it goes on as has its rights.
    :ivar secure: it names a secure hint, be it one that was left out.
    """

    humd_id: HumdId
    hints: tuple[str, ...] = ()
    alias: str | None = None
    auth: str | None = None
    relays: bool = False
    plain: bool = False
    follow: bool = False
    secure: bool = field(default=False, eq=False)

    @property
    def secure_only(self) -> bool:
        """Links over plain wires are refused, in both directions (wire-0.8 section 3)."""
        return self.secure and not self.plain


@frozen
class Skipped:
    """
    A row that cannot be used.

    :ivar humd_id: as it says, where that can be read.
    :ivar problem: why, as among the problems of the file.
    """

    humd_id: HumdId | None
    alias: str | None
    problem: str


@frozen
class PeersFile:
    """
    What was read.

    :ivar problems: one line for each thing that was left out, for the log and for ``doctor``.
    :ivar missing: there was no such file.
    :ivar places: of each row, where in the array it stands, from 0.
    """

    rows: tuple[PeerRow, ...] = ()
    problems: tuple[str, ...] = ()
    missing: bool = False
    places: tuple[int, ...] = field(default=(), eq=False)
    skipped: tuple[Skipped, ...] = field(default=(), eq=False)

    @cached_property
    def _by_id(self) -> dict[HumdId, PeerRow]:
        return {row.humd_id: row for row in self.rows}

    @cached_property
    def _by_alias(self) -> dict[str, PeerRow]:
        return {row.alias: row for row in self.rows if row.alias is not None}

    def row(self, humd_id: HumdId) -> PeerRow | None:
        """The row of this id."""
        return self._by_id.get(humd_id)

    def about(self, humd_id: HumdId) -> tuple[str, ...]:
        """The problems of the row of this id, and those of the file beside its rows."""
        row = self._by_id.get(humd_id)
        own = () if row is None else (f"row {self.places[self.rows.index(row)] + 1}:",)
        return tuple(each for each in self.problems if each.startswith(('"', *own)))

    def by_alias(self, alias: str) -> PeerRow | None:
        """The row with this alias: exact, case counts."""
        return self._by_alias.get(alias)


def read_peers(path: StrPath) -> PeersFile:
    """
    Read the file; one that is not there has no rows.

    :raises ConfigurationError: it cannot be read, is too large, or is not a JSON object with an array of peers.
    """
    name = os.fspath(path)
    raw = read_bytes(name)
    return PeersFile(missing=True) if raw is None else parse_peers(raw, name)


def parse_peers(raw: bytes, name: str = "peers.json") -> PeersFile:
    """
    The same for bytes that were read already.

    :param name: what errors call the file.
    :raises ConfigurationError: it is not a JSON object with an array of peers.
    """
    if not raw.strip():
        raise ConfigurationError(f'{name} is empty: put {{"peers": []}} into it, or put a copy back')
    try:
        text = raw.decode("utf-8-sig")
        document = read_document(text)
    except UnicodeDecodeError as error:
        before = error.object[: error.start].decode()
        line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
        raise ConfigurationError(
            f"{name} is not JSON: byte {error.object[error.start]:#04x} at line {line}, column {column} is not UTF-8"
        ) from error
    except EnsembleError as error:
        raise ConfigurationError(f"{name} is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise ConfigurationError(f'{name} must be an object: {{"peers": [...]}}')
    listed = document.get("peers", [])
    if not isinstance(listed, list):
        raise ConfigurationError(f'{name}: "peers" must be an array')
    reader = _Reader()
    reader.look_beside(document)
    return reader.read(listed, _repeated(text, name) if may_repeat(text, document) else {})


def _repeated(text: str, name: str) -> dict[int, Sequence[str]]:
    """
    Of each row the keys that it has more than once, by its place in the array, from 0.

    :raises ConfigurationError: there is more than one list.
    """
    body = Container(text.strip(BLANKS))
    if "peers" in body.repeated:
        raise ConfigurationError(f'{name} has "peers" more than once, and only one list can count: put all into one')
    rows = Container(body.value("peers") or "[]").items
    return {place: Container(row).repeated for place, row in enumerate(rows) if row.startswith("{")}


def write_empty_peers(path: StrPath) -> bool:
    """
    Put an empty list where there is no file yet, or one without a byte.

    :returns: whether it was written: any other file stays as it is.
    :raises ConfigurationError: it could not be written.
    """
    try:
        if create_text(path, EMPTY):
            return True
        if not os.path.exists(path) or os.stat(path).st_size:  # not there: a link to what will be
            return False
        name = os.path.realpath(path)
        with alone(os.path.dirname(name)):
            if read_bytes(name) != b"":  # no device, nor what somebody has written meanwhile
                return False
            write_text(name, EMPTY)
        return True
    except OSError as error:
        raise ConfigurationError(f"cannot write {os.fspath(path)}: {error.strerror}") from error


def row_json(humd_id: HumdId, hints: Iterable[str] = (), alias: str | None = None) -> str:
    """One row on one line, ready to be pasted between the brackets of the other side's file."""
    row: dict[str, Any] = {"humd_id": humd_id.full, "hints": list(hints)}
    if alias is not None:
        row["alias"] = alias
    return write_document(row)


def read_bytes(name: str) -> bytes | None:
    """
    What is in the file; None where there is none.

    :raises ConfigurationError: it cannot be read, is too large, or anybody can say what is in it.
    """
    try:
        for folder in {os.path.dirname(find(name)) for find in (os.path.abspath, os.path.realpath)}:
            mode = os.stat(folder).st_mode
            if not mode & stat.S_ISVTX:
                _refuse_open(folder, mode)
        with open(name, "rb", opener=at_once) as file:
            mode = os.fstat(file.fileno()).st_mode
            if not stat.S_ISREG(mode):
                raise ConfigurationError(f"cannot read {name}: not a regular file")
            _refuse_open(name, mode)
            raw = file.read(MAX_FILE + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigurationError(f"cannot read {name}: {error.strerror}") from error
    if len(raw) > MAX_FILE:
        raise ConfigurationError(f"{name} is larger than {MAX_FILE} bytes")
    return raw


def _refuse_open(place: str, mode: int) -> None:
    if mode & stat.S_IWOTH:  # a group may be one that its owner is alone in: doctor tells of those
        raise ConfigurationError(
            f"any user of this machine can write to {place}, and so say who is a peer: `chmod o-w {shlex.quote(place)}`"
        )


class BadAlias(ConfigurationError):
    """A name that no peer can be called by; the text says why."""


class _BadRow(Exception):
    """This row cannot be used; the text says why."""


class _Reader:
    """Turns the array into rows, and remembers what it left out."""

    def __init__(self) -> None:
        self._rows: dict[HumdId, PeerRow] = {}
        self._places: list[int] = []
        self._aliases: set[str] = set()
        self._skipped: list[Skipped] = []
        self._problems: list[str] = []
        self._untold = 0

    def look_beside(self, document: dict[str, Any]) -> None:
        """At what a file says that is no list of peers."""
        nearly = [key for key, _ in nearly_known(document, ("peers",))]
        self._problems += [f'"{key}" is passed over: is "peers" meant?' for key in nearly]
        if document and "peers" not in document:
            self._problems.append('there is no "peers", so nobody is known')

    def read(self, listed: list[Any], repeated: Mapping[int, Sequence[str]]) -> PeersFile:
        """:param repeated: of rows by their place from 0, the keys that are there more than once."""
        for number, value in enumerate(listed[:MAX_ROWS], 1):
            try:
                row = self._row(number, value)
            except _BadRow as error:
                self._problem(number, why := f"{error}; the row is skipped")
                self._skipped.append(_skipped(value, f"row {number}: {why}"))
            else:
                self._rows[row.humd_id] = row
                self._places.append(number - 1)
            for key, meant in nearly_known(value, KEYS):
                self._problem(number, f'"{key}" is passed over: is "{meant}" meant?')
            for key in repeated.get(number - 1, ()):
                if key in KEYS:
                    self._problem(number, f'"{key}" is there more than once: the last one counts')
        if len(listed) > MAX_ROWS:
            self._problem(MAX_ROWS + 1, f"and all behind it are skipped: at most {MAX_ROWS} rows")
        if self._untold:
            self._problems.append(f"and {self._untold} more")
        return PeersFile(
            tuple(self._rows.values()), tuple(self._problems), False, tuple(self._places), tuple(self._skipped)
        )

    def _problem(self, number: int, text: str) -> None:
        if len(self._problems) < MAX_PROBLEMS:
            self._problems.append(f"row {number}: {text}")
        else:
            self._untold += 1

    def _row(self, number: int, value: Any) -> PeerRow:
        if not isinstance(value, dict):
            raise _BadRow("not an object")
        humd_id = _id(value.get("humd_id"))
        if humd_id in self._rows:
            raise _BadRow(f"{humd_id.short} has a row already")
        auth, flags = _auth(value), {key: _flag(value, key) for key in FLAGS}
        hints = value.get("hints")
        if hints is not None and not isinstance(hints, list):
            raise _BadRow('"hints" must be an array of strings')
        kept = self._hints(number, hints or [])
        secure = any(isinstance(text, str) and names_secure(text) for text in hints or [])
        return PeerRow(humd_id, kept, self._alias(number, value.get("alias")), auth, secure=secure, **flags)

    def _hints(self, number: int, listed: list[Any]) -> tuple[str, ...]:
        kept: dict[str, None] = {}
        for text in listed:
            if len(kept) == MAX_HINTS:
                self._problem(number, f"only the first {MAX_HINTS} hints are used")
                break
            try:
                kept[str(Hint.parse(_string(text, "a hint")))] = None
            except (BadHint, _BadRow) as error:
                self._problem(number, f"{error}; the hint is left out")
        return tuple(kept)

    def _alias(self, number: int, value: Any) -> str | None:
        if value is None:
            return None
        try:
            alias = check_alias(_string(value, '"alias"'))
            if alias in self._aliases:
                raise _BadRow(f"the alias {alias!r} is taken by a row before it")
        except (BadAlias, _BadRow) as error:
            self._problem(number, f"{error}; the alias is left out")
            return None
        self._aliases.add(alias)
        return alias


def _skipped(row: Any, problem: str) -> Skipped:
    alias = row.get("alias") if isinstance(row, dict) else None
    try:
        humd_id = _id(row.get("humd_id") if isinstance(row, dict) else None)
    except _BadRow:
        humd_id = None
    return Skipped(humd_id, alias if isinstance(alias, str) else None, problem)


def _string(value: Any, what: str) -> str:
    if not isinstance(value, str):
        raise _BadRow(f"{what} must be a string, not {type(value).__name__}")
    return value


def _id(value: Any) -> HumdId:
    if value is None:
        raise _BadRow('"humd_id" is missing')
    try:
        humd_id = HumdId.parse(_string(value, '"humd_id"'))
    except BadHumdId as error:
        raise _BadRow(f'"humd_id": {error}') from None
    if humd_id.is_short:
        raise _BadRow(f"{humd_id.short} is a short id, which nobody can prove: the full one is needed")
    if humd_id.role is not Role.HUMD:
        raise _BadRow(f"{humd_id.short} is a bee: only humds are peers")
    return humd_id


def _auth(row: dict[str, Any]) -> str | None:
    auth = row.get("auth")
    if auth is not None and auth not in LEVELS:
        raise _BadRow(f'"auth" must be one of {", ".join(LEVELS)}')
    return auth


def _flag(row: dict[str, Any], key: str) -> bool:
    flag = row.get(key, False)
    if not isinstance(flag, bool):
        raise _BadRow(f'"{key}" must be true or false')
    return flag


def check_alias(alias: str) -> str:
    """
    :returns: it.
    :raises BadAlias: no peer can be called so.
    """
    if not 1 <= len(alias) <= MAX_ALIAS or not alias.isprintable() or "/" in alias or alias != alias.strip():
        raise BadAlias(f"an alias has 1 to {MAX_ALIAS} printable characters, no '/', no blank at its ends")
    if HumdId.try_parse(alias) is not None:
        raise BadAlias(f"the alias {alias[:17]!r} would be read as an id")
    return alias
