"""
The numbers of the mesh, with their units.  Section numbers point to wire-0.8, the page that fixes them; where it names
no number the comment says why this one.
"""

from __future__ import annotations

from typing import Final

# A link that is pending (section 2).
PENDING_LINKS: Final = 256  # accepted links that are pending at once
ADDRESS_PENDING_LINKS: Final = 64  # of them from one address: a quarter, and a NAT full of peers still gets in
SETTLED_SECONDS: Final = 2.0  # whoever has had so long may go for a newcomer of its address; enough to serve all 64

# Two links to one peer (section 3).
CROSSED_SECONDS: Final = 15.0  # a second link later than this was not dialled at once: more than PENDING_SECONDS
SETTLE_SECONDS: Final = 5.0  # the winner is not read for longer than this
MOVE_SECONDS: Final = 10.0  # tones wait no longer than this for a winner that is not up yet
WATCH_SECONDS: Final = 10.0  # our tones on the loser are read within this, or its end tells; see SETTLE_SECONDS
REPLACED_OFTEN: Final = 3  # replacements within REPLACED_SECONDS: two processes may share a key
REPLACED_SECONDS: Final = 60.0
CONTESTED_SECONDS: Final = 600.0  # so long that is remembered
CONTESTED: Final = 256  # ids of which it is, at once

# Is the peer there (section 4).
PING_SECONDS_PAUSED: Final = 3.0  # between pings while we have stopped reading
ARRIVAL_SECONDS: Final = 1.0  # between two looks at whether a ping has arrived
PONGS_AT_ONCE: Final = 10  # answers to a burst of pings; an honest peer sends one in 3 s
PONG_SECONDS: Final = 1.0  # for each further one

# Dialling (section 3).
REDIAL_FIRST_SECONDS: Final = 1.0
REDIAL_LAST_SECONDS: Final = 60.0
REDIAL_GROWTH: Final = 2.0  # each delay is so much the one before
REDIAL_JITTER: Final = 0.5  # and up to this part longer, so that two sides or a hundred do not dial in step
STEADY_SECONDS: Final = 60.0  # a link that was up so long sets the delay back to the first
STAGGER_SECONDS: Final = 0.25  # between the starts of racing hints (RFC 8305 section 5)
PENDING_DIALS: Final = 128  # over all peers: an eighth of the descriptors that a process has where nobody set them
PEER_DIALS: Final = 8  # of them of one peer; its other hints wait until one of these has ended
SPARE_SECONDS: Final = 1.0  # where there is no descriptor for a dial: until the next look

# Tones (sections 2 and 7).
HOLD_BYTES: Final = 8 * 1024 * 1024  # tones that wait for a link, per peer

# What peers say of their keys (docs/rekeying.rst).
MAX_STATEMENTS: Final = 16_384  # of each kind, kept: as many as rows, about 600 bytes each
LINK_STATEMENTS: Final = 32  # looked at on one link; an honest one has two

STOP_SECONDS: Final = 1.5  # from the goodbye of a shutdown until links are cut; all of it has two
CUT_SECONDS: Final = 0.25  # for the transports of those that are cut, to end
MESSAGE_CHARACTERS: Final = 256  # of a goodbye's message, and of its reason: they go to the log
