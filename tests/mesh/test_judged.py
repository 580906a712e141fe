"""Links that new rules end, and what is said of them; links that never were one."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from ensemble.mesh import Ensemble, KnownPeer, Policy
from ensemble.protocols import InMemoryEndpoint, Level
from ensemble.testing import World
from tests.mesh.diary import Diary
from tests.mesh.plain_peer import PlainPeer


class JudgedTests(SynchronousTestCase):
    """A humd whose rules change while a peer is linked over a plain wire."""

    def setUp(self) -> None:
        self.world = World()
        self.patch(InMemoryEndpoint, "secure", False)
        self.humd = self.world.humd()
        self.peer = PlainPeer(self.world, self.humd)
        self.peer.say(self.peer.hello(features=["bye-1"]))
        self.peer.heard.clear()
        self.row = KnownPeer(self.peer.id)

    def parting(self, policy: Policy) -> list[tuple[str, str]]:
        """What the peer reads of it."""
        self.assertTrue(self.humd.linked(self.peer.id))
        self.humd.judge_again(policy)
        self.world.settle()
        return [(tone["reason"], tone["message"]) for tone in self.peer.heard if tone["chi"] == "goodbye"]

    def test_still_listed(self) -> None:
        """Nothing is said where nothing changed for it."""
        self.assertEqual(self.parting(Policy(admit_any=False, known=[self.row])), [])
        self.assertTrue(self.humd.linked(self.peer.id))

    def test_removed(self) -> None:
        """Whose row is gone is no peer any more."""
        said = self.parting(Policy(admit_any=False))
        self.assertEqual(said, [("removed", "this humd no longer lists you as a peer")])

    def test_secure_only(self) -> None:
        """Whose row names a secure hint now is listed all the same: another wire is wanted."""
        said = self.parting(Policy(known=[KnownPeer(self.peer.id, ("tls:x.test:1",))]))
        self.assertEqual(said, [("auth", "this humd now wants a secure wire")])

    def test_more_proof(self) -> None:
        """Whose row asks for a proof now."""
        said = self.parting(Policy(known=[KnownPeer(self.peer.id, level=Level.PROVEN)]))
        self.assertEqual(said, [("auth", "this humd now wants more proof of who you are")])


class WatchedTests(SynchronousTestCase):
    """Who is told of links that come up."""

    def setUp(self) -> None:
        self.world = World()
        self.humd: Ensemble = self.world.humd()

    def test_refused(self) -> None:
        """A second link that is refused, for it is weaker, was never up for anybody."""
        seen: list[str] = []
        self.humd.watch_links(lambda link: seen.append(link.state.name))
        key = self.world.key()
        for signed in (True, False):
            peer = PlainPeer(self.world, self.humd, key)
            peer.say(peer.hello(signed=signed))
        self.assertEqual((seen, self.humd.counters["links.superseded"]), (["UP"], 1))

    def test_refused_at_the_last_moment(self) -> None:
        """Whom newer rules do not admit is told nothing, heard by nobody, counted with its cause, and cut."""
        verdicts = iter([None, "the rules changed"])
        self.patch(Policy, "admits", lambda *_: next(verdicts))
        diary, peer = Diary(self.humd), PlainPeer(self.world, self.humd)
        peer.say(peer.hello(), {"chi": "prompt", "rid": "r1"})
        self.assertEqual((diary.told, self.humd.peers(), peer.lost is None), ([], [], False))
        self.assertEqual((self.humd.counters["handshake.not-admitted"], list(verdicts)), (1, []))
