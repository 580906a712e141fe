"""What is kept of keys, and what a restart makes of it."""

from __future__ import annotations

import tempfile
from pathlib import Path
from shutil import rmtree

from twisted.logger import LogLevel, capturedLogs

from ensemble.identity import Statement, revoke, succeed
from ensemble.mesh import KnownPeer, Learned, Policy, SqliteProofMemory
from ensemble.protocols import Level
from ensemble.tone import write_document
from tests.mesh.plain_peer import PlainPeer
from tests.mesh.test_rekeying import RekeyTestCase


class MemoryTests(RekeyTestCase):
    """What a restart and the operator leave of it."""

    def restart(self) -> None:
        """A fresh ensemble with the memory of the one before."""
        policy = self.peer.rules._wanted
        self.peer = self.ensemble_of(self.world.key(), memory=self.memory, policy=policy)

    def test_restart(self) -> None:
        """What was learned is kept in the file, with what was proved by it."""
        folder = Path(tempfile.mkdtemp())
        self.addCleanup(rmtree, folder)
        self.memory = SqliteProofMemory(folder / "peers.sqlite")
        self.restart()
        self.rows()
        self.link(self.new, succeed(self.old, self.new, 1))
        self.memory.close()
        self.memory = SqliteProofMemory(folder / "peers.sqlite")
        self.addCleanup(self.memory.close)
        self.restart()
        self.rows()
        self.link(self.old)
        self.assertEqual(self.linked(), [])
        self.link(self.new)
        self.assertEqual(self.linked(), [self.new])

    def test_damaged(self) -> None:
        """What cannot be verified when it is read is passed over, with an error."""
        forged = revoke(self.old, 1).to_tone() | {"issued": 2}
        for text in ("{", "{}", write_document(forged), write_document(revoke(self.new, 1).to_tone())):
            self.memory.note_statement(text)
        with capturedLogs() as events:
            self.restart()
        self.assertEqual(len([event for event in events if event["log_level"] is LogLevel.error]), 3)
        self.link(self.old)
        self.assertEqual(self.linked(), [self.old])
        self.assertTrue(self.peer.rules.lineage.is_revoked(self.new.humd_id()))

    def test_operator(self) -> None:
        """A revocation that the operator takes in may be about any id."""
        statement: Statement = revoke(self.thief, 1)
        self.assertIs(self.peer.rules.learn([statement]), Learned.UNCOVERED)
        self.assertIs(self.peer.rules.learn([statement], anybody=True), Learned.NEW)

    def test_mend(self) -> None:
        """The line to paste gives the heir the old id's row, less its pin; not where it is dead or has a row."""
        old, new = self.old.humd_id(), self.new.humd_id()
        row = KnownPeer(old, ("tls:a:1", f"tls-fp:{'ab' * 32}"), "an alias", Level.SIGNED, relays=True, follow=True)
        self.peer.judge_again(Policy(Level.PROVEN, admit_any=False, known=[row]))
        self.assertEqual(self.peer.rules.mend(old), "")
        self.peer.rules.learn([succeed(self.old, self.new, 1)])
        line = f"`ensemble untrust {old.full} && ensemble trust {new.full} tls:a:1"
        self.assertIn(f"{line} --alias 'an alias' --auth signed --relays --follow`", self.peer.rules.mend(old))
        self.peer.judge_again(Policy(Level.PROVEN, admit_any=False, known=[row, KnownPeer(new)]))
        self.assertTrue(self.peer.rules.mend(old).endswith(f": `ensemble untrust {old.full}`"))
        self.peer.judge_again(Policy(Level.PROVEN, admit_any=False, known=[row]))
        self.peer.rules.learn([revoke(self.new, 1)])
        self.assertEqual(self.peer.rules.mend(old), "")
        (remark,) = self.peer.rules.remarks()
        self.assertIn(f"goes on as {new.full}, which is refused: its key was revoked", remark)

    def test_new_row(self) -> None:
        """Once the row names the new id, whoever has the old key can neither get in nor get it out."""
        self.rows()
        self.link(self.new, succeed(self.old, self.new, 1))
        self.peer.judge_again(Policy(Level.PROVEN, admit_any=False, known=[KnownPeer(self.new.humd_id())]))
        self.assertEqual(self.linked(), [self.new])
        self.assertEqual(self.peer.rules.remarks(), [])
        self.link(self.thief, succeed(self.old, self.thief, 1))
        self.link(self.old)
        self.peer.rules.learn([revoke(self.old, 1)])
        self.assertEqual(self.linked(), [self.new])

    def test_rules_change_in_a_handshake(self) -> None:
        """A hello that makes whoever dials give this very link up brings nothing up, without a proof either."""
        rows = [KnownPeer(self.old.humd_id(), follow=True), KnownPeer(self.new.humd_id(), level=Level.OPEN)]
        self.peer.judge_again(Policy(Level.PROVEN, admit_any=False, known=rows))
        other = PlainPeer(self.world, self.peer, self.new, dials=False)
        self.peer.rules.changed.append(other.outcome.cancel)
        told: list[bool] = []
        self.peer.watch(lambda peer, up: told.append(up))
        chain = succeed(self.old, self.thief, 1), succeed(self.thief, self.new, 1)
        other.say(other.hello(succeeds=[each.to_tone() for each in chain]))
        self.assertEqual((self.linked(), self.count("learned")), ([], 2))
        self.assertEqual((told, other.lost is None), ([], False))

    def test_lends_in_a_circle(self) -> None:
        """In a circle the id of the row is an heir, too: what it proved keeps out those before it."""
        self.rows()
        old, new = self.old.humd_id(), self.new.humd_id()
        self.peer.rules.learn([succeed(self.old, self.new, 1)])
        self.assertEqual((self.peer.rules.lends_to(old), self.peer.rules.lends_to(new)), (False, True))
        self.peer.rules.learn([succeed(self.new, self.old, 1)])
        self.assertEqual((self.peer.rules.lends_to(old), self.peer.rules.lends_to(new)), (True, True))

    def test_watchers(self) -> None:
        """Whoever keeps rows dialled is told when they change, and only then."""
        told: list[int] = []
        self.peer.rules.changed.append(lambda: told.append(1))
        self.peer.rules.learn([succeed(self.old, self.new, 1)])
        self.assertEqual(told, [])
        self.rows()
        self.link(self.new)
        self.assertEqual(told, [1])
