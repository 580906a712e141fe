"""Which hints others could use, guessed from what the daemon will listen on."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable
from ipaddress import ip_address
from typing import Final

from ensemble.command.outcome import BadUsage
from ensemble.config import outward_addresses
from ensemble.identity import LISTENED, BadHint, Hint, HumdId

ONLY_IPV6: Final = "this machine has IPv6 addresses only, so others need a port of IPv6 instead: --listen tls6:14731"
_FIELDS: Final = re.compile(r"(?<!\\):")


def advertised(texts: Iterable[str]) -> list[str]:
    """
    The hints of C{--advertise}, checked.

    :raises BadUsage: one is none.
    """
    try:
        return [str(Hint.parse(text)) for text in texts]
    except BadHint as error:
        raise BadUsage(f"--advertise: {error}") from None


def of_listeners(descriptions: Iterable[str]) -> list[str]:
    """
    What others would dial for these endpoints, as far as this machine knows its addresses.  A port that is chosen later
    cannot be said yet.

    :raises BadUsage: one is no endpoint that the daemon knows.
    """
    found: list[str] = []
    for description in descriptions:
        port, interface = endpoint(description)
        wire = description.partition(":")[0]
        everywhere = "::" if wire.endswith("6") else "0.0.0.0"
        if port:
            found += (str(Hint.at(LISTENED[wire], host, port)) for host in outward_addresses(interface or everywhere))
    return found


def endpoint(description: str) -> tuple[int, str]:
    """
    The port and the interface of an endpoint such as C{tcp:14730:interface=127.0.0.1}.

    :raises BadUsage: it is none.
    """
    wire, *fields = (re.sub(r"\\(.)", r"\1", field) for field in _FIELDS.split(description))
    named = dict(field.partition("=")[::2] for field in fields if "=" in field)
    bare = [field for field in fields if "=" not in field]
    port = named.get("port", bare[0] if bare else "")
    stray = "" in bare  # two colons in a row: an address without backslashes, which the daemon would not start with
    if wire not in LISTENED or not re.fullmatch("[0-9]{1,5}", port) or int(port) > 65535 or stray:
        raise BadUsage(
            f"--listen {description}: it takes {', '.join(list(LISTENED)[:-1])} or {list(LISTENED)[-1]} with a port, "
            r"such as tls:14731, tcp:14730:interface=127.0.0.1 or tls6:14731:interface=\:\:1"
        )
    return int(port), named.get("interface", bare[1] if len(bare) > 1 else "")


def trust_line(humd_id: HumdId, hints: Iterable[str]) -> str:
    """What makes others link with this humd, ready to be pasted into a shell of theirs."""
    return shlex.join(("ensemble", "trust", humd_id.full, *hints))


def near_only(hints: Iterable[str]) -> str:
    """What is to be said of hints that lead to this machine only from itself; empty where one may from elsewhere."""
    places = [hint for hint in hints if not hint.startswith("tls-fp:")]
    if not all(map(is_loopback, places)):
        return ""
    return "only programs on this machine can reach that address" + (f"; {ONLY_IPV6}" if is_ipv6_only() else "")


def is_ipv6_only() -> bool:
    """Whether others can reach what listens on all addresses of IPv6, and not what listens on all of IPv4."""
    near = [is_loopback(str(Hint.at("tls", outward_addresses(all_)[0], 1))) for all_ in ("0.0.0.0", "::")]
    return near == [True, False]


def is_loopback(text: str) -> bool:
    """Whether a hint can only mean this machine."""
    try:
        host, _ = Hint.parse(text).host_port()
    except BadHint:
        return False
    try:
        ip = ip_address(host)
    except ValueError:
        return host == "localhost"
    return (getattr(ip, "ipv4_mapped", None) or ip).is_loopback
