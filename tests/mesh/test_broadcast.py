"""News to many peers: encoded once, the same bytes for all, in order with everything else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from ensemble.identity import HumdId
from ensemble.mesh import Ensemble, Policy, Tap, ensemble as ensemble_module
from ensemble.mesh.link_actions import GoodbyeReason
from ensemble.protocols import Level
from ensemble.testing import World
from ensemble.tone import decode, encode
from tests.mesh.diary import Diary
from tests.mesh.plain_peer import PlainPeer


class GossipTests(SynchronousTestCase):
    """One humd with five peers."""

    def setUp(self) -> None:
        self.world = World()
        self.a = self.world.humd()
        self.others = [self.world.humd() for _ in range(5)]
        for other in self.others:
            self.world.link(self.a, other)
        self.taps = [other.subscribe() for other in self.others]

    def news(self, number: int, origin: Ensemble | None = None, **more: Any) -> dict[str, Any]:
        return {"chi": "gossip-publish", "n": number, "from": (origin or self.a).me.full, **more}

    def heard(self, tap: Tap) -> list[int]:
        """The numbers of what has arrived there."""
        self.world.settle()
        numbers = []
        while (arrived := tap.get()).called:
            numbers.append(self.successResultOf(arrived)["n"])
        arrived.cancel()
        self.failureResultOf(arrived)
        return numbers

    def test_encoded_once_and_sent_as_it_is(self) -> None:
        """Every peer is written the very same line, with the origin's `from` and no `to` added."""
        encoded: list[bytes] = []

        def counting(tone: Mapping[str, Any]) -> bytes:
            encoded.append(encode(tone))
            return encoded[-1]

        self.patch(ensemble_module, "encode", counting)
        tone = self.news(1, self.world.humd())
        self.assertEqual(self.a.broadcast(tone), [])
        self.world.settle()
        self.assertEqual([decode(line) for line in encoded], [tone])
        for tap in self.taps:
            self.assertEqual(self.successResultOf(tap.get()), tone)

    def test_in_order_with_other_tones(self) -> None:
        """News and tones to one peer, in one turn, arrive in the order in which they were sent."""
        first = self.others[0].me
        for number in range(0, 12, 3):
            self.a.broadcast(self.news(number))
            self.a.broadcast(self.news(number + 1))
            self.a.route({"chi": "perf-mark", "n": number + 2, "to": first.full})
        self.assertEqual(self.heard(self.taps[0]), list(range(12)))
        self.assertEqual(self.heard(self.taps[1]), [0, 1, 3, 4, 6, 7, 9, 10])

    def test_some(self) -> None:
        """News to some go to those alone; who is not linked is named."""
        stranger = self.world.key().humd_id()
        some = [self.others[1].me, stranger, self.others[3].me]
        self.assertEqual(self.a.broadcast(self.news(1), some), [stranger])
        self.a.broadcast(self.news(2))
        self.assertEqual(self.a.broadcast(self.news(3), some), [stranger])
        self.assertEqual([self.heard(tap) for tap in self.taps], [[2], [1, 2, 3], [2], [1, 2, 3], [2]])

    def test_nobody(self) -> None:
        """Without a peer there is nobody to miss."""
        alone = self.world.humd()
        self.assertEqual(alone.broadcast(self.news(1)), [])

    def test_membership_changes(self) -> None:
        """Who comes between two tones of one turn gets the second, who goes misses it, the others get both."""
        self.a.broadcast(self.news(1))
        self.a.remove_peer(self.others[0].me)
        self.a.broadcast(self.news(2))
        late = self.world.humd()
        self.world.link(self.a, late)
        tap = late.subscribe()
        self.a.broadcast(self.news(3))
        self.assertEqual([self.heard(each) for each in (*self.taps[:2], tap)], [[1], [1, 2, 3], [3]])

    def test_parted_from_as_it_comes(self) -> None:
        """A peer that is removed by whoever was told that it came is named as soon as its loss is told."""
        late = self.world.humd()
        missed: list[tuple[bool, list[HumdId]]] = []

        def told(peer: HumdId, up: bool) -> None:
            if up:
                self.a.remove_peer(peer)
            missed.append((up, self.a.broadcast(self.news(1), [peer])))

        self.a.watch(told)
        self.world.link(self.a, late)
        self.assertEqual(missed, [(True, []), (False, [late.me])])

    def test_a_replaced_link(self) -> None:
        """Who links anew gets what follows, over the newer link, be it to all or to some."""
        for some in (None, [self.others[0].me]):
            self.a.broadcast(self.news(1), some)
            again = self.world.humd(self.others[0].key)
            self.world.link(again, self.a)
            tap = again.subscribe()
            self.a.broadcast(self.news(2), some)
            self.assertEqual(self.heard(tap), [2])

    def test_between_two_links(self) -> None:
        """News to a peer whose tones move wait for its next link; where that does not come, it is told of each."""
        keys = sorted((self.world.key(), self.world.key()), key=lambda key: key.humd_id())
        humd = self.world.humd(keys[1])
        diary, peer = Diary(humd), PlainPeer(self.world, humd, keys[0], dials=False)
        peer.say(peer.hello(features=["bye-1"]), {"chi": "goodbye", "reason": "duplicate"})
        self.world.link(humd, self.others[0])
        self.assertEqual(humd.broadcast(self.news(1, humd)), [])
        self.assertEqual(self.heard(self.taps[0]), [1])
        self.world.advance(10)
        self.assertIn(("undelivered", "peer.lost"), diary.told)

    def test_too_long_for_one(self) -> None:
        """A peer that takes no line so long is named; the others get it."""
        small = self.world.humd(max_tone=4096)
        self.world.link(self.a, small)
        tap = small.subscribe()
        self.a.broadcast(self.news(1))
        self.assertEqual(self.a.broadcast(self.news(2, text="x" * 5000)), [small.me])
        self.a.broadcast(self.news(3))
        self.assertEqual([self.heard(each) for each in (self.taps[0], tap)], [[1, 2, 3], [1, 3]])

    def test_too_long_for_one_and_another_does_not_read(self) -> None:
        """Such news are dropped as all others for a peer that does not read: it is not named."""
        small = self.world.humd(max_tone=4096)
        self.world.link(self.a, small)
        slow = self.a.link_to(self.others[0].me)
        assert slow is not None
        slow.wire_full()
        for number in range(20):
            self.assertEqual(self.a.broadcast(self.news(number, text="x" * 500_000)), [small.me])
        self.assertGreater(slow.dropped, 0)

    def test_behind_our_goodbye(self) -> None:
        """Nothing is written behind our goodbye, even before the other side has answered it."""
        self.a.broadcast(self.news(1))
        link = self.a.link_to(self.others[0].me)
        assert link is not None
        link.say_goodbye(GoodbyeReason.LIMIT)
        self.a.broadcast(self.news(2))
        self.assertEqual([self.heard(each) for each in self.taps[:2]], [[1], [1, 2]])

    def test_behind_a_goodbye_that_is_not_said(self) -> None:
        """A peer that knows no goodbyes is sent nothing either once its link is being ended."""
        humd = self.world.humd(policy=Policy(level=Level.OPEN))
        peers = [PlainPeer(self.world, humd) for _ in range(2)]
        for peer in peers:
            peer.say(peer.hello())
        humd.broadcast(self.news(1, humd))
        link = humd.link_to(peers[0].id)
        assert link is not None
        link.say_goodbye(GoodbyeReason.LIMIT)
        humd.broadcast(self.news(2, humd))
        self.world.settle()
        heard = [[tone["n"] for tone in peer.heard if tone["chi"] == "gossip-publish"] for peer in peers]
        self.assertEqual(heard, [[1], [1, 2]])

    def test_a_peer_that_does_not_read(self) -> None:
        """Old news to it are dropped and counted, in bounded memory; the others get all."""
        slow = self.a.link_to(self.others[0].me)
        assert slow is not None
        slow.wire_full()
        for number in range(40):
            self.assertEqual(self.a.broadcast(self.news(number, text="x" * 500_000)), [])
            self.world.settle()
        self.assertLessEqual(slow.queued, 8 * 1024 * 1024)
        self.assertGreater(slow.dropped, 20)
        self.assertEqual(self.others[1].counters["tones.received"], 40)
        slow.wire_drained()
        self.assertEqual(self.heard(self.taps[0]), list(range(slow.dropped, 40)))
