"""Humds on a reactor that only pretends: real services and real files, no sockets, and a clock that stands still."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Mapping
from itertools import count
from pathlib import Path
from random import Random
from typing import Any

from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from ensemble.config import Paths
from ensemble.daemon.humd import Humd
from ensemble.daemon.notify import Notifier
from ensemble.daemon.settings import Settings
from ensemble.daemon.state import open_state
from ensemble.protocols import InMemoryEndpoint
from tests.protocols.recording import RecordingSink

EPOCH = 1_700_000_000.0


class Heard(Notifier):
    """What the service manager would be told."""

    def __init__(self) -> None:
        super().__init__({}, lambda: 0)
        self.words: list[str] = []

    def _send(self, *lines: str) -> None:
        self.words.append(lines[0])


class Asker:
    """A program on the control socket, joined over a memory wire."""

    def __init__(self, humd: Humd, clock: MemoryReactorClock) -> None:
        self.near, far = InMemoryEndpoint.pair(humd.me, None, humd.me, None, clock)
        self.sink, self._clock = RecordingSink(), clock
        self.near.start(self.sink)
        humd.control.accepted(far)

    def say(self, *requests: Mapping[str, Any] | bytes) -> None:
        """Send requests, as one segment."""
        self.near.write([said if isinstance(said, bytes) else json.dumps(said).encode() for said in requests])
        settle(self._clock)

    def heard(self) -> list[dict[str, Any]]:
        """All that came so far, and forget it."""
        lines, self.sink.batches = self.sink.lines, []
        return [json.loads(line) for line in lines]

    def ask(self, do: str, **more: Any) -> dict[str, Any]:
        """One request and its one answer."""
        self.say({"do": do, **more})
        (answer,) = self.heard()
        return answer


def settle(clock: MemoryReactorClock) -> None:
    """Run everything that is due now, and what that makes due."""
    for _ in range(1000):
        if not any(call.getTime() <= clock.seconds() for call in clock.getDelayedCalls()):
            return
        clock.advance(0)
    raise AssertionError("it never settles")


class HumdTestCase(SynchronousTestCase):
    """Makes humds that are stopped, and folders that are removed."""

    def setUp(self) -> None:
        self.reactor = MemoryReactorClock()
        self.random = Random(1)
        self.wall = EPOCH

    def folder(self) -> Path:
        """A fresh one, with a path short enough for a socket."""
        folder = Path(tempfile.mkdtemp(prefix="hum d-", dir="/tmp"))
        self.addCleanup(shutil.rmtree, folder, ignore_errors=True)
        return folder

    def settings(self, folder: Path | None = None, **more: Any) -> Settings:
        """The settings of a humd that lives in ``folder``."""
        folder = folder if folder is not None else self.folder()
        paths = Paths.resolve({"HOME": str(folder), "XDG_RUNTIME_DIR": str(folder)}, 0)
        return Settings(paths=paths, **more)

    def humd(self, settings: Settings | None = None, start: bool = True, **more: Any) -> Humd:
        """A humd; its reactor is ours, its listening ports and sockets are only written down."""
        settings = settings if settings is not None else self.settings()
        numbers = count(1)
        humd = Humd(
            settings,
            open_state(settings.paths, self.random.randbytes),
            self.reactor,
            notifier=Heard(),
            wall=lambda: self.wall + self.reactor.seconds(),
            entropy=self.random.randbytes,
            uniform=self.random.random,
            client_ids=lambda: f"client-{next(numbers)}",
            **more,
        )
        if start:
            humd.startService()
            self.addCleanup(self.stop, humd)
        else:
            self.addCleanup(humd.state.close)
        return humd

    def stop(self, humd: Humd) -> None:
        """Stop it, unless it is stopped."""
        if humd.running:
            stopped = humd.stopService()
            settle(self.reactor)
            self.reactor.advance(2)
            settle(self.reactor)
            self.successResultOf(stopped)

    def write_peers(self, humd: Humd | Settings, *rows: Mapping[str, Any]) -> None:
        """Replace a peers file."""
        paths = humd.paths if isinstance(humd, Settings) else humd.settings.paths
        paths.peers_file.parent.mkdir(parents=True, exist_ok=True)
        paths.peers_file.write_text(json.dumps({"peers": list(rows)}))

    def join(self, dialler: Humd, listener: Humd) -> InMemoryEndpoint:
        """Link two humds over a memory wire, as far as they let each other in; the dialler's end."""
        near, far = InMemoryEndpoint.pair(dialler.me, None, listener.me, None, self.reactor)
        for humd, wire in ((dialler, near), (listener, far)):
            humd.ensemble.install(wire).addErrback(lambda failure: None)
        settle(self.reactor)
        return near

    def asker(self, humd: Humd) -> Asker:
        """A program on its control socket."""
        return Asker(humd, self.reactor)
