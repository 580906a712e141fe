"""
Sphinx: ``.. chi-table::`` and its like write what the code lists as pages: chi, qualifiers, limits, counters.

The rows are reST already; all that happens here is layout.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from types import ModuleType

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective
from sphinx.util.typing import ExtensionMetadata

from ensemble.daemon import counters
from ensemble.daemon.counters import COUNTERS
from ensemble.mesh import Limits, limits
from ensemble.tone import chi, qualifier


def row(cells: Iterable[str]) -> Iterator[str]:
    """One row of a list-table; each cell one line of reST."""
    for mark, cell in zip(("   * - ", *["     - "] * 9), cells, strict=False):
        yield mark + cell


def table(widths: str, head: Iterable[str], rows: Iterable[Iterable[str]]) -> Iterator[str]:
    """A list-table with a head and these rows."""
    yield from (".. list-table::", "   :header-rows: 1", f"   :widths: {widths}", "")
    yield from row(head)
    for cells in rows:
        yield from row(cells)
    yield ""


def since(info: chi.ChiInfo) -> str:
    """The version, with the feature that a peer must list before it is sent one."""
    return f"{info.since}, ``{info.feature}``" if info.feature else info.since


def chi_page() -> str:
    """One section for each direction, in the order of the registry."""
    lines = [f"Registry version {chi.THRUM_VERSION}: {len(chi.CHI_TABLE)} values.", ""]
    for direction in chi.Direction:
        title = direction.value.capitalize()
        lines += [title, "-" * len(title), ""]
        infos = [info for info in chi.CHI_TABLE.values() if info.direction is direction]
        cells = [(f"``{info.chi.value}``", info.body, info.rule, since(info)) for info in infos]
        lines += table("16 40 32 12", ("chi", "Body", "Rule", "Since"), cells)
    return "\n".join(lines)


def qualifier_page() -> str:
    """Every qualifier of an error and what it means."""
    cells = [(f"``{name.value}``", meaning) for name, meaning in qualifier.MEANING.items()]
    return "\n".join(table("25 75", ("qualifier", "Meaning"), cells))


def limits_page() -> str:
    """Every limit that ``--limit`` sets."""
    cells = [
        (f"``{one.name}``", f"{one.default:,} {one.unit}", f"{one.least:,} to {one.most:,}", one.meaning)
        for one in Limits.about()
    ]
    return "\n".join(table("26 18 20 36", ("Name", "Default", "Range", "What it bounds"), cells))


def counters_page() -> str:
    """Every counter of the status."""
    return "\n".join(table("32 68", ("Name", "What it counts"), [(f"``{k}``", v) for k, v in sorted(COUNTERS.items())]))


class Listing(SphinxDirective):
    """A directive without arguments: what a module of ours lists, as reST."""

    module: ModuleType
    page: Callable[[], str]

    def run(self) -> list[nodes.Node]:
        assert self.module.__file__ is not None
        self.env.note_dependency(self.module.__file__)
        return self.parse_text_to_nodes(type(self).page(), allow_section_headings=True)


def setup(app: Sphinx) -> ExtensionMetadata:
    """Called by Sphinx."""
    for name, module, page in (
        ("chi-table", chi, chi_page),
        ("qualifier-table", qualifier, qualifier_page),
        ("limits-table", limits, limits_page),
        ("counters-table", counters, counters_page),
    ):
        app.add_directive(name, type(name, (Listing,), {"module": module, "page": page}))
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
