"""The project's own files: what they promise each other, and the line that ``.ci/run`` ends with."""

from __future__ import annotations

import fnmatch
import importlib
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from xml.etree import ElementTree

from twisted.trial.unittest import SynchronousTestCase

from ensemble.daemon.counters import COUNTERS
from ensemble.mesh import Limits
from tests.test_architecture import GROUND, MAY_IMPORT, ROOT, SOURCE_FOLDERS, imports_of, sources

# Distribution: the name it is imported by, where the two differ.
IMPORT_NAMES = {"pynacl": "nacl", "pyopenssl": "OpenSSL", "zope.interface": "zope"}
# Found in extras or only where somebody wants them.
OPTIONAL_IN = {"ensemble/testing/": {"hypothesis"}}


def project() -> dict[str, list[str]]:
    with (ROOT / "pyproject.toml").open("rb") as file:
        metadata = tomllib.load(file)["project"]
    return {"run": metadata["dependencies"], **metadata["optional-dependencies"]}


def distribution(requirement: str) -> str:
    found = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert found is not None
    return found.group().lower()


class DependencyTests(SynchronousTestCase):
    """What we ask a machine to install."""

    def test_each_is_explained(self) -> None:
        """Every dependency of every extra has its reason in docs/dependencies.rst."""
        page = (ROOT / "docs/dependencies.rst").read_text()
        explained = {name for line in re.findall(r"^(\S.*)\n    \S", page, re.M) for name in line.split(", ")}
        asked = {distribution(each) for extra in project().values() for each in extra}
        self.assertEqual(asked - explained, set())

    def test_what_is_imported_is_asked_for(self) -> None:
        """A fresh install has all that the package imports, by its own request and not by another's."""
        declared = {distribution(each) for each in project()["run"]}
        known = {IMPORT_NAMES.get(name, name) for name in declared} | {"ensemble", "attr", *sys.stdlib_module_names}
        missing = []
        for path in sources("ensemble"):
            name = path.relative_to(ROOT).as_posix()
            optional = {each for folder, names in OPTIONAL_IN.items() if name.startswith(folder) for each in names}
            roots = {each.origin.partition(".")[0] for each in imports_of(path)}
            missing += [f"{name}: {root}" for root in sorted(roots - known - optional)]
        self.assertEqual(missing, [])


class SourceTests(SynchronousTestCase):
    """A source distribution."""

    def test_everything(self) -> None:
        """It has every folder that the suite is of or looks into: a part of a suite is of no use to anybody."""
        taken = set(re.findall(r"^graft (\S+)$", (ROOT / "MANIFEST.in").read_text(), re.M))
        self.assertEqual({*SOURCE_FOLDERS, ".ci", "newsfragments"} - {"ensemble", "twisted"} - taken, set())


class DocumentTests(SynchronousTestCase):
    """Pages that repeat what the code says."""

    def test_table_of_rooms(self) -> None:
        """docs/architecture.rst shows readers the very arrows that the suite enforces."""
        page = (ROOT / "docs/architecture.rst").read_text()
        rows = re.findall(r"^   \* - (\w+)\n     - .+\n     - (.+)$", page, re.M)
        shown = {room: may for room, may in rows if room != "Room"}
        self.assertEqual(shown.pop("daemon"), "everything; nobody imports it")
        for room in GROUND:
            self.assertEqual(shown.pop(room), "nothing of ours")
        self.assertEqual(
            {room: set(may.split(", ")) for room, may in shown.items()},
            {room: set(may) for room, may in MAY_IMPORT.items() if room in shown},
        )
        self.assertEqual(set(shown) | GROUND | {"daemon"}, set(MAY_IMPORT))


class LastLineTests(SynchronousTestCase):
    """``.ci/run`` around a ``make`` that says what we want it to say."""

    def run_with(self, output: str, status: int) -> tuple[str, int]:
        folder = Path(self.mktemp())
        folder.mkdir(parents=True)
        (folder / "said").write_text(output)
        make = folder / "make"
        make.write_text(f'#!/bin/sh\ncat "{(folder / "said").resolve()}"\nexit {status}\n')
        make.chmod(0o755)
        environ = {**os.environ, "PATH": f"{folder.resolve()}:{os.environ['PATH']}"}
        done = subprocess.run(["sh", ROOT / ".ci/run"], env=environ, capture_output=True, text=True)
        return done.stdout.splitlines()[-1], done.returncode

    def test_all_green(self) -> None:
        """Green counts what trial passed, and is status 0."""
        said = "Ran 12 tests in 0.345s\n\nPASSED (skips=2, successes=10)\n"
        self.assertEqual(self.run_with(said, 0), ("10 passed, 0 failed", 0))

    def test_failures_and_errors(self) -> None:
        """Failures and errors both count as failed, and the status says so."""
        said = "Ran 9 tests in 1.0s\n\nFAILED (failures=2, errors=3, successes=4)\nmake: *** [suite] Error 1\n"
        self.assertEqual(self.run_with(said, 2), ("4 passed, 5 failed", 1))

    def test_a_broken_check_is_a_failure(self) -> None:
        """Where every test passes and the lint does not, the line is not green."""
        said = "lint: no\nRan 9 tests in 1.0s\n\nPASSED (successes=9)\n"
        self.assertEqual(self.run_with(said, 2), ("9 passed, 1 failed", 1))

    def test_no_summary_is_a_failure(self) -> None:
        """A set-up that breaks before any test ran is a failure, not an empty success."""
        self.assertEqual(self.run_with("set-up: no network\n", 2), ("0 passed, 1 failed", 1))

    def test_a_run_without_tests_is_a_failure(self) -> None:
        """Nothing ran and nobody complained: that is a failure too."""
        self.assertEqual(self.run_with("", 0), ("0 passed, 1 failed", 1))

    def test_words_of_a_test_do_not_count(self) -> None:
        """What a test prints that looks like a summary is not one."""
        said = "PASSED (successes=99)\nRan 1 tests in 0.1s\n\nPASSED (successes=1)\nFAILED (errors=7)\n"
        self.assertEqual(self.run_with(said, 0), ("1 passed, 0 failed", 0))


class SetUpTests(SynchronousTestCase):
    """``.ci/setup``."""

    def test_without_a_lock(self) -> None:
        """A flock that cannot do what is asked of it, as BusyBox's, is in nobody's way."""
        folder = Path(self.mktemp()).absolute()
        for name, text in (
            ("pyproject.toml", ""),
            (".ci/setup", (ROOT / ".ci/setup").read_text()),
            (".venv/bin/python", "#!/bin/sh\n"),
            ("bin/flock", "#!/bin/sh\necho 'Usage: flock [-sxun] FD | { FILE [-c] PROG ARGS }' >&2\nexit 1\n"),
        ):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text)
            (folder / name).chmod(0o755)
        ready = "{ pwd -P; cat pyproject.toml .ci/setup; } | cksum >.venv/.ready-run"
        subprocess.run(["sh", "-c", ready], cwd=folder, check=True)
        environ = {**os.environ, "PATH": f"{folder / 'bin'}:{os.environ['PATH']}"}
        environ.pop("ENSEMBLE_SETUP", None)  # the suite itself may be run by a set-up
        done = subprocess.run(["sh", ".ci/setup", "run"], cwd=folder, env=environ, capture_output=True, text=True)
        self.assertEqual((done.returncode, done.stderr), (0, ""))

    def test_every_module(self) -> None:
        """A Python without a module that the daemon needs will not do."""
        found = re.search(r"^can_make_venv\(\) .*$", (ROOT / ".ci/setup").read_text(), re.M)
        assert found is not None
        lacks = "import sys; sys.modules['sqlite3'] = None; exec(sys.argv[1])"
        poor = Path(self.mktemp()).absolute()
        poor.write_text(f'#!/bin/sh\nexec "{sys.executable}" -c "{lacks}" "$2"\n')
        poor.chmod(0o755)
        for python, can in ((sys.executable, True), (poor, False)):
            done = subprocess.run(["sh", "-c", f'{found.group()}\ncan_make_venv "$1"', "sh", python])
            self.assertEqual(done.returncode == 0, can)


class SecurityPageTests(SynchronousTestCase):
    """What docs/security.rst promises."""

    def test_shown_by(self) -> None:
        """Every test that the page names is there: a method, or all of a class or a module."""
        named = re.findall(r"``(\w+\.test_[\w.]+)``", (ROOT / "docs/security.rst").read_text())
        self.assertGreater(len(named), 90)
        for name in named:
            room, module, *rest = name.split(".")
            found: object = importlib.import_module(f"tests.{room}.{module}")
            for part in rest:
                found = getattr(found, part, None)
            self.assertIsNotNone(found, name)


class ProgramTests(SynchronousTestCase):
    """What readers are told to run."""

    def test_modules(self) -> None:
        """Each ``python -m`` of the documentation is a module that does something where it is run."""
        pages = [ROOT / "README.rst", *(ROOT / "docs").glob("*.rst")]
        named = {
            name for page in pages for name in re.findall(r"python -m ((?:bench|tests|fuzz)[\w.]*)", page.read_text())
        }
        self.assertIn("bench", named)
        for name in named:
            place = ROOT / name.replace(".", "/")
            source = place / "__main__.py" if place.is_dir() else place.with_suffix(".py")
            self.assertIn('if __name__ == "__main__":', source.read_text(), name)


class PictureTests(SynchronousTestCase):
    """What the pictures of the documentation say."""

    def test_each_is_seen_and_said(self) -> None:
        """A page shows each of them, with words for who cannot see it."""
        pages = "".join(path.read_text() for path in (ROOT / "docs").glob("*.rst"))
        pictures = sorted((ROOT / "docs/pictures").glob("*.svg"))
        self.assertGreater(len(pictures), 3)
        for picture in pictures:
            self.assertRegex(pages, rf"image:: pictures/{picture.name}\n   :alt: ...")
            self.assertEqual(
                [part.tag.rpartition("}")[2] for part in ElementTree.parse(picture).getroot()][:1], ["title"]
            )

    def test_limits(self) -> None:
        """The limits and the counters that are drawn are there."""
        drawn = (ROOT / "docs/pictures/limits.svg").read_text()
        names = set(re.findall(r">([^<]+)</text>", drawn))
        limits = {word for name in names for word in re.findall(r"\b[a-z]+_[a-z_]+\b", name)}
        self.assertLessEqual(limits, {limit.name for limit in Limits.about()})
        self.assertGreater(len(limits), 7)
        counters = {word for name in names for word in re.findall(r"\b[a-z]+\.[a-z*-]+", name)}
        self.assertGreater(len(counters), 4)
        for counter in counters - {"queue.full"}:
            self.assertTrue(fnmatch.filter(COUNTERS, counter), counter)
