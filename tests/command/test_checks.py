"""The looks of ``doctor`` at this machine, one at a time."""

from __future__ import annotations

import os
import resource
import socket
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from importlib.metadata import Distribution, PathDistribution
from pathlib import Path
from shlex import quote
from unittest import mock

from ensemble import __version__
from ensemble.command import checks
from ensemble.command.control import AS_ITS_USER, NOT_FIRST
from ensemble.command.findings import Grade
from ensemble.config import Paths
from ensemble.errors import ConfigurationError
from ensemble.identity import mint
from ensemble.mesh import PEERS_DATABASE, SqliteProofMemory
from ensemble.mesh.proof_memory import SCHEMA
from tests.command.calling import BETA, CommandTestCase


class CheckTests(CommandTestCase):
    """One look at a time."""

    def distribution(self, name: str) -> Distribution:
        folder = self.home / f"{name}-1.2.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2\n")
        return PathDistribution(folder)

    def test_package(self) -> None:
        """The SDK with the same import name, however it is spelt, is found in the environment."""
        self.assertEqual(checks.package([self.distribution("ensemble-humd")]).grade, Grade.OK)
        found = checks.package([self.distribution("Ensemble_Client")])
        self.assertEqual(found.grade, Grade.FAIL)
        self.assertIn("pip uninstall ensemble-client", found.mend)

    def test_old_openssl(self) -> None:
        """One with which strangers may choose what takes long is worth a look."""
        for number, findings in ((0x30400070, 1), (0x30500000, 0), (0x40000030, 0)):
            with mock.patch("OpenSSL.SSL.OPENSSL_VERSION_NUMBER", number):
                found = checks.openssl()
            self.assertEqual(len(found), findings, hex(number))
            for each in found:
                self.assertEqual(each.grade, Grade.WARN)
                self.assertIn("upgrade `cryptography`", each.mend)

    def test_key(self) -> None:
        """What is wrong with the key file comes with what mends it."""
        self.key.parent.mkdir(parents=True)
        paths = [self.key.with_name(name) for name in ("open", "short", "folder")]
        mint(paths[0])
        paths[0].chmod(0o640)
        paths[1].touch(0o600)
        paths[2].mkdir()
        for path, mend in zip(
            paths, (f"chmod 600 {quote(str(paths[0]))}", "put the backup back", "make it readable"), strict=True
        ):
            key, found = checks.key(path)
            self.assertIsNone(key)
            self.assertEqual(found.grade, Grade.FAIL)
            self.assertIn(mend, found.mend)
            self.assertNotIn(mend, found.what)
        key, found = checks.key(self.key.with_name("none"))
        self.assertEqual((key, found.grade), (None, Grade.WARN))

    def test_seeds(self) -> None:
        """What a killed process left of our keys is worth a look, with what removes it."""
        self.mint()
        self.assertEqual(checks.seeds(self.key), [])
        for count, name in enumerate((".humd.key.abcd_123.tmp", ".humd.key.next.abcd_123.tmp"), 1):
            path = self.key.with_name(name)
            path.touch()
            (found,) = checks.seeds(self.key)
            self.assertEqual((found.grade, found.mend.split()[0]), (Grade.WARN, "rm"))
            self.assertEqual((str(path) in found.mend, len(found.mend.split())), (True, count + 1))

    def test_key_that_cannot_be_opened(self) -> None:
        """A cause that the system names stays with the finding."""
        (self.home / "file").touch()
        found = checks.key(self.home / "file/key")[1]
        self.assertIn("Not a directory", found.what)

    def test_of_somebody_else(self) -> None:
        """Another user's key, and what belongs to it, are not to be made readable for whoever looks."""
        refused = PermissionError(13, "Permission denied")
        self.peers_file.parent.mkdir(parents=True)
        with mock.patch("os.open", side_effect=refused):
            self.assertEqual(checks.key(self.key)[1].mend, AS_ITS_USER)
            self.assertEqual(checks.peers_file(self.peers_file)[1][0].mend, AS_ITS_USER)
        self.mint()
        with mock.patch("os.open", side_effect=refused):
            self.assertIn("make it readable", checks.key(self.key)[1].mend)
            with mock.patch("os.geteuid", return_value=os.geteuid() + 1):
                self.assertEqual(checks.key(self.key)[1].mend, AS_ITS_USER)
        with mock.patch.object(Path, "stat", side_effect=refused):
            self.assertEqual(checks.folder(self.home).mend, AS_ITS_USER)

    def test_state_dir(self) -> None:
        """The state dir must be a folder of ours that nobody else writes to."""
        folder = self.home / "the state"
        self.assertEqual(checks.folder(folder).grade, Grade.WARN)
        folder.mkdir()
        self.assertEqual(checks.folder(folder).grade, Grade.OK)
        folder.chmod(0o770)
        self.assertIn(f"`chmod go-w {quote(str(folder))}`", checks.folder(folder).mend)
        folder.chmod(0o700)
        with mock.patch("os.access", return_value=False):
            self.assertIn("cannot write", checks.folder(folder).what)
            with mock.patch("os.statvfs", return_value=mock.Mock(f_flag=os.ST_RDONLY)):
                self.assertIn("read-only file system", checks.folder(folder).what)
        self.assertIn("is full", checks.folder(folder, little=2**80).what)
        (folder / "file").touch()
        self.assertIn("is no folder", checks.folder(folder / "file").what)
        self.assertIn("Not a directory", checks.folder(folder / "file/below").what)

    def test_proofs(self) -> None:
        """A memory that a humd opens is well, whether it ended by itself or not; nothing is left beside it."""
        self.assertEqual((checks.PROOFS, checks.PROOFS_SCHEMA), (PEERS_DATABASE, SCHEMA))
        path = self.home / checks.PROOFS
        self.assertEqual(checks.proofs(self.home), [])
        memory = SqliteProofMemory(path)
        memory.note_proven(BETA, True)
        self.assertEqual(checks.proofs(self.home), [])  # its changes are in a log beside it
        memory.close()
        self.assertEqual((checks.proofs(self.home), list(self.home.glob(f"{path.name}-*"))), ([], []))
        whole = path.read_bytes()
        with closing(sqlite3.connect(path)) as db:
            db.execute(f"PRAGMA user_version = {SCHEMA + 1}")
        (found,) = checks.proofs(self.home)
        self.assertEqual((found.grade, "start the newer humd" in found.mend), (Grade.FAIL, True))
        for part in (whole[:4096], b"x" * len(whole)):
            path.write_bytes(part)
            self.assertRaises(ConfigurationError, SqliteProofMemory, path)
            for log in self.home.glob(f"{path.name}-*"):
                log.unlink()
            (found,) = checks.proofs(self.home)
            self.assertEqual((found.grade, "move it away" in found.mend), (Grade.FAIL, True))
        path.unlink()
        path.mkdir()
        self.assertEqual(checks.proofs(self.home), [])  # whatever that is, it is no damage

    def test_unwritten(self) -> None:
        """What a humd that runs could not write must be mended; an older one says nothing of it."""
        for told in ({}, {"unwritten": None}):
            self.assertEqual(checks.unwritten(told), [])
        (found,) = checks.unwritten({"unwritten": "/s/peers.sqlite cannot be written: disk full"})
        self.assertEqual((found.grade, "disk full" in found.what), (Grade.FAIL, True))
        self.assertIn("make room", found.mend)

    def thrum_grades(self, path: Path) -> Iterator[str]:
        return (found.what for found in checks.thrum(path) if found.grade is Grade.FAIL)

    def test_thrum(self) -> None:
        """The socket must be there, be a socket, be ours alone, and be served by a humd."""
        path = self.home / "hum/t.sock"
        self.assertIn("there is no socket", next(self.thrum_grades(path)))
        path.touch()
        self.assertIn("is no socket", next(self.thrum_grades(path)))
        path.unlink()
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(str(path))
        path.chmod(0o600)
        self.assertIn("connection refused", next(self.thrum_grades(path)))
        path.unlink()
        self.serve(path, lambda tone: [], b"220 mail\n")
        self.assertIn("is no humd", next(self.thrum_grades(path)))
        for why, mend in ((PermissionError("user 7 serves it"), NOT_FIRST), (TimeoutError(), "is humd stopped")):
            with mock.patch("ensemble.command.checks.refuse_strangers", side_effect=why):
                self.assertIn(mend, checks.thrum(path)[0].mend)
        path.chmod(0o666)
        self.assertIn("others can use", next(self.thrum_grades(path)))
        path.parent.chmod(0o777)
        self.assertIn("others can put a socket", next(self.thrum_grades(path)))
        path.parent.chmod(0o1777)
        self.assertNotIn("others can put a socket", next(self.thrum_grades(path)))
        self.assertIn("there is no socket", next(self.thrum_grades(self.home / "nowhere/t")))

    def test_peers_file(self) -> None:
        """Each problem of the file has a line; a file that others write to, or that is no JSON, must be mended."""
        self.write_peers({"humd_id": "x"}, {"humd_id": BETA.full, "hints": ["x"]})
        self.assertNotIn("ensemble init", missing := checks.peers_file(self.home / "none")[1][0].mend)
        self.assertIn("`ensemble trust PEER HINT` makes it", missing)
        file, found = checks.peers_file(self.peers_file)
        self.assertIn("kill -HUP", found[0].mend)
        self.assertEqual([each.grade for each in found], [Grade.WARN, Grade.WARN])
        assert file is not None
        self.assertEqual(len(file.rows), 1)
        self.write_peers({"humd_id": BETA.full})
        self.assertIn("1 row", checks.peers_file(self.peers_file)[1][0].what)
        self.peers_file.chmod(0o664)
        self.assertIn("chmod g-w", checks.peers_file(self.peers_file)[1][0].mend)
        self.peers_file.write_text("{")
        self.assertEqual([each.grade for each in checks.peers_file(self.peers_file)[1]], [Grade.FAIL])
        with mock.patch.object(Path, "stat", side_effect=PermissionError(13, "Permission denied")):
            self.peers_file.write_text("{}")
            self.assertIn("Permission denied", checks.peers_file(self.peers_file)[1][0].what)

    def test_descriptors(self) -> None:
        """Few descriptors, or nearly all of them in use, are worth a look; without a humd the limit here counts."""
        for soft, used, grade in ((4096, 10, Grade.OK), (4096, 4000, Grade.WARN), (256, 10, Grade.WARN)):
            self.assertEqual(checks.descriptors({"descriptors": {"soft": soft, "used": used}}).grade, grade)
        for hard, grade in ((256, Grade.WARN), (4096, Grade.OK), (resource.RLIM_INFINITY, Grade.OK)):
            with mock.patch("resource.getrlimit", return_value=(256, hard)):
                self.assertEqual(checks.descriptors(None).grade, grade)
                self.assertEqual(checks.descriptors({"descriptors": "none"}).grade, grade)

    def test_same_places(self) -> None:
        """A daemon that says nothing of its places is not doubted."""
        paths = Paths.resolve(self.environ, 1)
        self.assertEqual(checks.same_places(paths, {"version": __version__}), [])
