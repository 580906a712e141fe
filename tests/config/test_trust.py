"""Edits of ``peers.json``: the row that is meant says what is wanted, and every other byte stays."""

from __future__ import annotations

import fcntl
import json
import os
import stat
from pathlib import Path
from threading import Thread
from typing import Any
from unittest.mock import Mock, patch

from twisted.trial.unittest import SynchronousTestCase

from ensemble.config import BadAlias, PeerRow, Trust, parse_peers, trust_peer, untrust_peer
from ensemble.config.atomic import LOCK_SECONDS
from ensemble.config.peers import MAX_ALIAS, MAX_FILE, MAX_ROWS
from ensemble.config.trust import trusted, untrusted
from ensemble.errors import ConfigurationError
from ensemble.identity import MAX_HINTS, BadHint, HumdId

ME, YOU, THEM = (HumdId(bytes([number]) * 32) for number in (0xAA, 0xBB, 0xCC))
OLD, NEW, OTHER = (f"tls-fp:{digit * 64}" for digit in "abc")
PLACE = "tls:192.0.2.1:14731"


def text_of(*rows: Any, **layout: Any) -> str:
    return json.dumps({"peers": rows}, **layout)


def filled(text: str, *values: object) -> str:
    """With each ``%s`` replaced: the braces of JSON do not go with ``str.format``."""
    return text % values


def rows_of(text: str) -> tuple[PeerRow, ...]:
    return parse_peers(text.encode()).rows


class RowTests(SynchronousTestCase):
    """One row, and what becomes of it."""

    def refused(self, text: str, wish: Trust) -> str:
        return str(self.assertRaises(ConfigurationError, trusted, text, wish))

    def hints(self, there: list[Any], *given: str, only: bool = False) -> list[Any]:
        """The hints of a row that had these."""
        after = trusted(text_of({"humd_id": ME.full, "hints": there}), Trust(peer=ME, hints=given, only=only))
        found: list[Any] = json.loads(after)["peers"][0]["hints"]
        return found

    def test_new(self) -> None:
        """A new row stands behind the others and has what was said, no more."""
        after = trusted(filled('{"peers": [{"humd_id": "%s"}]}\n', YOU), Trust(peer=ME))
        self.assertEqual(after, filled('{"peers": [{"humd_id": "%s"}, {"humd_id": "%s"}]}\n', YOU, ME))
        wish = Trust(peer=ME, hints=(PLACE, PLACE), alias="a", auth="open", relays=True, plain=False, follow=True)
        self.assertEqual(rows_of(trusted("{}", wish)), (PeerRow(ME, (PLACE,), "a", "open", True, False, True),))

    def test_laid_out_as_its_neighbours(self) -> None:
        """A new row of a file over many lines is laid out as the row before it, in its line ends."""
        for layout in ({"indent": 4}, {"indent": "\t"}, {"separators": (",", ":")}, {"indent": 1}):
            one, two = ({"humd_id": peer.full, "hints": [PLACE, OLD]} for peer in (YOU, ME))
            for end in ("", "\n"):
                before, after = (f"\ufeff{text_of(*rows, **layout)}{end}" for rows in ([one], [one, two]))
                wish = Trust(peer=ME, hints=(PLACE, OLD))
                self.assertEqual(trusted(before, wish), after)
                self.assertEqual(untrusted(after, ME), before)
                crlf = after.replace("\n", "\r\n")
                self.assertEqual(trusted(before.replace("\n", "\r\n"), wish), crlf)

    def test_first_row(self) -> None:
        """An empty list takes the first row, on a line of its own where the list has one; without it, as before."""
        row = filled('{"humd_id": "%s"}', ME)
        for before, after in (
            ('{"peers": []}', '{"peers": [%s]}'),
            ("{}", '{"peers": [%s]}'),
            ('{\n  "peers": []\n}\n', '{\n  "peers": [\n    %s\n  ]\n}\n'),
            ('{\n  "v": 1\n}\n', '{\n  "v": 1,\n  "peers": [\n    %s\n  ]\n}\n'),
        ):
            self.assertEqual(trusted(before, Trust(peer=ME)), after % row)
        self.assertEqual(untrusted(filled('{\n  "peers": [\n    %s\n  ]\n}\n', row), ME), '{\n  "peers": []\n}\n')

    def test_hints_are_added(self) -> None:
        """New hints stand behind those that are there, once; what cannot be read stays, too."""
        self.assertEqual(
            self.hints(["tcp:h:1", 7, "tcp:h:2"], PLACE, "tcp:h:2", PLACE), ["tcp:h:1", 7, "tcp:h:2", PLACE]
        )

    def test_pins_are_replaced(self) -> None:
        """A pin takes the place of those that are there; two take two; one that is there in another case stays."""
        self.assertEqual(self.hints([OLD, PLACE], NEW), [NEW, PLACE])
        self.assertEqual(self.hints([PLACE, OLD, OTHER, "tls-fp:x"], NEW), [PLACE, NEW])
        self.assertEqual(self.hints([OLD, PLACE], NEW, OTHER), [NEW, PLACE, OTHER])
        capitals = f"tls-fp:{'A' * 64}"
        self.assertEqual(self.hints([capitals, PLACE], OLD), [capitals, PLACE])
        self.assertEqual(self.hints([PLACE], NEW.replace("b" * 64, "B" * 64)), [PLACE, NEW])
        self.assertEqual(self.hints([OLD], "tcp:h:1"), [OLD, "tcp:h:1"])

    def test_only_these(self) -> None:
        """With ``only`` the hints given are all there are, also where they are none."""
        self.assertEqual(self.hints([7, "tcp:h:1", OLD, PLACE], PLACE, NEW, only=True), [NEW, PLACE])
        self.assertEqual(self.hints(["tcp:h:1"], only=True), [])

    def test_fields(self) -> None:
        """A field is changed where it stands, or added; what says so already, or by being absent, stays as it is."""
        before = filled('{"peers":[{"humd_id":"%s","plain" : true,"alias":null,"x":[1 ,2]}]}', ME)
        wish = Trust(peer=ME, alias="a", auth="open", relays=False, plain=False)
        after = filled('{"peers":[{"humd_id":"%s","plain" : false,"alias":"a","x":[1 ,2],"auth":"open"}]}', ME)
        self.assertEqual(trusted(before, wish), after)
        self.assertEqual(trusted(after, wish), after)
        self.assertEqual(trusted(after, Trust(peer=ME)), after)

    def test_fields_that_go(self) -> None:
        """What a row is not to say any more goes with its comma, also where it is there twice or cannot be used."""
        row = '{"peers": [{\n  "humd_id": "%s"%s,\n  "plain": true\n}]}'
        wish = Trust(peer=ME, unset=("alias", "auth"))
        bare = row % (ME.full, "")
        for said in (
            ',\n  "alias": "a"',
            ',\n  "auth": "open",\n  "alias": ""',
            ',\n  "alias": "a",\n  "\\u0061lias": "b",\n  "auth": "proven"',
        ):
            self.assertEqual(trusted(row % (ME.full, said), wish), bare)
        for same in (bare, row % (ME.full, ',\n  "alias": null, "auth": null')):
            self.assertEqual(trusted(same, wish), same)

    def test_hints_that_are_none(self) -> None:
        """A null takes no hint, so an array takes its place."""
        row = '{"peers": [{"hints": %s, "humd_id": "%s"}]}'
        self.assertEqual(trusted(row % ("null", ME), Trust(peer=ME, hints=(PLACE,))), row % (f'["{PLACE}"]', ME))

    def test_repeated_keys(self) -> None:
        """Of a key that a row has twice the last counts, so that is the one that changes."""
        row = '{"humd_id": "%s", "alias": "one", "humd_id": "%s", "\\u0061lias": %s}'
        before = '{"note": [7], "note": 7, "peers": [%s]}'
        after = trusted(before % (row % (YOU, ME, '"two"')), Trust(peer=ME, alias="three"))
        self.assertEqual(after, before % (row % (YOU, ME, '"three"')))
        self.assertEqual(untrusted(after, ME), '{"note": [7], "note": 7, "peers": []}')
        self.assertEqual(untrusted(after, YOU), after)

    def test_ids_in_any_form(self) -> None:
        """A row is found by its id, bare and in capitals too."""
        for form in (ME.digest.hex(), ME.digest.hex().upper(), f"humd_{ME.digest.hex().upper()}"):
            before = text_of({"humd_id": form})
            after = trusted(before, Trust(peer=ME, alias="a"))
            self.assertEqual(after, before.replace('"}', '", "alias": "a"}'))
            self.assertEqual(untrusted(after, ME), '{"peers": []}')

    def test_repeated_rows(self) -> None:
        """Of rows of one id the first counts and is changed; removing takes all, or the second would count."""
        row = {"humd_id": ME.full}
        before = text_of(row, {"humd_id": YOU.full}, row, row)
        after = json.loads(trusted(before, Trust(peer=ME, alias="a")))["peers"]
        self.assertEqual(after, [{**row, "alias": "a"}, {"humd_id": YOU.full}, row, row])
        self.assertEqual(untrusted(before, ME), text_of({"humd_id": YOU.full}))

    def test_nothing_to_remove(self) -> None:
        """A file without rows stays as it is."""
        for before in ("{}", '{"peers": []}', '{"note": 7}\n'):
            self.assertEqual(untrusted(before, ME), before)

    def test_row_that_is_skipped(self) -> None:
        """A row that cannot be used is not silently brought to life: it is named, and can be removed."""
        before = text_of({"humd_id": YOU.full}, {"humd_id": ME.full, "auth": "prooven", "relays": True})
        told = self.refused(before, Trust(peer=ME, auth="proven"))
        self.assertIn('row 2: "auth" must be one of', told)
        self.assertIn(f"ensemble untrust {ME.full}", told)
        self.assertEqual(untrusted(before, ME), text_of({"humd_id": YOU.full}))

    def test_other_rows_that_are_none(self) -> None:
        """Whatever else is in the array stays."""
        before = text_of(7, None, [], {"humd_id": 5}, {"humd_id": "x"}, {"humd_id": ME.short}, {})
        after = trusted(before, Trust(peer=ME))
        self.assertEqual(after, f'{before[:-2]}, {{"humd_id": "{ME}"}}]}}')
        self.assertEqual(untrusted(after, ME), before)

    def test_bad_alias(self) -> None:
        """An alias that nobody can have is refused before any file is read, with the rule and nothing else."""
        for alias in ("a\x1b[2J", "", " ", "a\n", "a/b", "\udcff", "x" * (MAX_ALIAS + 1)):
            error = self.assertRaises(BadAlias, Trust, peer=ME, alias=alias)
            rule = f"an alias has 1 to {MAX_ALIAS} printable characters, no '/', no blank at its ends"
            self.assertEqual(str(error), rule)
        error = self.assertRaises(BadAlias, Trust, peer=ME, alias=THEM.full)
        self.assertEqual(str(error), f"the alias '{THEM.short}' would be read as an id")

    def test_alias_that_is_taken(self) -> None:
        """An alias of another row is refused with that row."""
        before = text_of({"humd_id": YOU.full, "alias": "you"}, {"humd_id": ME.full})
        self.assertIn(f"in the row of {YOU.full} already", self.refused(before, Trust(peer=ME, alias="you")))
        # Here the other row would lose its name to ours.
        before = text_of({"humd_id": ME.full}, {"humd_id": YOU.full, "alias": "you"})
        self.assertIn(f"in the row of {YOU.full} already", self.refused(before, Trust(peer=ME, alias="you")))
        # The cause is named where it was there before, too.
        before = text_of({"humd_id": YOU.full, "alias": "you"}, {"humd_id": ME.full, "alias": "you"})
        self.assertIn(f"in the row of {YOU.full} already", self.refused(before, Trust(peer=ME, alias="you")))

    def test_alias_that_comes_free(self) -> None:
        """A row that had its alias taken by the one that goes, is renamed or has no name, has it then."""
        before = text_of({"humd_id": ME.full, "alias": "a"}, {"humd_id": YOU.full, "alias": "a"})
        self.assertEqual(rows_of(untrusted(before, ME)), (PeerRow(YOU, alias="a"),))
        self.assertEqual([row.alias for row in rows_of(trusted(before, Trust(peer=ME, alias="b")))], ["b", "a"])
        after = trusted(before, Trust(peer=ME, unset=("alias",)))
        self.assertEqual([row.alias for row in rows_of(after)], [None, "a"])

    def test_bad_hints(self) -> None:
        """What is no hint never comes near the file."""
        for hint in ("tcp:h:1\n", "tcp:\x1b:1", "tls-fp:12", "nothing", "tcp:h:0", f"x:{'y' * 600}"):
            self.assertRaises(BadHint, Trust, peer=ME, hints=(hint,))

    def test_ceilings(self) -> None:
        """A hint, a row or a byte too much is refused, not lost."""
        full = [f"tcp:h:{port}" for port in range(1, MAX_HINTS + 1)]
        told = self.refused(text_of({"humd_id": ME.full, "hints": full}), Trust(peer=ME, hints=(PLACE,)))
        self.assertIn(f"only the first {MAX_HINTS} hints", told)
        crowd = text_of(*({"humd_id": f"{number:064x}"} for number in range(1, MAX_ROWS + 1)))
        self.assertIn(f"at most {MAX_ROWS} rows", self.refused(crowd, Trust(peer=ME)))
        big = filled('{"peers": [], "x": "%s"}', "y" * (MAX_FILE - 30))
        self.assertIn("larger", self.refused(big, Trust(peer=ME)))

    def test_row_behind_the_last(self) -> None:
        """A removal that would bring another row into force is refused."""
        crowd = text_of(*({"humd_id": f"{number:064x}"} for number in range(1, MAX_ROWS + 2)))
        first = HumdId.parse(f"{1:064x}")
        self.assertIn("not say what was meant", str(self.assertRaises(ConfigurationError, untrusted, crowd, first)))

    def test_crowd(self) -> None:
        """Among as many rows as there may be, the right one changes, and as many of one id go at once."""
        rows = [{"humd_id": f"{number:064x}"} for number in range(1, MAX_ROWS)]
        peer = HumdId.parse(f"{5000:064x}")
        before, expected = (
            text_of(*rows),
            [row if index != 4999 else {**row, "alias": "a"} for index, row in enumerate(rows)],
        )
        self.assertEqual(trusted(before, Trust(peer=peer, alias="a")), text_of(*expected))
        self.assertEqual(untrusted(text_of(*[{"humd_id": ME.full}] * MAX_ROWS), ME), '{"peers": []}')

    def test_not_json(self) -> None:
        """What cannot be read is refused with line and column."""
        for text, where in (
            ("", "is empty"),
            ('{\n"peers": [}', "line 2, column 11"),
            ('{"peers": [', "column 12"),
        ):
            self.assertIn(where, self.refused(text, Trust(peer=ME)))
        self.assertIn("must be an object", self.refused("[]", Trust(peer=ME)))
        self.assertIn("must be an array", self.refused('{"peers": {}}', Trust(peer=ME)))


class FileTests(SynchronousTestCase):
    """The file on the disk."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir(parents=True)
        self.path = self.folder / "peers.json"

    def refused(self, wish: Trust | None = None) -> str:
        return str(self.assertRaises(ConfigurationError, trust_peer, self.path, wish or Trust(peer=ME)))

    def test_made(self) -> None:
        """A file that is not there is made, with its folder, for nobody else to read."""
        path = self.folder / "hum" / "peers.json"
        edit = trust_peer(path, Trust(peer=ME))
        self.assertEqual((edit.before, edit.after, edit.written), (None, PeerRow(ME), True))
        self.assertEqual(path.read_text(), filled('{\n  "peers": [\n    {"humd_id": "%s"}\n  ]\n}\n', ME))
        self.assertEqual(stat.S_IMODE(path.stat().st_mode), 0o600)
        self.assertEqual(stat.S_IMODE(path.parent.stat().st_mode), 0o700)
        self.assertEqual(os.listdir(path.parent), ["peers.json"])

    def test_link(self) -> None:
        """A link goes on pointing at the file, whose mode stays."""
        real = self.folder / "real.json"
        real.write_text('{"peers":[]}')
        real.chmod(0o640)
        self.path.symlink_to("real.json")
        trust_peer(self.path, Trust(peer=ME))
        self.assertTrue(self.path.is_symlink())
        self.assertEqual(real.read_text(), filled('{"peers":[{"humd_id":"%s"}]}', ME))
        self.assertEqual(stat.S_IMODE(real.stat().st_mode), 0o640)

    def test_nothing_to_do(self) -> None:
        """Where the file says it already, it is not written."""
        self.path.write_text(text_of({"humd_id": ME.full}))
        before = self.path.stat()
        self.assertFalse(trust_peer(self.path, Trust(peer=ME)).written)
        self.assertFalse(untrust_peer(self.path, YOU).written)
        self.assertEqual(self.path.stat().st_ino, before.st_ino)
        edit = untrust_peer(self.path, ME)
        self.assertEqual((edit.before, edit.after, edit.written), (PeerRow(ME), None, True))

    def test_untouched(self) -> None:
        """A file that cannot be read, as JSON or at all, stays as it is; the place is named."""
        for raw, where in (
            (b'{"peers": [}', "line 1, column 12"),
            (b'{\n "\xc3\xa9\xff": 1}', "byte 0xff at line 2, column 4 is not UTF-8"),
            (b" " * (MAX_FILE + 1), "larger than"),
        ):
            self.path.write_bytes(raw)
            self.assertIn(where, self.refused())
            self.assertEqual(self.path.read_bytes(), raw)
        self.path.unlink()
        os.mkfifo(self.path)
        self.assertIn("not a regular file", self.refused())

    def test_no_byte(self) -> None:
        """A file without a byte, as a killed process left it, is filled; one with blanks is somebody's."""
        self.path.touch()
        trust_peer(self.path, Trust(peer=ME))
        self.assertIn(ME.full, self.path.read_text())
        self.path.write_text(" ")
        self.assertIn('put {"peers": []} into it', self.refused())

    def test_cannot_be_written(self) -> None:
        """A folder or a file that is read-only is said, and nothing stays behind."""
        raw = text_of()
        self.path.write_text(raw)
        with patch("ensemble.config.trust.os.access", return_value=False):
            self.assertIn("chmod u+w", self.refused())
            with patch("ensemble.config.trust.os.statvfs", return_value=Mock(f_flag=os.ST_RDONLY)):
                self.assertIn("its whole file system: remount it", self.refused())
        with patch("ensemble.config.atomic.make_temporary", side_effect=PermissionError(13, "Permission denied")):
            self.assertIn(f"cannot write {self.path.resolve()}: Permission denied", self.refused())
        with patch("ensemble.config.atomic.os.replace", side_effect=OSError(28, "No space left on device")):
            self.assertIn("No space left on device; it stays as it was", self.refused())
        self.assertEqual((self.path.read_text(), os.listdir(self.folder)), (raw, ["peers.json"]))
        self.path = self.path / "below" / "peers.json"
        self.assertIn("cannot write", self.refused())

    def test_two_at_once(self) -> None:
        """Whatever edits at once, nothing is lost."""
        peers = [HumdId(bytes([number]) * 32) for number in range(1, 13)]
        threads = [Thread(target=trust_peer, args=(self.path, Trust(peer=peer))) for peer in peers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual({row.humd_id for row in rows_of(self.path.read_text())}, set(peers))

    def test_locked_for_ever(self) -> None:
        """Who holds the lock and does not let go is not waited for endlessly."""
        handle = os.open(self.folder, os.O_RDONLY)
        self.addCleanup(os.close, handle)
        fcntl.flock(handle, fcntl.LOCK_EX)
        pauses: list[float] = []
        with patch("time.sleep", pauses.append):
            self.assertIn("has held the lock", self.refused())
        self.assertAlmostEqual(sum(pauses), LOCK_SECONDS)
        self.assertFalse(self.path.exists())

    def test_no_locks_here(self) -> None:
        """Where the file system knows no locks, the edit is made without one."""
        with patch("fcntl.flock", side_effect=OSError(95, "Operation not supported")):
            self.assertTrue(trust_peer(self.path, Trust(peer=ME)).written)
