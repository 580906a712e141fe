"""The sigil: a short public name for a session on one hive (mesh 3.4)."""

from __future__ import annotations

from hashlib import sha256


def sigil(sid: str, nest: str) -> str:
    """
    Twelve hex digits that stand for session ``sid`` on the hive kind ``nest``.

    The hash is over ``nest + ":" + sid``: the other way round than the arguments.
    """
    return sha256(f"{nest}:{sid}".encode()).hexdigest()[:12]
