"""``ensemble peers``: who is known, who is linked, and what is wrong with the rest."""

from __future__ import annotations

from typing import Any

from ensemble.command.here import Here
from ensemble.command.naming import find_peer, rows_of
from ensemble.command.outcome import OK
from ensemble.command.output import brief, duration
from ensemble.config import FLAGS, PeerRow, PeersFile, read_peers, shown

CONTESTED = "its links replace each other: do two processes have its key?"
SKEW_WARN = 5.0  # seconds that a peer's clock may be off
STYLES = {"linked": "green", "dialling": "yellow", "down": "red", "unknown": "dim"}


def peers(here: Here) -> int:
    """``peers``, and ``peers --forget``."""
    if here.options.forget is not None:
        return forget(here, here.options.forget)
    answer = here.ask_anybody("peers")
    if answer is not None:
        rows, file = rows_of(answer), None
    else:
        file = _file(here)
        rows = [unknown_row(row) for row in file.rows]
    screen, daemon = here.screen, file is None
    if screen.json:
        screen.document({"ok": True, "daemon": daemon, "peers": rows})
        return OK
    if here.options.words:
        for row in rows:
            for word in (row.get("alias"), row.get("id")):
                if isinstance(word, str) and word:
                    screen.line(word)
        return OK
    if not daemon:
        screen.note("no humd answers; these are the rows of the file")
    if not rows:
        screen.line(screen.told(f"No peers: {_why_none(here, file)}."))
        return OK
    screen.table(
        ("ALIAS", "ID", "STATE", "WIRE", "ADDRESS", "PROOF", "SINCE", "ROUND TRIP", "REMARK"),
        [_cells(row) for row in rows],
        STYLES,
    )
    return OK


def forget(here: Here, text: str) -> int:
    """What is remembered of a peer's proofs goes: after that it is admitted as its row says, and no stricter."""
    peer = find_peer(here, text)
    answer = here.ask("forget", peer=peer.full)
    if here.screen.json:
        here.screen.document({**answer, "id": peer.full})
    else:
        known = "Forgotten" if answer.get("known") else "Nothing was known of"
        here.screen.line(f"{known} what {peer.full} has proved; its row in peers.json alone counts from now on.")
    return OK


def _file(here: Here) -> PeersFile:
    """
    ``peers.json``; what is wrong with it is told beside its rows.

    :raises ConfigurationError: it cannot be read.
    """
    file = read_peers(here.paths().peers_file)
    for problem in file.problems:
        here.screen.note(f"{shown(here.paths().peers_file)}: {problem}", problem=problem)
    return file


def _why_none(here: Here, file: PeersFile | None) -> str:
    name = shown(here.paths().peers_file)
    if file is not None and file.missing:
        return f"there is no {name}; `ensemble trust PEER HINT` makes it, with what the other side shows"
    # The daemon may have read another file, or an earlier state of it, and rows that are skipped are no peers.
    skipped = " that can be used" if file is not None and file.skipped else ""
    where = "the humd knows nobody" if file is None else f"{name} has no row{skipped}"
    return f"{where}; `ensemble doctor` says what is wrong with the file, if anything is"


def unknown_row(row: PeerRow) -> dict[str, Any]:
    """What can be said of a peer without a daemon."""
    return {
        "id": row.humd_id.full,
        "alias": row.alias,
        "state": "unknown",
        "hints": list(row.hints),
        "secure_only": row.secure_only,
        "auth": row.auth,
        **{flag: getattr(row, flag) for flag in FLAGS},
    }


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    linked = row.get("state") == "linked"
    return (
        str(row.get("alias") or "-"),
        brief(str(row.get("id", ""))),
        str(row.get("state", "unknown")),
        _cell(row.get("wire")),
        _cell(row.get("address")),
        _cell(row.get("level")),
        _seconds(row.get("since_s")) if linked else "-",
        milliseconds(row.get("round_trip_ms")),
        _remark(row),
    )


def milliseconds(value: object) -> str:
    """``0.42 ms``, ``12 ms``; a dash for what is not known."""
    if not isinstance(value, int | float):
        return "-"
    return f"{value:.2f} ms" if value < 10 else f"{value:.0f} ms"


def _seconds(value: object) -> str:
    return duration(value) if isinstance(value, int | float) else "-"


def _cell(value: object) -> str:
    return "-" if value is None or value == "" else str(value)


def since_lost(row: dict[str, Any]) -> str:
    """Why a peer is away, and when it is dialled again; empty where that is not known."""
    lost, since, pause = row.get("lost"), row.get("lost_s"), row.get("redial_in_s")
    if not isinstance(lost, str) or not isinstance(since, int | float):
        return ""
    again = f"; dialled again in {duration(pause)}" if isinstance(pause, int | float) else ""
    return f"lost {duration(since)} ago: {lost}{again}"


def _remark(row: dict[str, Any]) -> str:
    said = []
    if row.get("stranger"):
        said.append("no row in peers.json")
    if row.get("refused"):
        said.append(f"refused: {row['refused']}")
    if row.get("heir"):
        said.append(f"goes on as {row['heir']}")
    if row.get("heir_of"):
        said.append(f"has the row of {row['heir_of']}")
    if row.get("contested"):
        said.append(CONTESTED)
    if row.get("state") == "linked":
        for key, what in (
            ("queued_bytes", "bytes queued"),
            ("dropped", "tones dropped"),
            ("throttled", "pauses, as it sends faster than its pace"),
        ):
            if row.get(key):
                said.append(f"{row[key]} {what}")
        skew = row.get("skew_ms")
        if isinstance(skew, int | float) and abs(skew) > 1000 * SKEW_WARN:
            said.append(f"its clock is {skew / 1000:+.0f} s off")
    elif row.get("last_failure"):
        said.append(str(row["last_failure"]))
    else:
        if away := since_lost(row):
            said.append(away)
        if row.get("state") == "down" and not (row.get("hints") or row.get("refused")):
            said.append("no hint, so it must dial us")
    return "; ".join(said)
