"""Which hints others could use, guessed from what the daemon will listen on."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Final

from ensemble.config import Listening, outward_addresses
from ensemble.identity import BadHint, Hint, HumdId

ONLY_IPV6: Final = "this machine has IPv6 addresses only, so others need a port of IPv6 instead: --listen tls6:14731"

_INSIDE: Final = tuple(  # RFC 1918, RFC 6598, RFC 4193
    map(ip_network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7"))
)


def of_listeners(listeners: Iterable[Listening]) -> list[str]:
    """
    What others would dial for these, as far as this machine knows its addresses.  A port that is chosen later cannot be
    said yet.
    """
    return [
        str(Hint.at(each.wire, host, each.port))
        for each in listeners
        if each.port
        for host in outward_addresses(each.host)
    ]


def trust_line(humd_id: HumdId, hints: Iterable[str]) -> str:
    """What makes others link with this humd, ready to be pasted into a shell of theirs."""
    return shlex.join(("ensemble", "trust", humd_id.full, *hints))


def places(hints: Iterable[str]) -> list[str]:
    """Those that somebody can dial: a ``tls-fp:`` is of the certificate, and no place."""
    return [hint for hint in hints if not hint.startswith("tls-fp:")]


def near_only(hints: Iterable[str]) -> str:
    """What is to be said of hints that lead to this machine only from itself; empty where one may from elsewhere."""
    if not all(map(is_loopback, places(hints))):
        return ""
    return "only programs on this machine can reach that address" + (f"; {ONLY_IPV6}" if is_ipv6_only() else "")


def inside_only(hints: Iterable[str]) -> str:
    """What is to be said of hints that only a network of its own can dial; empty where others may, too."""
    dialled = places(hints)
    if not dialled or not all(map(is_inside, dialled)):
        return ""
    return (
        "from outside this network nobody can dial that address: there it is left out, and this humd dials; "
        "one of two that can be dialled is enough"
    )


def is_ipv6_only() -> bool:
    """Whether others can reach what listens on all addresses of IPv6, and not what listens on all of IPv4."""
    near = [is_loopback(str(Hint.at("tls", outward_addresses(all_)[0], 1))) for all_ in ("0.0.0.0", "::")]
    return near == [True, False]


def is_loopback(text: str) -> bool:
    """Whether a hint can only mean this machine."""
    host = _host(text)
    ip = _address(host)
    return host == "localhost" if ip is None else ip.is_loopback


def is_inside(text: str) -> bool:
    """Whether a hint is an address of those that networks behind a NAT, or of their own, have."""
    ip = _address(_host(text))
    return ip is not None and any(ip in each for each in _INSIDE if each.version == ip.version)


def _host(text: str) -> str:
    try:
        return Hint.parse(text).host_port()[0]
    except BadHint:
        return ""


def _address(host: str) -> IPv4Address | IPv6Address | None:
    try:
        ip = ip_address(host)
    except ValueError:
        return None
    return getattr(ip, "ipv4_mapped", None) or ip
