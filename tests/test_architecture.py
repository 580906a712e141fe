"""
The folder list is the architecture: who may import whom, and how large a file may grow.

Imports are read from the source, also those inside functions and behind ``TYPE_CHECKING``: an import in a function is
how a cycle hides.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from attrs import frozen
from twisted.trial.unittest import SynchronousTestCase

ROOT = Path(__file__).resolve().parent.parent

GROUND = frozenset({"errors", "interfaces"})
WIRES = GROUND | {"identity", "tone"}
MESH = WIRES | {"protocols"}
THRUM = WIRES | {"protocols"}

# Room: which rooms it may import besides itself.  docs/architecture.rst shows the same table to readers.
MAY_IMPORT: dict[str, frozenset[str]] = {
    "errors": frozenset(),
    "interfaces": frozenset(),
    "identity": GROUND,
    "tone": GROUND | {"identity"},
    "config": WIRES,
    "protocols": WIRES,
    "mesh": MESH,
    "hives": MESH | {"mesh"},
    "conversations": MESH | {"mesh", "hives"},
    "thrum": THRUM,
    "command": THRUM | {"config", "thrum"},
    "testing": MESH | {"config", "mesh", "hives", "conversations", "thrum"},
}
MAY_IMPORT["daemon"] = frozenset(MAY_IMPORT)  # the roof; nobody imports it

CODEC = "ensemble/tone/codec.py"
EMPTY_NAMES = frozenset({"utils", "util", "common", "misc", "helpers", "base"})
MAY_NAME_THE_REACTOR = ("ensemble/daemon/", "bench/", "examples/", "tests/")

LONG, TOO_LONG = 400, 600  # lines
# File between the two: the one thing it holds, and why it stays in one piece.
LONG_FOR_A_REASON: dict[str, str] = {}

SOURCE_FOLDERS = ("ensemble", "twisted", "tests", "bench", "examples", "fuzz", "docs")
TEXT_SUFFIXES = frozenset({"", ".py", ".rst", ".toml", ".cfg", ".md", ".sh", ".txt", ".json", ".in"})
MARKS = ("TO" + "DO", "FIX" + "ME", "XX" + "X")  # in two parts, or this file would be marked itself
UNFINISHED = re.compile(rf"\b(?:{'|'.join(MARKS)})\b")


@frozen
class Import:
    """One imported name: ``import a.b`` is ``a.b``; ``from a import b`` is ``a.b`` too, with ``origin`` ``a``."""

    origin: str
    name: str
    line: int


def sources(*folders: str) -> list[Path]:
    """Every Python file of ours below these folders."""
    return sorted(path for path in files(*folders) if path.suffix == ".py")


def files(*folders: str) -> Iterator[Path]:
    """Every file below these folders but those that a tool made."""
    for path in (path for folder in folders for path in (ROOT / folder).rglob("*")):
        if path.is_file() and not {"_build", "__pycache__"} & set(path.relative_to(ROOT).parts):
            yield path


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def module_name(path: Path) -> str:
    parts = list(path.relative_to(ROOT).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def room_of(module: str) -> str | None:
    """``ensemble.tone.chi`` is in ``tone``; the package itself, and what is not ours, is in no room."""
    parts = module.split(".")
    return parts[1] if parts[0] == "ensemble" and len(parts) > 1 else None


def is_type_checking(test: ast.expr) -> bool:
    return ast.unparse(test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")


def walk(node: ast.AST, skip_type_checking: bool) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        if skip_type_checking and isinstance(child, ast.If) and is_type_checking(child.test):
            for branch in child.orelse:
                yield branch
                yield from walk(branch, skip_type_checking)
            continue
        yield child
        yield from walk(child, skip_type_checking)


def imports(source: str, module: str, is_package: bool, skip_type_checking: bool = False) -> list[Import]:
    """All that the source imports, wherever in it, relative imports made absolute."""
    found = []
    for node in walk(ast.parse(source), skip_type_checking):
        if isinstance(node, ast.Import):
            found += [Import(alias.name, alias.name, node.lineno) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            origin = node.module or ""
            if node.level:
                parts = module.split(".")
                kept = parts[: len(parts) - node.level + is_package]
                origin = ".".join([*kept, origin] if origin else kept)
            found += [Import(origin, f"{origin}.{alias.name}", node.lineno) for alias in node.names]
    return found


def imports_of(path: Path, skip_type_checking: bool = False) -> list[Import]:
    return imports(path.read_text(), module_name(path), path.name == "__init__.py", skip_type_checking)


def is_module(name: str) -> bool:
    path = ROOT.joinpath(*name.split("."))
    return path.with_suffix(".py").is_file() or path.is_dir()


def exported(room: str) -> set[str]:
    """The full names in the room's ``__all__``; a function there may be called like the module it lives in."""
    door = ROOT / "ensemble" / room / "__init__.py"
    if not door.is_file():
        return set()
    return {
        f"ensemble.{room}.{name}"
        for node in ast.parse(door.read_text()).body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
        for name in ast.literal_eval(node.value)
    }


def is_side_door(name: str) -> bool:
    """``name`` can only be a module of a room, not something that the room's package shows."""
    return is_module(name) and name not in exported(name.split(".")[1])


def offences(module: str, found: list[Import]) -> list[str]:
    """
    What is wrong with these imports of a module of ``ensemble``, one line each.

    A room is entered by its front door: ``from ensemble.tone import peek``, never ``from ensemble.tone.codec import
    peek``.  Inside a room it is the other way round, for the door opens last.
    """
    own = room_of(module)
    assert own is not None
    wrong = []
    for each in found:
        if each.origin.partition(".")[0] != "ensemble":
            continue
        target = room_of(each.name)
        where = f"{module}:{each.line}"
        if each.name == "ensemble.__version__":
            continue
        if target is None or not is_module(f"ensemble.{target}"):
            wrong.append(f"{where} imports {each.name} from the package itself, which imports everybody")
        elif target == own:
            if each.origin == f"ensemble.{own}" and module != each.origin and not is_side_door(each.name):
                wrong.append(f"{where} imports {each.name} from its own room's package, not from the module")
        elif target not in MAY_IMPORT[own]:
            wrong.append(f"{where} imports {each.name}: {own} may not know {target}")
        elif each.origin.count(".") > 1 or (each.origin.count(".") == 1 and is_side_door(each.name)):
            wrong.append(f"{where} imports {each.name} past the room's package")
    return wrong


class ReaderTests(SynchronousTestCase):
    """The reader of imports itself, or every promise below would be hollow."""

    def test_finds_every_kind(self) -> None:
        """Imports in functions, in conditions, relative ones and several on a line are all found."""
        source = (
            "import a.b, c\n"
            "from . import near\n"
            "from ..tone import peek as look\n"
            "def f():\n    from ensemble.mesh import Link\n"
            "if TYPE_CHECKING:\n    from late import Type\n"
        )
        names = [each.name for each in imports(source, "ensemble.thrum.service", is_package=False)]
        self.assertEqual(
            names, ["a.b", "c", "ensemble.thrum.near", "ensemble.tone.peek", "ensemble.mesh.Link", "late.Type"]
        )
        package = [each.name for each in imports("from .wire import W", "ensemble.thrum", is_package=True)]
        self.assertEqual(package, ["ensemble.thrum.wire.W"])

    def test_skips_type_checking_where_told(self) -> None:
        """Only the branch for type checkers is left out, not its ``else``."""
        source = "if TYPE_CHECKING:\n    import a\nelse:\n    import b\nimport c\n"
        names = [each.name for each in imports(source, "x", is_package=False, skip_type_checking=True)]
        self.assertEqual(names, ["b", "c"])

    def test_sees_each_offence(self) -> None:
        """An upward arrow, a side door, the package itself and the own front door are each named."""
        source = (
            "from ensemble.daemon import tap\n"
            "from ensemble.identity.key import HumdKey\n"
            "from ensemble import Ensemble\n"
            "from ensemble.tone import peek\n"
            "from ensemble.identity import HumdId\n"
            "from ensemble import errors, __version__\n"
            "from ensemble.identity import key\n"
        )
        found = imports(source, "ensemble.tone.codec", is_package=False)
        wrong = offences("ensemble.tone.codec", found)
        self.assertEqual([int(line.split(":")[1].split()[0]) for line in wrong], [1, 2, 3, 4, 7])


class RoomTests(SynchronousTestCase):
    """Who may import whom."""

    def test_every_room_is_in_the_table(self) -> None:
        """A new room states its arrows before it is built, and the table names no room that is gone."""
        package = ROOT / "ensemble"
        rooms = {path.name for path in package.iterdir() if path.is_dir() and list(path.glob("*.py"))}
        rooms |= {path.stem for path in package.glob("*.py")} - {"__init__"}
        self.assertEqual(rooms, set(MAY_IMPORT))

    def test_arrows_point_down(self) -> None:
        """No room imports one that it may not know, and each is entered by its package."""
        wrong = []
        for path in sources("ensemble"):
            module = module_name(path)
            if room_of(module) is not None:
                wrong += offences(module, imports_of(path, skip_type_checking=module == "ensemble.interfaces"))
        self.assertEqual(wrong, [], "\n" + "\n".join(wrong))

    def test_no_room_is_its_own_foundation(self) -> None:
        """The table has no cycle: every room can be built before those that import it."""
        built: set[str] = set()
        while ready := {room for room, below in MAY_IMPORT.items() if room not in built and below <= built}:
            built |= ready
        self.assertEqual(set(MAY_IMPORT) - built, set())

    def test_the_package_leaves_the_roof_alone(self) -> None:
        """``import ensemble`` loads neither the daemon nor the command, and so installs no reactor."""
        rooms = {room_of(each.name) for each in imports_of(ROOT / "ensemble/__init__.py")}
        self.assertEqual(rooms & {"daemon", "command", "testing"}, set())

    def test_one_module_reads_json(self) -> None:
        """Only the codec imports msgspec, ujson or json, so there is one place that says what a tone may be."""
        guilty = {
            relative(path)
            for path in sources("ensemble")
            if {each.origin.partition(".")[0] for each in imports_of(path)} & {"msgspec", "ujson", "json"}
        }
        self.assertEqual(guilty - {CODEC}, set())

    def test_the_reactor_is_an_argument(self) -> None:
        """Only the roof, and programs, name the global reactor."""
        guilty = {
            relative(path)
            for path in sources(*SOURCE_FOLDERS)
            if any(each.name.startswith("twisted.internet.reactor") for each in imports_of(path))
        }
        self.assertEqual({path for path in guilty if not path.startswith(MAY_NAME_THE_REACTOR)}, set())

    def test_the_plugin_is_light(self) -> None:
        """What every ``twistd`` of the machine loads imports nothing but Twisted's own description of a service."""
        found = {each.origin for path in sources("twisted") for each in imports_of(path)}
        self.assertEqual(found, {"twisted.application.service"})


class FileTests(SynchronousTestCase):
    """What a file may be called, how long it may grow, and that it is finished."""

    def test_names_say_something(self) -> None:
        """No module is named after nothing."""
        guilty = [relative(path) for path in sources(*SOURCE_FOLDERS) if {path.stem, path.parent.name} & EMPTY_NAMES]
        self.assertEqual(guilty, [])

    def test_files_stay_short(self) -> None:
        """Past 400 lines a file must say why, and past 600 there is no reason."""
        lengths = {relative(path): len(path.read_text().splitlines()) for path in sources(*SOURCE_FOLDERS)}
        long = {name: count for name, count in lengths.items() if count > LONG}
        self.assertEqual({name: count for name, count in long.items() if count > TOO_LONG}, {})
        self.assertEqual({name: count for name, count in long.items() if name not in LONG_FOR_A_REASON}, {})
        self.assertEqual(set(LONG_FOR_A_REASON) - set(long), set(), "no longer long: take them out of the table")

    def test_one_markup(self) -> None:
        """Docstrings are reST, as the API reference reads them, not Epytext."""
        guilty = [relative(path) for path in sources(*SOURCE_FOLDERS) if re.search(r"\b[BCIL]\{", path.read_text())]
        self.assertEqual(guilty, [])
        amid = re.compile(r"[.;] +:(?:param|ivar|returns|raises)\b")
        told = [relative(path) for path in sources("ensemble") if amid.search(path.read_text())]
        self.assertEqual(told, [], "a field begins a line, or is read as text")

    def test_nothing_is_left_for_later(self) -> None:
        """No file carries a mark that says it is unfinished."""
        written = [
            *files(*SOURCE_FOLDERS, ".ci", "newsfragments"),
            *(path for path in ROOT.iterdir() if path.is_file()),
        ]
        marked = [
            f"{relative(path)}:{number}"
            for path in written
            if path.suffix in TEXT_SUFFIXES
            for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1)
            if UNFINISHED.search(line)
        ]
        self.assertEqual(marked, [])
