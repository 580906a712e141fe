"""What happens on the links of one ensemble, and who is told."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import LogLevel

from ensemble.errors import LinkRefused
from ensemble.identity import HumdId
from ensemble.mesh.defaults import CUT_SECONDS, STOP_SECONDS
from ensemble.mesh.inbound import REFUSED, Inbound
from ensemble.mesh.link import Link
from ensemble.mesh.link_owner import State
from ensemble.mesh.membership import Membership
from ensemble.mesh.reception import Reception
from ensemble.mesh.refusals import Refusals
from ensemble.mesh.rules import Rules
from ensemble.mesh.tap import Tap
from ensemble.protocols import Refused
from ensemble.tone import Envelope, MalformedTone, Qualifier, is_expired

T = TypeVar("T")


class Links:
    """
    All links of one ensemble that are not gone: the owner of each.

    :ivar taps: who sees every tone.
    :ivar watchers: who is told of each link that comes up, also where one to that peer is up already.
    :ivar received: tones of peers that were let through; a plain number, for this is done for each of them.
    """

    def __init__(
        self,
        me: HumdId,
        members: Membership,
        reception: Reception,
        inbound: Inbound,
        refusals: Refusals,
        rules: Rules,
        wall_ms: Callable[[], int],
    ) -> None:
        self.taps: list[Tap] = []
        self.watchers: list[Callable[[Link], None]] = []
        self._my_text = me.full
        self._members, self._reception, self._inbound = members, reception, inbound
        self._refusals, self._rules, self._wall_ms = refusals, rules, wall_ms
        self._counters = refusals.counters
        self._links: set[Link] = set()
        self.received = 0
        self._leaving: list[tuple[set[Link], Deferred[None]]] = []  # at each stop, and who waits for their end

    def __len__(self) -> int:
        return len(self._links)

    def __iter__(self) -> Iterator[Link]:
        return iter(list(self._links))

    def add(self, link: Link) -> None:
        """One that is about to begin."""
        self._links.add(link)

    def all_gone(self, clock: IReactorTime) -> Deferred[None]:
        """
        Those that there are now have said goodbye.

        :returns: fires when none of them is left.  Those that take too long are cut, and those that are not gone then
            either, for their transports cannot be cut, are not waited for.
        """
        links = list(self)
        gone: Deferred[None] = Deferred()
        leaving = (set(links), gone)
        self._leaving.append(leaving)

        def cut() -> None:
            for link in links:
                link.abort()

        def over(result: T) -> T:
            self._leaving.remove(leaving)
            if cutting.active():
                cutting.cancel()
            return result

        cutting = clock.callLater(STOP_SECONDS, cut)
        if not links:
            gone.callback(None)
        return gone.addTimeout(STOP_SECONDS + CUT_SECONDS, clock, lambda *_: None).addBoth(over)

    # LinkOwner

    def link_may_prove(self, peer: HumdId) -> bool:
        return not self._members.expected(peer).linked  # whoever proves is up in the same call

    def link_refused(self, link: Link, refused: Refused) -> None:
        self._reception.refused(link, refused)

    def link_hello_admissible(self, link: Link) -> None:
        self._reception.admissible(link)

    def link_has_room(self, link: Link) -> None:
        self._members.has_room(link)

    def link_up(self, link: Link) -> None:
        assert link.peer is not None and link.shaken is not None
        # Asked again: the rules may be newer than its hello.
        denied = self._rules.policy.denies(link.peer, link.shaken.level, link.wire.secure)
        if denied is not None:
            self.link_refused(link, Refused(denied, "handshake.not-admitted", "", link.peer))
            link.abort()
            return
        if link.shaken.dropped:
            self._counters["handshake.early"] += link.shaken.dropped
        tell = self._reception.came_up(link)
        self._members.came_up(link, link.peer in self._rules.policy.known)
        late = link.state is State.GONE and not self._members.is_linked(link.peer)
        tell(LinkRefused("it came up late: a link to the same humd was lost meanwhile") if late else link.peer)
        if link.state is State.GONE:
            return
        self._rules.came_up(link)
        for watcher in self.watchers:
            watcher(link)

    def link_tone(self, link: Link, envelope: Envelope, line: bytes) -> None:
        peer = link.peer
        assert peer is not None
        judged: bytes | None = line
        if envelope.sender != link.peer_text or envelope.to != self._my_text:
            judged = self._inbound.judge(peer, envelope, line)
        if judged is None:
            self._slow(link, REFUSED)
            return
        self.received += 1
        if self.taps:
            for tap in list(self.taps):  # who is told may close it, or another one
                tap.put(peer, judged)
        listener = self._members.listener
        if listener is not None:
            listener.tone_arrived(peer, envelope, judged)
        elif is_expired(envelope.dusk, self._wall_ms()):
            self._inbound.refuse(peer, envelope, Qualifier.TONE_EXPIRED, "the tone came after its dusk")

    def link_statement(self, link: Link, tone: Mapping[str, Any]) -> None:
        self._rules.heard(link, tone)

    def link_malformed(self, link: Link, line: bytes, error: MalformedTone) -> None:
        assert link.peer is not None
        work, found = self._inbound.malformed(link.peer, line, error)
        if found is not None and found.chi:
            self._members.garbled(link.peer, found.envelope, str(error))
        self._slow(link, work)

    def _slow(self, link: Link, work: int) -> None:
        """``link`` had us do that for nothing."""
        if link.state is State.UP and link.reading.spend_malformed(work):
            cause, mend = "it sends too many lines that are no tones, or are refused", "is it a humd?"
            self._refusals.refused("links.throttled", cause, link.peer_text, mend, "slowed")

    def link_goodbye(self, link: Link, reason: str, message: str) -> None:
        assert link.peer is not None
        peer = self._members.expected(link.peer)
        self._members.told_of(
            peer, LogLevel.info, "{peer} says goodbye: {reason} ({text})", reason=reason, text=message
        )
        peer.goodbye_read(link, reason)

    def link_broke(self, link: Link, reason: str) -> None:
        self._refusals.refused("links.broke", reason, link.peer_text)

    def link_throttled(self, link: Link) -> None:
        who = "known" if link.peer in self._rules.policy.known else "stranger"
        mend = f"--limit {who}_tones_per_second=… and {who}_bytes_per_second=… allow more"
        self._refusals.refused("links.throttled", "it sends faster than its pace", link.peer_text, mend, "slowed")

    def link_shed(self, link: Link, cause: str) -> None:
        mend = "does it read at all? --limit queues_bytes=… allows more"
        self._refusals.refused("links.shed", cause, link.peer_text, mend, did="dropped")
        self._members.shed(link)

    def link_gone(self, link: Link, reason: str, clean: bool) -> None:
        self._links.discard(link)
        if link.wire.broken:
            if link.shaken is not None:
                self.link_broke(link, reason)
            elif not link.wire.dialled:  # of a dial whoever dialled tells
                self.link_refused(link, Refused(reason, "handshake.line", "", link.peer))
        self._members.gone(link, reason, clean)
        self._reception.lost(link, reason)
        self._tell_gone(link)

    def _tell_gone(self, link: Link) -> None:
        for leaving, gone in list(self._leaving):
            leaving.discard(link)
            if not leaving:
                gone.callback(None)
