"""
The wires: what carries lines between two humds, and the handshake that says who they are.

One block of imports per module; ``__all__`` is grouped the same way.
"""

from ensemble.protocols.admission import REFUSALS, HandshakeMemory, LinkPolicy, Refused, SomebodyElse
from ensemble.protocols.block import Block
from ensemble.protocols.bucket import Bucket
from ensemble.protocols.budget import DEFAULT_LINE_BUDGET, DEFAULT_QUEUE_BUDGET, BudgetExceeded, LineBudget, Standing
from ensemble.protocols.capabilities import Headroom, PeerCapabilities, Pressure
from ensemble.protocols.ceilings import CEILINGS
from ensemble.protocols.deadlines import DEADLINES, PENDING_SECONDS, Deadlines
from ensemble.protocols.exchange import Event, ReadyToProve, Send, Up
from ensemble.protocols.handshake import PENDING_BYTES, Handshake
from ensemble.protocols.hello import (
    BYE_FEATURE,
    DEFAULT_FEATURES,
    DEFAULT_MAX_TONE,
    HELLO_WINDOW_MS,
    PING_FEATURE,
    PROOF_FEATURE,
    REKEY_FEATURE,
    BadHello,
    Hello,
    HelloClock,
    Level,
    check_hello_fits,
    hello_line,
    read_hello,
)
from ensemble.protocols.limit import About, about, limit
from ensemble.protocols.memory import InMemoryEndpoint
from ensemble.protocols.names import Names
from ensemble.protocols.ndjson import DEFAULT_MAX_LINE, LineReader, LineTooLong, TotalExceeded, UnfinishedLine
from ensemble.protocols.outbox import DEFAULT_OUTBOX_LIMIT, Outbox
from ensemble.protocols.porch import ACCEPT_PERCENT, HANDSHAKE_PERCENT, Porch
from ensemble.protocols.proof import Role
from ensemble.protocols.share import Share, Traffic, crowd_of
from ensemble.protocols.sockets import host_of
from ensemble.protocols.stream import StreamWire
from ensemble.protocols.stream_factory import StreamWireFactory
from ensemble.protocols.tcp import TcpTransport
from ensemble.protocols.tls import TlsWire
from ensemble.protocols.tls_sessions import TlsSessions
from ensemble.protocols.tls_transport import TlsTransport
from ensemble.protocols.turn import Turn

__all__ = [
    # block
    "Block",
    # bucket
    "Bucket",
    # budget
    "DEFAULT_LINE_BUDGET",
    "DEFAULT_QUEUE_BUDGET",
    "BudgetExceeded",
    "LineBudget",
    "Standing",
    # capabilities
    "Headroom",
    "PeerCapabilities",
    "Pressure",
    # ceilings, deadlines, limit
    "CEILINGS",
    "DEADLINES",
    "PENDING_SECONDS",
    "About",
    "Deadlines",
    "about",
    "limit",
    # admission, exchange, handshake, hello, proof
    "BYE_FEATURE",
    "DEFAULT_FEATURES",
    "DEFAULT_MAX_TONE",
    "HELLO_WINDOW_MS",
    "PENDING_BYTES",
    "PING_FEATURE",
    "PROOF_FEATURE",
    "REFUSALS",
    "REKEY_FEATURE",
    "BadHello",
    "Event",
    "Handshake",
    "HandshakeMemory",
    "Hello",
    "HelloClock",
    "Level",
    "LinkPolicy",
    "ReadyToProve",
    "Refused",
    "Role",
    "Send",
    "SomebodyElse",
    "Up",
    "check_hello_fits",
    "hello_line",
    "read_hello",
    # memory
    "InMemoryEndpoint",
    # names
    "Names",
    # ndjson
    "DEFAULT_MAX_LINE",
    "LineReader",
    "LineTooLong",
    "TotalExceeded",
    "UnfinishedLine",
    # outbox
    "DEFAULT_OUTBOX_LIMIT",
    "Outbox",
    # turn
    "Turn",
    # share, porch
    "ACCEPT_PERCENT",
    "HANDSHAKE_PERCENT",
    "Porch",
    "Share",
    "Traffic",
    "crowd_of",
    # sockets
    "host_of",
    # stream
    "StreamWire",
    "StreamWireFactory",
    # tcp
    "TcpTransport",
    # tls
    "TlsSessions",
    "TlsTransport",
    "TlsWire",
]
