"""The table of JSON fields in the guide has exactly those that the commands print."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from ensemble.command.completion import commands_of
from ensemble.command.parser import build
from ensemble.config import keep_revocation
from ensemble.identity import HumdKey, revoke
from tests.command.calling import ALPHA, BETA, CommandTestCase, linked, status
from tests.command.test_send import BREATH, echo

GUIDE = (Path(__file__).resolve().parent.parent.parent / "docs/command.rst").read_text()
TABLE = GUIDE.partition("What stands in the JSON of each command")[2].partition("\nA peer is named")[0]
NOBODY = HumdKey.from_seed(b"\3" * 32)
PLACE = "tcp:192.0.2.2:14730"


def fields(*commands: str) -> set[str]:
    """What the guide says of these, which have one row."""
    found = re.search(
        rf"^   \* - {', '.join(map('``{}``'.format, commands))}\n     - (.*(?:\n       .*)*)", TABLE, re.M
    )
    assert found is not None, commands
    return set(re.findall(r"``([A-Za-z_]+)``", found[1]))


def keys(value: Any) -> set[str]:
    """Of a document and of all that is in it."""
    if isinstance(value, dict):
        return set(value).union(*map(keys, value.values()))
    return set().union(*map(keys, value)) if isinstance(value, list) else set()


class FieldTests(CommandTestCase):
    """Each command with ``--json``, as often as it takes to see all."""

    def printed(self, *calls: tuple[str, ...]) -> set[str]:
        found = set[str]()
        for words in calls:
            said = self.call(*words, "--json")
            self.assertEqual(said.status, 0, said.err)
            found |= keys(said.document)
        return found

    def test_every_command(self) -> None:
        """None is missing but those that are tones, or the daemon's."""
        told = {
            words for row in re.findall(r"^   \* - (``.*)$", TABLE, re.M) for words in re.findall("``([^`]*)``", row)
        }
        seen = {"id", "peers", "peers --forget", "trust", "untrust", "send", "doctor", "init", "rotate", "completion"}
        seen |= {"rotate --finish", "revoke", "revoke --file", "revoke --out"}
        self.assertEqual(told - seen, {"status", "send --wait", "listen"})
        self.assertEqual({words.split()[0] for words in told}, {each.name for each in commands_of(build())})

    def test_id_and_completion(self) -> None:
        """What the command knows by itself."""
        self.mint()
        self.assertEqual(self.printed(("id",)), fields("id"))
        self.assertEqual(self.printed(("completion", "bash")), fields("completion"))

    def test_peers(self) -> None:
        """The rows are the daemon's, or what a file can tell of them."""
        self.serve_control(peers={"ok": True, "peers": []}, forget={"ok": True, "known": True})
        self.assertEqual(self.printed(("peers",)), fields("peers"))
        self.assertEqual(self.printed(("peers", "--forget", BETA.full)), fields("peers --forget"))

    def test_trust(self) -> None:
        """Both show the row before and after."""
        answer = {"ok": True, "peers_file": str(self.peers_file), "problems": []}
        self.serve_control(reload=answer, peers={"ok": True, "peers": [linked()]})
        found = self.printed(("trust", BETA.full, PLACE, "--wait"))
        self.assertEqual(found, fields("trust", "untrust"))
        self.assertEqual(self.printed(("untrust", BETA.full)), found - {"linked"})

    def test_send(self) -> None:
        """With all by which an answer is found."""
        self.serve(self.thrum, lambda tone: [echo(tone)], BREATH)
        tone = '{"chi":"tool-call","sid":"s","name":"t"}'
        self.assertEqual(self.printed(("send", BETA.full, tone)), fields("send"))

    def test_doctor_and_init(self) -> None:
        """Whatever is found."""
        self.assertEqual(keys(self.call("doctor", "--json").document), fields("doctor"))
        self.assertEqual(self.printed(("init",)), fields("init"))

    def test_keys(self) -> None:
        """With a daemon and without."""
        self.mint()
        spare, path = str(self.home / "spare"), str(keep_revocation(self.home, revoke(NOBODY, 1)))
        self.assertEqual(self.printed(("revoke", "--out", spare)), fields("revoke --out"))
        begun = self.printed(("rotate",))
        known = {"ok": True, "peer": NOBODY.humd_id().full, "known": False}
        said = status(id=self.call("id", "--bare").out.strip(), state_dir=str(self.key.parent))
        self.serve_control(status=said, rekey={"ok": True, "told": [ALPHA.full], "deaf": []}, revoke=known)
        self.assertEqual(begun | {"told", "deaf"}, fields("rotate"))
        self.assertEqual(self.printed(("rotate",)), fields("rotate"))
        self.assertEqual(self.printed(("revoke", "--yes", "--file", path)), fields("revoke --file"))
        self.assertEqual(self.printed(("rotate", "--finish")), fields("rotate --finish"))
        self.assertEqual(self.printed(("revoke", "--yes")), fields("revoke"))
