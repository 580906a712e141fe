"""One side of a meeting, with links that are only names: for the tests of `ensemble.mesh.peer_links`."""

from __future__ import annotations

from typing import Any

from ensemble.mesh.link_actions import Action, PeerLost, WriteOn
from ensemble.mesh.link_order import LinkOrder
from ensemble.mesh.peer_links import PeerLinks
from ensemble.protocols import DEADLINES
from tests.mesh.crossing_world import LARGER, SMALLER


class Side:
    """One side's `PeerLinks`, whose links are named ``ours`` (we dialled) and ``theirs``, with digits where need be."""

    def __init__(self, leads: bool) -> None:
        ids = (SMALLER, LARGER) if leads else (LARGER, SMALLER)
        self.heard: set[str] = set()  # links on which a tone was read
        self.links: PeerLinks[str] = PeerLinks(*ids, self.heard.__contains__, LinkOrder(), DEADLINES.link_close_seconds)
        self.now = 100.0

    def up(self, link: str, **changed: Any) -> list[Action[str]]:
        said = {"dialled": link.startswith("ours"), "level": 2, "instance": "a", "bye": True, **changed}
        return self.links.came_up(link, self.now, **said)

    def read(self, link: str, reason: str = "duplicate", wrote: bool = True) -> list[Action[str]]:
        return self.links.goodbye_read(link, reason, self.now, wrote=wrote)

    def lost(self, link: str, clean: bool = True) -> list[Action[str]]:
        return self.links.lost(link, self.now, reason="it broke", clean=clean)

    def after(self, seconds: float) -> list[Action[str]]:
        """Time passes, one tick at its end."""
        self.now += seconds
        return self.links.tick(self.now)


def leader_with_two() -> Side:
    """Leads, has both up, and has said its goodbye on ``theirs``."""
    side = Side(leads=True)
    side.up("ours")
    side.up("theirs")
    return side


def follower_with_two() -> Side:
    """Follows, has both up, and wrote first on ``ours``."""
    side = Side(leads=False)
    side.up("ours")
    side.up("theirs")
    return side


LOST = [WriteOn(None), PeerLost("it broke")]
