"""
The owner's side of a new key: the files, and the order in which they are written.

==============================  ===================================================================================
``<key>``                       the key that counts; at no moment is it missing
``<key>.next``                  the next one, while a rotation is begun
``<key>.old-<12 hex>``          an earlier one, by its id
``successions.json``            in the state dir: our successions, the oldest first, at most 8
``revocation-<12 hex>.json``    in the state dir: the revocation of a key of ours, by its id
==============================  ===================================================================================

Each step can be taken again where it was cut short, by a crash or by a full disk.  ``docs/rekeying.rst`` has the whole.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, TypeVar

from attrs import frozen

from ensemble.config.atomic import alone, at_once, create_text, write_text
from ensemble.config.paths import refuse_shared_state, shown
from ensemble.errors import ConfigurationError
from ensemble.identity import (
    MAX_CHAIN,
    BadStatement,
    HumdId,
    HumdKey,
    KeyFileError,
    KeyFileExists,
    KeyFileSpoilt,
    Revocation,
    Statement,
    Succession,
    load,
    load_or_mint,
    remove_leftovers,
    revoke,
    save,
    statement_from,
    succeed,
    sync_folder,
)
from ensemble.tone import BadDocument, read_document, write_document

_S = TypeVar("_S", Succession, Revocation)

SUCCESSIONS: Final = "successions.json"
REVOCATIONS: Final = "revocation-*.json"
MAX_FILE: Final = 16 * 1024  # bytes of a file with statements
KEY_KIN: Final = r"|\.next|\.old-[0-9a-f]{12}"  # what stands behind the name of the key in those of the others
MINT_SECONDS: Final = 60.0  # longer than it takes to write a new key
MAX_REVOCATIONS: Final = 8  # of ours, that are still told
PUT_BACK: Final = "put a copy back, or move it away"  # the mend of a damaged file of ours


@frozen
class OwnStatements:
    """What we have said of our own keys; every signature is right."""

    successions: tuple[Succession, ...] = ()
    revocations: tuple[Revocation, ...] = ()

    @property
    def ids(self) -> set[HumdId]:
        """Whom the successions name: all of them are, were or will be us."""
        return {who for each in self.successions for who in (each.who, each.heir)}

    def leading_to(self, me: HumdId) -> tuple[Succession, ...]:
        """The successions that end at ``me``, for our hellos."""
        ends = [at for at, each in enumerate(self.successions, 1) if each.heir == me]
        return self.successions[: ends[-1]] if ends else ()

    def begun(self, me: HumdId) -> Succession | None:
        """The succession of ``me``, where there is one."""
        return next((each for each in self.successions if each.who == me), None)

    def revoked(self, me: HumdId) -> Revocation | None:
        """The revocation of ``me``, where there is one."""
        return next((each for each in self.revocations if each.who == me), None)

    def to_tell(self, me: HumdId) -> list[Statement]:
        """What to say on every link."""
        begun = self.begun(me)
        return [*([] if begun is None else [begun]), *self.revocations]


def read_own_statements(state_dir: Path) -> OwnStatements:
    """
    Read what is there; nothing is no error.

    :raises ConfigurationError: a file is damaged, or there are too many; the text says what to do.
    """
    path = state_dir / SUCCESSIONS
    document = _read(path, absent={"succeeds": []})
    listed = document.get("succeeds") if isinstance(document, dict) else None
    if not isinstance(listed, list) or len(listed) > MAX_CHAIN:
        raise _damaged(path, f'it is no {{"succeeds": [...]}} with at most {MAX_CHAIN} in it')
    chain = tuple(_statement(path, value, Succession) for value in listed)
    if any(one.heir != two.who for one, two in pairwise(chain)):
        raise _damaged(path, "one does not begin where the one before it ended")
    found = sorted(state_dir.glob(REVOCATIONS))
    if len(found) > MAX_REVOCATIONS:
        raise ConfigurationError(
            f"{state_dir} has {len(found)} {REVOCATIONS}, at most {MAX_REVOCATIONS} are told: move the oldest away"
        )
    return OwnStatements(chain, tuple(map(read_revocation, found)))


def begin_rotation(
    key_file: Path, state_dir: Path, now_ms: int, entropy: Callable[[int], bytes] = os.urandom
) -> Succession:
    """
    Mint the next key and sign it with this one.  Called again it changes nothing: of one key there is one succession.

    :param now_ms: milliseconds since the epoch.
    :raises ConfigurationError: a file cannot be read or written, our key is revoked, or the next key is lost.
    """
    with _alone(key_file, state_dir):
        key, own = load(key_file), read_own_statements(state_dir)
        me = key.humd_id()
        if own.revoked(me) is not None:
            raise ConfigurationError(f"the key in {key_file} was revoked, so it can name no successor: move it away")
        begun = own.begun(me)
        if begun is not None:
            _next_key(key_file, begun)
            return begun
        next_key, _ = load_or_mint(_next(key_file), entropy)
        if next_key.humd_id() in {me, *own.ids}:
            raise ConfigurationError(f"{_next(key_file)} has a key that was used before: move it away, and call again")
        statement = succeed(key, next_key, now_ms)
        chain = (*own.leading_to(me), statement)[-MAX_CHAIN:]
        _write(state_dir / SUCCESSIONS, {"succeeds": [each.to_tone() for each in chain]})
        return statement


def finish_rotation(key_file: Path, state_dir: Path) -> Succession:
    """
    Put the next key in the place of this one, which is kept.  Called again it changes nothing.

    :returns: the succession that is complete now.
    :raises ConfigurationError: no rotation is begun, or a file cannot be read or written.
    """
    with _alone(key_file, state_dir):
        key, own = load(key_file), read_own_statements(state_dir)
        begun = own.begun(key.humd_id())
        _remove_seeds(key_file, older=0)  # a key is there, so nobody makes one without the lock
        if begun is None:
            done = own.leading_to(key.humd_id())
            if done:
                return done[-1]
            raise ConfigurationError(f"no rotation of {key_file} is begun: `ensemble rotate` begins one")
        _next_key(key_file, begun)
        kept = old_key_file(key_file, begun.who)
        try:
            save(kept, key)
        except KeyFileExists:
            if load(kept) != key:
                raise ConfigurationError(f"{kept} is in the way, with another key in it: move it away") from None
        real = Path(os.path.realpath(key_file))
        try:
            os.replace(_next(key_file), real)
            # The renaming is to be on the disk before anybody is told that it is done.
            sync_folder(real.parent)
        except OSError as error:
            raise ConfigurationError(f"cannot rename {_next(key_file)} to {real}: {error.strerror}") from None
        return begun


def revoke_own(key_file: Path, state_dir: Path, now_ms: int) -> Path:
    """
    Revoke our key, once: each further version would be news to everybody.

    :returns: where that is kept.
    :raises ConfigurationError: a file cannot be read or written.
    """
    with _alone(key_file, state_dir):
        key = load(key_file)
        said = read_own_statements(state_dir).revoked(key.humd_id()) or revoke(key, now_ms)
        return keep_revocation(state_dir, said)


def keep_revocation(state_dir: Path, revocation: Revocation) -> Path:
    """
    Put a revocation of a key of ours where the daemon finds it.

    :raises ConfigurationError: it cannot be written, or there are so many that no daemon would start with one more.
    """
    path = state_dir / f"revocation-{_short(revocation.who)}.json"
    others = set(state_dir.glob(REVOCATIONS)) - {path}
    if len(others) >= MAX_REVOCATIONS:
        oldest = min(others, key=lambda each: read_revocation(each).issued)
        raise ConfigurationError(
            f"nothing was done: {state_dir} has {len(others)} {REVOCATIONS}, as many as are told; "
            f"move the oldest away, {shown(oldest)}, and call this again"
        )
    _write(path, revocation.to_tone())
    return path


def write_revocation(path: Path, key: HumdKey, now_ms: int) -> Revocation:
    """
    Sign a revocation into a file that is not there, to be kept for a bad day.

    :raises ConfigurationError: there is such a file, or it cannot be written.
    """
    revocation = revoke(key, now_ms)
    try:
        if not create_text(path, write_document(revocation.to_tone()) + "\n"):
            raise ConfigurationError(f"there is a file {path} already: it was not touched")
    except OSError as error:
        raise ConfigurationError(f"cannot write {path}: {error.strerror}") from None
    return revocation


def read_revocation(path: Path, mend: str = PUT_BACK) -> Revocation:
    """
    Read one that somebody wrote.

    :param mend: what to do where it cannot be used; the default is for a file of the state directory.
    :raises ConfigurationError: it cannot be read, is none, or its key did not sign it.
    """
    value = _read(path, mend=mend)
    if isinstance(value, dict) and "succeeds" in value:
        raise _damaged(path, "each in it is a succession, and no revocation", mend)
    return _statement(path, value, Revocation, mend)


def remove_seeds(key_file: Path) -> None:
    """
    Remove what a process that was killed left of our keys, unless somebody is at them just now.

    Who found no key a moment ago makes one without the lock, so what is as young is spared.
    """
    with suppress(ConfigurationError), alone(Path(os.path.realpath(key_file)).parent, 0):
        _remove_seeds(key_file, older=MINT_SECONDS)


def old_key_file(key_file: Path, who: HumdId) -> Path:
    """Where an earlier key is kept."""
    return _beside(key_file, f".old-{_short(who)}")


def _alone(key_file: Path, state_dir: Path) -> AbstractContextManager[None]:
    """Two at once could sign two successions of one key; and where others can write the daemon would not start."""
    refuse_shared_state(state_dir)
    return alone(Path(os.path.realpath(key_file)).parent)


def _remove_seeds(key_file: Path, older: float) -> None:
    for name in {os.path.abspath(key_file), os.path.realpath(key_file)}:
        remove_leftovers(name, KEY_KIN, older)


def _next(key_file: Path) -> Path:
    return _beside(key_file, ".next")


def _beside(key_file: Path, suffix: str) -> Path:
    real = Path(os.path.realpath(key_file))
    return real.with_name(real.name + suffix)


def _short(who: HumdId) -> str:
    return who.short.partition("_")[2]


def next_key_trouble(key_file: Path, begun: Succession) -> str:
    """What is wrong where the key that ``begun`` names is not there, with the mend; else empty."""
    path = _next(key_file)
    try:
        if load(path).humd_id() == begun.heir:
            return ""
        cause = f"{path} has another key"
    except KeyFileSpoilt:  # whose own mend, a new key, would be a second successor
        cause = f"{path} is no key"
    except KeyFileError as error:
        cause = str(error)
    return (
        f"{cause}, and {begun.heir} is named as the successor already: put its key back there from a copy. "
        "A second successor is never signed; if that key is lost, `ensemble revoke --yes` ends this one"
    )


def lost_key(key_file: Path, own: OwnStatements, me: HumdId | None) -> str:
    """
    What there is to say, with the mend, where our statements lead to another key than this; else empty.

    :param me: of the key that is there; None: there is none.
    """
    if not own.successions or me in own.ids:
        return ""
    last = own.successions[-1]
    if own.revoked(last.who) is not None or own.revoked(last.heir) is not None:
        return ""  # they were ended, and this is a beginning
    cause = f"this humd was {last.who}, and {SUCCESSIONS} has it go on as {last.heir}, but its key file is of neither"
    first = "" if me is None else "stop the humd and move the new key away, then "
    move = shlex.join(("mv", "-n", shown(_next(key_file)), shown(key_file)))
    latter = "" if next_key_trouble(key_file, last) else f", or go on as the latter with `{move}`"
    return f"{cause}: {first}put a copy back{latter}; if both are to be forgotten, move {SUCCESSIONS} away"


def _next_key(key_file: Path, begun: Succession) -> None:
    """See that the key that ``begun`` names is there."""
    trouble = next_key_trouble(key_file, begun)
    if trouble:
        raise ConfigurationError(trouble)


def _statement(path: Path, value: object, kind: type[_S], mend: str = PUT_BACK) -> _S:
    try:
        statement = statement_from(value)
    except BadStatement as error:
        raise _damaged(path, str(error), mend) from None
    if not isinstance(statement, kind):
        found, wanted = (each.__name__.lower() for each in (type(statement), kind))
        raise _damaged(path, f"it is a {found}, and no {wanted}", mend)
    if not statement.is_signed():
        raise _damaged(path, "a signature in it is wrong", mend)
    return statement


def _read(path: Path, absent: Any = None, mend: str = PUT_BACK) -> Any:
    """:param absent: the document where there is no file; None: that is an error."""
    try:
        with open(path, "rb", opener=at_once) as file:
            raw = file.read(MAX_FILE + 1)
    except OSError as error:
        if absent is not None and isinstance(error, FileNotFoundError):
            return absent
        raise ConfigurationError(f"cannot read {path}: {error.strerror}") from None
    if len(raw) > MAX_FILE:
        raise _damaged(path, f"it is larger than {MAX_FILE} bytes", mend)
    try:
        return read_document(raw)
    except BadDocument as error:
        raise _damaged(path, str(error), mend) from None


def _write(path: Path, document: dict[str, Any]) -> None:
    try:
        write_text(path, write_document(document) + "\n")
    except OSError as error:
        raise ConfigurationError(f"cannot write {path}: {error.strerror}") from None


def _damaged(path: Path, cause: str, mend: str = PUT_BACK) -> ConfigurationError:
    return ConfigurationError(f"{path} cannot be used: {cause}; {mend}")
