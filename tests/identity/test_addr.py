"""Hints and addresses."""

from __future__ import annotations

from hypothesis import given, strategies as st
from twisted.trial.unittest import SynchronousTestCase

from ensemble.identity import MAX_HINT, MAX_HINTS, BadAddr, BadHint, Hint, HumdAddr, HumdId
from tests.identity.vectors import RFC8032, ZERO

ME = HumdId.parse(ZERO.humd_id)
ONION = "a2" * 28 + ".onion"


class HintTests(SynchronousTestCase):
    def test_scheme_and_value(self) -> None:
        """A hint is cut at its first colon and is the same text again."""
        hint = Hint.parse("tcp:192.0.2.10:14730")
        self.assertEqual((hint.scheme, hint.value), ("tcp", "192.0.2.10:14730"))
        self.assertEqual(str(hint), "tcp:192.0.2.10:14730")

    def test_host_and_port(self) -> None:
        """Names, IPv4 and bracketed IPv6 literals give the host to dial and the port."""
        for text, expected in [
            ("tcp:192.0.2.10:14730", ("192.0.2.10", 14730)),
            ("tls:host.example:1", ("host.example", 1)),
            ("udp:my_box:65535", ("my_box", 65535)),
            ("tcp:[::1]:80", ("::1", 80)),
            ("tcp:[2001:DB8:0::1]:80", ("2001:db8::1", 80)),
            ("tcp:[fe80::1%eth0]:80", ("fe80::1%eth0", 80)),
            (f"onion:{ONION.upper()}:9", (ONION, 9)),
            (f"relay:{RFC8032.humd_id}@relay.example:443", ("relay.example", 443)),
        ]:
            self.assertEqual(Hint.parse(text).host_port(), expected)

    def test_at(self) -> None:
        """Made of a host and a port, it is the hint that is read again."""
        for host in ("192.0.2.10", "host.example", "2001:db8::1", "fe80::1%eth0"):
            self.assertEqual(Hint.parse(str(Hint.at("tls", host, 7))).host_port(), (host, 7))

    def test_zone(self) -> None:
        """A link-local address of IPv6 lacks an interface where it names none; nothing else does."""
        self.assertEqual(Hint("tls", "[fe80::1]:1").zone_mend, "name this machine's behind it: tls:[fe80::1%eth0]:1")
        self.assertTrue(Hint("tls", "[febf::1]:1").zone_mend)
        for each in ("tls:[fe80::1%e]:1", "tls:[fd00::1]:1", "tls:a:1", "tls-fp:00", "x:y"):
            self.assertEqual(Hint(*each.split(":", 1)).zone_mend, "")

    def test_bad_host_or_port(self) -> None:
        """A port outside 1 to 65535, no port, or something that is no host is refused."""
        for value in [
            "host",
            "host:",
            ":80",
            "host:0",
            "host:65536",
            "host:-1",
            "host:+1",
            "host:1.5",
            "host:٣",
            "host:000080",
            "::1:80",
            "[::1]",
            "[::1:80",
            "[]:80",
            "[host]:80",
            "[127.0.0.1]:80",
            "a/b:80",
            "user@host:80",
            "x" * 254 + ":80",
        ]:
            for scheme in ("tcp", "tls", "udp"):
                self.assertRaises(BadHint, Hint.parse, f"{scheme}:{value}")

    def test_bad_value_of_other_schemes(self) -> None:
        """A fingerprint, an onion name and a relay have their own shapes."""
        for text in [
            "tls-fp:" + "a" * 63,
            "tls-fp:" + "g" * 64,
            "onion:example.com:80",
            "onion:" + "1" * 56 + ".onion:80",
            "relay:relay.example:443",
            "relay:nobody@relay.example:443",
        ]:
            self.assertRaises(BadHint, Hint.parse, text)

    def test_no_hint_at_all(self) -> None:
        """Without a scheme, without a value, or with blanks and control characters it is no hint."""
        for text in [
            "",
            "tcp",
            "tcp:",
            ":80",
            "TCP:host:80",
            "tcp :host:80",
            "tcp:ho st:80",
            "x:\x00",
            "x:a\n",
            " x:a",
        ]:
            self.assertRaises(BadHint, Hint.parse, text)

    def test_ceiling(self) -> None:
        """A hint has at most 512 characters, and a longer one makes no long error."""
        self.assertEqual(len(str(Hint.parse("x:" + "a" * (MAX_HINT - 2)))), MAX_HINT)
        error = self.assertRaises(BadHint, Hint.parse, "x:" + "a" * (MAX_HINT - 1))
        self.assertLess(len(str(error)), 200)

    def test_unknown_schemes_are_kept(self) -> None:
        """What no wire of ours dials is kept as it came, and names no host."""
        for text in ("iroh:" + "ab" * 32, "iroh-ip:203.0.113.4:18820", "carrier-pigeon::north", "tls-fp:" + "Ab" * 32):
            hint = Hint.parse(text)
            self.assertEqual(str(hint), text)
            self.assertRaises(BadHint, hint.host_port)

    @given(st.text(max_size=60) | st.from_regex(r"(tcp|tls|udp|onion|relay|tls-fp):[\[\]a-z0-9:@.%]{0,30}"))
    def test_any_text(self, text: str) -> None:
        """Any text is a hint that says the same again, or is refused: nothing else ever escapes."""
        try:
            hint = Hint.parse(text)
        except BadHint:
            return
        self.assertEqual(str(hint), text)


class HumdAddrTests(SynchronousTestCase):
    def test_with_hint(self) -> None:
        """Hints keep their order, and one that is there already is not added again."""
        bare = HumdAddr(ME)
        addr = bare.with_hint("tcp:a:1").with_hint("tls:a:2").with_hint("tcp:a:1")
        self.assertEqual(addr.hints, ("tcp:a:1", "tls:a:2"))
        self.assertEqual(bare.hints, ())

    def test_with_a_bad_hint(self) -> None:
        """A hint that cannot be read is not added in silence."""
        self.assertRaises(BadHint, HumdAddr(ME).with_hint, "tcp:a:0")

    def test_first(self) -> None:
        """The first readable hint of a scheme counts; unreadable ones are passed over."""
        addr = HumdAddr(ME, ["tls:a:2", "tcp:nowhere", "tcp:a:1", "tcp:b:1"])
        self.assertEqual(addr.first("tcp"), Hint("tcp", "a:1"))
        self.assertEqual(HumdAddr(ME, [f"tls-fp:{'0' * 64}", "tls:a:2"]).first("tls"), Hint("tls", "a:2"))
        self.assertIsNone(addr.first("udp"))

    def test_ceilings(self) -> None:
        """An address has at most 32 hints, none longer than a hint may be."""
        full = HumdAddr(ME, [f"tcp:a:{port}" for port in range(1, MAX_HINTS + 1)])
        self.assertRaises(BadHint, full.with_hint, "tcp:b:1")
        self.assertIs(full.with_hint("tcp:a:1"), full)
        longest = "x:" + "a" * (MAX_HINT - 2)
        self.assertEqual(HumdAddr(ME, [longest]).hints, (longest,))
        self.assertRaises(BadHint, HumdAddr, ME, [longest + "a"])

    def test_one_text_is_no_sequence(self) -> None:
        """A single text given as the hints is refused instead of being cut into characters."""
        self.assertRaises(BadHint, HumdAddr, ME, "tcp:a:1")

    def test_value(self) -> None:
        """Addresses with the same id and hints are equal and hash alike."""
        self.assertEqual({HumdAddr(ME, ["tcp:a:1"])}, {HumdAddr(ME).with_hint("tcp:a:1")})


class JsonTests(SynchronousTestCase):
    def test_round_trip(self) -> None:
        """What is written is read back the same."""
        addr = HumdAddr(ME, ("tcp:192.0.2.7:4730", "iroh:ab"))
        self.assertEqual(addr.to_json(), {"id": ZERO.humd_id, "hints": ["tcp:192.0.2.7:4730", "iroh:ab"]})
        self.assertEqual(HumdAddr.from_json(addr.to_json()), addr)

    def test_tolerance(self) -> None:
        """Absent hints, a bare id and unknown keys are fine; unreadable and repeated hints are left out."""
        bare = ZERO.humd_id.removeprefix("humd_")
        self.assertEqual(HumdAddr.from_json({"id": bare, "more": 1}), HumdAddr(ME))
        read = HumdAddr.from_json({"id": bare, "hints": ["tcp:a:0", "tcp:a:1", "", "tcp:a:1", "x:" + "a" * 600]})
        self.assertEqual(read.hints, ("tcp:a:1",))

    def test_no_more_than_the_ceiling(self) -> None:
        """Of too many hints the first 32 that can be read are kept."""
        hints = ["tcp:a:0", *(f"tcp:a:{port}" for port in range(1, 100))]
        self.assertEqual(
            HumdAddr.from_json({"id": ZERO.humd_id, "hints": hints}).hints, tuple(hints[1 : MAX_HINTS + 1])
        )

    def test_no_address(self) -> None:
        """A value of another shape is refused as no address."""
        values: list[object] = [
            None,
            [],
            "x",
            {},
            {"id": 7},
            {"id": "humd_x"},
            {"id": ZERO.humd_id, "hints": "tcp:a:1"},
            {"id": ZERO.humd_id, "hints": ["tcp:a:1", 7]},
            {"id": ZERO.humd_id, "hints": None},
        ]
        for value in values:
            self.assertRaises(BadAddr, HumdAddr.from_json, value)
