"""The sets of chi values that a rule speaks of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from ensemble.tone.chi import Chi


def _names(*kinds: Chi) -> frozenset[str]:
    # Plain strings: what is looked up in these sets comes off a wire.
    return frozenset(kind.value for kind in kinds)


LINK_CHI: Final = _names(Chi.HELLO, Chi.HELLO_PROOF, Chi.PING, Chi.PONG, Chi.GOODBYE, Chi.SUCCESSION, Chi.REVOCATION)
"""What is said between the two ends of a link and goes no further."""

REPLIES: Final = _names(
    Chi.CHUNK,
    Chi.FINISH,
    Chi.ERROR,
    Chi.SESSION_READY,
    Chi.PULSE,
    Chi.PERMISSION_ASK,
    Chi.TENDRIL_REACH,
    Chi.TOOL_INFO,
    Chi.TOOL_META,
    Chi.TOOL_RESULT,
)
"""What answers something, and goes to whoever asked (wire-0.8 section 6.2)."""

ENDS: Final[Mapping[str, frozenset[str]]] = {
    Chi.PROMPT.value: _names(Chi.FINISH, Chi.ERROR),
    Chi.TOOL_CALL.value: _names(Chi.TOOL_RESULT, Chi.ERROR),
}
"""What is answered in pieces, and the replies that end it."""

NEVER_ANSWERED: Final = LINK_CHI | _names(
    Chi.ERROR, Chi.ECHO, Chi.LOG, Chi.PERF_MARK, Chi.DRONE, Chi.DRONE_RETROFIT, Chi.PULSE, Chi.BREATH
)
"""What gets no answer on any hop, not even an error (wire-0.8 section 4)."""

NEVER_ANSWERED_PEER: Final = NEVER_ANSWERED | _names(
    Chi.GOSSIP_PUBLISH, Chi.KAD_FIND_NODE, Chi.KAD_FIND_NODE_RESP, Chi.WANE_SYNC
)
"""The same for what a peer sends."""

DROPPABLE: Final = (NEVER_ANSWERED - LINK_CHI - _names(Chi.ERROR)) | _names(Chi.GOSSIP_PUBLISH)
"""
What may be dropped under pressure, oldest first and counted (wire-0.8 section 7).

That section allows all of `NEVER_ANSWERED` and gossip.  Left out is what somebody waits for: errors, and what keeps a
link alive.
"""
