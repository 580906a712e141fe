"""``ensemble rotate`` and ``ensemble revoke``: a new key in place of this one, and an end to the trust in one."""

from __future__ import annotations

import shlex
import time
from pathlib import Path
from typing import Any

from ensemble.command.control import DaemonRefused, NoDaemon, Unanswered, ask_daemon
from ensemble.command.findings import LOSING_ITS_KEY
from ensemble.command.here import Here, has_state_dir
from ensemble.command.outcome import OK, BadUsage, CommandFailed
from ensemble.command.unit import UNIT, unit_path
from ensemble.config import (
    begin_rotation,
    finish_rotation,
    keep_revocation,
    old_key_file,
    read_own_statements,
    read_revocation,
    revoke_own,
    shown,
    write_revocation,
)
from ensemble.identity import (
    HumdId,
    HumdKey,
    KeyFileMissing,
    certificate_of,
    fingerprint,
    load,
)


def rotate(here: Here) -> int:
    """``rotate``: begin, or show what is begun; ``rotate --finish``: put the next key in its place."""
    places = _Places(here)
    if here.options.finish:
        return _finish(here, places)
    if places.running not in (None, places.load().humd_id().full):
        raise CommandFailed(
            "rotate.restart-first", f"the humd still runs as {places.running}, with the key before: restart it first"
        )
    _not_by_mistake(here, places)
    begun = begin_rotation(places.key, places.state_dir, _now_ms())
    told = places.tell()
    answer = {"ok": True, "old": begun.who.full, "new": begun.heir.full, "daemon": told is not None, **(told or {})}
    if here.screen.json:
        here.screen.document(answer)
        return OK
    line = here.screen.line
    later = "" if told is not None else "; it tells everybody when it runs"
    here.screen.fields([("old id", begun.who.full), ("new id", begun.heir.full), ("told", _told(told) + later)])
    line()
    line(
        "Peers that know the old id log the new one, and the line that changes their peers.json.  Those whose row says"
    )
    line('"follow": true let the new id in, and refuse the old one as soon as the new one has linked.')
    line()
    line("Next, when all who should know were linked (call this again to see who is):")
    line(f"  {here.screen.command('ensemble rotate --finish')}")
    line("There is no way back: what was signed may have been learned.")
    return OK


def _not_by_mistake(here: Here, places: _Places) -> None:
    """``rotate`` is called to look, too: it is not to replace the key that it has just put in place."""
    me, own = places.load().humd_id(), read_own_statements(places.state_dir)
    before = own.leading_to(me)
    if before and own.begun(me) is None and not here.options.again:
        day = time.strftime("%Y-%m-%d", time.gmtime(before[-1].issued / 1000))
        raise BadUsage(
            f"the rotation of {before[-1].who.full} is done: this humd is {me.full}, with a key of {day}; "
            "if that one is to be replaced, too, `ensemble rotate --again`"
        )


def _finish(here: Here, places: _Places) -> int:
    places.load()
    done = finish_rotation(places.key, places.state_dir)
    kept = old_key_file(places.key, done.who)
    restart = places.running is not None and places.running != done.heir.full
    if here.screen.json:
        here.screen.document(
            {"ok": True, "old": done.who.full, "new": done.heir.full, "kept": str(kept), "restart": restart}
        )
        return OK
    line = here.screen.line
    pin = fingerprint(certificate_of(places.load()))
    here.screen.fields(
        [("new id", done.heir.full), ("certificate", f"tls-fp:{pin}"), ("old key", f"kept as {shown(kept)}")]
    )
    line()
    line("Next:")
    if restart:
        unit = unit_path(here.environ)
        how = f" (`systemctl --user restart {UNIT}`)" if unit is not None and unit.exists() else ""
        line(f"  restart the humd{how}: until then it goes on as the old id")
    else:
        line("  start the humd: it goes on as the new id, and its hellos say whose heir it is")
    line("  when all have changed their rows, destroy the old key: whoever has it can take away what follows from it")
    return OK


def revoke(here: Here) -> int:
    """``revoke``: of our own key, of one in a file, or only into a file."""
    given, places = here.options, _Places(here)
    if given.out is not None:
        statement = write_revocation(Path(given.out), places.load(), _now_ms())
        line = here.screen.told(f"`ensemble revoke --yes --file {shlex.quote(given.out)}`")
        return _say(
            here,
            {"ok": True, "id": statement.who.full, "file": given.out, "revoked": False},
            f"{given.out} can revoke {statement.who} ({line}); keep it where the key is not.  Nothing is revoked yet.",
        )
    key, own = places.load(), read_own_statements(places.state_dir)
    taken = None if given.file is None else read_revocation(Path(given.file), "is it what `ensemble revoke` wrote?")
    who = key.humd_id() if taken is None else taken.who
    if not given.yes:
        raise BadUsage(
            f"this ends the trust in {who.full} everywhere and for ever, and there is no way back; "
            "if that is meant, add --yes"
        )
    if taken is not None and who not in {key.humd_id(), *own.ids}:
        answer = here.ask("revoke", statement=taken.to_tone())
        return _say(
            here,
            {"id": who.full, **answer},
            f"{who} is refused from now on, on every wire.  Take its row out of peers.json.",
        )
    if taken is None:
        path = revoke_own(places.key, places.state_dir, _now_ms())
    else:
        path = keep_revocation(places.state_dir, taken)
    told = places.tell()
    return _say(
        here,
        {"ok": True, "id": who.full, "file": shown(path), "daemon": told is not None, **(told or {})},
        f"{who} is revoked.  Told: {_told(told)}.\n"
        f"Carry {shown(path)} to whoever was not (`ensemble revoke --yes --file` takes it in).  If the humd runs with "
        f"that key, stop it, move {shown(places.key)} away, start it, and give everybody its new id by another way.",
    )


class _Places:
    """
    Where the key and the state are, and whether a daemon uses them.

    :ivar running: the id of the daemon with these files; None where none answers.
    """

    def __init__(self, here: Here) -> None:
        status = here.agree()
        self._paths, _ = here.paths_at_least()
        self.key, self.state_dir = self._paths.key, self._paths.state_dir
        ours = status if status is not None and has_state_dir(status, self.state_dir) else None
        self.running = None if ours is None else str(ours.get("id"))

    def load(self) -> HumdKey:
        """:raises KeyFileError: there is no key, or it cannot be read."""
        try:
            return load(self.key)
        except KeyFileMissing as error:
            mend = "`ensemble init` makes one, --key names another"
            raise KeyFileMissing(f"{error}; {mend if self.running is None else LOSING_ITS_KEY}") from None

    def tell(self) -> dict[str, Any] | None:
        """
        Have the daemon say what is in the files; None where none has them.

        :raises Unanswered: there is one, and it does not answer.
        :raises DaemonRefused: it said no.
        """
        if self.running is None:
            return None
        try:
            answer = ask_daemon(self._paths.control, "rekey")
        except Unanswered as error:
            raise Unanswered(self._untold(error)) from error
        except DaemonRefused as error:  # an older one, perhaps, has no such verb
            raise DaemonRefused(error.qualifier, self._untold(error)) from error
        except NoDaemon:
            return None
        return {key: answer.get(key, []) for key in ("told", "deaf")}

    def _untold(self, error: Exception) -> str:
        kept = f"the statement is in {shown(self.state_dir)}, and nobody was told"
        return f"{error}; {kept}: call this again, or restart the humd"


def _told(told: dict[str, Any] | None) -> str:
    if told is None:
        return "nobody, for no humd with these files answers"
    who, deaf = (", ".join(HumdId.parse(each).short for each in told[key]) for key in ("told", "deaf"))
    return (who or "nobody is linked that understands it") + (f"; not understood by {deaf}" if deaf else "")


def _say(here: Here, answer: dict[str, Any], text: str) -> int:
    if here.screen.json:
        here.screen.document(answer)
    else:
        here.screen.line(text)
    return OK


def _now_ms() -> int:
    return int(time.time() * 1000)
