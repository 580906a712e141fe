"""Statements about keys between real ensembles: on links, in hellos, in the memory, and what the log says."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import LogLevel, capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from ensemble.errors import LinkRefused
from ensemble.identity import HumdId, HumdKey, Succession, revoke, succeed
from ensemble.mesh import LINK_STATEMENTS, MAX_STATEMENTS, Ensemble, KnownPeer, Policy, ProofMemory, RamProofMemory
from ensemble.protocols import InMemoryEndpoint, Level
from ensemble.testing import World


class RekeyTestCase(SynchronousTestCase):
    """A peer with a row for one id, and the keys of its owner and of a thief."""

    def setUp(self) -> None:
        self.world = World()
        self.old, self.new, self.thief = (self.world.key() for _ in range(3))
        self.memory: ProofMemory = RamProofMemory()
        self.peer = self.ensemble_of(self.world.key(), memory=self.memory)
        self.rows(follow=False)

    def ensemble_of(self, key: HumdKey, **more: Any) -> Ensemble:
        return self.world.humd(key, policy=more.pop("policy", Policy(Level.PROVEN)), **more)

    def rows(self, *more: HumdKey, follow: bool = True) -> None:
        """The peer's file: a row for the old id, and for those."""
        rows = [KnownPeer(key.humd_id(), follow=follow, alias=str(at)) for at, key in enumerate((self.old, *more))]
        self.peer.judge_again(Policy(Level.PROVEN, admit_any=False, known=rows))

    def link(self, key: HumdKey, *succeeds: Succession) -> Ensemble:
        """A humd with this key dials the peer."""
        humd = self.ensemble_of(key, succeeds=succeeds)
        self.join(humd, self.peer)
        return humd

    def join(self, dialler: Ensemble, listener: Ensemble) -> None:
        """A link, or a refusal."""
        for up in self.world.join(dialler, listener).up:
            up.addErrback(lambda refused: refused.trap(LinkRefused) and None)
        self.world.settle()

    def linked(self) -> list[HumdKey]:
        return [key for key in (self.old, self.new, self.thief) if self.peer.linked(key.humd_id())]

    def said(self, humd: Ensemble, *tones: dict[str, Any]) -> None:
        """The humd writes these on its link, whatever they are."""
        link = humd.link_to(self.peer.me)
        assert link is not None
        for tone in tones:
            link.say(tone)
        self.world.settle()

    def count(self, name: str) -> int:
        return self.peer.counters[f"rekey.{name}"]


class LinkTests(RekeyTestCase):
    """What is said while the old key still runs."""

    def test_log(self) -> None:
        """A linked peer learns at once; one line names old, new and the mend, and without ``follow`` that is all."""
        humd = self.link(self.old)
        with capturedLogs() as events:
            humd.rules.announce(succeed(self.old, self.new, 1))
            self.world.settle()
        (event,) = [event for event in events if event.get("event") == "rekey"]
        self.assertEqual(event["log_level"], LogLevel.warn)
        for text in (self.old.humd_id().full, self.new.humd_id().full, "not followed", "ensemble untrust"):
            self.assertIn(text, event["remark"])
        self.assertEqual(self.peer.rules.remarks(), [event["remark"]])
        with capturedLogs() as events:
            self.link(self.new)
        self.assertEqual(self.linked(), [self.old])
        (event,) = [event for event in events if event.get("counter") == "handshake.not-admitted"]
        self.assertIn(f"{self.old.humd_id().full} goes on as it", event["cause"])
        self.assertTrue(event["cause"].endswith(self.peer.rules.mend(self.old.humd_id())))

    def test_follow(self) -> None:
        """With ``follow`` the heir is let in; then the old one is told goodbye, and refused for good."""
        self.rows()
        humd = self.link(self.old)
        humd.rules.announce(succeed(self.old, self.new, 1))
        self.world.settle()
        self.assertEqual(self.linked(), [self.old])
        self.link(self.new)
        self.assertEqual(self.linked(), [self.new])
        self.link(self.old)
        self.assertEqual(self.linked(), [self.new])
        self.assertTrue(self.peer.memory.ever_proven(self.new.humd_id()))

    def test_later_links(self) -> None:
        """Each link to one that understands it is told, once; news is not told twice."""
        humd = self.ensemble_of(self.old)
        statement = succeed(self.old, self.new, 1)
        humd.rules.announce(statement)
        humd.rules.announce(statement)
        self.join(humd, self.peer)
        humd.rules.announce(statement)
        self.world.settle()
        self.assertEqual((self.count("learned"), self.count("known")), (1, 0))
        humd.remove_peer(self.peer.me)
        self.world.settle()
        self.join(humd, self.peer)
        self.assertEqual((self.count("learned"), self.count("known")), (1, 1))

    def test_without_the_feature(self) -> None:
        """Whoever does not list ``rekey-1`` is told nothing."""
        humd = self.link(self.old)
        link = humd.link_to(self.peer.me)
        assert link is not None and link.shaken is not None
        object.__setattr__(link.shaken, "features", frozenset({"ping-1"}))
        humd.rules.announce(succeed(self.old, self.new, 1))
        self.world.settle()
        self.assertEqual(self.count("learned"), 0)

    def test_revoked_here(self) -> None:
        """Whoever revokes an earlier key of its own refuses it from then on, and is offered no row for it."""
        self.peer.judge_again(Policy(Level.PROVEN))
        self.link(self.old)
        self.assertEqual(self.linked(), [self.old])
        self.peer.rules.announce(revoke(self.old, 1))
        self.world.settle()
        self.assertEqual(self.linked(), [])
        cause = self.peer.policy.admits(self.old.humd_id(), True)
        assert cause is not None
        self.assertIn("its key was revoked", cause)

    def test_an_earlier_key_of_ours(self) -> None:
        """Whoever comes with a key that was ours is named as that, and is offered no row."""
        known = Policy(Level.PROVEN, admit_any=False)
        humd = self.ensemble_of(self.new, succeeds=(succeed(self.old, self.new, 1),), policy=known)
        for _ in range(2):
            cause = humd.policy.admits(self.old.humd_id(), True)
            assert cause is not None
            self.assertIn("an earlier key of this humd", cause)
            self.assertNotIn("ensemble trust", cause)
            humd.judge_again(known)

    def test_revoked(self) -> None:
        """A revoked id is told goodbye and why at once, is refused under ``any`` too, and the log says why."""
        humd = self.link(self.old)
        with capturedLogs() as events:
            humd.rules.announce(revoke(self.old, 1))
            self.world.settle()
            self.assertEqual(self.linked(), [])
            self.peer.judge_again(Policy(Level.OPEN))
            self.link(self.old)
        self.assertEqual(self.linked(), [])
        self.assertTrue([event for event in events if "revoked" in str(event.get("cause"))])
        told = f"this humd refuses {self.old.humd_id().full}: its key was revoked"
        self.assertEqual([event["text"] for event in events if event.get("reason") == "removed"], [told])
        self.assertEqual(self.peer.counters["handshake.not-admitted"], 1)

    def test_disputed(self) -> None:
        """A second successor is an error in the log, and ends all that came of the first."""
        self.rows()
        humd = self.link(self.old)
        self.said(humd, succeed(self.old, self.new, 1).to_tone())
        self.link(self.new)
        with capturedLogs() as events:
            self.link(self.thief, succeed(self.old, self.thief, 1))
        self.assertEqual(self.linked(), [])
        (event,) = [event for event in events if event.get("event") == "rekey"]
        self.assertEqual(event["log_level"], LogLevel.error)
        self.assertIn(self.thief.humd_id().full, event["remark"])
        self.assertEqual(self.count("disputed"), 1)
        for key in (self.old, self.new, self.thief):
            self.link(key)
        self.assertEqual(self.linked(), [])

    def test_strangers(self) -> None:
        """What is said of an id without a row is counted, and nothing more."""
        humd = self.link(self.old)
        self.said(humd, revoke(self.new, 1).to_tone(), succeed(self.new, self.thief, 1).to_tone())
        self.assertEqual((self.count("uncovered"), self.count("learned")), (2, 0))
        self.assertEqual(list(self.memory.statements()), [])

    def test_nonsense(self) -> None:
        """A statement of a wrong shape or signature is counted; the link stays, and nothing is answered."""
        humd = self.link(self.old)
        tap = humd.subscribe()
        forged = succeed(self.old, self.thief, 1).to_tone() | {"issued": 2}
        self.said(humd, {"chi": "succession"}, {"chi": "revocation", "issued": 1}, forged)
        self.assertEqual((self.count("bad"), self.count("forged")), (2, 1))
        self.assertEqual(self.linked(), [self.old])
        self.assertNoResult(tap.get())

    def test_flood(self) -> None:
        """So many lines of one link are looked at, and no more."""
        humd = self.link(self.old)
        tone = revoke(self.new, 1).to_tone()
        self.said(humd, *[tone] * (LINK_STATEMENTS + 5))
        self.assertEqual((self.count("uncovered"), self.count("flood")), (LINK_STATEMENTS, 5))
        self.said(humd, revoke(self.old, 1).to_tone())
        self.assertEqual(self.linked(), [self.old])
        self.link(self.old)
        self.assertEqual(self.linked(), [self.old])

    def test_full(self) -> None:
        """Where no more fit the log says so once."""
        humd = self.link(self.old)
        self.peer.rules.lineage._size = MAX_STATEMENTS
        with capturedLogs() as events:
            self.said(humd, *[succeed(self.old, self.new, 1).to_tone()] * 2)
        self.assertEqual([event["limit"] for event in events], [MAX_STATEMENTS])
        self.assertEqual(self.count("full"), 2)

    def test_reflected(self) -> None:
        """Our own statement that comes back is no news; one of our key that we never made is an error."""
        own, humd = self.peer, self.link(self.old)
        assert own.key is not None
        ours = succeed(own.key, self.new, 1)
        own.rules.announce(ours)
        with capturedLogs() as events:
            self.said(humd, ours.to_tone())
            self.assertEqual([event for event in events if event["log_level"] is LogLevel.error], [])
            self.said(humd, revoke(own.key, 1).to_tone())
        (event,) = [event for event in events if event["log_level"] is LogLevel.error]
        self.assertEqual((event["event"], event["what"]), ("rekey-stolen", "revocation"))
        self.assertTrue(own.rules.lineage.is_revoked(own.me))
        self.assertEqual(self.linked(), [self.old])


class HelloTests(RekeyTestCase):
    """What a hello says to a peer that was away."""

    def test_away(self) -> None:
        """The very hello that would be refused says whose heir it is; the log shows the way where nothing follows."""
        chain = succeed(self.old, self.new, 1)
        with capturedLogs() as events:
            self.link(self.new, chain)
        self.assertEqual(self.linked(), [])
        self.assertTrue([event for event in events if self.new.humd_id().full in str(event.get("remark"))])
        self.rows()
        self.link(self.new, chain)
        self.assertEqual(self.linked(), [self.new])

    def test_dialled(self) -> None:
        """One that answers with another id than the one dialled is refused, and its chain is learned all the same."""
        self.rows()
        heir = self.ensemble_of(self.new, succeeds=[succeed(self.old, self.new, 1)])
        near, far = InMemoryEndpoint.pair(self.peer.me, None, self.old.humd_id(), None, self.world.clock)
        self.failureResultOf(self.gone(self.peer.install(near), heir.install(far)), LinkRefused)
        self.assertEqual(self.linked(), [])
        self.join(self.peer, heir)
        self.assertEqual(self.linked(), [self.new])

    def gone(self, mine: Deferred[HumdId], other: Deferred[HumdId]) -> Deferred[HumdId]:
        other.addErrback(lambda refused: refused.trap(LinkRefused) and None)
        self.world.settle()
        return mine

    def test_chain(self) -> None:
        """A chain of heirs leads to the last."""
        middle = self.world.key()
        self.rows()
        self.link(self.new, succeed(self.old, middle, 1), succeed(middle, self.new, 1))
        self.assertEqual(self.linked(), [self.new])
        self.assertEqual(self.count("learned"), 2)
        self.link(self.old)
        self.assertEqual(self.linked(), [self.new])

    def test_log_of_a_chain(self) -> None:
        """Of each one in a chain the log says whether it is followed: by the row that leads to it."""
        middle = self.world.key()
        for follow, word in ((True, "and is followed"), (False, "is not followed")):
            self.setUp()
            self.rows(follow=follow)
            with capturedLogs() as events:
                self.link(self.new, succeed(self.old, middle, 1), succeed(middle, self.new, 1))
            said = [event["remark"] for event in events if event.get("event") == "rekey"]
            self.assertEqual(sum("its row does not say so" in remark for remark in said), int(not follow))
            self.assertEqual([word in each for each in said], [True, True])

    def test_follow_switched_off(self) -> None:
        """Where the row stops to follow, or goes, the heir loses what it had, and whom it replaced is back."""
        self.rows()
        self.link(self.new, succeed(self.old, self.new, 1))
        self.rows(follow=False)
        self.world.settle()
        self.assertEqual(self.linked(), [])
        self.link(self.new)
        self.assertEqual(self.linked(), [])
        self.link(self.old)
        self.assertEqual(self.linked(), [self.old])
        self.rows()
        self.world.settle()
        self.assertEqual(self.linked(), [])

    def test_row_within_a_chain(self) -> None:
        """What a chain says of ids before the one with a row is passed over; the rest counts."""
        before = self.world.key()
        self.rows()
        self.link(self.new, succeed(before, self.old, 1), succeed(self.old, self.new, 1))
        self.assertEqual(self.linked(), [self.new])
        self.assertEqual((self.count("uncovered"), self.count("learned")), (1, 1))

    def test_bad_chains(self) -> None:
        """A chain that leads elsewhere, has a gap or a wrong signature lets nobody in."""
        self.rows()
        good = succeed(self.old, self.new, 1)
        forged = Succession(good.old_key, self.thief.public, 1, good.old_signature, good.new_signature)
        for chain in ([good], [succeed(self.old, self.new, 1), succeed(self.thief, self.thief, 1)], [forged]):
            self.link(self.thief, *chain)
        self.assertEqual(self.linked(), [])
        self.assertEqual((self.count("forged"), self.count("learned")), (1, 0))

    def test_forged_in_between(self) -> None:
        """Behind a wrong signature nothing is looked at: whoever has one has cost us enough."""
        good = succeed(self.old, self.new, 1)
        forged = Succession(good.old_key, self.thief.public, 1, good.old_signature, good.new_signature)
        self.peer.rules.learn([forged, good])
        self.assertEqual((self.count("forged"), self.count("learned")), (1, 0))

    def test_key_that_has_become_ours(self) -> None:
        """Where a row's id goes on as us its row is to go, and none is to be made for us."""
        line = f"`ensemble untrust {self.old.humd_id().full}`"
        me = self.ensemble_of(self.new)
        me.judge_again(Policy(Level.PROVEN, admit_any=False, known=[KnownPeer(self.old.humd_id())]))
        me.rules.learn([succeed(self.old, self.new, 1)])
        self.assertTrue(me.rules.mend(self.old.humd_id()).endswith(line))

    def test_leaf(self) -> None:
        """A certificate may say hello once it is known to be that of an heir who is followed, and while it is alive."""
        self.rows()
        self.assertIsNotNone(self.peer.policy.admits_leaf(self.new.humd_id()))
        self.peer.rules.learn([succeed(self.old, self.new, 1)])
        self.assertIsNone(self.peer.policy.admits_leaf(self.new.humd_id()))
        self.rows(follow=False)
        self.assertIn("goes on as it", str(self.peer.policy.admits_leaf(self.new.humd_id())))
        self.peer.rules.learn([revoke(self.old, 1)])
        self.assertIsNotNone(self.peer.policy.admits_leaf(self.old.humd_id()))
