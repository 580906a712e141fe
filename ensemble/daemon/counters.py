"""Every counter of C{ensemble status}, and what it counts; a test looks that none is missing."""

from __future__ import annotations

from typing import Final

from ensemble.conversations import COUNTERS as DELIVERY

PREFIX: Final = "tones.refused."
"""Of the counters that go by the qualifier of the error that a peer was told."""

COUNTERS: Final[dict[str, str]] = {
    **DELIVERY,
    "answer.lost": "errors for a peer that was gone, or whose queue was full",
    "control.idle": "control connections that were closed because they asked nothing, or did not read the answer",
    "control.refused": "requests on the control socket that were answered with an error",
    "control.requests": "requests on the control socket",
    "descriptors.refused": "connections from outside that would have taken one of the last descriptors",
    "dials.failed": "dials of ours that made no link, for whatever reason; `ensemble peers` tells the last one's",
    "handshake.bad-hello": "hellos that cannot be read, or lack what a hello needs",
    "handshake.bad-proof": "proofs that are not of this handshake",
    "handshake.bad-signature": "signatures that are wrong",
    "handshake.downgraded": "peers that proved more before",
    "handshake.line": "pending links whose line was too long, too old, or one too many for 16 KiB",
    "handshake.malformed": "lines on a pending link that are no tones",
    "handshake.no-hello": "pending links that said something else first",
    "handshake.no-key": "links that need a key where this humd has none",
    "handshake.no-proof": "peers that did not prove what their hello promised to prove",
    "handshake.not-admitted": "peers that --admit, or the row, does not let in",
    "handshake.other-id": "dials that found another humd than the one that was dialled",
    "handshake.other-key": "hellos whose key is not that of their id",
    "handshake.other-leaf": "hellos of another id than that of the certificate",
    "handshake.own-id": "hellos that claim our own id",
    "handshake.reflected": "proofs of ours that came back to us",
    "handshake.replayed": "signed hellos that were seen before",
    "handshake.stale": "signed hellos that are too old, or from the future",
    "handshake.timeout": "links that were not up within their 10 s",
    "handshake.too-long": "handshake lines that are too long",
    "handshake.unproven": "peers that prove less than is wanted",
    "handshake.unsigned": "hellos without a signature where one is wanted",
    "holds.shed": "peers for whom what waited for a link was dropped, for all queues together were too much",
    "links.broke": "links that were up and ended because a line was too long, or too old",
    "links.dropped": "tones that may be dropped and were, to make room, on links that are gone since",
    "links.shed": "links with the longest queue, closed because all queues together were too much",
    "links.superseded": "second links to a peer that were refused",
    "links.throttled": "pauses of reading because a peer sent faster than it may",
    "peers.lost": "peers that were linked and are lost",
    "pending.address": "accepted links that went, or were not let in, because too many of their address were pending",
    "pending.limit": "accepted links that went because too many were pending",
    "thrum.connected": "connections of local programs",
    "thrum.disconnected.slow": "local programs that were disconnected because they did not read",
    "thrum.line_refused": "local programs that were disconnected because a line was too long, or too old",
    "thrum.malformed": "lines of local programs that are no tones",
    "thrum.shed": "local programs with the longest queue, disconnected because all queues together were too much",
    "tls.handshake": "TLS handshakes of others that failed",
    "tls.late": "connections from outside that were not done with TLS within 10 s",
    "tls.leaf": "connections from outside whose certificate was refused",
    "tones.malformed": "lines of peers that are no tones",
    "tones.received": "tones of peers that were let through",
    "tones.undelivered": "tones that waited for a link, in vain",
    f"{PREFIX}*": "tones of peers that were refused, by the qualifier of the error that they were told",
}
