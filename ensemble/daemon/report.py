"""What the daemon says of itself and of its peers: plain values, ready to be written as JSON."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from ensemble import __version__
from ensemble.config import FLAGS, shown
from ensemble.daemon.ceilings import ceilings
from ensemble.identity import HumdId
from ensemble.mesh import KnownPeer, Link
from ensemble.tone import THRUM_VERSION

if TYPE_CHECKING:
    from ensemble.daemon.humd import Humd


def status(humd: Humd) -> dict[str, Any]:
    """The answer to ``status``, without its ``ok``."""
    paths = humd.settings.paths
    links = humd.ensemble.peers()
    return {
        "id": humd.me.full,
        "revoked": humd.ensemble.rules.lineage.is_revoked(humd.me),
        "unwritten": shown(humd.state.memory.trouble) or None,
        "version": __version__,
        "thrum_version": THRUM_VERSION,
        "instance": humd.ensemble.instance,
        "pid": os.getpid(),
        "started": datetime.fromtimestamp(humd.started, UTC).isoformat(timespec="seconds")[:-6] + "Z",
        "uptime_s": round(humd.clock.seconds() - humd.began, 3),
        "listening": humd.hints,
        "fingerprint": humd.tls.fingerprint,
        "thrum": shown(paths.thrum),
        "control": shown(paths.control),
        "state_dir": shown(paths.state_dir),
        "key": shown(paths.key),
        "peers_file": shown(paths.peers_file),
        "peers_known": len(humd.peers.known),
        "auth": humd.settings.auth,
        "admit": humd.settings.admit,
        "max_tone": humd.settings.max_tone,
        "links": {"up": len(links), "pending": humd.ensemble.pending},
        "clients": _clients(humd),
        "asks": {"open": humd.routes.open_asks, "known": humd.routes.known_asks, "bytes": humd.routes.asks_size},
        "unfinished_bytes": humd.budget.total,
        "queued_bytes": humd.ensemble.queues.total,
        "descriptors": {"soft": humd.descriptors.soft, "used": humd.descriptors.used()},
        "counters": dict(sorted(humd.counters().items())),
        "limits": ceilings(humd.settings),
    }


def peer_rows(humd: Humd, only: HumdId | None = None) -> list[dict[str, Any]]:
    """The answer to ``peers``: those of the peers file in its order, then heirs, then the strangers that are linked."""
    known = {**humd.peers.known, **humd.ensemble.policy.known}
    strangers = [peer for peer in humd.ensemble.peers() if peer not in known]
    return [_row(humd, peer, known.get(peer)) for peer in (*known, *strangers) if only is None or peer == only]


def _row(humd: Humd, peer: HumdId, row: KnownPeer | None) -> dict[str, Any]:
    link = humd.ensemble.link_to(peer)
    policy, rules, told = humd.ensemble.policy, humd.ensemble.rules, humd.settings.told
    _, *heirs = rules.lineage.line(peer)
    rows = [found for heir in heirs if (found := policy.known.get(heir)) is not None]
    lent = any(each.heir_of == peer and each.alias is not None for each in rows)
    alone = "dialling" if humd.dialler.dials(peer) else "down"
    return {
        "id": peer.full,
        "alias": None if row is None or lent else row.alias,
        "state": "linked" if humd.ensemble.linked(peer) else alone,
        "stranger": row is None,
        "hints": [] if row is None else list(row.hints),
        "secure_only": row is not None and row.needs_secure,
        "auth": None if row is None or row.level is None else row.level.word,
        **{flag: row is not None and getattr(row, flag) for flag in FLAGS},
        "heir": heirs[-1].full if heirs and rules.lineage.dead(heirs[-1]) is None else None,
        "heir_of": None if row is None or row.heir_of is None else row.heir_of.full,
        "refused": policy.barred.get(peer),
        "contested": humd.ensemble.history.contested(peer),
        **_away(humd, peer),
        "last_failure": told(humd.dialler.last_failure(peer)) or None,
        "mend": told(rules.mend(peer) or humd.dialler.mend(peer)) or None,
        **_link(humd, link),
    }


def _away(humd: Humd, peer: HumdId) -> dict[str, Any]:
    loss = None if humd.ensemble.linked(peer) else humd.ensemble.history.loss(peer)
    redial_in = humd.dialler.redial_in(peer)
    return {
        "lost": None if loss is None else loss.reason,
        "lost_s": None if loss is None else round(humd.clock.seconds() - loss.at, 3),
        "redial_in_s": None if redial_in is None else round(redial_in, 3),
        "waits": humd.dialler.waits(peer),
    }


def _link(humd: Humd, link: Link | None) -> dict[str, Any]:
    if link is None or link.shaken is None:
        return _NO_LINK
    shaken, round_trip, allowance = link.shaken, link.round_trip, link.reading.allowance
    return {
        "wire": link.wire.kind,
        "address": link.wire.address,
        "level": shaken.level.word,
        "since_s": round(humd.clock.seconds() - link.up_at, 3),
        "dialled": link.wire.dialled,
        "round_trip_ms": None if round_trip is None else round(round_trip * 1000, 3),
        "skew_ms": link.skew_ms,
        "queued_bytes": link.queued,
        "dropped": link.dropped,
        "throttled": 0 if allowance is None else allowance.throttled,
        "features": sorted(shaken.features),
        "proto_version": shaken.capabilities.proto_version,
        "max_tone": shaken.max_tone,
    }


_NO_LINK: Final[dict[str, Any]] = {
    **dict.fromkeys(("wire", "address", "level", "since_s", "dialled", "round_trip_ms", "skew_ms")),
    **dict.fromkeys(("queued_bytes", "dropped", "throttled"), 0),
    "features": [],
    **dict.fromkeys(("proto_version", "max_tone")),
}


def _clients(humd: Humd) -> list[dict[str, Any]]:
    bees = ((client_id, humd.roster.get(client_id)) for client_id in humd.thrum.sessions)
    return [
        {
            "client_id": client_id,
            "name": None if bee is None else bee.name,
            "roles": [] if bee is None else list(bee.bee),
            "models": [] if bee is None else list(bee.models),
            "tools": 0 if bee is None else len(bee.tools),
            "version": None if bee is None else bee.version,
        }
        for client_id, bee in bees
    ]
