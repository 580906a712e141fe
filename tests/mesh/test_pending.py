"""What `ensemble.mesh.pending` promises."""

from __future__ import annotations

from hypothesis import given, strategies as st
from twisted.trial.unittest import SynchronousTestCase

from ensemble.mesh.defaults import PENDING_LINKS, SETTLED_SECONDS
from ensemble.mesh.pending import PendingLinks
from ensemble.protocols import PENDING_SECONDS, crowd_of


def counted(calls: list[str]) -> type:
    """A link that notes how often it is hashed: what the bookkeeping costs."""

    class Link:
        def __hash__(self) -> int:
            calls.append("hash")
            return id(self)

        def __eq__(self, other: object) -> bool:
            return self is other

    return Link


class Weighed(float):
    """A number that notes how often one like it is looked at: what a search costs."""

    looks = 0

    def __add__(self, other: float) -> Weighed:
        return Weighed(float(self) + other)

    def __eq__(self, other: object) -> bool:
        Weighed.looks += 1
        return float.__eq__(self, other)

    def __lt__(self, other: float) -> bool:
        Weighed.looks += 1
        return float.__lt__(self, other)

    def __gt__(self, other: float) -> bool:
        Weighed.looks += 1
        return float.__gt__(self, other)

    def __le__(self, other: float) -> bool:
        Weighed.looks += 1
        return float.__le__(self, other)

    __hash__ = float.__hash__


class CrowdTests(SynchronousTestCase):
    """Which addresses count as one."""

    def test_ipv4(self) -> None:
        """An IPv4 address stands for itself, also where the kernel shows it as an IPv6 one."""
        self.assertEqual(crowd_of("192.0.2.7"), "192.0.2.7")
        self.assertEqual(crowd_of("::ffff:192.0.2.7"), "192.0.2.7")

    def test_ipv6(self) -> None:
        """All addresses of a /64 are one crowd, however they are written; those of two are two."""
        crowd = crowd_of("2001:db8:1:2::1")
        self.assertEqual(crowd, "2001:db8:1:2::/64")
        self.assertEqual(crowd_of("2001:0DB8:1:2:ffff:ffff:ffff:ffff"), crowd)
        self.assertNotEqual(crowd_of("2001:db8:1:3::1"), crowd)
        self.assertEqual(crowd_of("fe80::1%eth0"), "fe80::/64")

    def test_no_address(self) -> None:
        """What is no address stands for itself."""
        for text in ("", "memory", "peer:1", "/run/hum/x.sock", "1:2:3:4:5:6:7:8:9"):
            self.assertEqual(crowd_of(text), text)


class LimitTests(SynchronousTestCase):
    """Which link goes when there are too many."""

    def test_up_to_the_limit(self) -> None:
        """The limit itself is not passed by the link that reaches it."""
        pending: PendingLinks[int] = PendingLinks()
        self.assertEqual({pending.accepted(n, "192.0.2.7", 0.0) for n in range(PENDING_LINKS)}, {None})
        self.assertEqual(len(pending), PENDING_LINKS)
        self.assertEqual(pending.accepted(PENDING_LINKS, "192.0.2.7", 0.0), (0, False))
        self.assertEqual(len(pending), PENDING_LINKS)

    def test_largest_crowd(self) -> None:
        """The oldest link of the address that has the most goes, not the oldest of all."""
        pending: PendingLinks[str] = PendingLinks(4)
        for link, address in (("a1", "a"), ("b1", "b"), ("b2", "b"), ("c1", "c")):
            pending.accepted(link, address, 0.0)
        self.assertEqual(pending.accepted("d1", "d", 0.0), ("b1", False))
        self.assertEqual(pending.accepted("d2", "d", 0.0), ("d1", False))

    def test_largest_crowd_after_many(self) -> None:
        """However many came and went before, it is the largest crowd that pays."""
        pending: PendingLinks[str] = PendingLinks(4)
        for link in ("a1", "b1", "b2"):
            pending.accepted(link, link[0], 0.0)
        for number in range(1000):
            pending.accepted(f"c{number}", f"c{number}", 0.0)
            pending.gone(f"c{number}")
        pending.accepted("d1", "d", 0.0)
        self.assertEqual(pending.accepted("e1", "e", 0.0), ("b1", False))

    def test_crowd_of_the_newcomer(self) -> None:
        """The newcomer counts with its crowd."""
        pending: PendingLinks[str] = PendingLinks(2)
        pending.accepted("a1", "a", 0.0)
        pending.accepted("b1", "2001:db8::1", 0.0)
        self.assertEqual(pending.accepted("b2", "2001:db8::2", 0.0), ("b1", False))

    def test_equal_crowds(self) -> None:
        """Of addresses with the same number the oldest link goes."""
        pending: PendingLinks[str] = PendingLinks(3)
        for link in ("b1", "a1", "c1"):
            pending.accepted(link, link[0], 0.0)
        self.assertEqual(pending.accepted("d1", "d", 0.0), ("b1", False))

    def test_who_spoke_stays(self) -> None:
        """A link with an admissible hello stays while there is one without, whatever their addresses."""
        pending: PendingLinks[str] = PendingLinks(3)
        for link in ("a1", "a2"):
            pending.accepted(link, "a", 0.0)
            pending.admissible(link)
        pending.accepted("b1", "b", 0.0)
        self.assertEqual(pending.accepted("c1", "c", 0.0), ("b1", False))

    def test_all_spoke(self) -> None:
        """Where all have spoken the oldest of the largest crowd goes, and the newcomer gets its time to speak."""
        pending: PendingLinks[str] = PendingLinks(3)
        for link, address in (("b1", "b"), ("a1", "a"), ("a2", "a")):
            pending.accepted(link, address, 0.0)
            pending.admissible(link)
        self.assertEqual(pending.accepted("c1", "c", 0.0), ("a1", False))
        pending.admissible("c1")
        self.assertEqual(pending.accepted("d1", "d", 0.0), ("b1", False))

    def test_our_dials(self) -> None:
        """Our own dials are not counted, do not go, and are not asked for their hello."""
        pending: PendingLinks[str] = PendingLinks(1)
        pending.dialled("ours", 0.0)
        pending.admissible("ours")
        self.assertEqual(len(pending), 0)
        self.assertIsNone(pending.accepted("a1", "a", 0.0))
        self.assertEqual(pending.accepted("a2", "a", 0.0), ("a1", False))
        pending.gone("ours")
        self.assertEqual(len(pending), 1)

    def test_gone(self) -> None:
        """A link that came up or was lost makes room; told twice, or late, it changes nothing."""
        pending: PendingLinks[str] = PendingLinks(2)
        pending.accepted("a1", "a", 0.0)
        pending.accepted("a2", "a", 0.0)
        pending.admissible("a1")
        pending.admissible("a1")
        for _ in range(2):
            pending.gone("a1")
        pending.admissible("a1")
        self.assertEqual(len(pending), 1)
        self.assertIsNone(pending.accepted("a3", "a", 0.0))

    def test_no_room_at_all(self) -> None:
        """A limit under one is one: somebody must be able to shake hands."""
        pending: PendingLinks[str] = PendingLinks(0)
        self.assertIsNone(pending.accepted("a1", "a", 0.0))
        pending.admissible("a1")
        self.assertEqual(pending.accepted("a2", "b", 0.0), ("a1", False))

    def test_oldest_of_those_that_spoke(self) -> None:
        """Of links that all spoke the oldest goes, in whatever order they spoke."""
        pending: PendingLinks[int] = PendingLinks(2)
        for link in (1, 2):
            pending.accepted(link, "a", 0.0)
        for link in (2, 1):
            pending.admissible(link)
        self.assertEqual(pending.accepted(3, "a", 0.0), (1, False))

    @given(st.lists(st.tuples(st.sampled_from("aaabc+-"), st.integers(0, 30)), max_size=80))
    def test_as_the_rule_says(self, steps: list[tuple[str, int]]) -> None:
        """The link that goes is the one that the rule picks when it is applied word by word to all of them."""
        pending: PendingLinks[int] = PendingLinks(5)
        model: dict[int, tuple[str, bool]] = {}  # oldest first: address, spoke
        for number, (what, which) in enumerate(steps):
            chosen = list(model)[which % len(model)] if model else -1
            if what == "+" and model:
                pending.admissible(chosen)
                model[chosen] = model[chosen][0], True
            elif what == "-":
                pending.gone(chosen)
                model.pop(chosen, None)
            else:
                went = pending.accepted(number, what, 0.0)
                model[number] = what, False
                if len(model) <= 5:
                    self.assertIsNone(went)
                    continue
                silent = [link for link in model if not model[link][1]]
                pool = silent if silent != [number] else [link for link in model if link != number]
                addresses = [model[link][0] for link in pool]
                most = max(map(addresses.count, addresses))
                expected = next(link for link in pool if addresses.count(model[link][0]) == most)
                self.assertEqual(went, (expected, False))
                del model[expected]
            self.assertEqual(len(pending), len(model))

    def test_per_address(self) -> None:
        """An address that has its part loses its own oldest, the silent ones first; others lose nothing."""
        pending: PendingLinks[str] = PendingLinks(10, per_address=2)
        for link in ("a1", "b1", "a2"):
            self.assertIsNone(pending.accepted(link, link[0], 0.0))
        pending.admissible("a1")
        self.assertEqual(pending.accepted("a3", "a", 0.0), ("a2", True))
        pending.admissible("a3")
        self.assertEqual(pending.accepted("a4", "a", 0.0), ("a1", True))
        self.assertIsNone(pending.accepted("b2", "b", 0.0))
        self.assertEqual((len(pending), "b1" in pending, "a1" in pending), (4, True, False))

    def test_room(self) -> None:
        """A newcomer of a full address is let in where the one that would go has had its two seconds."""
        pending: PendingLinks[str] = PendingLinks(10, per_address=2)
        pending.accepted("a1", "2001:db8::1", 0.0)
        self.assertTrue(pending.has_room("2001:db8::2", 0.1))
        pending.accepted("a2", "2001:db8::2", 0.1)
        self.assertFalse(pending.has_room("2001:db8::3", SETTLED_SECONDS - 0.01))
        self.assertTrue(pending.has_room("2001:db8::3", SETTLED_SECONDS))
        self.assertTrue(pending.has_room("192.0.2.1", 0.1))
        pending.admissible("a1")
        self.assertFalse(pending.has_room("2001:db8::3", SETTLED_SECONDS))  # now a2 would go
        pending.admissible("a2")
        self.assertTrue(pending.has_room("2001:db8::3", SETTLED_SECONDS))

    def test_thousands(self) -> None:
        """What an accept costs does not grow with the number that came before, from one address or from many."""
        for addresses in (1, 3000):
            calls: list[str] = []
            link = counted(calls)
            pending: PendingLinks[object] = PendingLinks(256)
            for number in range(3000):
                pending.accepted(link(), f"10.0.{number % addresses // 250}.{number % addresses % 250}", 0.0)
            self.assertLess(len(calls) / 3000, 12.0)
            self.assertLess(len(pending._silent._heap), 4 * 256 + 66)

    def test_thousands_at_once(self) -> None:
        """Nor does it grow with the number that is pending, of one address or of many, nor what a deadline costs."""
        for addresses in (1, 2000):
            pending: PendingLinks[int] = PendingLinks(4000)
            self.patch(pending, "_numbers", Weighed(0))
            Weighed.looks = 0
            for number in range(6000):
                pending.accepted(number, str(number % addresses), Weighed(number / 1000))
                pending.next_deadline()
                if number % 3 == 0:
                    pending.admissible(number)
            self.assertEqual(len(pending), 4000)
            for now in range(10_000, 16_002, 2):
                pending.tick(now / 1000)
            self.assertEqual(len(pending), 0)
            self.assertLess(Weighed.looks / 6000, 200)


class DeadlineTests(SynchronousTestCase):
    """Ten seconds from the beginning to up."""

    def test_late(self) -> None:
        """A link that is not up after ten seconds is late, accepted or dialled, and is told once."""
        pending: PendingLinks[str] = PendingLinks()
        self.assertIsNone(pending.next_deadline())
        pending.accepted("a", "192.0.2.7", 100.0)
        pending.dialled("b", 101.0)
        self.assertEqual(pending.next_deadline(), 100.0 + PENDING_SECONDS)
        self.assertEqual(pending.tick(99.9 + PENDING_SECONDS), [])
        self.assertEqual(pending.tick(100.0 + PENDING_SECONDS), ["a"])
        self.assertEqual(pending.next_deadline(), 101.0 + PENDING_SECONDS)
        self.assertEqual(pending.tick(500.0), ["b"])
        self.assertEqual(pending.tick(500.0), [])
        self.assertEqual(len(pending), 0)

    def test_in_any_order(self) -> None:
        """A dial is told of when TLS is done, so its deadline may be before those that were there: the first counts."""
        pending: PendingLinks[str] = PendingLinks()
        for link, began in (("c", 103.0), ("a", 101.0), ("d", 103.0), ("b", 102.0)):
            pending.dialled(link, began)
        self.assertEqual(pending.next_deadline(), 101.0 + PENDING_SECONDS)
        self.assertEqual(pending.tick(102.0 + PENDING_SECONDS), ["a", "b"])
        pending.gone("c")
        self.assertEqual(pending.tick(103.0 + PENDING_SECONDS), ["d"])

    def test_speaking_does_not_help(self) -> None:
        """An admissible hello does not move the deadline."""
        pending: PendingLinks[str] = PendingLinks()
        pending.accepted("a", "192.0.2.7", 0.0)
        pending.admissible("a")
        self.assertEqual(pending.tick(PENDING_SECONDS), ["a"])

    def test_up_in_time(self) -> None:
        """A link that came up has no deadline any more."""
        pending: PendingLinks[str] = PendingLinks()
        pending.accepted("a", "192.0.2.7", 0.0)
        pending.gone("a")
        self.assertIsNone(pending.next_deadline())
        self.assertEqual(pending.tick(1000.0), [])
