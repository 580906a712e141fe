"""
Where somebody may be found: hints, each ``<scheme>:<value>``.

==================================  ==================================================================
hint                                value
==================================  ==================================================================
``tcp:host:port``                   a name or an IP literal, IPv6 in brackets; plain
``tls:host:port``                   the same, over TLS; with ``tls-fp:`` pinned by fingerprint
``tls-fp:<64 hex>``                 SHA-256 of the leaf certificate, in any case
``udp:host:port``                   QUIC
``relay:<id>@host:port``            by way of a relay that is known by its id
``onion:<56 base32>.onion:port``    a version 3 onion service
anything else                       kept as it came; no wire of ours dials it
==================================  ==================================================================

Hints are hearsay until the handshake: they say where to knock, never who is there.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from ipaddress import AddressValueError, IPv6Address
from itertools import islice
from typing import Any, Final

from attrs import evolve, field, frozen

from ensemble.errors import EnsembleError
from ensemble.identity.humd_id import BadHumdId, HumdId

MAX_HINT: Final = 512  # characters of one hint
MAX_HINTS: Final = 32  # hints of one address
MAX_HOST: Final = 253  # characters of a host name (RFC 1035)
NO_ZONE: Final = "a link-local address needs an interface"
# What an endpoint of ours begins with, as Twisted names it, and the scheme of the hint that leads there.
LISTENED: Final = {"tcp": "tcp", "tcp6": "tcp", "tls": "tls", "tls6": "tls"}
SECURE_SCHEMES: Final = ("udp", "tls", "onion")  # in the order in which they race (wire-0.8 section 3)

_SHAPE: Final = re.compile(r"([a-z][a-z0-9-]{0,31}):(\S+)")
_PORT: Final = re.compile(r"[0-9]{1,5}")
_HOST: Final = re.compile(r"[^\s:/@\[\]%?#\x00-\x20\x7f]+")
_FINGERPRINT: Final = re.compile(r"[0-9a-fA-F]{64}")
_ONION: Final = re.compile(r"[a-z2-7]{56}\.onion", re.IGNORECASE)


class BadHint(EnsembleError):
    """A text that is no hint, or more hints than an address may have."""


class BadAddr(EnsembleError):
    """A JSON value that is no address."""


@frozen
class Hint:
    """
    One place to knock at.

    :ivar scheme: lower case; which wire it is for.
    :ivar value: what the wire makes of it, ``host:port`` for instance.
    """

    scheme: str
    value: str

    @classmethod
    def parse(cls, text: str) -> Hint:
        """
        Read one hint; what its scheme demands of the value is checked, unknown schemes demand nothing.

        :raises BadHint: it has no scheme, is longer than 512 characters, has blanks, or its value is wrong.
        """
        if len(text) > MAX_HINT:
            raise BadHint(f"a hint of {len(text)} characters, limit {MAX_HINT}: {text[:40]!r}…")
        shape = _SHAPE.fullmatch(text)
        if shape is None or not text.isprintable():
            slip = "; a scheme is in lower case" if text[:1].isupper() else ""
            if any(each.isspace() for each in text):
                slip = ", and there is a blank in it"
            raise BadHint(f"{text!r} is not <scheme>:<value>, for instance tls:192.0.2.10:14731{slip}")
        hint = cls(shape[1], shape[2])
        if hint.scheme in _WITH_HOST_PORT:
            hint.host_port()
        elif hint.scheme == "tls-fp" and _FINGERPRINT.fullmatch(hint.value) is None:
            raise BadHint(f"{text!r}: a fingerprint has 64 hex digits")
        return hint

    @classmethod
    def try_parse(cls, text: str) -> Hint | None:
        """The same; None where it is no hint."""
        try:
            return cls.parse(text)
        except BadHint:
            return None

    @classmethod
    def at(cls, scheme: str, host: str, port: int) -> Hint:
        """:param host: a name or an IP literal, of IPv6 without brackets."""
        return cls(scheme, f"[{host}]:{port}" if ":" in host else f"{host}:{port}")

    def host_port(self) -> tuple[str, int]:
        """
        Where to connect.

        :returns: the host (an IPv6 literal without its brackets) and the port, 1 to 65535.
        :raises BadHint: the value has no such form, or the scheme names no host.
        """
        if self.scheme not in _WITH_HOST_PORT:
            raise BadHint(f"{self} names no host and port")
        place = self.value
        if self.scheme == "relay":
            relay, at, place = place.partition("@")
            if not at:
                raise BadHint(f"{self}: a relay is <its id>@host:port")
            try:
                HumdId.parse(relay)
            except BadHumdId as error:
                raise BadHint(f"{self}: {error}") from None
        host, _, port = place.rpartition(":")
        if _PORT.fullmatch(port) is None or not 1 <= int(port) <= 65535:
            raise BadHint(f"{self}: host:port with a port from 1 to 65535 is needed (IPv6 as [::1]:port)")
        return self._host(host), int(port)

    @property
    def zone_mend(self) -> str:
        """What to do where it is a link-local address (RFC 4007) without an interface, `NO_ZONE`; else empty."""
        try:
            host, port = self.host_port()
            ip = IPv6Address(host)
        except (BadHint, AddressValueError):
            return ""
        if not ip.is_link_local or ip.scope_id is not None:
            return ""
        return f"name this machine's behind it: {Hint.at(self.scheme, f'{host}%eth0', port)}"

    def _host(self, host: str) -> str:
        if host.startswith("[") and host.endswith("]"):
            try:
                return str(IPv6Address(host[1:-1]))
            except AddressValueError as error:
                raise BadHint(f"{self}: {error}") from None
        if self.scheme == "onion":
            if _ONION.fullmatch(host) is None:
                raise BadHint(f"{self}: <56 base32 characters>.onion:port is needed")
            return host.lower()
        if len(host) > MAX_HOST or _HOST.fullmatch(host) is None:
            raise BadHint(f"{self}: {host!r} is no host name or IP literal (IPv6 as [::1]:port)")
        return host

    def __str__(self) -> str:
        return f"{self.scheme}:{self.value}"


_WITH_HOST_PORT: Final = frozenset({"tcp", "tls", "udp", "relay", "onion"})


def names_secure(text: str) -> bool:
    """Is it meant for a secure wire?  Also in capitals, as an endpoint such as ``tls6:14731``, or as no hint."""
    scheme = text.strip().partition(":")[0].lower()
    return LISTENED.get(scheme, scheme) in SECURE_SCHEMES


def _texts(hints: Iterable[str]) -> tuple[str, ...]:
    if isinstance(hints, str):
        raise BadHint(f"{hints!r} is one hint: an address has a sequence of them")
    return tuple(hints)


def _within_ceilings(_addr: object, _attribute: object, hints: tuple[str, ...]) -> None:
    if len(hints) > MAX_HINTS:
        raise BadHint(f"{len(hints)} hints, limit {MAX_HINTS}")
    for text in hints:
        if len(text) > MAX_HINT:
            raise BadHint(f"a hint of {len(text)} characters, limit {MAX_HINT}: {text[:40]!r}…")


@frozen
class HumdAddr:
    """
    Somebody, and where to knock.

    :ivar id: who.
    :ivar hints: texts, kept as they came and in their order; those that cannot be read are passed over when used.
    :raises BadHint: one text in place of a sequence, more than 32 of them, or one of more than 512 characters.
    """

    id: HumdId
    hints: tuple[str, ...] = field(default=(), converter=_texts, validator=_within_ceilings)

    def with_hint(self, text: str) -> HumdAddr:
        """
        The same, with one more place to knock (once, however often it is given).

        :raises BadHint: it is none, or the address is full.
        """
        Hint.parse(text)
        return self if text in self.hints else evolve(self, hints=(*self.hints, text))

    def of(self, scheme: str) -> Iterator[Hint]:
        """The readable hints of a scheme, in their order."""
        ours = (text for text in self.hints if text.startswith(f"{scheme}:"))
        return (hint for text in ours if (hint := Hint.try_parse(text)) is not None)

    def first(self, scheme: str) -> Hint | None:
        """The first readable hint of a scheme: the one that counts."""
        return next(self.of(scheme), None)

    def to_json(self) -> dict[str, Any]:
        """``{"id": …, "hints": […]}``, ready for the codec."""
        return {"id": self.id.full, "hints": list(self.hints)}

    @classmethod
    def from_json(cls, value: object) -> HumdAddr:
        """
        Read what `to_json`, or anybody else, wrote.

        Hints that cannot be read, those given twice and those over the ceiling are left out.

        :raises BadAddr: not an object, no readable ``id``, or ``hints`` is not an array of strings.
        """
        if not isinstance(value, Mapping) or not isinstance(text := value.get("id"), str):
            raise BadAddr("an address is an object with an id")
        try:
            humd_id = HumdId.parse(text)
        except BadHumdId as error:
            raise BadAddr(f"an address with a bad id: {error}") from None
        hints = value.get("hints", [])
        if not isinstance(hints, list) or not all(isinstance(hint, str) for hint in hints):
            raise BadAddr("the hints of an address are an array of strings")
        readable = (text for text in dict.fromkeys(hints) if Hint.try_parse(text) is not None)
        return cls(humd_id, tuple(islice(readable, MAX_HINTS)))
