"""File descriptors: as many as the system allows, and some kept back for our own dials, and for local programs."""

from __future__ import annotations

import os
import resource
from collections.abc import Callable
from typing import Final

KEPT: Final = 64  # descriptors that no accepted link may have
KEPT_FROM_DIALS: Final = 32  # of them no dial of ours may have, either
_WITHOUT_LIMIT: Final = (1024 * 1024, 10_240)  # asked for where the hard limit is none; some systems still have one

Limits = tuple[int, int]


def _read() -> Limits:
    return resource.getrlimit(resource.RLIMIT_NOFILE)


def _write(limits: Limits) -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def _following() -> int:
    handle = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    os.close(handle)
    return handle


class Descriptors:
    """
    The limit of this process.

    :ivar soft: how many we may have open, since L{raise_limit} the most that we can.
    """

    def __init__(
        self,
        read: Callable[[], Limits] = _read,
        write: Callable[[Limits], None] = _write,
        probe: Callable[[], int] = _following,
    ) -> None:
        """:param probe: the number that the next file would get; fails with C{OSError} where there is none left."""
        self._read, self._write, self._probe = read, write, probe
        self.soft = self._read()[0]

    def raise_limit(self) -> Limits:
        """
        Raise the soft limit to the hard one, as far as we are let.

        :returns: the soft limit before and now.
        """
        before, hard = self._read()
        for wanted in _WITHOUT_LIMIT if hard == resource.RLIM_INFINITY else (hard,):
            if before != resource.RLIM_INFINITY and wanted > before:
                try:
                    self._write((wanted, hard))
                except (OSError, ValueError):
                    continue  # a smaller one may do; else it stays as it was
                break
        self.soft = self._read()[0]
        return before, self.soft

    def spare(self, kept: int = KEPT) -> bool:
        """
        Is there more left than what is kept?

        The system gives out the lowest free number: one close to the limit says that all below it are taken.  To ask
        costs two system calls, however many are open.
        """
        if self.soft == resource.RLIM_INFINITY:
            return True
        try:
            following = self._probe()
        except OSError:
            return False  # not even one
        return following <= max(self.soft - kept, self.soft // 2)

    def used(self) -> int | None:
        """How many are open now; None where the system does not say."""
        for folder in ("/proc/self/fd", "/dev/fd"):
            try:
                return len(os.listdir(folder)) - 1  # the folder itself was open while it was read
            except OSError:
                continue
        return None
