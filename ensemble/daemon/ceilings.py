"""Every ceiling and deadline of a humd, by name, with its unit: what ``status`` has under ``limits``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from attrs import asdict

from ensemble import conversations, mesh, protocols
from ensemble.daemon import control, signals
from ensemble.daemon.descriptors import KEPT
from ensemble.daemon.settings import Settings
from ensemble.tone import MAX_DEPTH

FIXED: Final[Mapping[str, int | float]] = {
    "tone_depth_containers": MAX_DEPTH,
    **protocols.CEILINGS,
    **mesh.CEILINGS,
    **conversations.CEILINGS,
    "stop_seconds": signals.END_SECONDS,
    "control_connections": control.CONNECTIONS,
    "control_taps": control.TAPS,
    "control_request_bytes": control.REQUEST_BYTES,
    "control_queue_bytes": control.QUEUE_BYTES,
    "descriptors_kept": KEPT,
}
"""Those that nobody sets: what the wire fixes, and what costs so little that nobody needs to."""


def ceilings(settings: Settings) -> dict[str, int | float]:
    """All of them; ``--limit`` and ``--max-tone`` set those that come first."""
    return {
        **asdict(settings.limits),
        "max_tone_bytes": settings.max_tone,
        "thrum_max_tone_bytes": settings.thrum_max_tone,  # as much as --max-tone, at least
        **FIXED,
    }
