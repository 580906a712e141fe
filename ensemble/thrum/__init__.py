"""The thrum socket: where programs in any language join the humd of their machine."""

from ensemble.thrum.client import Stream, ThrumClient, ThrumLost, connect
from ensemble.thrum.server import SocketInUse, ThrumServer, UnixListener, clear_stale, prepare_directory
from ensemble.thrum.session import MAX_LINE, Session

__all__ = [
    "MAX_LINE",
    "Session",
    "SocketInUse",
    "Stream",
    "ThrumClient",
    "ThrumLost",
    "ThrumServer",
    "UnixListener",
    "clear_stale",
    "connect",
    "prepare_directory",
]
