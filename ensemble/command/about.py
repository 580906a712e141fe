"""``ensemble id`` and ``ensemble status``: who this humd is, and how it is doing."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from ensemble.command.control import dict_of, texts_of
from ensemble.command.here import Here, socket_gone
from ensemble.command.hints import inside_only, near_only, trust_line
from ensemble.command.outcome import OK
from ensemble.command.output import duration
from ensemble.config import read_own_statements, row_json, shown, without_home
from ensemble.errors import ConfigurationError
from ensemble.identity import HumdId, HumdKey, KeyFileError, KeyFileMissing, certificate_of, fingerprint, load

REVOKED: Final = "this key was revoked, and others refuse it; `ensemble doctor` says what to do"


def identify(here: Here) -> int:
    """``id``: the daemon's word counts; without one the key file's."""
    paths, _ = here.paths_at_least()
    status, silent = here.status()
    key: HumdKey | None = None
    try:
        key = load(paths.key)
    except KeyFileMissing as error:
        if status is None:
            home, mend = without_home(paths)
            mend = f"{home}: {mend}" if home else "`ensemble init` makes one"
            raise KeyFileMissing(f"{error}; {mend}") from None
    except KeyFileError:
        if status is None:
            raise
    told = status.get("id") if status is not None else None
    humd_id = HumdId.parse(told) if isinstance(told, str) else key.humd_id() if key is not None else None
    assert humd_id is not None  # without a status the key was read
    hints = texts_of(status, "listening")
    public = key.public.hex() if key is not None and key.humd_id() == humd_id else None
    pin = fingerprint(certificate_of(key)) if key is not None and public is not None else None
    if pin is None and status is not None and isinstance(status.get("fingerprint"), str):
        pin = status["fingerprint"]
    screen, (revoked, heir, begun) = here.screen, _said_of(paths.state_dir, humd_id, key)
    if screen.json:
        screen.document(
            {
                "ok": True,
                "id": humd_id.full,
                "revoked": revoked,
                "heir": heir.full if heir is not None else None,
                "next": begun.full if begun is not None else None,
                "hints": hints,
                "public_key": public,
                "fingerprint": pin,
                "daemon": status is not None,
            }
        )
    elif here.options.bare:
        screen.line(humd_id.full)
    else:
        trouble = "cannot be used" if key is None else "has another key"
        other = f"(the key file {trouble}; `ensemble doctor` says what to do)"
        pairs = [("id", humd_id.full), ("public key", public or other)]
        if pin is not None:
            pairs.append(("certificate", f"tls-fp:{pin}"))
        if status is None:
            pairs.append(("hints", "(no humd answers)"))
        else:
            pairs.append(("hints", " ".join(hints) or "(it listens nowhere)"))
        if heir is not None:
            pairs.append(("goes on as", heir.full))
        if begun is not None:
            pairs.append(("next id", begun.full))
        screen.fields(pairs)
        if heir is not None:
            screen.note("its key was rotated: restart the humd, then `ensemble id` shows what to tell others")
            return OK
        if revoked:
            screen.note(REVOKED)
            return OK
        if begun is not None:
            screen.note("a rotation is begun: with `ensemble rotate --finish` this humd goes on under the next id")
        screen.line()
        screen.line("For others, to run there, or as a row of their peers.json:")
        screen.line(f"  {trust_line(humd_id, hints)}")
        screen.line(f"  {row_json(humd_id, hints)}")
        if hints and (near := near_only(hints) or inside_only(hints)):
            screen.line(f"  ({near})")
        if status is None:
            why = str(silent or socket_gone(paths)) or (
                "no humd answers to say where it listens: start it with --listen tls:14731 "
                "and ask again, or write them in yourself, such as tls:192.0.2.10:14731"
            )
            screen.note(f"its hints are empty, for {why}")
    return OK


def _said_of(state_dir: Path, who: HumdId, key: HumdKey | None) -> tuple[bool, HumdId | None, HumdId | None]:
    """Whether it was revoked; as whom it goes on from its next start, by its own word; else whom it named as next."""
    try:
        said = read_own_statements(state_dir)
    except ConfigurationError:
        return False, None, None  # `ensemble doctor` tells
    revoked, begun = said.revoked(who) is not None, said.begun(who)
    later = who if key is None else key.humd_id()
    if any(each.who == who for each in said.leading_to(later)):
        return revoked, later, None
    return revoked, None, begun.heir if begun is not None else None


def status(here: Here) -> int:
    """``status``: all that the daemon says of itself."""
    told = here.ask("status")
    screen = here.screen
    if screen.json:
        screen.document(told)
        return OK
    screen.fields(_summary(here, told))
    if told.get("revoked") is True:
        screen.note(REVOKED)
    if told.get("unwritten"):
        screen.note(f"not all is written: {told['unwritten']}; `ensemble doctor` says what to do")
    clients = [client for client in told.get("clients", ()) if isinstance(client, dict)]
    if clients:
        screen.line()
        screen.table(
            ("BEE", "VERSION", "ROLES", "MODELS", "TOOLS"),
            [
                (
                    str(client.get("name") or f"({str(client.get('client_id', ''))[:8]})"),
                    str(client.get("version") or "-"),
                    " ".join(texts_of(client, "roles")) or "-",
                    " ".join(texts_of(client, "models")) or "-",
                    str(client.get("tools", "-")),
                )
                for client in clients
            ],
        )
    _numbers(here, "counters", told.get("counters"), zeros=False)
    if here.options.limits:
        _numbers(here, "limits", told.get("limits"), zeros=True)
    return OK


def _summary(here: Here, told: dict[str, Any]) -> list[tuple[str, str]]:
    links, descriptors, asks = (dict_of(told, key) for key in ("links", "descriptors", "asks"))
    paths = here.paths()
    return [
        ("id", str(told.get("id", ""))),
        ("version", f"{told.get('version')} (thrum {told.get('thrum_version')})"),
        ("up", f"{duration(_number(told.get('uptime_s')))}, since {told.get('started')}, pid {told.get('pid')}"),
        ("listens", " ".join(texts_of(told, "listening")) or "nowhere"),
        ("asks", f"{asks.get('open', 0)} open"),
        ("links", f"{links.get('up', 0)} up, {links.get('pending', 0)} pending"),
        ("admits", f"{told.get('admit')} (auth {told.get('auth')})"),
        ("thrum", here.below_home(shown(paths.thrum))),
        ("state", here.below_home(str(told.get("state_dir") or ""))),
        ("peers", here.below_home(str(told.get("peers_file") or ""))),
        ("descriptors", f"{descriptors.get('used', '?')} of {descriptors.get('soft', '?')}"),
    ]


def _numbers(here: Here, title: str, numbers: object, zeros: bool) -> None:
    if not isinstance(numbers, dict):
        return
    kept = [(str(name), str(number)) for name, number in sorted(numbers.items()) if number or zeros]
    if kept:
        here.screen.line()
        here.screen.line(here.screen.paint(title, "bold"))
        here.screen.fields(kept, indent="  ")


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else 0.0
