"""What the operator wants, read once: options first, then the environment, then the XDG rules."""

from __future__ import annotations

import re
from collections.abc import Mapping

from attrs import field, frozen

from ensemble.config import Paths, pasteable
from ensemble.errors import ConfigurationError
from ensemble.identity import LISTENED, BadHint, Hint
from ensemble.mesh import Limits
from ensemble.protocols import DEFAULT_LINE_BUDGET, DEFAULT_MAX_TONE, Level

LEAST_MAX_TONE = 4096  # bytes: an error tone with every field must fit
MOST_MAX_TONE = DEFAULT_LINE_BUDGET  # bytes: no unfinished line may be longer than the budget for all of them

MAX_PORT = 65535


@frozen
class Settings:
    """
    One daemon, as its operator describes it.

    :ivar listen: Twisted endpoint strings.
    :ivar advertise: hints that the operator vouches for (behind a NAT, a name); shown before our own.
    :ivar max_tone: bytes of one line that we accept on a link.
    :ivar home: where a worker works when the asker says nothing.
    :ivar leads: the options with which C{ensemble} finds this daemon; none where it does without.
    """

    paths: Paths
    listen: tuple[str, ...] = ()
    advertise: tuple[str, ...] = ()
    level: Level = Level.PROVEN
    admit_any: bool = False
    max_tone: int = DEFAULT_MAX_TONE
    limits: Limits = field(factory=Limits)
    home: str = "/"
    leads: Mapping[str, str] = field(factory=dict)

    def told(self, text: str) -> str:
        """A text for the operator, whose commands lead to this daemon."""
        return pasteable(text, self.leads)

    @property
    def thrum_max_tone(self) -> int:
        """Bytes of one line that we accept from a local program."""
        return max(self.limits.thrum_max_tone_bytes, self.max_tone)

    @property
    def auth(self) -> str:
        """The word of C{--auth}."""
        return self.level.word

    @property
    def admit(self) -> str:
        """The word of C{--admit}."""
        return "any" if self.admit_any else "known"


def wire_of(description: str) -> str:
    """The wire of an endpoint string; empty where there is none so called."""
    return LISTENED.get(description.partition(":")[0], "")


def check_listen(description: str) -> str:
    """
    Only the wires that there are.

    :raises ConfigurationError: it is for another wire, or names no port that there can be.
    """
    scheme, _, place = description.partition(":")
    if not wire_of(description):
        raise ConfigurationError(
            f"--listen {description}: there is no wire {scheme!r} here, only {', '.join(LISTENED)}; "
            "for instance --listen tls:14731:interface=127.0.0.1"
        )
    if not place:
        raise ConfigurationError(f"--listen {description}: a port is missing; for instance --listen tls:14731")
    fields = re.split(r"(?<!\\):", place)  # as Twisted: a backslash takes a colon's meaning away
    named = [field.removeprefix("port=") for field in fields if field.startswith("port=")]
    port = (named or [field for field in fields if "=" not in field] or [""])[0]
    if not re.fullmatch("[0-9]{1,5}", port) or int(port) > MAX_PORT:
        raise ConfigurationError(
            f"--listen {description}: a port is a number up to {MAX_PORT}; for instance --listen tls:14731"
        )
    return description


def check_advertise(text: str) -> str:
    """:raises ConfigurationError: it is no hint."""
    try:
        return str(Hint.parse(text))
    except BadHint as error:
        raise ConfigurationError(f"--advertise {text}: {error}") from None


def read_max_tone(text: str) -> int:
    """
    Bytes, within what makes sense.

    :raises ConfigurationError: not such a number.
    """
    if not text.isascii() or not text.isdigit() or not LEAST_MAX_TONE <= int(text[:20]) <= MOST_MAX_TONE:
        raise ConfigurationError(
            f"--max-tone {text}: a number of bytes from {LEAST_MAX_TONE} to {MOST_MAX_TONE} is needed"
        )
    return int(text)


def leads_to(paths: Paths, usual: Paths) -> dict[str, str]:
    """The options with which C{ensemble} finds a daemon in these places; what it serves there its state dir tells."""
    return {} if paths.state_dir == usual.state_dir else {"--state-dir": str(paths.state_dir)}
