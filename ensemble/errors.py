"""
The error roots.  Three kinds: the peer's mistake, our mistake, a bug.

A peer can only ever cause a `RemoteWireError`; whatever else escapes a core is a bug and reaches the log with
its traceback.
"""

from __future__ import annotations


class EnsembleError(Exception):
    """Everything this package raises on purpose.  The text is for people: it names the cause and the mend."""


class ConfigurationError(EnsembleError):
    """A file, option or socket that the operator gave us cannot be used."""


class WireError(EnsembleError):
    """Bytes on one connection broke the protocol.  Never raised itself."""


class LocalWireError(WireError):
    """We tried to send something illegal: a bug, or a bad tone, on this side."""


class RemoteWireError(WireError):
    """The peer sent something illegal: drop the line or the link, keep the node."""


class LinkRefused(EnsembleError):
    """
    A link was not admitted, by us or by the other side, or could not be made.

    :ivar mend: what the operator can do; the text ends with it.  Empty where nothing is known.
    """

    def __init__(self, cause: str, mend: str = "") -> None:
        super().__init__(f"{cause}; {mend}" if mend else cause)
        self.mend = mend


class RouteError(EnsembleError):
    """A tone cannot be routed (mesh 6).  Never raised itself."""


class Untargeted(RouteError):
    """The tone has no usable ``to``."""


class UnknownPeer(RouteError):
    """No link to the id in ``to``."""


class SendFailed(RouteError):
    """There is a link, and it cannot take the tone."""


class QueueFull(SendFailed):
    """The destination's queue is at its bound (wire-0.8 section 7)."""


class ToneTooLarge(SendFailed):
    """The line is longer than the receiver said it accepts."""
