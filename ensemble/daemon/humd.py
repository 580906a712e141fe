"""
The daemon as a tree of services: everything that `ensemble.daemon.state.State` and the settings lead to.

The order of the start: the listening ports, the mesh, ``bees.json``, the control socket, the thrum socket, so that
whoever can connect to it finds everything up, and last the dials, which may take many descriptors.  The order of the
end is the reverse as far as people care: no new links, a goodbye to every peer, whose loss the local programs are told
of, then theirs.
"""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from itertools import takewhile
from typing import Any, Final
from uuid import uuid4

from twisted.application.service import MultiService, Service
from twisted.internet.defer import Deferred, DeferredList, maybeDeferred
from twisted.logger import Logger

from ensemble import __version__
from ensemble.config import OwnStatements, alone, lost_key, next_key_trouble
from ensemble.conversations import Node, Routes
from ensemble.daemon.catching_up import CatchingUp
from ensemble.daemon.cautions import PlainLinkWatch
from ensemble.daemon.control import ControlServer
from ensemble.daemon.descriptors import KEPT_FROM_DIALS, Descriptors
from ensemble.daemon.listeners import Listeners
from ensemble.daemon.notify import Notifier
from ensemble.daemon.peerbook import Change, PeerBook
from ensemble.daemon.settings import Settings
from ensemble.daemon.snapshot import BEES, BeesFile
from ensemble.daemon.state import State
from ensemble.daemon.verbs import verbs
from ensemble.errors import ConfigurationError
from ensemble.hives import Roster
from ensemble.identity import HumdId
from ensemble.mesh import Dialler, Ensemble, KnownPeer
from ensemble.protocols import LineBudget, Names, TcpTransport, TlsTransport, Turn
from ensemble.thrum import ThrumServer, clear_stale, prepare_directory
from ensemble.tone import THRUM_VERSION

PROBLEMS_LOGGED: Final = 20  # of one reading of the peers file


class Humd(MultiService):
    """One humd.  Its parts are public: the control verbs, and whoever embeds it, read them."""

    log = Logger()

    def __init__(
        self,
        settings: Settings,
        state: State,
        reactor: Any,
        *,
        listeners: Listeners | None = None,
        descriptors: Descriptors | None = None,
        notifier: Notifier | None = None,
        wall: Callable[[], float] = time.time,
        entropy: Callable[[int], bytes] = os.urandom,
        uniform: Callable[[], float] = random.random,
        client_ids: Callable[[], str] = lambda: str(uuid4()),
    ) -> None:
        """
        :param state: opened; `stopService` closes it.
        :param reactor: ``IReactorTCP``, ``IReactorUNIX``, ``IReactorTime``, ``IReactorPluggableNameResolver``.
        :param listeners: bound already where that took privileges.
        :param uniform: in [0, 1), for the jitter of dials.
        """
        super().__init__()
        self.settings, self.state, self.clock, self.wall = settings, state, reactor, wall
        self.budget = LineBudget(settings.limits.unfinished_lines_bytes)
        self.descriptors = descriptors if descriptors is not None else Descriptors.of(reactor)
        self.listeners = listeners if listeners is not None else Listeners(reactor, settings.listen, self.descriptors)
        self.notifier = notifier if notifier is not None else Notifier({})
        self.me = state.key.humd_id()
        self.began, self.started = reactor.seconds(), wall()
        turn = Turn(reactor)
        succeeds = state.own.leading_to(self.me)
        spare = partial(self.descriptors.spare, KEPT_FROM_DIALS)
        names = Names(reactor, spare)
        limits = settings.limits
        self.tls = TlsTransport(
            reactor, state.key, budget=self.budget, names=names, succeeds=succeeds, deadlines=limits
        )
        tcp = TcpTransport(reactor, budget=self.budget, names=names, deadlines=limits)
        dials = {"tcp": tcp.dial, "tls": self.tls.dial}
        self.peers = PeerBook(settings.paths.peers_file, self.me, settings.level, settings.admit_any, dials)
        self.ensemble = Ensemble(
            self.me,
            clock=reactor,
            key=state.key,
            policy=self.peers.policy(),
            memory=state.memory,
            wall=wall,
            entropy=entropy,
            max_tone=settings.max_tone,
            turn=turn,
            budget=self.budget,
            limits=limits,
            succeeds=succeeds,
        )
        self.announce(state.own)
        self.roster = Roster()
        self.routes = Routes(self.me, self.roster, self._wall_ms, home=settings.home)
        self.node = Node(self.ensemble, self.routes, reactor)
        self.dialler = Dialler(self.ensemble, dials, reactor, uniform, spare)
        self.catching_up = CatchingUp(state.memory, reactor)
        self.bees = BeesFile(settings.paths.state_dir / BEES, self.roster, reactor)
        self.thrum = ThrumServer(
            reactor,
            str(settings.paths.thrum),
            self.node,
            wall_ms=self._wall_ms,
            client_ids=client_ids,
            turn=turn,
            max_line=settings.thrum_max_tone,
            queue_bytes=limits.client_queue_bytes,
            budget=self.budget,
            queues=self.ensemble.queues,
            deadlines=limits,
        )
        self.control = ControlServer(reactor, str(settings.paths.control), verbs(self), turn, limits)
        PlainLinkWatch(self.ensemble)
        self.ensemble.rules.changed.append(self._dial)
        self.ensemble.watch(self._dial_heir)
        self.listeners.serve(self.ensemble, self.tls)
        first = (self.catching_up, self.listeners, self.ensemble, self.node, self.bees)
        for service in (*first, self.control, self.thrum, self.dialler):
            service.setServiceParent(self)

    @property
    def hints(self) -> list[str]:
        """Where others find us: what the operator vouches for first, then what we listen on."""
        places = (*self.settings.advertise, *self.listeners.hints)
        pin = (f"tls-fp:{self.tls.fingerprint}",) if any(place.startswith("tls:") for place in places) else ()
        return list(dict.fromkeys((*places, *pin)))

    def counters(self) -> Counter[str]:
        """Everything that was counted since the start, by name."""
        total: Counter[str] = Counter()
        for part in (self.ensemble, self.routes, self.thrum, self.control):
            total.update(part.counters)
        return total

    def in_short(self) -> str:
        """One line for whoever asks the service manager; it is kept, so addresses that may change are not in it."""
        where = ", ".join((*self.settings.advertise, *self.settings.listen)) or "listens nowhere"
        return f"{self.me.full}; {where}; {self._known_count()} known"

    # IService

    def startService(self) -> None:
        """:raises ConfigurationError: a port or socket cannot be had; the text says why.  Call `abandon` then."""
        if not self.state.lock.held:
            raise ConfigurationError("this humd was stopped, and its state dir let go: make a new one, of a new state")
        self._say_who()
        if self.ensemble.rules.lineage.is_revoked(self.me):
            raise ConfigurationError(
                f"the key {self.settings.paths.key} was revoked, so nobody may link with it: move it away to get a new "
                "key, and with it a new id, and give that to the others"
            )
        self._raise_limit()
        thrum = str(self.settings.paths.thrum)
        prepare_directory(thrum)
        # The lock: between a look at a dead socket and its removal another humd could have put its own there.
        with alone(self.settings.paths.thrum.parent):
            clear_stale(thrum)  # it appears late, but that somebody serves it is to be known before anything opens
            self.listeners.bind()
            self._say_where()
            self._read_peers()
            super().startService()
        paths = self.settings.paths
        self.log.info("thrum socket {thrum}", thrum=str(paths.thrum), control=str(paths.control), event="thrum")

    def stopService(self) -> Deferred[None]:
        """Goodbye to all, for good; fires when it is said, at the latest after two seconds."""
        Service.stopService(self)
        parts = [self.listeners, self.dialler, self.ensemble, self.catching_up, self.bees]
        parts += [self.node, self.thrum, self.control]
        done = DeferredList([maybeDeferred(part.stopService) for part in parts], consumeErrors=True)
        return done.addCallback(self._stopped)

    def abandon(self) -> None:
        """The start failed: leave no socket behind and let go of the state.  For a process that ends now."""
        self.control.abandon()
        self.state.close()

    # peers

    def reload(self) -> Change:
        """
        Read the peers file again and put it in force (wire-0.8 section 8).

        :raises ConfigurationError: it cannot be read; the last good list stays.
        """
        self.notifier.reloading()
        trouble = ""
        try:
            change = self.peers.read()
            self._put_in_force()
            for peer in change.removed:
                self.ensemble.remove_peer(peer)
            self.ensemble.judge_again(self.peers.policy())
            if change.missing:
                self.log.warn(
                    "{file} is missing, so all peers were removed ({removed}): put it back and send SIGHUP again",
                    file=str(self.peers.path),
                    removed=len(change.removed),
                    event="peers-missing",
                )
            self._say_problems(change)
            self.log.info(
                "peers read again: {added} added, {removed} removed, {changed} changed",
                added=len(change.added),
                removed=len(change.removed),
                changed=len(change.changed),
                event="reloaded",
            )
            return change
        except ConfigurationError as error:
            trouble = f"; {error}; the last good list stays in force"
            raise
        finally:
            self.notifier.ready(self.in_short() + trouble)

    def reload_and_tell(self) -> None:
        """As `reload`, for a signal: what is wrong goes to the log."""
        try:
            self.reload()
        except ConfigurationError as error:
            self.log.error("{cause}; the last good list stays in force", cause=str(error), event="reload-failed")

    def announce(self, own: OwnStatements) -> None:
        """Say on every link, now and later, what we have to say of our keys."""
        for statement in own.to_tell(self.me):
            self.ensemble.rules.announce(statement)

    # inside

    def _read_peers(self) -> None:
        try:
            change = self.peers.read()
        except ConfigurationError as error:
            self.log.error("{cause}; starting without peers, SIGHUP reads it again", cause=str(error))
        else:
            self._put_in_force()
            self._say_problems(change)
        self.log.info(
            "{count} known from {file}; auth {auth}, admit {admit}",
            count=self._known_count(),
            peers=len(self.peers.known),
            file=str(self.peers.path),
            auth=self.settings.auth,
            admit=self.settings.admit,
            event="admission",
        )

    def _known_count(self) -> str:
        count = len(self.peers.known)
        return "1 peer" if count == 1 else f"{count} peers"

    def _put_in_force(self) -> None:
        self.ensemble.policy = self.peers.policy()
        self._dial()

    def _dial(self) -> None:
        """An heir is at the same places as those that it goes on for: while one is linked, nobody else is there."""
        rows = self.ensemble.policy.known.values()
        held = {row.peer for row in rows if any(map(self.ensemble.linked, self._before(row)))}
        self.dialler.set_peers(rows, held)

    def _before(self, row: KnownPeer) -> Iterator[HumdId]:
        line = [] if row.heir_of is None else self.ensemble.rules.lineage.line(row.heir_of)
        return takewhile(row.peer.__ne__, line)

    def _dial_heir(self, peer: HumdId, up: bool) -> None:
        if self.ensemble.rules.lineage.heir(peer) is not None:
            self._dial()

    def _say_who(self) -> None:
        self.log.info(
            "this humd is {id} (humd {version}, thrum {thrum_version})",
            id=self.me.full,
            version=__version__,
            thrum_version=THRUM_VERSION,
            event="identity",
        )
        begun = self.state.own.begun(self.me)
        if begun is not None and (trouble := next_key_trouble(self.settings.paths.key, begun)):
            self.log.error("is this an old key? {trouble}", trouble=trouble, event="key-superseded")
        if lost := lost_key(self.settings.paths.key, self.state.own, self.me):
            self.log.warn("is the key lost? {cause}", cause=lost, event="key-lost")
        if self.state.minted:
            self.log.info("its key is new: {key}; keep a copy, it is the id", key=str(self.settings.paths.key))

    def _raise_limit(self) -> None:
        before, now = self.descriptors.raise_limit()
        self.log.info(
            "{now} descriptors may be open (the limit was {before})", now=now, before=before, event="descriptors"
        )

    def _say_where(self) -> None:
        if hints := self.hints:
            self.log.info("others find it at {where}", where=" ".join(hints), hints=hints, event="listening")
        if not self.listeners.hints:
            self.log.info(
                "it listens nowhere, so only its own dials make links; --listen tls:14731 opens a port",
                event="listens-nowhere",
            )

    def _say_problems(self, change: Change) -> None:
        problems = (*change.problems, *self.ensemble.rules.remarks())
        for problem in problems[:PROBLEMS_LOGGED]:
            self.log.warn("{file}: {problem}", file=str(self.peers.path), problem=problem, event="peers-problem")
        if len(problems) > PROBLEMS_LOGGED:
            more = len(problems) - PROBLEMS_LOGGED
            self.log.warn("{file}: and {more} more problems", file=str(self.peers.path), more=more)

    def _stopped(self, _: object) -> None:
        self.state.close()
        self.log.info("stopped", event="stopped")

    def _wall_ms(self) -> int:
        return int(self.wall() * 1000)
