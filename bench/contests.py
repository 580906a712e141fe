"""
Who is measured against whom, for each subcommand; how each program's processes are started stands in `bench.runs`.

The references: ``sockets`` (bare sockets, prebuilt bytes, no codec), ``asyncio+json`` (the obvious program), and with
``--peer`` ``tokio-pump`` (the compiled stand-in for the existing daemon's wire).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import frozen

from bench import runs
from bench.harness import Against, Contest, Program
from bench.tones import GOSSIP_LINE, LINE, TURN

SOCKETS, ASYNCIO, TOKIO = "sockets", "asyncio+json", "tokio-pump"
BARE = "pyOpenSSL"
AT_ONCE = 16  # handshakes under way at a time
SLOW = 250  # connections that trickle
IDLE_CEILING = 16 * 1024  # bytes of resident memory for one link
IDLE_TLS_CEILING = 48 * 1024  # the same over TLS


@frozen
class Size:
    """How much one run does."""

    tones: int
    peer: str | None
    peers: int = 50
    links: int = 2000
    handshakes: int = 1000


def wire(size: Size) -> list[Contest]:
    facts = {"tones": size.tones, "tone_bytes": len(LINE), "tones_per_turn": TURN}
    streams = [
        Program(
            "wire", "encode, push on a link; full decode at the other end", runs.pair(runs.STREAM, size.tones), "rate"
        ),
        Program(
            "route",
            "the same through Ensemble.route(), proven links and a mesh listener",
            runs.pair(runs.MESH, size.tones),
            "rate",
        ),
        Program(SOCKETS, "prebuilt bytes, lines split, no codec", runs.pair(runs.SOCKETS, size.tones), "rate"),
        Program(ASYNCIO, "json.dumps, drain every 64 tones; json.loads", runs.pair(runs.ASYNCIO, size.tones), "rate"),
    ]
    passed = [
        Program("relay", "validated by peek, bytes forwarded", runs.relay(runs.STREAM, size.tones), "rate"),
        Program(SOCKETS, "lines split and joined, no codec", runs.relay(runs.SOCKETS, size.tones), "rate"),
        Program(ASYNCIO, "json.loads, json.dumps", runs.relay(runs.ASYNCIO, size.tones), "rate"),
    ]
    against = [
        Against("wire", SOCKETS),
        Against("wire", ASYNCIO, goal=4.0),
        Against("route", "wire"),
        Against("route", ASYNCIO),
    ]
    passed_against = [Against("relay", SOCKETS), Against("relay", ASYNCIO)]
    if size.peer:
        streams.append(Program(TOKIO, "serde_json, a write per tone", runs.tokio_pair(size.peer, size.tones), "rate"))
        passed.append(Program(TOKIO, "parsed and serialised", runs.tokio_relay(size.peer, size.tones), "rate"))
        against += [Against("wire", TOKIO, goal=1.0, stretch=1.3), Against("route", TOKIO)]
        passed_against.append(Against("relay", TOKIO, goal=2.5, stretch=5.0))
    return [
        Contest("wire", "tones/s", tuple(streams), tuple(against), facts),
        Contest("relay", "tones/s", tuple(passed), tuple(passed_against), facts),
    ]


def rtt(size: Size) -> list[Contest]:
    programs = [
        Program("link", "encode, push, decode, and the same back", runs.rtt(runs.STREAM, size.tones), "p50"),
        Program(
            "route",
            "the same through Ensemble.route(), proven links and a mesh listener",
            runs.rtt(runs.MESH, size.tones),
            "p50",
        ),
        Program(SOCKETS, "prebuilt bytes", runs.rtt(runs.SOCKETS, size.tones), "p50"),
        Program(ASYNCIO, "json.dumps, json.loads", runs.rtt(runs.ASYNCIO, size.tones), "p50"),
    ]
    against = [Against(ours, theirs) for ours in ("link", "route") for theirs in (SOCKETS, ASYNCIO)]
    if size.peer:
        programs.append(Program(TOKIO, "serde_json", runs.tokio_rtt(size.peer, size.tones), "p50"))
        against += [Against(ours, TOKIO, goal=2.0, stretch=1.6, at_most=True) for ours in ("link", "route")]
    facts = {"trips": size.tones, "tone_bytes": len(LINE)}
    return [Contest("rtt", "microseconds, p50", tuple(programs), tuple(against), facts)]


def fanout(size: Size) -> list[Contest]:
    contests = []
    for per_turn in (TURN, 1):
        count = size.tones if per_turn > 1 else max(1, size.tones // 2)
        programs = (
            Program("fanout", "Ensemble.broadcast of gossip", runs.fanout(size.peers, count, per_turn), "rate"),
            Program(
                "addressed",
                "Ensemble.broadcast, each with its id in `to`: 70 bytes more",
                runs.fanout(size.peers, count, per_turn, named=True),
                "rate",
            ),
            Program(SOCKETS, "prebuilt bytes", runs.pump_fan(size.peers, count, per_turn), "rate"),
        )
        facts = {"peers": size.peers, "tones": count, "tone_bytes": len(GOSSIP_LINE), "tones_per_turn": per_turn}
        against = (Against("fanout", SOCKETS, goal=0.8), Against("addressed", SOCKETS))
        contests.append(Contest(f"fanout, {per_turn} a turn", "deliveries/s", programs, against, facts))
    return contests


def daemon(size: Size) -> list[Contest]:
    programs = (
        Program("daemon", "worker, humd, humd, asker; chunk tones without rid", runs.daemon(size.tones), "rate"),
        Program("wire", "one link, as in the wire contest", runs.pair(runs.STREAM, size.tones), "rate"),
        Program(ASYNCIO, "one connection", runs.pair(runs.ASYNCIO, size.tones), "rate"),
    )
    against = (Against("daemon", "wire", goal=1 / 3), Against("daemon", ASYNCIO))
    facts = {"tones": size.tones, "tone_bytes": len(LINE)}
    return [Contest("daemon", "tones/s", programs, against, facts)]


def idle(size: Size) -> list[Contest]:
    programs = (
        Program("link", "an Ensemble with proven links", runs.hold(runs.MESH, size.links, crowd=runs.MESH), "per_link"),
        Program(SOCKETS, "accepted sockets in one process", runs.hold(runs.SOCKETS, size.links), "per_link"),
        Program(ASYNCIO, "accepted asyncio streams", runs.hold(runs.ASYNCIO, size.links), "per_link"),
        Program("ceiling", "what a link may cost", runs.ceiling(IDLE_CEILING), "per_link"),
    )
    against = (Against("link", "ceiling", goal=1.0, at_most=True), Against("link", ASYNCIO))
    return [Contest("idle", "resident bytes per link", programs, against, {"links": size.links})]


def tls(size: Size) -> list[Contest]:
    links = size.links // 2
    stream = (
        Program("tls", "the wire contest's work, over TLS", runs.pair(runs.STREAM, size.tones, "tls"), "rate"),
        Program("wire", "the same over TCP", runs.pair(runs.STREAM, size.tones), "rate"),
    )
    handshakes = (
        Program("link", "dial, TLS, hellos, proofs, up, goodbye", runs.handshakes(size.handshakes), "rate"),
        Program(BARE, "TLS alone, on blocking sockets", runs.bare_handshakes(size.handshakes), "rate"),
    )
    many = (
        Program("link", "the same, by as many diallers", runs.handshakes(size.handshakes, AT_ONCE), "rate"),
        Program(BARE, "TLS alone, on a selector", runs.bare_handshakes(size.handshakes, AT_ONCE), "rate"),
    )
    held = (
        Program(
            "link", "an Ensemble with proven links", runs.hold(runs.MESH, links, "tls", crowd=runs.MESH), "per_link"
        ),
        Program("ceiling", "what a link may cost", runs.ceiling(IDLE_TLS_CEILING), "per_link"),
    )
    flood = (
        Program("flooded", "a proven link under the flood", runs.flooded(size.tones, size.handshakes), "rate"),
        Program(
            "trickled", f"the same beside {SLOW} ClientHellos byte by byte", runs.trickled(size.tones, SLOW), "rate"
        ),
        Program("quiet", "the same link, nobody else", runs.flooded(size.tones, 0), "rate"),
    )
    ceiling = Against("link", "ceiling", goal=1.0, at_most=True)
    against_quiet = (Against("flooded", "quiet", goal=0.5), Against("trickled", "quiet", goal=0.5))
    per_turn = {"tones": size.tones, "tone_bytes": len(LINE), "tones_per_turn": TURN}
    made = {"handshakes": size.handshakes}
    return [
        Contest("tls", "tones/s", stream, (Against("tls", "wire", goal=0.7, stretch=0.85),), per_turn),
        Contest("handshakes", "handshakes/s", handshakes, (Against("link", BARE, goal=0.5),), made),
        Contest(f"handshakes, {AT_ONCE} at once", "handshakes/s", many, (Against("link", BARE),), made),
        Contest("idle over tls", "resident bytes per link", held, (ceiling,), {"links": links}),
        Contest("flood", "tones/s", flood, against_quiet, per_turn),
    ]


CONTESTS: dict[str, tuple[Callable[[Size], list[Contest]], dict[str, Any]]] = {
    "wire": (wire, {"tones": 200_000}),
    "daemon": (daemon, {"tones": 100_000}),
    "rtt": (rtt, {"tones": 5_000}),
    "fanout": (fanout, {"tones": 6_400}),
    "idle": (idle, {"tones": 0}),
    "tls": (tls, {"tones": 100_000}),
}
