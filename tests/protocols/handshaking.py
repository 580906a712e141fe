"""Humds that shake hands with nothing but lists of lines between them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from itertools import count
from typing import Any

from ensemble.identity import HumdId, HumdKey
from ensemble.mesh.proof_memory import RamProofMemory
from ensemble.protocols import (
    Event,
    Handshake,
    HelloClock,
    Level,
    PeerCapabilities,
    ReadyToProve,
    Refused,
    Role,
    Send,
    Up,
)

NOW = 1_700_000_000_000  # ms

ZERO = HumdKey.from_seed(bytes(32))
RFC8032 = HumdKey.from_seed(bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60"))
FFS = HumdKey.from_seed(b"\xff" * 32)

DIALLER_HELLO = (
    b'{"chi":"hello","rid":"hello-humd_139e3940e64b",'
    b'"from":"humd_139e3940e64b5491722088d9a0d741628fc826e09475d341a780acde3c4b8070",'
    b'"humd_id":"humd_139e3940e64b5491722088d9a0d741628fc826e09475d341a780acde3c4b8070",'
    b'"pubkey":"3b6a27bcceb6a42d62a3a8d02a6f0d73653215771de243a63ac048a18b59da29","proto_version":"0.8.0",'
    b'"nests":[],"hosts":[],"can_relay":false,"free_slots":null,"features":["proof-1","ping-1","bye-1"],'
    b'"nonce":"1111111111111111111111111111111111111111111111111111111111111111",'
    b'"instance":"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa","max_tone":4194304}'
)
LISTENER_HELLO = (
    b'{"chi":"hello","rid":"hello-humd_21fe31dfa154",'
    b'"from":"humd_21fe31dfa154a261626bf854046fd2271b7bed4b6abe45aa58877ef47f9721b9",'
    b'"humd_id":"humd_21fe31dfa154a261626bf854046fd2271b7bed4b6abe45aa58877ef47f9721b9",'
    b'"pubkey":"d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a","proto_version":"0.8.0",'
    b'"nests":[],"hosts":[],"can_relay":false,"free_slots":null,"features":["proof-1","ping-1","bye-1"],'
    b'"nonce":"2222222222222222222222222222222222222222222222222222222222222222",'
    b'"instance":"bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb","max_tone":4194304}'
)

# The points of small order that Ed25519 has, and their other spellings: no secret stands behind any of them.
SMALL_ORDER = [
    bytes.fromhex(text)
    for text in (
        "0100000000000000000000000000000000000000000000000000000000000000",  # the identity
        "0100000000000000000000000000000000000000000000000000000000000080",
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0000000000000000000000000000000000000000000000000000000000000080",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    )
]
UNIVERSAL = SMALL_ORDER[0] + bytes(32)  # the signature of everything by the identity point


class Rules:
    """A policy that a test can change."""

    def __init__(self, level: Level = Level.PROVEN, known: Iterable[HumdId] = (), denied: str | None = None) -> None:
        self.level, self.known, self.denied = level, set(known), denied
        self.levels: dict[HumdId, Level] = {}
        self.asked: list[tuple[HumdId, bool]] = []

    def level_for(self, claimed: HumdId) -> Level:
        """One level for all but some."""
        return self.levels.get(claimed, self.level)

    def admits(self, claimed: HumdId, wire_secure: bool) -> str | None:
        """All or nobody."""
        self.asked.append((claimed, wire_secure))
        return self.denied


class Humd:
    """What the handshakes of one humd share."""

    _numbers = count(1)

    def __init__(self, key: HumdKey | None, level: Level = Level.PROVEN, me: HumdId | None = None) -> None:
        self.key = key
        self.id = me if me is not None else (key or ZERO).humd_id()
        self.rules, self.memory, self.clock = Rules(level), RamProofMemory(), HelloClock()
        self.instance = f"{next(self._numbers):032x}"
        self.capabilities = PeerCapabilities()
        self.features: tuple[str, ...] = ("ping-1", "bye-1")

    def shake(self, role: Role, expected: HumdId | None = None, nonce: str | None = None, **more: Any) -> Handshake:
        """One more link."""
        options: dict[str, Any] = {"instance": self.instance, "capabilities": self.capabilities}
        options |= {"features": self.features, **more}
        return Handshake(
            role=role,
            key=self.key,
            me=self.id,
            policy=lambda: self.rules,
            memory=self.memory,
            hello_clock=self.clock,
            expected=expected,
            nonce=nonce if nonce is not None else f"{next(self._numbers):064x}",
            **options,
        )

    def dial(self, expected: HumdId | None = None, **more: Any) -> Handshake:
        """A link that we open."""
        return self.shake(Role.DIALLER, expected, **more)

    def listen(self, **more: Any) -> Handshake:
        """A link that we accept."""
        return self.shake(Role.LISTENER, **more)


class End:
    """One handshake with its owner, who always wants the proof to leave."""

    def __init__(self, handshake: Handshake) -> None:
        self.handshake = handshake
        self.events: list[Event] = []
        self.unread: list[bytes] = []

    @property
    def up(self) -> Up | None:
        """How it came up, if it did."""
        return next((event for event in self.events if isinstance(event, Up)), None)

    @property
    def refused(self) -> Refused | None:
        """Why it was refused, if it was."""
        return next((event for event in self.events if isinstance(event, Refused)), None)

    def start(self, now: int = NOW) -> list[bytes]:
        """What it says first."""
        return self.handshake.start(now)

    def hear(self, line: bytes, now: int = NOW) -> list[bytes]:
        """What it says to this line."""
        if self.up is not None:
            self.unread.append(line)
            return []
        return self.obey(self.handshake.receive(line, now), now)

    def obey(self, events: list[Event], now: int) -> list[bytes]:
        """Do as an owner does."""
        said: list[bytes] = []
        for event in events:
            self.events.append(event)
            if isinstance(event, Send):
                said.append(event.line)
            elif isinstance(event, ReadyToProve):
                said += self.obey(self.handshake.prove(), now)
        return said


def meet(dialler: Handshake, listener: Handshake, now: int = NOW) -> tuple[End, End]:
    """Let two handshakes talk until both are silent."""
    ends = End(dialler), End(listener)
    queues = [ends[0].start(now), ends[1].start(now)]
    while any(queues):
        for at in (0, 1):
            said, queues[at] = queues[at], []
            for line in said:
                queues[1 - at] += ends[1 - at].hear(line, now)
    return ends


def changed(line: bytes, **fields: Any) -> bytes:
    """The same tone with other fields; ``...`` takes one out."""
    tone = json.loads(line)
    for name, value in fields.items():
        name = "from" if name == "sender" else name
        if value is ...:
            tone.pop(name, None)
        else:
            tone[name] = value
    return json.dumps(tone, separators=(",", ":")).encode()
