"""Who is told what happens on a link, and where a link can stand."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import TYPE_CHECKING, Protocol

from ensemble.identity import HumdId
from ensemble.protocols import Refused
from ensemble.tone import Envelope, MalformedTone

if TYPE_CHECKING:
    from ensemble.mesh.link import Link


class State(Enum):
    """Where a link stands.  ``LEAVING``: we say nothing more; ``CLOSING``: nor does the peer; our queue may drain."""

    PENDING = "pending"
    UP = "up"
    LEAVING = "leaving"
    CLOSING = "closing"
    GONE = "gone"


class LinkOwner(Protocol):
    """Who is told about a link.  Called in the order in which things happened."""

    def link_may_prove(self, peer: HumdId) -> bool:
        """May a dial of this peer have our proof?  False drops it (of racing hints only one gets it)."""

    def link_hello_admissible(self, link: Link) -> None:
        """An accepted link showed a hello that would be let in: it is not the first to go when too many are pending."""

    def link_refused(self, link: Link, refused: Refused) -> None:
        """The handshake failed; the link is closed next."""

    def link_up(self, link: Link) -> None:
        """Both sides know who the other is; ``Link.shaken`` says what is known."""

    def link_tone(self, link: Link, envelope: Envelope, line: bytes) -> None:
        """One tone, with the peer's own text in ``from`` or whatever it wrote there."""

    def link_malformed(self, link: Link, line: bytes, error: MalformedTone) -> None:
        """A whole line that is no tone."""

    def link_has_room(self, link: Link) -> None:
        """The queue that was more than half full is not any more."""

    def link_statement(self, link: Link, tone: Mapping[str, object]) -> None:
        """The peer says something of a key."""

    def link_goodbye(self, link: Link, reason: str, message: str) -> None:
        """The peer's last line."""

    def link_broke(self, link: Link, reason: str) -> None:
        """The peer broke framing on a link that is up; it closes."""

    def link_throttled(self, link: Link) -> None:
        """The peer sent more than its allowance, so nothing is read for a while."""

    def link_shed(self, link: Link, cause: str) -> None:
        """Its queue was the longest when all were too much: it is empty now, and the link is to go."""

    def link_gone(self, link: Link, reason: str, clean: bool) -> None:
        """The wire is gone.  Told once, for every link that began."""
