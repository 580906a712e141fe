"""
``ensemble trust`` and ``ensemble untrust``: whom this humd links with, said once and put in force at once.

They edit ``peers.json`` and have the daemon read it; where none runs, the file is all there is to do.
"""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Callable
from typing import Any, Final

from attrs import asdict

from ensemble.command.control import DaemonRefused, NoDaemon, Unanswered
from ensemble.command.heirs import Heir, heirs
from ensemble.command.here import Here
from ensemble.command.naming import Known, begins, full_id, match, rows_of
from ensemble.command.outcome import OK, BadUsage, CommandFailed
from ensemble.command.output import visible
from ensemble.config import (
    FLAGS,
    AliasTaken,
    BadAlias,
    Edit,
    PeerRow,
    Trust,
    meant,
    read_peers,
    shown,
    trust_peer,
    untrust_peer,
)
from ensemble.errors import ConfigurationError
from ensemble.identity import LISTENED, NO_ZONE, BadHint, Hint, HumdId, KeyFileError, load

DEFAULT: Final = "default"  # for --auth: that of the humd, as the row does not say
_USED: Final = frozenset({*LISTENED.values(), "tls-fp"})  # schemes of hints
LOOK_SECONDS: Final = 0.2  # between two looks at a link that is waited for
_STATES: Final = {"added": "Added to", "changed": "Changed in", "removed": "Removed from", "same": "Already in"}


def trust(here: Here) -> int:
    """
    ``trust``: the row says what was asked for, and with ``--wait`` the peer is linked.

    :raises CommandFailed: the daemon did not take it, or no link came up.
    """
    options = here.options
    here.agree()
    mend = "; a new row needs the full id, which ensemble id --bare shows over there"
    peer = _known(here, options.peer, mend, _hand_over)
    _not_ourselves(here, peer)
    try:
        wish = Trust(
            peer=peer,
            hints=options.hints,
            only=options.replace,
            alias=options.alias,
            auth=None if options.auth == DEFAULT else options.auth,
            relays=options.relays,
            plain=options.plain,
            follow=options.follow,
            unset=(*["alias"] * options.no_alias, *["auth"] * (options.auth == DEFAULT)),
        )
    except (BadAlias, BadHint) as error:
        raise BadUsage(str(error)) from None
    try:
        edit = trust_peer(here.paths().peers_file, wish)
    except AliasTaken as error:
        heir = heirs(here).get(peer)
        if heir is None or heir.before != error.owner:
            raise
        raise ConfigurationError(_hand_over(heir)) from None
    began = time.monotonic()
    daemon = _put_in_force(here, peer, edit)
    for hint in wish.hints:
        if hint.partition(":")[0] not in _USED:
            here.screen.note(f"{hint}: a humd of this version does not dial such hints; it is kept", unused=hint)
        elif mend := Hint.parse(hint).zone_mend:
            here.screen.note(f"{hint}: {NO_ZONE}; {mend}", unused=hint)
        elif hint.startswith("tls-fp:") and not any(each.startswith("tls:") for each in _hints(edit.after, None)):
            here.screen.note(f"{hint}: it pins nothing, for the row has no tls: hint; add one", unused=hint)
    for problem in edit.problems:
        here.screen.note(f"{shown(here.paths().peers_file)}: {problem}", problem=problem)
    if options.wait:
        if not daemon:
            raise NoDaemon("without a humd there is no link to wait for")
        row = _wait(here, peer, options.timeout)
        new = [hint for hint in _hints(edit.after, edit.before) if not hint.startswith("tls-fp:")]
        if new and float(row.get("since_s") or 0) > time.monotonic() - began:
            here.screen.note(f"this link was up before; {', '.join(new)}: not tried, for it is dialled when that ends")
    _document(here, peer, edit, daemon=daemon, linked=True if options.wait else None)
    return OK


def untrust(here: Here) -> int:
    """
    ``untrust``: there is no row of this peer any more.

    :raises CommandFailed: there was none, or the daemon did not take it.
    """
    here.agree()
    peer = _known(here, here.options.peer, "", _end_both)
    edit = untrust_peer(here.paths().peers_file, peer)
    if not edit.written:
        heir = heirs(here).get(peer)
        why = f": {_end_both(heir)}" if heir is not None else ""
        raise CommandFailed("peer.unknown", f"{shown(here.paths().peers_file)} has no row of {peer.full}{why}")
    _document(here, peer, edit, daemon=_put_in_force(here, peer, edit))
    return OK


def _known(here: Here, text: str, mend: str, instead: Callable[[Heir], str]) -> HumdId:
    """
    Whom a full id, or the alias or the beginning of the id of a row, means.

    :param mend: what to do where that is nobody.
    :param instead: the same where it is an heir, which has no row.
    """
    full = full_id(text)
    if full is not None:
        return full
    path = here.paths().peers_file
    file = read_peers(path)
    try:
        return match(text, [Known(row.humd_id, row.alias) for row in file.rows])
    except CommandFailed as error:
        if error.qualifier != "peer.unknown":
            raise
        for row in file.skipped:
            who = row.humd_id
            if text == row.alias or (who is not None and begins(who, text)):
                alone = who is not None and file.row(who) is None  # else that row would go, too
                remove = f", or remove it: `ensemble untrust {who}`" if alone else ""
                raise CommandFailed(error.qualifier, f"{shown(path)}: {row.problem}; mend it by hand{remove}") from None
        for humd_id, heir in heirs(here).items():
            if begins(humd_id, text):
                raise CommandFailed(error.qualifier, instead(heir)) from None
        raise CommandFailed(error.qualifier, f"{error}{mend}") from None


def _hand_over(heir: Heir) -> str:
    line = f"`ensemble untrust {heir.before.full} && ensemble trust {heir.humd_id.full}`"
    return f"{heir}, which has the row; to give it the row, {heir.mend or line}"


def _end_both(heir: Heir) -> str:
    return f"{heir}, which has the row; `ensemble untrust {heir.before.full}` ends the trust in both"


def _not_ourselves(here: Here, peer: HumdId) -> None:
    try:
        ourselves = load(here.paths().key).humd_id() == peer
    except KeyFileError:
        return  # the daemon says it, too
    if ourselves:
        raise BadUsage(f"{peer.short} is this humd itself: its row belongs into the other side's file")


def _tell(here: Here, peer: HumdId, edit: Edit) -> None:
    """What the file says now that it did not say before."""
    screen, place = here.screen, here.below_home(shown(here.paths().peers_file))
    if screen.json:
        return
    row = edit.after or edit.before
    alias = "" if row is None or row.alias is None else f" ({row.alias})"
    screen.line(visible(f"{_STATES[_state(edit)]} {place}: {peer.full}{alias}"))
    changes = [("-", hint) for hint in _hints(edit.before, edit.after)]
    changes += [("+", hint) for hint in _hints(edit.after, edit.before)]
    old, new = _row(edit.before), _row(edit.after)
    for key in ("alias", "auth", *FLAGS):
        if edit.after is not None and old.get(key) != new[key] and (edit.before is not None or new[key]):
            was = f" (it was {_word(key, old[key])})" if edit.before is not None and old[key] is not None else ""
            changes.append((key, f"{_word(key, new[key])}{was}"))
    screen.fields(changes, indent="  ")


def _put_in_force(here: Here, peer: HumdId, edit: Edit) -> bool:
    """
    Have the daemon read the file, and only then tell of it: whoever reads what we say may stop to.

    :returns: whether there is a daemon.
    :raises CommandFailed: it did not take it.
    """
    screen = here.screen
    try:
        answer = _reload(here, edit)
    except NoDaemon as error:
        _tell(here, peer, edit)
        screen.note(f"{error}: it will read the file", daemon=False, message=str(error))
        if here.paths().peers_file != here.paths_given().peers_file:
            state_dir = shown(here.paths().state_dir)
            screen.note(f"it is the file that the humd of {state_dir} read last; --peers names another")
        return False
    except CommandFailed:
        _tell(here, peer, edit)
        raise
    _tell(here, peer, edit)
    row = edit.after
    names = tuple(f"{name} " for name in (row and row.alias, peer.short, peer.full) if name)
    for problem in answer.get("problems", ()):
        if str(problem).startswith(names):
            screen.note(str(problem), problem=problem)
    if not screen.json:
        screen.line("The humd has read it.")
    return True


def _reload(here: Here, edit: Edit) -> dict[str, Any]:
    file = here.paths().peers_file
    done = f"{shown(file)} is {'written' if edit.written else 'as wanted'}, but"
    try:
        answer = here.ask("reload")
    except Unanswered as error:
        raise CommandFailed("trust.not-taken", f"{done} {error}") from None
    except DaemonRefused as error:
        raise CommandFailed("trust.not-taken", f"{done} the humd does not take it: {error}") from None
    used = str(answer.get("peers_file", shown(file)))
    if os.path.realpath(meant(used)) != os.path.realpath(file):
        raise CommandFailed(
            "trust.not-taken", f"{done} the humd that answers reads {used}: say --peers {shlex.quote(used)}"
        )
    return answer


def _wait(here: Here, peer: HumdId, seconds: float) -> dict[str, Any]:
    """
    Until the peer is linked, telling why not yet each time that the cause changes.

    :returns: its row of ``peers``.
    :raises CommandFailed: the time is up.
    """
    until, told = time.monotonic() + seconds, ""
    while True:
        rows = rows_of(here.ask("peers"))
        row = next((row for row in rows if row.get("id") == peer.full), {})
        linked = [each for each in rows if each.get("state") == "linked"]
        # An heir that is followed, or that had a row of its own when it replaced this one.
        own = row.get("heir") if row.get("refused") else None
        heir = next((each for each in linked if each.get("heir_of") == peer.full or own == each.get("id")), None)
        if row.get("refused") and not row.get("heir"):
            raise CommandFailed("trust.not-linked", f"{peer.full} is refused: {row['refused']}")
        row = heir or row
        if row.get("state") == "linked":
            if not here.screen.json:
                as_whom = f" as {row.get('id')}" if heir else ""
                here.screen.line(f"Linked over {row.get('wire')} ({row.get('level')}){as_whom}.")
            return row
        if time.monotonic() >= until:
            raise CommandFailed("trust.not-linked", f"no link within {seconds:g} s{_why_not(row, told)}")
        failure = str(row.get("last_failure") or "")
        if failure and failure != told:
            told = failure
            here.screen.note(f"not linked yet: {failure}", linked=False, last_failure=failure)
        time.sleep(LOOK_SECONDS)


def _why_not(row: dict[str, Any], told: str) -> str:
    if told:
        return f"; the last dial: {told}"
    hints = row.get("hints")
    wires = _USED - {"tls-fp", *(["tcp"] if row.get("secure_only") else [])}
    dialled = [hint for hint in map(str, hints if isinstance(hints, list) else ()) if hint.partition(":")[0] in wires]
    if row.get("state") == "dialling" and dialled:
        return (
            f": still dialling {', '.join(dialled)}, without an answer so far; is the address right, and a humd there?"
        )
    return ": it was not dialled, and did not dial; has it a row for us?"


def _document(here: Here, peer: HumdId, edit: Edit, **more: Any) -> None:
    if not here.screen.json:
        return
    here.screen.document(
        {
            "ok": True,
            "id": peer.full,
            "peers_file": shown(here.paths().peers_file),
            "state": _state(edit),
            "before": _row(edit.before) or None,
            "after": _row(edit.after) or None,
            **{key: value for key, value in more.items() if value is not None},
        }
    )


def _state(edit: Edit) -> str:
    if not edit.written:
        return "same"
    return "removed" if edit.after is None else "added" if edit.before is None else "changed"


def _row(row: PeerRow | None) -> dict[str, Any]:
    """As the file has it, without its id."""
    return {} if row is None else {key: value for key, value in asdict(row).items() if key not in ("humd_id", "secure")}


def _hints(one: PeerRow | None, other: PeerRow | None) -> list[str]:
    """Those of the one that the other has not."""
    there = other.hints if other is not None else ()
    return [hint for hint in (one.hints if one is not None else ()) if hint not in there]


def _word(key: str, value: object) -> str:
    if value is None:
        return DEFAULT if key == "auth" else "none"
    return {True: "yes", False: "no"}.get(value, str(value)) if isinstance(value, bool) else str(value)
