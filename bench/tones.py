"""
The one tone that every figure is measured with: 300 bytes, a nested payload, 19 values.

Its shape is that of the tone in the compiled peer, so that nobody parses less than the others.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

TURN = 64  # tones offered in one reactor turn, and between two drains of the references

TONE: Mapping[str, Any] = {
    "chi": "chunk",
    "sid": "3f2b8c1e9d7a4f60b1c2d3e4f5",
    "from": "alice.sensor-7@node-a",
    "to": "bob.agent-3@node-b",
    "sentAt": 1763643505123,
    "payload": {
        "task": "index-shard-12",
        "state": "running",
        "progress": 0.4375,
        "tags": ["build", "nightly", "x86_64"],
        "meta": {"attempt": 2, "host": "worker-17", "ok": True, "note": None},
    },
}
LINE = json.dumps(TONE, separators=(",", ":")).encode()  # without its LF
BLOCK = (LINE + b"\n") * TURN


def addressed(sender: str, to: str) -> dict[str, Any]:
    """The tone with the full ids that a link wants: about 100 bytes more."""
    return {**TONE, "from": sender, "to": to}


def crowd_id(number: int) -> str:
    """The full id of one of the peers that a bare receiver plays."""
    return "humd_" + f"{number + 1:04x}" * 16


def crowd_hello(number: int) -> bytes:
    """Its hello, as an unsigned 0.7.0 peer says it."""
    hello = {
        "chi": "hello",
        "rid": f"hello-{number}",
        "from": crowd_id(number),
        "humd_id": crowd_id(number),
        "proto_version": "0.7.0",
    }
    return json.dumps(hello).encode() + b"\n"


def gossip(origin: str) -> dict[str, Any]:
    """The tone as news: the same for everybody, from its origin and to nobody by name."""
    return {**TONE, "chi": "gossip-publish", "from": origin, "to": None}


GOSSIP_LINE = json.dumps(gossip(crowd_id(0)), separators=(",", ":")).encode()
