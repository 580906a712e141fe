"""
pydoctor: what is said of each limit is written in the call that makes the field, where no parser of docstrings looks.

``setup.cfg`` names `System`.
"""

from __future__ import annotations

from pydoctor import model

from ensemble.mesh import Limits

PLACES = ("ensemble.mesh.Limits", "ensemble.protocols.Deadlines")


class System(model.System):  # type: ignore[misc]
    """The one that ``setup.cfg`` asks for."""

    def postProcess(self) -> None:
        """Give each field its default, range and meaning, as the guide's table has them, before anything is written."""
        super().postProcess()
        for one in Limits.about():
            for place in PLACES:
                found = self.allobjects.get(f"{place}.{one.name}")
                if found is not None:
                    found.docstring = f"{one.default:,} {one.unit} ({one.least:,} to {one.most:,}): {one.meaning}."
                    found.docstring_lineno = found.linenumber
