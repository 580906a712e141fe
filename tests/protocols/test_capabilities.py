"""Tests for what a humd says of itself."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, strategies as st
from twisted.trial.unittest import SynchronousTestCase

from ensemble.protocols import Headroom, PeerCapabilities, Pressure

U32 = 2**32 - 1
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


class HeadroomTests(SynchronousTestCase):
    """How full a humd is."""

    def test_vectors(self) -> None:
        """Free and total slots mean the tier that the specification lists."""
        for free, total, tier in [
            (9, 10, "cool"),
            (5, 10, "warm"),
            (2, 16, "hot"),
            (1, 10, "hot"),
            (0, 10, "refuse"),
            (1, 20, "refuse"),
            (1, 5, "hot"),
        ]:
            self.assertEqual(Headroom.measured(free, total).pressure.value, tier, (free, total))

    def test_no_slots(self) -> None:
        """Of no slots none is free, and that is cool."""
        self.assertEqual(Headroom.measured(7, 0), Headroom(0, 0, None, Pressure.COOL))

    def test_more_free_than_there_are(self) -> None:
        """More free slots than slots are all the slots."""
        self.assertEqual(Headroom.measured(11, 10), Headroom(10, 10, None, Pressure.COOL))

    def test_single_precision(self) -> None:
        """At the edges the 32-bit quotient decides, as in the reference."""
        total = U32
        taken = int(total * 0.95)
        self.assertLess(taken / total, 0.95)
        self.assertEqual(Headroom.measured(total - taken, total).pressure, Pressure.REFUSE)

    @given(st.integers(0, U32), st.integers(1, U32))
    def test_fuller_is_never_cooler(self, free: int, total: int) -> None:
        """One slot less never lowers the pressure."""
        order = list(Pressure)
        free = min(free, total)
        now, fuller = Headroom.measured(free, total), Headroom.measured(max(0, free - 1), total)
        self.assertLessEqual(order.index(now.pressure), order.index(fuller.pressure))

    @given(st.integers(0, U32), st.integers(0, U32), st.none() | st.integers(0, U32))
    def test_round_trip(self, free: int, total: int, latency: int | None) -> None:
        """What one humd writes another reads."""
        headroom = Headroom.measured(free, total, latency)
        said = headroom.to_json()
        self.assertEqual("p95_latency_ms" in said, latency is not None)
        self.assertEqual(Headroom.from_json(json.loads(json.dumps(said))), headroom)

    def test_unreadable(self) -> None:
        """A headroom with anything wrong in it is the default, whole."""
        good: dict[str, Any] = {"free_slots": 1, "total_slots": 2, "p95_latency_ms": 3, "pressure": "hot"}
        self.assertEqual(Headroom.from_json(good), Headroom(1, 2, 3, Pressure.HOT))
        wrongs: list[dict[str, Any]] = [
            {"free_slots": -1},
            {"free_slots": 1.0},
            {"free_slots": True},
            {"free_slots": None},
            {"total_slots": U32 + 1},
            {"total_slots": "2"},
            {"p95_latency_ms": -1},
            {"p95_latency_ms": "3"},
            {"pressure": "HOT"},
            {"pressure": ["hot"]},
            {"pressure": None},
        ]
        for wrong in wrongs:
            self.assertEqual(Headroom.from_json(good | wrong), Headroom(), wrong)
        for missing in ("free_slots", "total_slots", "pressure"):
            self.assertEqual(Headroom.from_json({k: v for k, v in good.items() if k != missing}), Headroom(), missing)
        values: list[Any] = [None, [], "hot", 3]
        for value in values:
            self.assertEqual(Headroom.from_json(value), Headroom(), value)

    @given(JSON_VALUES)
    def test_anything(self, value: Any) -> None:
        """Reading never fails, whatever was said."""
        self.assertIsInstance(Headroom.from_json(value).pressure, Pressure)


class PeerCapabilitiesTests(SynchronousTestCase):
    """The fields of a hello."""

    def test_defaults(self) -> None:
        """A hello that says nothing offers nothing."""
        self.assertEqual(PeerCapabilities.from_hello({}), PeerCapabilities())
        self.assertEqual(PeerCapabilities().nests, ())
        self.assertIsNone(PeerCapabilities().free_slots)

    def test_fields(self) -> None:
        """Every field is read."""
        hello = {
            "proto_version": "0.7.0",
            "nests": ["claude-cli"],
            "hosts": ["h"],
            "can_relay": True,
            "free_slots": 4,
            "headroom": {"free_slots": 1, "total_slots": 2, "pressure": "warm"},
        }
        self.assertEqual(
            PeerCapabilities.from_hello(hello),
            PeerCapabilities("0.7.0", ["claude-cli"], ["h"], True, 4, Headroom(1, 2, None, Pressure.WARM)),
        )

    def test_wrong_types(self) -> None:
        """A wrong type is the default, a wrong member is passed over."""
        wrong = {"proto_version": 7, "nests": "claude-cli", "hosts": {"a": 1}, "can_relay": "yes", "headroom": 1}
        self.assertEqual(PeerCapabilities.from_hello(wrong), PeerCapabilities())
        mixed = PeerCapabilities.from_hello({"nests": ["a", 1, None, "b", ["c"]], "can_relay": 1})
        self.assertEqual((mixed.nests, mixed.can_relay), (("a", "b"), False))

    def test_free_slots(self) -> None:
        """Slots are a whole number that is not negative; anything else is unbounded."""
        for said, meant in [(0, 0), (2**64 - 1, 2**64 - 1), (2**64, None), (-1, None), (4.0, None), ("4", None)]:
            self.assertEqual(PeerCapabilities.from_hello({"free_slots": said}).free_slots, meant, said)
        self.assertIsNone(PeerCapabilities.from_hello({"free_slots": True}).free_slots)

    def test_headroom_only_where_known(self) -> None:
        """A hello of ours has no headroom unless there is one to tell."""
        self.assertNotIn("headroom", PeerCapabilities().to_hello())
        offered = PeerCapabilities(headroom=Headroom.measured(2, 16, 40))
        self.assertEqual(
            offered.to_hello()["headroom"],
            {"free_slots": 2, "total_slots": 16, "p95_latency_ms": 40, "pressure": "hot"},
        )

    @given(
        st.lists(st.text(max_size=5), max_size=3),
        st.booleans(),
        st.none() | st.integers(0, 2**64 - 1),
        st.integers(0, U32),
        st.integers(1, U32),
    )
    def test_round_trip(self, nests: list[str], relay: bool, slots: int | None, free: int, total: int) -> None:
        """What one humd offers is what another reads."""
        offered = PeerCapabilities("0.8.0", nests, nests, relay, slots, Headroom.measured(free, total))
        self.assertEqual(PeerCapabilities.from_hello({"proto_version": "0.8.0", **offered.to_hello()}), offered)

    @given(
        st.dictionaries(
            st.sampled_from(["proto_version", "nests", "hosts", "can_relay", "free_slots", "headroom"]), JSON_VALUES
        )
    )
    def test_anything(self, hello: dict[str, Any]) -> None:
        """Reading never fails, whatever was said."""
        read = PeerCapabilities.from_hello(hello)
        self.assertTrue(all(isinstance(name, str) for name in (*read.nests, *read.hosts, read.proto_version)))
