"""A daemon and keys that change: its own, and those of its peers."""

from __future__ import annotations

from typing import Any

from twisted.logger import LogLevel, capturedLogs

from ensemble.config import begin_rotation, finish_rotation, keep_revocation
from ensemble.daemon.humd import Humd
from ensemble.daemon.settings import Settings
from ensemble.daemon.state import open_state
from ensemble.errors import ConfigurationError
from ensemble.identity import HumdId, load, revoke, succeed
from tests.daemon.memory import EPOCH, HumdTestCase, settle

NOW = int(EPOCH * 1000)
PLACE = "tcp:192.0.2.9:14730"


class RekeyingTestCase(HumdTestCase):
    """A humd that knows another, which can be restarted under its next key."""

    def setUp(self) -> None:
        super().setUp()
        self.place = self.settings(admit_any=True)
        self.other = self.humd(self.place)
        self.old = self.other.me
        mine = self.settings()
        self.write_peers(mine, self.row())
        self.mine = self.humd(mine)
        self.asks = self.asker(self.mine)

    def row(self, **more: Any) -> dict[str, Any]:
        return {"humd_id": self.old.full, "hints": [PLACE], "alias": "other", "follow": True, **more}

    def rotate(self) -> HumdId:
        """Begin, and have it told."""
        paths = self.place.paths
        heir = begin_rotation(paths.key, paths.state_dir, NOW, self.random.randbytes).heir
        self.asker(self.other).ask("rekey")
        settle(self.reactor)
        return heir

    def finish(self) -> Humd:
        """Finish, and restart."""
        finish_rotation(self.place.paths.key, self.place.paths.state_dir)
        self.stop(self.other)
        self.other = self.humd(self.place)
        return self.other

    def dialled(self) -> set[HumdId]:
        """Whom we dial where they are not linked."""
        return {row.peer for row in self.mine.ensemble.policy.known.values() if self.mine.dialler.dials(row.peer)}

    def rows(self) -> dict[str, dict[str, Any]]:
        return {row["id"]: row for row in self.asks.ask("peers")["peers"]}


class PeerTests(RekeyingTestCase):
    """The side that has the row."""

    def test_dialling(self) -> None:
        """An heir is dialled at the same places, but not while the one before it is linked."""
        self.join(self.other, self.mine)
        heir = self.rotate()
        self.assertEqual(self.dialled(), {self.old})
        self.assertIn(f"`ensemble untrust {self.old.full} && ", self.rows()[self.old.full]["mend"])
        self.finish()
        self.assertEqual(self.dialled(), {self.old, heir})
        self.assertEqual(self.mine.ensemble.policy.known[heir].hints, (PLACE,))
        self.join(self.other, self.mine)
        self.assertEqual(self.dialled(), {heir})
        self.assertEqual(set(self.mine.dialler._redials), {heir})

    def test_dead_heir(self) -> None:
        """Who goes on as an id that was revoked is not said to go on as it, and nothing gives that one the row."""
        self.join(self.other, self.mine)
        heir = self.rotate()
        self.assertEqual(self.rows()[self.old.full]["heir"], heir.full)
        key = self.place.paths.key
        self.mine.ensemble.rules.learn([revoke(load(key.with_name(f"{key.name}.next")), NOW)])
        row = self.rows()[self.old.full]
        self.assertEqual((row["heir"], row["mend"]), (None, None))

    def test_dialling_heirs_of_heirs(self) -> None:
        """Nor is one dialled while any before it is linked: it is that one which would answer."""
        self.join(self.other, self.mine)
        self.rotate()
        self.join(self.finish(), self.mine)
        between, last = self.other.me, self.rotate()
        self.assertEqual(self.dialled(), {between})
        self.finish()
        self.assertEqual(self.dialled(), {between, last})

    def test_flapping(self) -> None:
        """Whoever has the old key and comes and goes does not make us dial its heirs again and again."""
        self.join(self.other, self.mine)
        self.rotate()
        tried = len(self.reactor.tcpClients)
        for _ in range(50):
            self.other.ensemble.remove_peer(self.mine.me)
            settle(self.reactor)
            self.reactor.advance(0.1)
            self.join(self.other, self.mine)
        self.assertLess(len(self.reactor.tcpClients) - tried, 5)
        self.other.ensemble.remove_peer(self.mine.me)
        for _ in range(70):
            self.reactor.advance(1)
        self.assertGreater(len(self.reactor.tcpClients) - tried, 1)

    def test_peers(self) -> None:
        """Both are shown with what they are to each other; the alias means the heir once that has linked."""
        self.join(self.other, self.mine)
        heir = self.rotate()
        rows = self.rows()
        self.assertEqual((rows[self.old.full]["heir"], rows[self.old.full]["alias"]), (heir.full, "other"))
        self.assertEqual((rows[heir.full]["heir_of"], rows[heir.full]["alias"]), (self.old.full, None))
        self.assertEqual((rows[self.old.full]["state"], rows[heir.full]["state"]), ("linked", "down"))
        self.assertEqual(self.asks.ask("forget", peer="other")["peer"], self.old.full)
        self.join(self.finish(), self.mine)
        rows = self.rows()
        self.assertEqual((rows[self.old.full]["alias"], rows[heir.full]["alias"]), (None, "other"))
        self.assertIn("new key", rows[self.old.full]["refused"])
        self.assertEqual(rows[self.old.full]["state"], "down")
        self.assertEqual((rows[heir.full]["state"], rows[heir.full]["refused"]), ("linked", None))
        self.assertEqual([row["id"] for row in self.asks.ask("probe", peer="other")["peers"]], [heir.full])
        self.assertEqual(self.asks.ask("forget", peer=self.old.full)["peer"], self.old.full)

    def test_forget(self) -> None:
        """That the heir proved itself is what keeps the old key out: it is not forgotten before the row is changed."""
        self.join(self.other, self.mine)
        heir = self.rotate()
        self.join(self.finish(), self.mine)
        self.assertEqual(self.asks.ask("forget", peer=heir.full)["qualifier"], "not.supported")
        self.assertTrue(self.mine.state.memory.ever_proven(heir))
        self.write_peers(self.mine, {"humd_id": heir.full, "follow": True})
        self.mine.reload()
        self.assertIs(self.asks.ask("forget", peer=heir.full)["known"], True)

    def test_forget_behind_the_dead(self) -> None:
        """Nor is that of an heir who lost the row because the one before it died."""
        self.join(self.other, self.mine)
        self.rotate()
        between = self.finish()
        between_key = load(self.place.paths.key)
        last = self.rotate()
        self.join(self.finish(), self.mine)
        self.assertEqual(self.mine.ensemble.peers(), [last])
        self.mine.ensemble.rules.learn([revoke(between_key, 1)])
        self.assertEqual(self.asks.ask("forget", peer=last.full)["qualifier"], "not.supported")
        self.mine.reload()
        self.assertIn(self.old, self.mine.ensemble.policy.barred)
        self.assertIn(between.me, self.mine.ensemble.policy.barred)

    def test_reminder(self) -> None:
        """Each reading of the file says what is left to change in it."""
        self.join(self.other, self.mine)
        heir = self.rotate()
        for row, told in ((self.row(), True), ({"humd_id": heir.full}, False)):
            self.write_peers(self.mine, row)
            with capturedLogs() as events:
                self.mine.reload()
            problems = [event["problem"] for event in events if event.get("event") == "peers-problem"]
            self.assertEqual(any(heir.full in problem for problem in problems), told)

    def test_row_removed(self) -> None:
        """With the row its heir goes, too."""
        self.join(self.other, self.mine)
        heir = self.rotate()
        self.join(self.finish(), self.mine)
        self.write_peers(self.mine)
        self.mine.reload()
        settle(self.reactor)
        self.assertEqual((self.mine.ensemble.linked(heir), set(self.mine.dialler._redials)), (False, set()))

    def test_restart(self) -> None:
        """What was learned is there after a restart, of both sides."""
        self.join(self.other, self.mine)
        heir = self.rotate()
        settings = self.mine.settings
        self.stop(self.mine)
        self.mine = self.humd(settings)
        self.join(self.finish(), self.mine)
        self.assertEqual(self.mine.ensemble.peers(), [heir])

    def test_away(self) -> None:
        """A peer that was away learns it from the hello."""
        heir = self.rotate()
        self.join(self.finish(), self.mine)
        self.assertEqual(self.mine.ensemble.peers(), [heir])


class VerbTests(RekeyingTestCase):
    """The control socket."""

    def test_rekey(self) -> None:
        """It says who was told, and who does not understand."""
        self.join(self.other, self.mine)
        asks = self.asker(self.other)
        self.assertEqual(asks.ask("rekey"), {"ok": True, "told": [self.mine.me.full], "deaf": []})
        link = self.other.ensemble.link_to(self.mine.me)
        assert link is not None and link.shaken is not None
        object.__setattr__(link.shaken, "features", frozenset({"ping-1"}))
        self.assertEqual(asks.ask("rekey"), {"ok": True, "told": [], "deaf": [self.mine.me.full]})
        (self.place.paths.state_dir / "successions.json").write_text("{")
        self.assertEqual(asks.ask("rekey")["qualifier"], "config.bad")

    def test_revoke(self) -> None:
        """The operator's word ends a link, whether that id has a row or not; twice is no news."""
        self.join(self.other, self.mine)
        statement = revoke(load(self.place.paths.key), NOW).to_tone()
        answer = self.asks.ask("revoke", statement=statement)
        self.assertEqual(answer, {"ok": True, "peer": self.old.full, "known": False})
        self.assertEqual(self.mine.ensemble.peers(), [])
        self.assertIs(self.asks.ask("revoke", statement=statement)["known"], True)
        stranger = self.asker(self.other)
        mine = revoke(load(self.mine.settings.paths.key), NOW).to_tone()
        self.assertIs(stranger.ask("revoke", statement=mine)["ok"], True)

    def test_not_taken(self) -> None:
        """What is no revocation of somebody else, or is not signed, is refused with a word."""
        key = load(self.place.paths.key)
        good = revoke(key, NOW).to_tone()
        for statement, qualifier in (
            (None, "tone.malformed"),
            ({"chi": "revocation"}, "tone.malformed"),
            (succeed(key, load(self.mine.settings.paths.key), NOW).to_tone(), "not.supported"),
            (revoke(load(self.mine.settings.paths.key), NOW).to_tone(), "not.supported"),
            (good | {"issued": 1}, "not.supported"),
        ):
            answer = self.asks.ask("revoke", statement=statement)
            self.assertEqual((answer["ok"], answer["qualifier"]), (False, qualifier))


class OwnKeyTests(HumdTestCase):
    """The side whose key it is."""

    def dies(self, settings: Settings) -> None:
        """It does not start, says why, and lets go of the state."""
        humd = self.humd(settings, start=False)
        self.assertIn("was revoked", str(self.assertRaises(ConfigurationError, humd.startService)))
        humd.abandon()

    def test_revoked_by_us(self) -> None:
        """A daemon whose key we revoked goes on until it is stopped, says so, and starts with another key only."""
        settings = self.settings()
        humd = self.humd(settings)
        paths = settings.paths
        keep_revocation(paths.state_dir, revoke(load(paths.key), NOW))
        with capturedLogs() as events:
            self.asker(humd).ask("rekey")
        self.assertEqual([event["log_level"] for event in events], [LogLevel.error])
        self.assertIs(self.asker(humd).ask("status")["revoked"], True)
        self.stop(humd)
        self.dies(settings)
        paths.key.rename(paths.key.with_suffix(".gone"))
        self.assertNotEqual(self.humd(settings).me, humd.me)

    def test_old_key(self) -> None:
        """A key that was put back although it named another, whose key is not there, is told at the start."""
        settings = self.settings()
        self.stop(self.humd(settings))
        paths = settings.paths
        begin_rotation(paths.key, paths.state_dir, NOW, self.random.randbytes)
        old = paths.key.read_bytes()
        for again, told in ((False, 0), (True, 1)):
            if again:
                finish_rotation(paths.key, paths.state_dir)
                paths.key.write_bytes(old)
            with capturedLogs() as events:
                self.stop(self.humd(settings))
            self.assertEqual(len([event for event in events if event.get("event") == "key-superseded"]), told)

    def test_lost_key(self) -> None:
        """A start that finds no key, though a rotation was begun, makes one and warns that it is somebody else now."""
        settings = self.settings()
        before = self.humd(settings)
        self.stop(before)
        paths = settings.paths
        begin_rotation(paths.key, paths.state_dir, NOW, self.random.randbytes)
        paths.key.unlink()
        with capturedLogs() as events:
            self.humd(settings)
        (warned,) = [event for event in events if event.get("event") == "key-lost"]
        self.assertEqual((warned["log_level"], before.me.full in warned["cause"]), (LogLevel.warn, True))

    def test_revoked_by_somebody(self) -> None:
        """A revocation of our key that came over a link counts at the next start."""
        settings = self.settings(admit_any=True)
        humd, other = self.humd(settings), self.humd(self.settings(admit_any=True))
        self.join(other, humd)
        link = other.ensemble.link_to(humd.me)
        assert link is not None
        link.say(revoke(load(settings.paths.key), NOW).to_tone())
        settle(self.reactor)
        self.assertEqual(humd.ensemble.peers(), [other.me])
        self.stop(humd)
        self.dies(settings)

    def test_damaged(self) -> None:
        """A file of ours that cannot be used is told before anything starts, and nothing is held."""
        settings = self.settings()
        settings.paths.state_dir.mkdir(parents=True)
        path = settings.paths.state_dir / "successions.json"
        path.write_text("[]")
        self.assertIn("move it away", str(self.assertRaises(ConfigurationError, open_state, settings.paths)))
        path.unlink()
        open_state(settings.paths).close()
