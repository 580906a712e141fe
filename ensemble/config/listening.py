"""What ``--listen`` and ``--advertise`` may say."""

from __future__ import annotations

import re
from typing import Final

from attrs import frozen

from ensemble.errors import ConfigurationError
from ensemble.identity import LISTENED, BadHint, Hint

MAX_PORT: Final = 65535
_COLON: Final = re.compile(r"(?<!\\):")  # as Twisted: a backslash takes its meaning away


@frozen
class Listening:
    """
    Where a humd listens, as far as one has to know before it does.

    :ivar wire: the scheme of its hints.
    :ivar host: the address of ours, as it was written; where none was, what means all of them.
    :ivar port: 0 for one that is chosen later.
    """

    wire: str
    host: str
    port: int

    @classmethod
    def parse(cls, description: str) -> Listening:
        r"""
        Read an endpoint string such as ``tcp:14730:interface=127.0.0.1`` or ``tls6:14731:interface=\:\:1``.

        :raises ConfigurationError: it is for a wire that there is not, or names no port that there can be.
        """
        scheme, _, place = description.partition(":")
        if scheme not in LISTENED:
            raise ConfigurationError(
                f"--listen {description}: there is no wire {scheme!r} here, only {', '.join(LISTENED)}; "
                "for instance --listen tls:14731:interface=127.0.0.1"
            )
        if not place:
            raise ConfigurationError(f"--listen {description}: a port is missing; for instance --listen tls:14731")
        fields = [re.sub(r"\\(.)", r"\1", field) for field in _COLON.split(place)]
        named = dict(field.partition("=")[::2] for field in fields if "=" in field)
        bare = [field for field in fields if "=" not in field]
        port = named.get("port", bare[0] if bare else "")
        if not re.fullmatch("[0-9]{1,5}", port) or int(port) > MAX_PORT:
            raise ConfigurationError(
                f"--listen {description}: a port is a number up to {MAX_PORT}; for instance --listen tls:14731"
            )
        is_ipv6 = scheme.endswith("6")
        unnamed = "".join(bare[2:3] if is_ipv6 else bare[1:2])  # of tcp6 Twisted has the backlog before it
        host = named.get("interface", unnamed) or ("::" if is_ipv6 else "0.0.0.0")
        return cls(wire_of(description), host, int(port))


def wire_of(description: str) -> str:
    """The scheme of the hints of an endpoint string that `Listening.parse` takes."""
    return LISTENED[description.partition(":")[0]]


def check_advertise(text: str) -> str:
    """:raises ConfigurationError: it is no hint."""
    try:
        return str(Hint.parse(text))
    except BadHint as error:
        raise ConfigurationError(f"--advertise {text}: {error}") from None
