"""
The registry of chi values: every kind of tone, who says it, what is in it, and what it means (mesh 3).

One enum and one table; the page in the documentation is made from the table.  A value is never renamed and never
reused.  A chi that is not here is no error: it is carried like any other.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from attrs import frozen

THRUM_VERSION: Final = "0.8.0"
"""The version of this registry, as ``protoVersion`` and ``proto_version`` say it."""


class Chi(StrEnum):
    """Every kind of tone that this version knows, by its name on the wire."""

    HELLO = "hello"
    PROMPT = "prompt"
    CANCEL = "cancel"
    CLEANUP = "cleanup"
    CURATE = "curate"
    RELEASE_PERMIT = "release-permit"
    TENDRIL_RESULT = "tendril-result"
    TOOL_RESULT = "tool-result"
    PETAL_CELL = "petal-cell"

    BREATH = "breath"
    CHUNK = "chunk"
    FINISH = "finish"
    ERROR = "error"
    SESSION_READY = "session-ready"
    PULSE = "pulse"
    PERMISSION_ASK = "permission-ask"
    TENDRIL_REACH = "tendril-reach"
    TOOL_CALL = "tool-call"
    TOOL_META = "tool-meta"
    TOOL_INFO = "tool-info"

    ECHO = "echo"
    PERF_MARK = "perf-mark"
    LOG = "log"
    DRONE = "drone"
    DRONE_RETROFIT = "drone-retrofit"
    PEER_ADD = "peer-add"
    PEER_REMOVE = "peer-remove"
    ATTACH = "attach"
    DETACH = "detach"
    WANE_SYNC = "wane-sync"
    GOSSIP_PUBLISH = "gossip-publish"
    KAD_FIND_NODE = "kad-find-node"
    KAD_FIND_NODE_RESP = "kad-find-node-resp"

    HELLO_PROOF = "hello-proof"
    PING = "ping"
    PONG = "pong"
    GOODBYE = "goodbye"
    SUCCESSION = "succession"
    REVOCATION = "revocation"


class PulseKind(StrEnum):
    """What a ``pulse`` says of a worker's cell, in its ``kind``."""

    CELL_SPAWNED = "cell-spawned"
    CELL_READY = "cell-ready"
    CELL_IDLE = "cell-idle"
    CELL_DIED = "cell-died"
    CELL_EVICTED = "cell-evicted"


class Direction(StrEnum):
    """Who says a tone to whom.  A habit, not a check: every wire carries all of them."""

    TO_HUMD = "asker or bee to humd"
    TO_ASKER = "humd or worker to asker"
    EITHER = "either way"
    BETWEEN_HUMDS = "between humds"
    LINK = "between the two ends of a link"


@frozen
class ChiInfo:
    """
    One row of the registry.  ``body`` and ``rule`` are reST, one or more sentences each.

    ``since`` is the first `THRUM_VERSION` with it.  ``feature`` is what a peer lists in its hello before it is sent
    one; None where every peer may be.
    """

    chi: Chi
    direction: Direction
    body: str
    rule: str
    since: str = "0.7.0"
    feature: str | None = None


_ROWS: Final = (
    ChiInfo(
        Chi.HELLO,
        Direction.TO_HUMD,
        "From a bee: ``hive`` (else ``from``: its name), ``bee`` (roles: ``worker``, ``forager``), ``models``, "
        "``tools``, ``chis``, ``provides``, ``protoVersion``, ``version``, ``propensity``, ``source``, ``bind``, "
        "``nestlerId``, ``hid``. From a humd: ``humd_id``, ``proto_version``, ``pubkey``, ``nests``, ``hosts``, "
        "``can_relay``, ``free_slots``, ``headroom``, ``signed_at``, ``signature``; since 0.8.0 ``features``, "
        "``nonce``, ``instance``, ``max_tone``, ``succeeds``.",
        "On the socket it says what a bee does and is answered with a ``breath``; a second one replaces the first. On "
        "a link the first line of each side is the handshake and never reaches a bee.",
    ),
    ChiInfo(
        Chi.PROMPT,
        Direction.TO_HUMD,
        "``sid`` (required), ``text`` or ``content``, ``modelId``, ``cwd``, ``systemPrompt``, ``tools``, "
        "``attachments``, ``sampling``, ``allowedTools``, ``disallowedTools``, ``resume``.",
        "Goes to the worker that lists the model, or with ``to`` to that humd. Answered with ``chunk``, ``finish`` or "
        "``error`` on its ``sid``, which belongs to the asker until then.",
    ),
    ChiInfo(
        Chi.CANCEL,
        Direction.TO_HUMD,
        "``sid``.",
        "Stop what is running for the session. From its asker it goes to the worker or humd that serves it.",
    ),
    ChiInfo(
        Chi.CLEANUP,
        Direction.TO_HUMD,
        "``sid``.",
        "Forget the session. Goes the same way as ``cancel``.",
    ),
    ChiInfo(
        Chi.CURATE,
        Direction.TO_HUMD,
        "``sid``.",
        "A wish to tidy up a session; for bees that understand it. The humd itself does nothing with it.",
    ),
    ChiInfo(
        Chi.RELEASE_PERMIT,
        Direction.TO_HUMD,
        "``sid``, ``permitId``, ``decision``.",
        "Answers a ``permission-ask``; for bees that understand it.",
    ),
    ChiInfo(
        Chi.TENDRIL_RESULT,
        Direction.TO_HUMD,
        "``sid``, ``callId``, ``result``.",
        "Answers a ``tendril-reach``; for bees that understand it.",
    ),
    ChiInfo(
        Chi.TOOL_RESULT,
        Direction.TO_HUMD,
        "``callId`` (required), ``sid``, and either ``result`` or ``output`` with ``isError``, ``title``, "
        "``metadata``, ``toolName``. Readers take ``output``, else ``result``, else ``content``.",
        "Answers a ``tool-call`` and goes back to whoever made it, by ``callId``, else ``rid``.",
    ),
    ChiInfo(
        Chi.PETAL_CELL,
        Direction.TO_HUMD,
        "``sid``, ``cell``.",
        "Places a petal in a cell; for bees that understand it.",
    ),
    ChiInfo(
        Chi.BREATH,
        Direction.TO_ASKER,
        "``protoVersion``, ``sessions``; ``from`` is ``daemon``.",
        "A snapshot of the humd: the first line on the socket, and the answer to a ``hello``. Never answered.",
    ),
    ChiInfo(
        Chi.CHUNK,
        Direction.TO_ASKER,
        "``sid``, ``chunkType`` and its fields: ``text_start``, ``reasoning_start`` and ``content_block_stop`` have "
        "``blockIdx``; ``text_delta`` and ``reasoning_delta`` have ``blockIdx`` and ``delta``; ``tool_input_delta`` "
        "has ``blockIdx`` and ``partialJson``; ``tool_executed`` has ``callId``, ``toolName``, ``arguments``, "
        "``output``, ``isError``.",
        "A piece of the answer to a ``prompt``, in order.",
    ),
    ChiInfo(
        Chi.FINISH,
        Direction.TO_ASKER,
        "``sid``, ``finishReason``, ``usage`` (at least ``input_tokens``, ``output_tokens``), ``exitCode``.",
        "The end of the answer to a ``prompt``; frees its ``sid``.",
    ),
    ChiInfo(
        Chi.ERROR,
        Direction.TO_ASKER,
        "``rid``, ``sid``, ``callId`` as the failed tone had them; ``message`` for people; ``qualifier`` for programs "
        "(from humds, since 0.8.0); ``code`` and ``subtype`` (from bees).",
        "Ends what it is about: whoever waits for an answer gets one. Never answered.",
    ),
    ChiInfo(
        Chi.SESSION_READY,
        Direction.TO_ASKER,
        "``sid``, ``nestId``, ``model``, ``tools``.",
        "The worker has the session open.",
    ),
    ChiInfo(
        Chi.PULSE,
        Direction.TO_ASKER,
        "``sid``, ``cellId``, ``kind``: ``cell-spawned``, ``cell-ready``, ``cell-idle``, ``cell-died`` or "
        "``cell-evicted``.",
        "How a worker's cell is doing. May be dropped under pressure. Never answered.",
    ),
    ChiInfo(
        Chi.PERMISSION_ASK,
        Direction.TO_ASKER,
        "``sid``, ``permitId``, ``question``, ``context``.",
        "The worker wants leave for something; the answer is a ``release-permit``.",
    ),
    ChiInfo(
        Chi.TENDRIL_REACH,
        Direction.TO_ASKER,
        "``sid``, ``callId``, ``name``, ``args``.",
        "The worker reaches for something of the asker's; the answer is a ``tendril-result``.",
    ),
    ChiInfo(
        Chi.TOOL_CALL,
        Direction.TO_ASKER,
        "``sid``, ``callId``, ``toolName`` (else ``name``; write both), ``args``.",
        "Goes to the forager that lists the tool, else back to the asker that declared it. Answered with "
        "``tool-result`` or ``error``.",
    ),
    ChiInfo(
        Chi.TOOL_META,
        Direction.TO_ASKER,
        "``sid``, ``callId``, ``meta``.",
        "What else there is to know of a tool call.",
    ),
    ChiInfo(
        Chi.TOOL_INFO,
        Direction.TO_ASKER,
        "``sid``, ``callId``, ``name``, ``args``, ``result``.",
        "The worker used a tool of its own.",
    ),
    ChiInfo(
        Chi.ECHO,
        Direction.EITHER,
        "``rid``, ``ok``; ``error`` where ``ok`` is false.",
        "The humd has read the tone with this ``rid``, which does not mean that it worked. Only on the socket. Never "
        "answered.",
    ),
    ChiInfo(
        Chi.PERF_MARK,
        Direction.EITHER,
        "``label``, ``phase``, ``t``.",
        "A moment worth measuring. Carried where it has a ``to``. Never answered.",
    ),
    ChiInfo(
        Chi.LOG,
        Direction.EITHER,
        "``level``, ``message``.",
        "A line for somebody's log. Never echoed, never answered.",
    ),
    ChiInfo(
        Chi.DRONE,
        Direction.EITHER,
        "Free.",
        "A hint about the state of a conversation, for bees that understand it. Never answered.",
    ),
    ChiInfo(
        Chi.DRONE_RETROFIT,
        Direction.EITHER,
        "Free.",
        "Corrects an earlier ``drone``. Never answered.",
    ),
    ChiInfo(
        Chi.PEER_ADD,
        Direction.EITHER,
        "``humd_id``, ``hints``.",
        "Names a peer and where it can be reached.",
    ),
    ChiInfo(
        Chi.PEER_REMOVE,
        Direction.EITHER,
        "``humd_id``.",
        "Names a peer that is to go.",
    ),
    ChiInfo(
        Chi.ATTACH,
        Direction.EITHER,
        "``sid``, ``hearOnly``.",
        "The sender wants to hear a session that somebody else asked for.",
    ),
    ChiInfo(
        Chi.DETACH,
        Direction.EITHER,
        "``sid``.",
        "Takes an ``attach`` back.",
    ),
    ChiInfo(
        Chi.WANE_SYNC,
        Direction.BETWEEN_HUMDS,
        "``snapshot``: key to unsigned 64-bit integer.",
        "How far the sender is; the larger value of each key counts. From a peer never answered.",
    ),
    ChiInfo(
        Chi.GOSSIP_PUBLISH,
        Direction.BETWEEN_HUMDS,
        "``topic``, ``payload`` (any JSON, also ``null``), ``msg_id``; ``from`` is the origin and is kept on the way.",
        "News for all who subscribe to the topic; passed on once by its ``msg_id``. May be dropped under pressure. "
        "From a peer never answered.",
    ),
    ChiInfo(
        Chi.KAD_FIND_NODE,
        Direction.BETWEEN_HUMDS,
        "``query_id`` (32 hex), ``target`` and ``from`` (ids).",
        "Asks for the contacts nearest to an id; answered on the same link with ``kad-find-node-resp`` only.",
    ),
    ChiInfo(
        Chi.KAD_FIND_NODE_RESP,
        Direction.BETWEEN_HUMDS,
        "``query_id`` (of the question), ``from``, ``closest``: at most 20 of ``{id, hints}``.",
        "The contacts nearest to the target. Never answered.",
    ),
    ChiInfo(
        Chi.HELLO_PROOF,
        Direction.LINK,
        "``signature``: 128 hex, over both hellos, both ids, the role and the channel.",
        "Proves who sent the hello, on this link only. Once from each side, right behind the hellos. Never answered.",
        "0.8.0",
        "proof-1",
    ),
    ChiInfo(
        Chi.PING,
        Direction.LINK,
        "``rid``.",
        "Asks whether the other side is alive, on a link that has been silent. Answered with ``pong`` only.",
        "0.8.0",
        "ping-1",
    ),
    ChiInfo(
        Chi.PONG,
        Direction.LINK,
        "``rid`` of the ``ping``.",
        "The other side is alive. Never answered.",
        "0.8.0",
        "ping-1",
    ),
    ChiInfo(
        Chi.GOODBYE,
        Direction.LINK,
        "``reason``: ``shutdown``, ``duplicate``, ``removed``, ``auth`` or ``limit``; ``message`` for people.",
        "The last line of a side that closes a link on purpose. Never answered, but for a ``duplicate``, which the "
        "other side says back as its own last line.",
        "0.8.0",
        "bye-1",
    ),
    ChiInfo(
        Chi.SUCCESSION,
        Direction.LINK,
        "``old_key``, ``new_key`` (64 hex), ``issued`` (ms), ``old_signature``, ``new_signature`` (128 hex).",
        "The id of the old key goes on as that of the new one; both signed it. Never answered, never passed on.",
        "0.8.0",
        "rekey-1",
    ),
    ChiInfo(
        Chi.REVOCATION,
        Direction.LINK,
        "``key`` (64 hex), ``issued`` (ms), ``signature`` (128 hex).",
        "The key is no longer to be trusted; it signed that itself. Never answered, never passed on.",
        "0.8.0",
        "rekey-1",
    ),
)

CHI_TABLE: Final[Mapping[Chi, ChiInfo]] = MappingProxyType({row.chi: row for row in _ROWS})
"""Everything there is to say about each chi, in the order of the documentation."""
