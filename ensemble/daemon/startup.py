"""
The start, as whoever typed ``twistd`` sees it: silence and status 0, or one line on stderr and status 1.

``twistd`` itself shows a traceback where a service does not start; in the background it shows the first hundred bytes
of the error's ``repr``.  So a copy of stderr is kept from before the fork until the start is over, and what goes wrong
is written there, and to the log.  The process that waits in front is told by a signal, for it would otherwise add
two lines of its own.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from twisted.application.service import Service
from twisted.internet.defer import Deferred, succeed
from twisted.logger import ILogObserver, Logger
from twisted.python.components import Componentized

from ensemble.config import without_home
from ensemble.daemon.descriptors import Descriptors
from ensemble.daemon.humd import Humd
from ensemble.daemon.listeners import Listeners
from ensemble.daemon.logs import LEVEL_VARIABLE, LEVELS, unknown_level
from ensemble.daemon.notify import Notifier
from ensemble.daemon.settings import Settings
from ensemble.daemon.signals import Signals
from ensemble.daemon.state import State, open_state
from ensemble.errors import EnsembleError

_FAILED = signal.SIGUSR2  # to the process in front


class Launch:
    """
    The way back to who started us.

    :ivar sheds_privileges: ``twistd`` was told to become somebody else once the ports are bound.
    """

    def __init__(self, twistd: Mapping[str, Any]) -> None:
        """:param twistd: its options; nothing where there are none."""
        self.sheds_privileges = twistd.get("uid") is not None or twistd.get("gid") is not None
        self._pidfile = Path(twistd.get("pidfile") or "")
        self._stderr: int | None = None
        self._front: int | None = None
        try:
            self._stderr = os.dup(2)
        except OSError:
            pass  # there is none; the log has the line, too
        if not (twistd.get("nodaemon", True) or twistd.get("debug")):  # it is going to fork, and this process to wait
            self._front = os.getpid()
            signal.signal(_FAILED, _leave_in_front)

    def succeeded(self) -> None:
        """Let go of the terminal."""
        if self._front is not None:
            signal.signal(_FAILED, signal.SIG_DFL)
        stderr, self._stderr = self._stderr, None
        if stderr is not None:
            os.close(stderr)

    def end_now(self) -> None:
        """The end takes too long: everybody was told, the rest is the system's to clear away."""
        self._remove_pidfile()
        os._exit(0)

    def failed(self, message: str) -> NoReturn:
        """
        Say why, tidy up what ``twistd`` would leave, and end.

        :raises SystemExit: with 1.
        """
        if self._stderr is not None:
            try:
                os.write(self._stderr, f"twistd humd: {message}\n".encode(errors="replace"))
            except OSError:
                pass  # whoever would read it is gone
        self._remove_pidfile()
        if self._front is not None:
            os.kill(self._front, _FAILED)
        self.succeeded()
        raise SystemExit(1)

    def _remove_pidfile(self) -> None:
        try:
            if self._pidfile.read_text("ascii", "replace").strip() == str(os.getpid()):
                self._pidfile.unlink()
        except OSError:
            pass  # there is none, or it is not ours to remove


def _leave_in_front(_number: int, _frame: FrameType | None) -> None:
    os._exit(1)  # the line is written, by the process behind


class Program(Service):
    """
    What ``twistd`` runs: `Humd`, with its log, its signals and its way to fail.

    :ivar humd: there once it has started.
    """

    log = Logger()

    humd: Humd

    def __init__(
        self,
        settings: Settings,
        reactor: Any,
        launch: Launch,
        *,
        observer: ILogObserver | None = None,
        environ: Mapping[str, str] | None = None,
        signals: Callable[..., Signals] = Signals,
        open_state: Callable[..., State] = open_state,
    ) -> None:
        """:param observer: where the log goes; None leaves that to ``twistd``."""
        self._settings, self._reactor, self._launch, self._observer = settings, reactor, launch, observer
        self._signals, self._open_state = signals, open_state
        self._environ = environ if environ is not None else {}
        self._notifier = Notifier(self._environ)
        self._descriptors = Descriptors.of(reactor)
        self._listeners = Listeners(reactor, settings.listen, self._descriptors)

    def setServiceParent(self, parent: Any) -> None:
        """``twistd`` looks for an observer in the application: this is the one moment at which we see that."""
        if self._observer is not None and isinstance(parent, Componentized):
            parent.setComponent(ILogObserver, self._observer)
        super().setServiceParent(parent)

    def privilegedStartService(self) -> None:
        """Bind low ports while we may.  Nothing else: files are made by whom we become."""
        super().privilegedStartService()
        if self._launch.sheds_privileges:
            self._try(self._listeners.bind)

    def startService(self) -> None:
        """:raises SystemExit: it did not start; the line is written."""
        super().startService()
        self._try(self._start)
        self._launch.succeeded()
        self._reactor.callWhenRunning(self._runs)

    def stopService(self) -> Deferred[None]:
        super().stopService()
        self._notifier.stopping()
        humd: Humd | None = getattr(self, "humd", None)
        return succeed(None) if humd is None else humd.stopService()

    def _start(self) -> None:
        level = unknown_level(self._environ)
        if level is not None:
            self.log.warn(
                "{variable}={value} is no level, so info counts; there are {levels}",
                variable=LEVEL_VARIABLE,
                value=level,
                levels=", ".join(LEVELS),
                event="log-level",
            )
        what, mend = without_home(self._settings.paths)
        if what:
            self.log.warn("{what}: {mend}", what=what, mend=mend, event="no-home")
        state = self._open_state(self._settings.paths)
        humd = Humd(
            self._settings,
            state,
            self._reactor,
            listeners=self._listeners,
            descriptors=self._descriptors,
            notifier=self._notifier,
        )
        self.humd = humd
        self._signals(self._reactor, self._reactor.stop, humd.reload_and_tell, self._launch.end_now).take()
        humd.startService()

    def _runs(self) -> None:
        self.log.info("ready", event="ready")
        self._notifier.ready(self.humd.in_short())

    def _try(self, step: Callable[[], None]) -> None:
        try:
            step()
        except EnsembleError as error:
            message = " ".join(str(error).split())
            self.log.critical("cannot start: {cause}", cause=message, event="start-failed")
        except Exception as error:  # noqa: BLE001
            # A bug: the log gets the traceback, the terminal its one line all the same.
            message = f"{type(error).__name__}: {' '.join(str(error).split())}: a bug; the log has the traceback"
            self.log.failure("the start died", event="start-failed")
        else:
            return
        humd: Humd | None = getattr(self, "humd", None)
        if humd is not None:
            humd.abandon()
        self._launch.failed(message)
