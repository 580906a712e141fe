"""
The prompt as a worker gets it: the asker's own, with the additions of mesh 9.7 step 6.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from ensemble.hives import Roster

DEFAULT_MODEL: Final = "sonnet"
# What a bee that provides files does better than the worker's own tools, which see another machine.
REPLACED_BY: Final[Mapping[str, tuple[str, ...]]] = {
    "fs": ("Bash", "Edit", "Glob", "Grep", "MultiEdit", "Read", "Write")
}


def for_worker(prompt: Mapping[str, Any], roster: Roster, home: str) -> dict[str, Any]:
    """
    A copy of the prompt with what only this humd knows.

    ``cwd`` and ``content`` (from ``text``) are added where they are absent.  ``foragerTools`` and ``provided`` say what
    the local foragers do, ``disallowedTools`` what the worker had better leave to them, besides what the asker
    forbade.  Everything else stays as it is.

    :param home: the directory to work in where the asker names none.
    """
    tone = dict(prompt)
    tone.setdefault("cwd", home)
    if "content" not in tone and "text" in tone:
        tone["content"] = tone["text"]
    catalogue, provided = roster.catalogue(), roster.provided()
    if catalogue:
        tone["foragerTools"] = list(catalogue)
    if provided:
        tone["provided"] = list(provided)
    replaced = {tool for what in provided for tool in REPLACED_BY.get(what, ())}
    asked = tone.get("disallowedTools")
    if replaced:
        forbidden = {tool for tool in asked if isinstance(tool, str)} if isinstance(asked, list) else set()
        tone["disallowedTools"] = sorted(forbidden | replaced)
    return tone
