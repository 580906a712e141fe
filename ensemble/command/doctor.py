"""
``ensemble doctor``: looks at everything that must be right for two humds to talk, and names the mend where it is not.

Clocks matter because a signed hello is refused when it is more than a minute old.
"""

from __future__ import annotations

from collections.abc import Container
from importlib.metadata import distributions
from typing import Any, Final

from ensemble.command import checks
from ensemble.command.control import DaemonRefused, NoDaemon, Unanswered, ask_daemon, dict_of, texts_of
from ensemble.command.findings import Finding, Grade, count, fail, ok, show, warn
from ensemble.command.here import Here, socket_gone
from ensemble.command.hints import ONLY_IPV6, is_loopback, near_only, places, trust_line
from ensemble.command.naming import rows_of
from ensemble.command.outcome import FAILED, OK
from ensemble.command.output import brief
from ensemble.command.peers import CONTESTED, SKEW_WARN, milliseconds, since_lost, unknown_row
from ensemble.command.reach import TRIED, Reached, reach
from ensemble.config import Paths, PeersFile, shown
from ensemble.identity import HumdId

SKEW_FAIL: Final = 30.0  # seconds; half of what a signed hello may be off


def doctor(here: Here) -> int:
    """``doctor``."""
    paths, too_long = here.paths_at_least()
    status, silent = here.status()
    key, finding = checks.key(paths.key, status)
    findings = [checks.package(distributions()), *checks.openssl(), finding, *checks.seeds(paths.key)]
    findings += [*checks.home(paths), checks.folder(paths.state_dir, status)]
    if too_long is not None:
        findings.append(fail("thrum", f"its path has {too_long.length} bytes", "give a shorter one with --thrum"))
    else:
        findings += checks.thrum(paths.thrum)
    own = key.humd_id() if key is not None else None
    revoked, found = checks.statements(paths.state_dir, paths.key, own)
    findings += found + (checks.proofs(paths.state_dir) if status is None else checks.unwritten(status))
    findings += _daemon(paths, status, own, silent)
    running = HumdId.try_parse(status.get("id")) if status is not None else None
    own, same = running or own, running is None or running == own
    file, found = checks.peers_file(paths.peers_file, own)
    findings += found
    findings.append(checks.descriptors(status))
    rows = _rows(paths, status, file, own)
    listening = texts_of(status, "listening")
    unlinked = [hint for row in rows if row.get("state") != "linked" for hint in texts_of(row, "hints")]
    # With another key than the daemon's we would be strangers, to ourselves, too, who leave a refusal in a log.
    reached = reach([*listening, *unlinked] if same else unlinked, key if same else None)
    if status is not None:
        findings += own_hints(listening, reached) + checks.admission(status, listening)
        if file is not None and status.get("peers_file") == shown(paths.peers_file):
            findings += unread(file, rows, own)
    # That nobody links with a key that was revoked is not to be mended peer by peer.
    replaced = {str(row.get("id")) for row in rows if row.get("refused")}
    findings += [
        judge(row, reached, own, listening, replaced) for row in rows if not revoked or row.get("state") == "linked"
    ]
    show(here.screen, findings)
    return FAILED if count(findings, Grade.FAIL) else OK


def own_hints(listening: list[str], reached: dict[str, Reached]) -> list[Finding]:
    """Whether we listen, and can be reached there."""
    if not listening:
        return [
            warn("listening", "humd listens nowhere: it can dial, nobody can dial it", "give it --listen tls:14731")
        ]
    found, lost = [], ONLY_IPV6 in near_only(listening)
    for hint in places(listening):
        tried = reached.get(hint)
        if tried is not None and tried.trouble:
            found.append(
                warn(
                    "listening",
                    f"{hint} cannot be reached from here: {tried.trouble}",
                    "is the address right, and open in the firewall? (some routers do not lead back inside)",
                )
            )
        elif tried is not None and is_loopback(hint):
            near = f"{hint} (for this machine only)"
            found.append(warn("listening", near, ONLY_IPV6) if lost else ok("listening", near))
        else:
            found.append(ok("listening", hint))
    return found


def unread(file: PeersFile, rows: list[dict[str, Any]], own: HumdId | None) -> list[Finding]:
    """Whether the daemon knows what the file says now."""
    known = {str(row.get("id")): row for row in rows if not (row.get("stranger") or row.get("heir_of"))}
    ours = {row.humd_id.full: unknown_row(row) for row in file.rows if row.humd_id != own}
    lent = {row.get("heir_of"): row["alias"] for row in rows if row.get("alias")}  # an alias that means the heir now
    differing = known.keys() ^ ours.keys()
    for name in known.keys() & ours.keys():
        theirs = {**known[name], "alias": known[name].get("alias") or lent.get(name)}
        if any(theirs.get(key, value) != value for key, value in ours[name].items() if key != "state"):
            differing.add(name)
    if not differing:
        return []
    how_many = "1 row differs" if len(differing) == 1 else f"{len(differing)} rows differ"
    return [warn("peers file", f"humd has not read its latest state ({how_many})", checks.RELOAD)]


def judge(
    row: dict[str, Any],
    reached: dict[str, Reached],
    own: HumdId | None,
    listening: list[str],
    replaced: Container[str] = (),
) -> Finding:
    """
    One peer: the link and its clock, or why there is none.

    :param replaced: ids whose heirs have linked once.
    """
    alias, short = row.get("alias"), brief(str(row.get("id", "")))
    name = f"{alias} ({short})" if alias else short
    if row.get("refused"):
        mend = str(row.get("mend") or "put the id that its owner tells you by another way into its row")
        return warn("peer", f"{name}: refused, {row['refused']}", mend)
    if row.get("contested"):
        what = "its owner is to look whether a copy of its state directory runs elsewhere: each humd needs its own key"
        return warn("peer", f"{name}: {CONTESTED}", what)
    mend = str(row.get("mend") or "")
    if row.get("state") == "linked" and row.get("heir"):
        return warn("peer", f"{name}: says that it goes on as {row['heir']}", mend)
    if row.get("state") == "linked":
        return _linked(name, row)
    if row.get("heir_of") and row["heir_of"] not in replaced:
        return warn("peer", f"{name}: goes on for {row['heir_of']}, and has not linked yet", "has its owner finished?")
    if row.get("heir"):
        name = f"{name} (which says that it goes on as {row['heir']})"
    hints = texts_of(row, "hints")
    failure = f"; last: {row['last_failure']}".removesuffix(f"; {mend}") if row.get("last_failure") else ""
    tried = [reached[hint] for hint in hints if hint in reached]
    undialled = [hint for hint in hints if row.get("secure_only") and hint.startswith("tcp:")]
    open_hints = [each.hint for each in tried if not each.trouble and each.hint not in undialled]
    for each in tried:
        if each.found not in (None, row.get("id")) and each.pin not in map(str.lower, hints):
            return fail(
                "peer",
                f"{name}: not linked, {each.hint} leads to {each.found}",
                mend or "correct the hint, or give its row the new id, if its owner says so by another way",
            )
    if open_hints:
        if row.get("state") == "unknown":
            return ok("peer", f"{name}: {open_hints[0]} accepts connections")
        if row.get("waits"):
            what = f"{name}: {open_hints[0]} accepts connections; our dial waits for its turn{failure}"
            usual = (
                "rows that lead nowhere take turns: remove them, or allow more with --limit pending_dials=…; "
                "so do descriptors that are used up"
            )
            return warn("peer", what, mend or usual)
        if not row.get("last_failure") and row.get("redial_in_s") is not None and (away := since_lost(row)):
            return warn("peer", f"{name}: {open_hints[0]} accepts connections; {away}", mend)
        paste = trust_line(own, listening) if own is not None else "what `ensemble id` shows"
        return fail(
            "peer",
            f"{name}: {open_hints[0]} accepts connections, but no link comes up{failure}",
            mend or f"is the id right, and does it know us? if not, over there: {paste}",
        )
    if tried:
        plain = "not dialled, for its row also names a secure hint"
        troubles = ", ".join(f"{each.hint} ({plain if each.hint in undialled else each.trouble})" for each in tried)
        mends = {each.mend for each in tried}
        usual = "".join(mends) if len(mends) == 1 else ""
        usual = usual or "is its humd running, the address right, its firewall open?"
        if any(reached[hint].trouble == "" for hint in undialled):
            usual = f"mend the secure hint, or `ensemble trust {row.get('id')} --plain`"
        return fail("peer", f"{name}: not linked, {troubles}{failure}", mend or usual)
    if hints:
        return fail(
            "peer",
            f"{name}: not linked; none of its hints can be tried from here{failure}",
            f"give its row a hint that begins with {' or '.join(sorted(TRIED))}",
        )
    if row.get("state") == "unknown":
        return ok("peer", f"{name}: its row has no hint, so it must dial us")
    if not listening:
        return fail(
            "peer",
            f"{name}: not linked; its row has no hint, and this humd listens nowhere",
            "give its row a hint, or this humd --listen tls:14731",
        )
    return warn(
        "peer",
        f"{name}: not linked; its row has no hint, so it must dial us",
        mend or "is its humd running, with a row for us?",
    )


def _linked(name: str, row: dict[str, Any]) -> Finding:
    what = f"{name}: linked over {row.get('wire')} ({row.get('level')})"
    if row.get("unanswered"):
        mend = "has this machine a network, and is its humd running? a link that stays silent is given up by itself"
        return warn("peer", f"{what}, and no answer to a ping yet", mend)
    what = f"{what}, round trip {milliseconds(row.get('round_trip_ms'))}"
    skew, slowed = row.get("skew_ms"), row.get("throttled")
    seconds = skew / 1000 if isinstance(skew, int | float) else 0.0
    if isinstance(skew, int | float):
        what = f"{what}, its clock {seconds:+z.1f} s"
    if slowed:
        what = f"{what}, slowed as it sends faster than its pace"
    if abs(seconds) <= SKEW_WARN:
        who = "stranger" if row.get("stranger") else "known"
        pace = f"--limit {who}_tones_per_second=… and {who}_bytes_per_second=… allow more"
        return warn("peer", what, pace) if slowed else ok("peer", what)
    mend = "set the clock that is wrong: `timedatectl set-ntp true`; signed hellos are refused at 60 s"
    return fail("peer", what, mend) if abs(seconds) > SKEW_FAIL else warn("peer", what, mend)


def _daemon(
    paths: Paths, status: dict[str, Any] | None, own: HumdId | None, silent: Unanswered | None
) -> list[Finding]:
    if status is None and (why := str(silent or socket_gone(paths))):
        what, _, mend = why.partition("; ")
        return [fail("daemon", what, mend)]
    if status is None:
        return [
            fail(
                "daemon",
                "no humd answers on the control socket",
                "systemctl --user start humd, or `twistd humd`; `ensemble init` writes the unit",
            )
        ]
    theirs, elsewhere = HumdId.try_parse(status.get("id")), checks.same_places(paths, status)
    if own is not None and theirs is not None and own != theirs:
        what = f"it runs as {theirs.short}, the key file is that of {own.short}"
        restart = status.get("key") == shown(paths.key)
        return [*elsewhere, fail("daemon", what, "restart humd" if restart else "look again, with what it uses")]
    up = dict_of(status, "links").get("up", 0)
    return elsewhere + checks.same_version(status) or [
        ok("daemon", f"humd {status.get('version')}, pid {status.get('pid')}, {up} linked")
    ]


def _rows(
    paths: Paths, status: dict[str, Any] | None, file: PeersFile | None, own: HumdId | None
) -> list[dict[str, Any]]:
    if status is not None:
        try:
            return rows_of(ask_daemon(paths.control, "probe"))
        except (NoDaemon, DaemonRefused):
            pass  # it went away meanwhile: the file still says whom it should know
    return [unknown_row(row) for row in (file.rows if file is not None else ()) if row.humd_id != own]
