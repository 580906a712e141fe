"""Whose tone is it: wire-0.8 section 5."""

from __future__ import annotations

from twisted.logger import LogLevel, capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from ensemble.identity import Role
from ensemble.mesh import inbound
from ensemble.testing import World
from ensemble.tone import Salvaged
from tests.mesh.diary import Diary
from tests.mesh.plain_peer import PlainPeer


class WhoseToneTests(SynchronousTestCase):
    """wire-0.8 section 5, against a peer that says what it likes."""

    never_answered = ("error", "echo", "log", "gossip-publish", "kad-find-node", "wane-sync")

    def setUp(self) -> None:
        self.world = World()
        self.a = self.world.humd()
        self.tap = self.a.subscribe()
        self.peer = PlainPeer(self.world, self.a)
        self.peer.say(self.peer.hello())
        self.assertEqual(self.a.peers(), [self.peer.id])

    def test_a_forged_from_is_refused(self) -> None:
        """A tone in another humd's name reaches nobody, and its sender is told."""
        other = self.world.key().humd_id()
        for forged in (other.full, other.digest.hex(), other.full.upper().replace("HUMD", "humd"), self.a.me.full):
            self.peer.say({"chi": "prompt", "rid": "r1", "sid": "s1", "from": forged})
            error = self.peer.heard.pop()
            self.assertEqual((error["chi"], error["qualifier"], error["rid"]), ("error", "from.forged", "r1"))
        self.assertNoResult(self.tap.get())

    def test_names_and_nothing_become_the_peer(self) -> None:
        """An absent `from`, or a bee's name there, becomes the link's proven id, in the line and in its envelope."""
        diary = Diary(self.a)
        for said in ({}, {"from": "opencode"}, {"from": None}, {"from": self.peer.id.digest.hex()}):
            self.peer.say({"chi": "perf-mark", **said})
            self.assertEqual(self.successResultOf(self.tap.get())["from"], self.peer.id.full)
            self.assertEqual(diary.senders.pop(), self.peer.id.full)

    def test_ids_of_bees(self) -> None:
        """The id of a bee in `from` is a name like any other: no humd is forged by it.  Nor is one in `to` ours."""
        for role in (Role.WORKER, Role.FORAGER):
            self.peer.say({"chi": "perf-mark", "from": self.world.key().humd_id(role).full})
            self.assertEqual(self.successResultOf(self.tap.get())["from"], self.peer.id.full)
            self.peer.say({"chi": "prompt", "rid": "r", "to": self.a.me.full.replace("humd", role.value)})
            self.assertEqual(self.peer.heard.pop()["qualifier"], "route.unknown-peer")

    def test_no_relay(self) -> None:
        """A tone for somebody else goes no further, and its sender is told, also where its `from` is right."""
        for said in ({}, {"from": self.peer.id.full}):
            for to in (self.world.key().humd_id().full, "some-bee"):
                self.peer.say({"chi": "prompt", "rid": "r2", "to": to, **said})
                self.assertEqual(self.peer.heard.pop()["qualifier"], "route.unknown-peer")
        self.assertNoResult(self.tap.get())

    def test_names_of_ours_in_to(self) -> None:
        """What names us, in any form, or nobody, is for us."""
        for to in (self.a.me.full, self.a.me.digest.hex(), self.a.me.short, ""):
            self.peer.say({"chi": "perf-mark", "to": to})
            self.assertEqual(self.successResultOf(self.tap.get())["to"], to)

    def test_what_is_never_answered_is_not(self) -> None:
        """Errors, echoes and logs that are refused cost no answer: two humds could go on for ever."""
        before = len(self.peer.heard)
        for chi in self.never_answered:
            self.peer.say({"chi": chi, "rid": "r3", "to": "some-bee"})
        self.assertEqual(self.peer.heard[before:], [])

    def test_bad_lines_are_answered_where_possible(self) -> None:
        """A line that is no tone is answered when its rid can be read; the link stays either way."""
        for line in (b'{"chi":"prompt","rid":"r4","sid":7}', b'{"chi":"prompt","rid":"r4","x":1e999}'):
            self.peer.say(line)
            error = self.peer.heard.pop()
            self.assertEqual((error["qualifier"], error["rid"]), ("tone.malformed", "r4"))
        before = len(self.peer.heard)
        for line in (b"[1]", b"{", b'{"chi":""}', b"\xff", b'{"chi":"x","y":' + b"[" * 200 + b"]" * 200 + b"}"):
            self.peer.say(line)
        self.assertEqual((self.peer.heard[before:], self.a.peers()), ([], [self.peer.id]))
        self.assertEqual(self.a.counters["tones.malformed"], 7)

    def test_bad_lines_that_are_not_answered(self) -> None:
        """A line that is no tone is not answered without a rid, nor where it is of a kind that never is."""
        before = len(self.peer.heard)
        self.peer.say(*(b'{"chi":"%s","rid":"r4","x":1e999}' % chi.encode() for chi in self.never_answered))
        self.peer.say(b'{"rid":', b'{"chi":"prompt","rid":7}')
        self.assertEqual((self.peer.heard[before:], self.a.counters["tones.malformed"]), ([], 8))

    def test_not_searched_in_vain(self) -> None:
        """A bad line that has no key of an ask anywhere is counted, and nothing else is done with it."""
        searched: list[bytes] = []

        def searching(line: bytes) -> Salvaged:
            searched.append(line)
            return Salvaged()

        self.patch(inbound, "salvage", searching)
        self.peer.say(b'{"chi":"x","b":[' + b"," * 8000, b"x", b"\xff", b'{"rid":')
        self.assertEqual((searched, self.a.counters["tones.malformed"]), ([b'{"rid":'], 4))

    def test_an_expired_tone_is_told(self) -> None:
        """Without anybody to deliver to, a tone past its dusk is answered with tone.expired."""
        self.peer.say({"chi": "prompt", "rid": "r5", "dusk": int(self.world.wall() * 1000) - 1})
        self.assertEqual(self.peer.heard.pop()["qualifier"], "tone.expired")

    def test_what_is_not_answered_is_in_the_debug_log(self) -> None:
        """What goes no further leaves a trace, with who said it and why, also where nobody is told."""
        for said in (b"{", {"chi": "log", "to": "some-bee"}):
            with capturedLogs() as events:
                self.peer.say(said)
            [event] = [event for event in events if event["log_level"] is LogLevel.debug]
            self.assertEqual(event["peer"], self.peer.id.full)
            self.assertTrue(event["cause"])
