"""File descriptors: as many as the system allows, and some kept back for our own dials, and for local programs."""

from __future__ import annotations

import os
import resource
from collections.abc import Callable
from functools import partial
from typing import Final, Self

from twisted.internet.selectreactor import SelectReactor

KEPT: Final = 64  # descriptors that no accepted link may have
KEPT_FROM_DIALS: Final = 32  # of them no dial of ours may have, either
OF_SELECT: Final = 1024  # FD_SETSIZE: select(2) can watch no others, whatever the limit
_WITHOUT_LIMIT: Final = (1024 * 1024, 10_240)  # asked for where the hard limit is none; some systems still have one

Limits = tuple[int, int]
_read = partial(resource.getrlimit, resource.RLIMIT_NOFILE)
_write = partial(resource.setrlimit, resource.RLIMIT_NOFILE)


def _following() -> int:
    handle = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    os.close(handle)
    return handle


class Descriptors:
    """
    The limit of this process.

    :ivar soft: how many we may have open, since `raise_limit` the most that we can.
    """

    def __init__(
        self,
        read: Callable[[], Limits] = _read,
        write: Callable[[Limits], None] = _write,
        probe: Callable[[], int] = _following,
        most: int | None = None,
    ) -> None:
        """
        :param probe: the number that the next file would get; fails with ``OSError`` where there is none left.
        :param most: that can be used, whatever the limit.
        """
        self._read, self._write, self._probe, self._most = read, write, probe, most
        self.soft = self._usable()

    @classmethod
    def of(cls, reactor: object) -> Self:
        """Those that this reactor can watch."""
        return cls(most=OF_SELECT if isinstance(reactor, SelectReactor) else None)

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
        self.soft = self._usable()
        return before, self.soft

    def _usable(self) -> int:
        soft, most = self._read()[0], self._most
        return soft if most is None else most if soft == resource.RLIM_INFINITY else min(soft, most)

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
                found = len(os.listdir(folder)) - 1  # the folder itself was open while it was read
                if found >= self._probe():  # FreeBSD without fdescfs shows three, whatever is open
                    return found
            except OSError:
                continue
        return None
