"""Links that are up and not as safe as they look: plain TCP to an address that is not ours to trust (wire-0.8, 2)."""

from __future__ import annotations

from collections import OrderedDict
from ipaddress import ip_address
from typing import Final

from twisted.logger import Logger

from ensemble.identity import HumdId
from ensemble.mesh import Ensemble, Link

REMEMBERED: Final = 1024  # pairs of peer and address that were warned of


class PlainLinkWatch:
    """
    Warns of a link over a wire that is not secure, to an address that is neither loopback nor private.

    Once for a peer at an address: it comes up again and again.
    """

    log = Logger()

    def __init__(self, ensemble: Ensemble) -> None:
        self._warned: OrderedDict[tuple[HumdId, str], None] = OrderedDict()
        ensemble.watch_links(self._came_up)

    def _came_up(self, link: Link) -> None:
        assert link.shaken is not None
        peer, address = link.shaken.peer, link.wire.address
        if link.wire.secure or not in_the_open(address) or (peer, address) in self._warned:
            return
        self._warned[peer, address] = None
        if len(self._warned) > REMEMBERED:
            self._warned.popitem(last=False)
        self.log.warn(
            "{peer} is linked over plain {wire} at {address}, across a network that others share: {proof} says who was "
            "there, not that what follows is theirs; link over tls, or a private network",
            peer=peer.full,
            wire=link.wire.kind,
            address=address,
            proof=link.shaken.level.word,
            event="plain-link",
        )


def in_the_open(address: str) -> bool:
    """
    Is this an address that strangers may sit in front of?

    :param address: of a wire: an IP address, or empty or a name where there is no network below.
    """
    try:
        ip = ip_address(address.partition("%")[0])
    except ValueError:
        return False
    return not ip.is_private  # as loopback and link-local ones are
