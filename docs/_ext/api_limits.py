"""
pydoctor: what is said of each limit is written in the call that makes the field, where no parser of docstrings looks.

``setup.cfg`` names `System`.
"""

from __future__ import annotations

from typing import Any

from pydoctor import model  # type: ignore[import-untyped]

from ensemble.mesh import Limits

PLACES = ("ensemble.mesh.Limits", "ensemble.protocols.Deadlines")


def describe(system: Any) -> None:
    """Give each field its default, range and meaning, as the guide's table has them."""
    for one in Limits.about():
        for place in PLACES:
            found = system.allobjects.get(f"{place}.{one.name}")
            if found is not None:
                found.docstring = f"{one.default:,} {one.unit} ({one.least:,} to {one.most:,}): {one.meaning}."
                found.docstring_lineno = found.linenumber


class System(model.System):  # type: ignore[misc]
    """The one that ``setup.cfg`` asks for."""

    def postProcess(self) -> None:
        """Called when everything is read and nothing is written yet."""
        super().postProcess()
        describe(self)
