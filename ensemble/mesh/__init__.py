"""The mesh: who is linked to this humd, who may be, and the way of a tone to and from them."""

from ensemble.mesh.ceilings import CEILINGS
from ensemble.mesh.chronicle import PROGRAMS
from ensemble.mesh.defaults import LINK_STATEMENTS, MAX_STATEMENTS
from ensemble.mesh.dialler import Dial, Dialler
from ensemble.mesh.ensemble import Ensemble
from ensemble.mesh.limits import Limits
from ensemble.mesh.lineage import Learned
from ensemble.mesh.link import Link
from ensemble.mesh.link_actions import GoodbyeReason
from ensemble.mesh.link_owner import State
from ensemble.mesh.listener import MeshListener
from ensemble.mesh.policy import KnownPeer, Policy
from ensemble.mesh.proof_memory import PEERS_DATABASE, ProofMemory, RamProofMemory, SqliteProofMemory
from ensemble.mesh.tap import TAP_TONES, Tap, TapClosed

__all__ = [
    "CEILINGS",
    "LINK_STATEMENTS",
    "MAX_STATEMENTS",
    "PEERS_DATABASE",
    "PROGRAMS",
    "TAP_TONES",
    "Dial",
    "Dialler",
    "Ensemble",
    "GoodbyeReason",
    "KnownPeer",
    "Limits",
    "Learned",
    "Link",
    "MeshListener",
    "Policy",
    "ProofMemory",
    "RamProofMemory",
    "SqliteProofMemory",
    "State",
    "Tap",
    "TapClosed",
]
