"""What each verb of the control socket does; what it shows is in `ensemble.daemon.report`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.defer import Deferred, DeferredList, TimeoutError
from twisted.python.failure import Failure

from ensemble.config import read_own_statements, shown
from ensemble.daemon.control import Answer, Refusal, Request, Verb, Watch
from ensemble.daemon.report import peer_rows, status
from ensemble.errors import ConfigurationError
from ensemble.identity import BadStatement, HumdId, Revocation, statement_from
from ensemble.mesh import Learned
from ensemble.protocols import REKEY_FEATURE
from ensemble.tone import Qualifier

if TYPE_CHECKING:
    from ensemble.daemon.humd import Humd

CONFIG_BAD: Final = "config.bad"  # of this socket only: a file of the operator's cannot be used
UNWRITTEN: Final = "state.unwritten"  # of this socket only: it is done, and forgotten when the humd ends


def verbs(humd: Humd) -> dict[str, Verb]:
    """By name, for `ensemble.daemon.control.ControlServer`."""
    return {
        "status": lambda request: {"ok": True, **status(humd)},
        "peers": lambda request: {"ok": True, "peers": peer_rows(humd)},
        "probe": lambda request: _probe(humd, request),
        "forget": lambda request: _forget(humd, request),
        "rekey": lambda request: _rekey(humd),
        "revoke": lambda request: _revoke(humd, request),
        "reload": lambda request: _reload(humd),
        "tap": lambda request: _tap(humd, request),
    }


def _probe(humd: Humd, request: Request) -> Deferred[Answer]:
    wanted = _peer(humd, request)
    peers = [peer for peer in humd.ensemble.peers() if wanted is None or peer == wanted]
    links = {peer.full: link for peer in peers if (link := humd.ensemble.link_to(peer)) is not None}
    seconds = humd.settings.limits.probe_seconds
    done = DeferredList([link.probe().addTimeout(seconds, humd.clock) for link in links.values()], consumeErrors=True)

    def answer(results: list[tuple[bool, Any]]) -> Answer:
        silent = {who for who, (_, cause) in zip(links, results, strict=True) if _timed_out(cause)}
        rows = [{**row, "unanswered": row["id"] in silent} for row in peer_rows(humd, wanted)]
        return {"ok": True, "peers": rows}

    return done.addCallback(answer)


def _timed_out(result: object) -> bool:
    return isinstance(result, Failure) and result.check(TimeoutError) is not None


def _forget(humd: Humd, request: Request) -> Answer:
    peer = _peer(humd, request)
    if peer is None:
        raise Refusal(Qualifier.TONE_MALFORMED, '"peer" is missing: an id, or an alias of the peers file')
    if humd.ensemble.rules.lends_to(peer):
        raise Refusal(
            Qualifier.NOT_SUPPORTED,
            f"{peer} goes on for an id whose row says to follow, and is let in with a proof only: put its own id into "
            "that row first",
        )
    return {"ok": True, "peer": peer.full, "known": humd.state.memory.forget(peer)}


def _rekey(humd: Humd) -> Answer:
    try:
        humd.announce(read_own_statements(humd.settings.paths.state_dir))
    except ConfigurationError as error:
        raise Refusal(CONFIG_BAD, str(error)) from None
    told: dict[bool, list[str]] = {True: [], False: []}
    for peer in humd.ensemble.peers():
        link = humd.ensemble.link_to(peer)
        if link is not None and link.shaken is not None:
            told[REKEY_FEATURE in link.shaken.features].append(peer.full)
    return {"ok": True, "told": told[True], "deaf": told[False]}


def _revoke(humd: Humd, request: Request) -> Answer:
    try:
        statement = statement_from(request.get("statement"))
    except BadStatement as error:
        raise Refusal(Qualifier.TONE_MALFORMED, f'"statement" cannot be used: {error}') from None
    if not isinstance(statement, Revocation) or statement.who == humd.me:
        raise Refusal(Qualifier.NOT_SUPPORTED, '"statement" must be the revocation of somebody else')
    outcome = humd.ensemble.rules.learn([statement], anybody=True)
    if outcome not in (Learned.NEW, Learned.KNOWN):
        raise Refusal(Qualifier.NOT_SUPPORTED, f"the revocation is not taken in: it is {outcome.name.lower()}")
    memory = humd.state.memory
    if outcome is Learned.KNOWN:
        memory.catch_up()
    if memory.trouble:
        raise Refusal(
            UNWRITTEN,
            f"{statement.who} is refused from now on, but only until this humd ends, as it is not written: "
            f"{shown(memory.trouble)}; mend that, then call this again",
        )
    return {"ok": True, "peer": statement.who.full, "known": outcome is Learned.KNOWN}


def _reload(humd: Humd) -> Answer:
    try:
        change = humd.reload()
    except ConfigurationError as error:
        raise Refusal(CONFIG_BAD, f"{error}; the last good list stays in force") from None
    return {
        "ok": True,
        "peers_file": shown(humd.peers.path),
        "added": _ids(change.added),
        "removed": _ids(change.removed),
        "changed": _ids(change.changed),
        "problems": [*map(humd.settings.told, (*change.problems, *humd.ensemble.rules.remarks()))],
    }


def _tap(humd: Humd, request: Request) -> Watch:
    peer, chis = _peer(humd, request), _words(request, "chi")

    def wanted(tone: Mapping[str, Any]) -> bool:
        return chis is None or tone.get("chi") in chis

    return Watch(humd.ensemble.subscribe(peer), wanted)


def _peer(humd: Humd, request: Request) -> HumdId | None:
    text = request.get("peer")
    if text is None:
        return None
    if not isinstance(text, str):
        raise Refusal(Qualifier.TONE_MALFORMED, '"peer" must be a string: an id, or an alias of the peers file')
    # An alias means the heir, once that has linked.
    heirs = (row.peer for row in humd.ensemble.policy.known.values() if row.heir_of is not None and row.alias == text)
    found = next(heirs, None) or humd.peers.find(text)
    if found is None:
        raise Refusal(Qualifier.ROUTE_UNKNOWN_PEER, f"{text[:80]!r} is no id, and no alias of {humd.peers.path}")
    return found


def _words(request: Request, key: str) -> frozenset[str] | None:
    value = request.get(key)
    if value is None:
        return None
    if not isinstance(value, list) or not all(isinstance(word, str) for word in value):
        raise Refusal(Qualifier.TONE_MALFORMED, f'"{key}" must be a list of strings')
    return frozenset(value)


def _ids(peers: tuple[HumdId, ...]) -> list[str]:
    return [peer.full for peer in peers]
