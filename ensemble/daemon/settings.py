"""What the operator wants, read once: options first, then the environment, then the XDG rules."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import field, frozen

from ensemble.config import Paths, pasteable
from ensemble.errors import ConfigurationError
from ensemble.mesh import Limits
from ensemble.protocols import DEFAULT_LINE_BUDGET, DEFAULT_MAX_TONE, Level

LEAST_MAX_TONE = 4096  # bytes: an error tone with every field must fit
MOST_MAX_TONE = DEFAULT_LINE_BUDGET  # bytes: no unfinished line may be longer than the budget for all of them


@frozen
class Settings:
    """
    One daemon, as its operator describes it.

    :ivar listen: Twisted endpoint strings.
    :ivar advertise: hints that the operator vouches for (behind a NAT, a name); shown before our own.
    :ivar max_tone: bytes of one line that we accept on a link.
    :ivar home: where a worker works when the asker says nothing.
    :ivar leads: the options with which ``ensemble`` finds this daemon; none where it does without.
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
        """The word of ``--auth``."""
        return self.level.word

    @property
    def admit(self) -> str:
        """The word of ``--admit``."""
        return "any" if self.admit_any else "known"


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
    """The options with which ``ensemble`` finds a daemon in these places; what it serves there its state dir tells."""
    return {} if paths.state_dir == usual.state_dir else {"--state-dir": str(paths.state_dir)}
