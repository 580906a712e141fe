"""What each verb of the control socket does; what it shows is in L{ensemble.daemon.report}."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.defer import Deferred, DeferredList

from ensemble.daemon.control import Answer, Refusal, Request, Verb, Watch
from ensemble.daemon.report import peer_rows, status
from ensemble.errors import ConfigurationError
from ensemble.identity import HumdId
from ensemble.tone import Qualifier

if TYPE_CHECKING:
    from ensemble.daemon.humd import Humd

PROBE_SECONDS: Final = 3.0  # for all answers of a probe
CONFIG_BAD: Final = "config.bad"  # of this socket only: a file of the operator's cannot be used


def verbs(humd: Humd) -> dict[str, Verb]:
    """By name, for L{ensemble.daemon.control.ControlServer}."""
    return {
        "status": lambda request: {"ok": True, **status(humd)},
        "peers": lambda request: {"ok": True, "peers": peer_rows(humd)},
        "probe": lambda request: _probe(humd, request),
        "forget": lambda request: _forget(humd, request),
        "reload": lambda request: _reload(humd),
        "tap": lambda request: _tap(humd, request),
    }


def _probe(humd: Humd, request: Request) -> Deferred[Answer]:
    wanted = _peer(humd, request)
    links = [humd.ensemble.link_to(peer) for peer in humd.ensemble.peers() if wanted is None or peer == wanted]
    answers = [link.probe().addTimeout(PROBE_SECONDS, humd.clock) for link in links if link is not None]
    done = DeferredList(answers, consumeErrors=True)
    return done.addCallback(lambda _: {"ok": True, "peers": peer_rows(humd, wanted)})


def _forget(humd: Humd, request: Request) -> Answer:
    peer = _peer(humd, request)
    if peer is None:
        raise Refusal(Qualifier.TONE_MALFORMED, '"peer" is missing: an id, or an alias of the peers file')
    return {"ok": True, "peer": peer.full, "known": humd.state.memory.forget(peer)}


def _reload(humd: Humd) -> Answer:
    try:
        change = humd.reload()
    except ConfigurationError as error:
        raise Refusal(CONFIG_BAD, f"{error}; the last good list stays in force") from None
    return {
        "ok": True,
        "peers_file": os.fsencode(humd.peers.path).decode(errors="replace"),
        "added": _ids(change.added),
        "removed": _ids(change.removed),
        "changed": _ids(change.changed),
        "problems": list(change.problems),
    }


def _tap(humd: Humd, request: Request) -> Watch:
    peer, chis = _peer(humd, request), _words(request, "chi")
    who = None if peer is None else peer.full

    def wanted(tone: Mapping[str, Any]) -> bool:
        return (who is None or tone.get("from") == who) and (chis is None or tone.get("chi") in chis)

    return Watch(humd.ensemble.subscribe(), wanted)


def _peer(humd: Humd, request: Request) -> HumdId | None:
    text = request.get("peer")
    if text is None:
        return None
    if not isinstance(text, str):
        raise Refusal(Qualifier.TONE_MALFORMED, '"peer" must be a string: an id, or an alias of the peers file')
    found = humd.peers.find(text)
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
