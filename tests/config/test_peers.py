"""``peers.json``, and what becomes of its mistakes."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

from hypothesis import given, strategies as st
from twisted.trial.unittest import SynchronousTestCase

from ensemble.config import LEVELS, PeerRow, PeersFile, parse_peers, read_peers, row_json, write_empty_peers
from ensemble.config.peers import MAX_ALIAS, MAX_FILE, MAX_PROBLEMS, MAX_ROWS, Skipped
from ensemble.errors import ConfigurationError
from ensemble.identity import HumdId
from tests.identity.vectors import RFC8032, RISING, ZERO

ME, YOU = HumdId.parse(ZERO.humd_id), HumdId.parse(RFC8032.humd_id)
BARE = ZERO.humd_id.removeprefix("humd_")


def parse(*rows: Any) -> PeersFile:
    return parse_peers(json.dumps({"peers": rows}).encode())


class RowTests(SynchronousTestCase):
    def problem(self, row: Any) -> str:
        """The one problem that costs this row, while the good one behind it stays."""
        found = parse(row, {"humd_id": YOU.full})
        self.assertEqual(found.rows, (PeerRow(YOU),))
        self.assertEqual(len(found.problems), 1)
        self.assertTrue(found.problems[0].startswith("row 1: "))
        self.assertTrue(found.problems[0].endswith("; the row is skipped"))
        return found.problems[0]

    def test_whole_row(self) -> None:
        """Every key of a row is read, and unknown ones are passed over."""
        found = parse(
            {
                "humd_id": ME.full,
                "hints": ["tcp:192.0.2.10:14730", "tls:192.0.2.10:14731"],
                "alias": "workstation",
                "auth": "signed",
                "relays": True,
                "plain": True,
                "follow": True,
                "colour": {"of": "the door"},
            }
        )
        hints = ("tcp:192.0.2.10:14730", "tls:192.0.2.10:14731")
        self.assertEqual(found, PeersFile((PeerRow(ME, hints, "workstation", "signed", True, True, True),)))

    def test_nearly_known_keys(self) -> None:
        """A key that is nearly one that is read is told with that one; the row says what it says without it."""
        for key, meant in (
            ("hint", "hints"),
            ("Hints", "hints"),
            ("aliases", "alias"),
            ("relay", "relays"),
            ("PLAIN", "plain"),
            ("HUMD_ID", "humd_id"),
            ("humdid", "humd_id"),
            ("alais", "alias"),
            ("aliass", "alias"),
            ("auht", "auth"),
            ("aut", "auth"),
            ("folow", "follow"),
            ("folows", "follow"),
            ("hnts", "hints"),
            ("plian", "plain"),
        ):
            found = parse({"humd_id": ME.full, key: "x"})
            self.assertEqual(found.rows, (PeerRow(ME),))
            self.assertEqual(found.problems, (f'row 1: "{key}" is passed over: is "{meant}" meant?',))
        found = parse({"HUMD_ID": ME.full, "note": "", "s": 1, "": 2})
        self.assertEqual(
            found.problems,
            (
                'row 1: "humd_id" is missing; the row is skipped',
                'row 1: "HUMD_ID" is passed over: is "humd_id" meant?',
            ),
        )

    def test_own_keys(self) -> None:
        """Words that people put beside what is read are not taken for slips of the pen."""
        own = (
            "name note notes host hosts hostname comment id owner author path place class last allow url group role key"
        )
        self.assertEqual(parse({"humd_id": ME.full, **dict.fromkeys(own.split())}).problems, ())

    def test_repeated_keys(self) -> None:
        """Of a key that a row has twice the last counts, and that is told; those that nobody reads are passed over."""
        row = '{"humd_id":"%s","alias":"x","\\u0061lias":"y","note":1,"note":"a:\\":","auth":"open","auth":"signed"}'
        found = parse_peers(b'{"note":1,"note":2,"peers":[7,' + (row % ME.full).encode() + b"]}")
        self.assertEqual(found.rows, (PeerRow(ME, alias="y", auth="signed"),))
        self.assertEqual(parse_peers(b'{"note":1,"note":2}').rows, ())
        more = "is there more than once: the last one counts"
        self.assertEqual(found.problems[1:], (f'row 2: "alias" {more}', f'row 2: "auth" {more}'))

    def test_least_row(self) -> None:
        """An id is enough, bare or prefixed; null hints, alias and auth count as absent."""
        for row in ({"humd_id": BARE}, {"humd_id": ME.full, "hints": None, "alias": None, "auth": None}):
            self.assertEqual(parse(row), PeersFile((PeerRow(ME),)))

    def test_bad_id(self) -> None:
        """A row without an id that a humd can prove is skipped and named."""
        self.problem({"hints": []})
        self.problem({"humd_id": 7})
        self.assertIn('"humd_id" is missing', self.problem({"alias": "box"}))
        self.problem({"humd_id": "HUMD_" + BARE})
        self.problem({"humd_id": "wbee_" + BARE})
        self.assertIn("short", self.problem({"humd_id": "humd_139e3940e64b"}))

    def test_wrong_types(self) -> None:
        """A row of a wrong shape is skipped: nothing about its safety is guessed."""
        for row in ("text", None, [ME.full], 7):
            self.problem(row)
        for key, value in [
            ("hints", "tcp:a:1"),
            ("hints", {}),
            ("auth", "strict"),
            ("auth", True),
            ("auth", ["open"]),
            ("relays", 1),
            ("relays", None),
            ("plain", "true"),
            ("follow", 1),
        ]:
            self.assertIn(f'"{key}"', self.problem({"humd_id": ME.full, key: value}))

    def test_skipped(self) -> None:
        """What a row that is skipped says of its id and alias is told beside the cause."""
        found = parse({"humd_id": ME.full, "alias": "box", "auth": "prooven"}, {"humd_id": "x", "alias": 7}, 7)
        why = 'row 1: "auth" must be one of open, signed, proven; the row is skipped'
        self.assertEqual(found.skipped[0], Skipped(ME, "box", why))
        self.assertEqual([(row.humd_id, row.alias) for row in found.skipped[1:]], [(None, None)] * 2)
        self.assertEqual([row.problem for row in found.skipped], list(found.problems))

    def test_levels(self) -> None:
        """Each level of proof can be asked for."""
        for level in LEVELS:
            self.assertEqual(parse({"humd_id": ME.full, "auth": level}).rows[0].auth, level)

    def test_bad_hints(self) -> None:
        """A hint that cannot be read is left out and named; the row stays with the others."""
        found = parse({"humd_id": ME.full, "hints": ["tcp:a:0", "tcp:a:1", 7, "nonsense", "iroh:ab", "tcp:a:1"]})
        self.assertEqual(found.rows[0].hints, ("tcp:a:1", "iroh:ab"))
        self.assertEqual(len(found.problems), 3)
        self.assertIn("tcp:a:0", found.problems[0])
        self.assertIn("the hint is left out", found.problems[0])

    def test_too_many_hints(self) -> None:
        """Of more hints than an address may have the first are kept, and the rest told once."""
        hints = [f"tcp:a:{port}" for port in range(1, 100)]
        found = parse({"humd_id": ME.full, "hints": hints})
        self.assertEqual(found.rows[0].hints, tuple(hints[:32]))
        self.assertEqual(len(found.problems), 1)

    def test_secure_only(self) -> None:
        """A row with a secure hint, be it left out, wants secure wires only, unless it says that plain will do."""
        plain, secure = "tcp:a:1", "tls:a:2"
        for hints, says, expected in [
            ([plain], False, False),
            ([plain, secure], False, True),
            ([plain, secure], True, False),
            ([], False, False),
            *(
                ([plain, slip], False, True)
                for slip in ("tls:a", "tls://a:2", "TLS:a:2", " tls:a:2", "tls6:a:2", "udp:a:0", "onion:a:1")
            ),
            ([*(f"tcp:a:{port}" for port in range(1, 33)), secure], False, True),
            (["tls:a"], True, False),
        ]:
            self.assertIs(parse({"humd_id": ME.full, "hints": hints, "plain": says}).rows[0].secure_only, expected)


class AliasTests(SynchronousTestCase):
    def test_lookup(self) -> None:
        """A row is found by its exact alias, and by its id."""
        found = parse({"humd_id": ME.full, "alias": "My box"}, {"humd_id": YOU.full})
        self.assertEqual(found.by_alias("My box"), PeerRow(ME, alias="My box"))
        self.assertIsNone(found.by_alias("my box"))
        self.assertEqual(found.row(YOU), PeerRow(YOU))
        self.assertIsNone(found.row(HumdId.parse(RISING.humd_id)))

    def test_bad_alias(self) -> None:
        """An alias that could not be used, or would be read as an id, is left out; the row stays."""
        for alias in ("", 7, "a/b", " a", "a\n", "\x1b[2J", "x" * (MAX_ALIAS + 1), ME.full, "humd_139e3940e64b", BARE):
            found = parse({"humd_id": ME.full, "alias": alias})
            self.assertEqual(found.rows, (PeerRow(ME),), alias)
            self.assertIn("the alias is left out", found.problems[0])

    def test_first_of_equal_aliases(self) -> None:
        """Of equal aliases the first counts; the second row stays without one."""
        found = parse({"humd_id": ME.full, "alias": "box"}, {"humd_id": YOU.full, "alias": "box"})
        self.assertEqual(found.rows, (PeerRow(ME, alias="box"), PeerRow(YOU)))
        self.assertIn("'box'", found.problems[0])
        self.assertTrue(found.problems[0].startswith("row 2: "))

    def test_skipped_row_takes_no_alias(self) -> None:
        """The alias of a row that is skipped is free for another."""
        found = parse({"humd_id": ME.full, "alias": "box", "plain": 0}, {"humd_id": YOU.full, "alias": "box"})
        self.assertEqual(found.rows, (PeerRow(YOU, alias="box"),))


class FileTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.path = Path(self.mktemp())

    def test_first_of_equal_ids(self) -> None:
        """Of two rows with one id the first counts, and the second is named."""
        found = parse({"humd_id": ME.full, "hints": ["tcp:a:1"]}, {"humd_id": BARE, "hints": ["tcp:b:1"]})
        self.assertEqual(found.rows, (PeerRow(ME, ("tcp:a:1",)),))
        self.assertIn(ME.short, found.problems[0])

    def test_missing(self) -> None:
        """A file that is not there has no rows and no problems, and says that it is missing."""
        self.assertEqual(read_peers(self.path), PeersFile(missing=True))

    def test_no_peers(self) -> None:
        """An object without peers is an empty list."""
        self.path.write_text("{}")
        self.assertEqual(read_peers(self.path), PeersFile())

    def test_misspelt_peers(self) -> None:
        """An object that says something, and of nobody, is told; so is a key that is nearly that of the list."""
        nobody = 'there is no "peers", so nobody is known'
        for text, problems in (
            (b'{"note": ""}', (nobody,)),
            (b'{"peer": [{}]}', ('"peer" is passed over: is "peers" meant?', nobody)),
            (b'{"Peers": [], "peers": []}', ('"Peers" is passed over: is "peers" meant?',)),
        ):
            self.assertEqual(parse_peers(text), PeersFile(problems=problems))

    def test_two_lists(self) -> None:
        """Two lists are an error: one of them would be lost."""
        for text in (b'{"peers": [], "peers": []}', b'\xef\xbb\xbf \n{"peers": [7], "p\\u0065ers": {}, "peers": []}\n'):
            error = self.assertRaises(ConfigurationError, parse_peers, text)
            self.assertIn('has "peers" more than once', str(error))

    def test_byte_order_mark(self) -> None:
        """A mark that some editors put first does no harm."""
        self.path.write_bytes(b'\xef\xbb\xbf{"peers": [{"humd_id": "%s"}]}' % BARE.encode())
        self.assertEqual(read_peers(self.path).rows, (PeerRow(ME),))

    def test_not_json(self) -> None:
        """A file that is not a JSON object with an array of peers is an error that names the file."""
        for content in (b"", b"{", b"\xff", b"[]", b'"peers"', b'{"peers": {}}', b'{"peers": null}', b"[" * 100_000):
            self.path.write_bytes(content)
            error = self.assertRaises(ConfigurationError, read_peers, self.path)
            self.assertIn(str(self.path), str(error))
        for content in (b"", b" \n"):
            self.assertIn('{"peers": []}', str(self.assertRaises(ConfigurationError, parse_peers, content)))

    def test_not_a_file(self) -> None:
        """A folder, a FIFO, or a path below a file is an error, at once."""
        self.path.mkdir()
        self.assertRaises(ConfigurationError, read_peers, self.path)
        fifo = self.path / "fifo"
        os.mkfifo(fifo)
        self.assertIn("regular", str(self.assertRaises(ConfigurationError, read_peers, fifo)))
        (self.path / "file").touch()
        self.assertRaises(ConfigurationError, read_peers, self.path / "file" / "peers.json")

    def test_anybody_can_write(self) -> None:
        """A file that any user could write, or replace, is not believed; one of a group is: it may be ours."""
        self.path.write_text('{"peers": []}')
        folder = self.path.parent
        for place, mode in ((self.path, 0o666), (self.path, 0o1666), (folder, 0o777)):
            before = place.stat().st_mode
            place.chmod(mode)
            error = self.assertRaises(ConfigurationError, read_peers, self.path)
            self.assertRegex(str(error), rf"`chmod o-w .*{place.name}'?`$")
            place.chmod(before)
        folder.chmod(0o777)
        self.assertRaises(ConfigurationError, read_peers, folder / "not there")
        folder.chmod(0o755)
        linked = Path(self.mktemp())
        linked.mkdir()
        (linked / "peers.json").symlink_to(self.path.absolute())
        self.assertEqual(read_peers(linked / "peers.json"), PeersFile())
        linked.chmod(0o777)
        self.assertRaises(ConfigurationError, read_peers, linked / "peers.json")
        self.path.chmod(0o664)
        folder.chmod(0o1777)
        self.assertEqual(read_peers(self.path), PeersFile())

    def test_too_large(self) -> None:
        """A file over 4 MiB is refused before it is parsed."""
        self.path.write_bytes(b'{"peers": []}'.ljust(MAX_FILE))
        self.assertEqual(read_peers(self.path), PeersFile())
        self.path.write_bytes(b'{"peers": []}'.ljust(MAX_FILE + 1))
        self.assertIn("larger", str(self.assertRaises(ConfigurationError, read_peers, self.path)))

    def test_too_many_rows(self) -> None:
        """Rows over the ceiling are told once, not one by one."""
        with patch("ensemble.config.peers.MAX_ROWS", 1):
            found = parse({"humd_id": ME.full}, {"humd_id": YOU.full}, {"humd_id": RISING.humd_id})
        self.assertEqual(found.rows, (PeerRow(ME),))
        self.assertEqual(len(found.problems), 1)
        self.assertGreater(MAX_ROWS, 10_000)

    def test_too_many_problems(self) -> None:
        """A file full of mistakes is told in a bounded number of lines, the rest as a count."""
        found = parse(*[{}] * (MAX_PROBLEMS + 5))
        self.assertEqual(len(found.problems), MAX_PROBLEMS + 1)
        self.assertEqual(found.problems[-1], "and 5 more")

    @given(
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(st.characters(codec="utf-8")) | st.just(BARE),
            lambda inner: (
                st.lists(inner)
                | st.dictionaries(
                    st.sampled_from(["humd_id", "hints", "alias", "auth", "relays", "plain", "follow", "x"]), inner
                )
            ),
            max_leaves=20,
        )
    )
    def test_any_row(self, row: object) -> None:
        """Whatever stands in a row, it becomes a row, a problem, or both: nothing else ever escapes."""
        found = parse(row)
        self.assertTrue(found.rows or found.problems)


class WriteTests(SynchronousTestCase):
    def test_empty_file(self) -> None:
        """An empty list is written where there was none, and read back as such; an existing file stays."""
        path = Path(self.mktemp()) / "peers.json"
        self.assertTrue(write_empty_peers(path))
        self.assertEqual(read_peers(path), PeersFile())
        path.write_text('{"peers": [{"humd_id": "' + BARE + '"}]}')
        self.assertFalse(write_empty_peers(path))
        self.assertEqual(read_peers(path).rows, (PeerRow(ME),))

    def test_no_byte(self) -> None:
        """What a killed process left without a byte is no list that somebody made."""
        path = Path(self.mktemp())
        path.touch()
        self.assertIn('put {"peers": []} into it', str(self.assertRaises(ConfigurationError, read_peers, path)))
        self.assertTrue(write_empty_peers(path))
        self.assertEqual(read_peers(path), PeersFile())

    def test_quicker(self) -> None:
        """What somebody wrote into the empty file meanwhile stays."""
        path = Path(self.mktemp())
        path.touch()

        @contextmanager
        def waited(_: object) -> Iterator[None]:
            path.write_text('{"peers": [{"humd_id": "' + BARE + '"}]}')
            yield

        with patch("ensemble.config.peers.alone", waited):
            self.assertFalse(write_empty_peers(path))
        self.assertEqual(read_peers(path).rows, (PeerRow(ME),))

    def test_link_to_what_will_be(self) -> None:
        """A link is there, wherever it leads."""
        path = Path(self.mktemp())
        path.symlink_to("nowhere")
        self.assertFalse(write_empty_peers(path))

    def test_no_file(self) -> None:
        """A FIFO, as a device, has no byte, either, and stays what it is."""
        path = Path(self.mktemp())
        os.mkfifo(path)
        self.assertIn("not a regular file", str(self.assertRaises(ConfigurationError, write_empty_peers, path)))
        self.assertTrue(path.is_fifo())

    def test_cannot_write(self) -> None:
        """A place where nothing can be written is one clear error."""
        blocker = Path(self.mktemp())
        blocker.touch()
        error = self.assertRaises(ConfigurationError, write_empty_peers, blocker / "peers.json")
        self.assertIn(str(blocker), str(error))

    def test_row_json(self) -> None:
        """A row for the other side is one line that reads back as the row."""
        line = row_json(ME, ["tcp:[2001:db8::1]:14730"], 'an "alias" é')
        self.assertNotIn("\n", line)
        self.assertEqual(
            parse_peers(b'{"peers":[' + line.encode() + b"]}").rows,
            (PeerRow(ME, ("tcp:[2001:db8::1]:14730",), 'an "alias" é'),),
        )

    def test_row_json_without_alias(self) -> None:
        """What is not known is not in the line."""
        self.assertEqual(json.loads(row_json(ME)), {"humd_id": ME.full, "hints": []})
