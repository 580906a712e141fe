"""The registry is complete, and says of each chi what the documentation needs."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from ensemble.tone import (
    CHI_TABLE,
    DROPPABLE,
    LINK_CHI,
    MEANING,
    NEVER_ANSWERED,
    NEVER_ANSWERED_PEER,
    REPLIES,
    THRUM_VERSION,
    Chi,
    Direction,
    PulseKind,
    Qualifier,
    encode,
    envelope_of,
    error_tone,
    peek,
)


def names(text: str) -> frozenset[str]:
    return frozenset(text.split())


# mesh 3.1 to 3.3
OLD = names(
    "hello prompt cancel cleanup curate release-permit tendril-result tool-result petal-cell "
    "breath chunk finish error session-ready pulse permission-ask tendril-reach tool-call tool-meta tool-info "
    "echo perf-mark log drone drone-retrofit peer-add peer-remove attach detach wane-sync gossip-publish "
    "kad-find-node kad-find-node-resp"
)


class ChiTests(SynchronousTestCase):
    """The values and their sets."""

    def test_every_value_of_0_7_0(self) -> None:
        """All 33 values of 0.7.0 are there, as such, and open to every peer."""
        self.assertEqual(len(OLD), 33)
        old = {row.chi.value for row in CHI_TABLE.values() if row.since == "0.7.0"}
        self.assertEqual(old, OLD)
        self.assertEqual({CHI_TABLE[Chi(name)].feature for name in OLD}, {None})

    def test_what_0_8_0_adds(self) -> None:
        """What 0.8.0 adds is sent only to peers that list its feature."""
        added = {row.chi.value: row.feature for row in CHI_TABLE.values() if row.since == THRUM_VERSION}
        old = {"hello-proof": "proof-1", "ping": "ping-1", "pong": "ping-1", "goodbye": "bye-1"}
        self.assertEqual(added, old | dict.fromkeys(("succession", "revocation"), "rekey-1"))

    def test_table_is_complete(self) -> None:
        """Every chi has one row with a body and a rule, each of whole sentences."""
        self.assertEqual(list(CHI_TABLE), list(Chi))
        for chi, row in CHI_TABLE.items():
            self.assertEqual(row.chi, chi)
            self.assertIsInstance(row.direction, Direction)
            for text in (row.body, row.rule):
                self.assertTrue(text.endswith("."), text)
                self.assertEqual(text.count("``") % 2, 0, text)

    def test_is_plain_text(self) -> None:
        """A chi is the text that stands on the wire, formatted, compared, hashed and encoded."""
        self.assertEqual(f"{Chi.TOOL_CALL}", "tool-call")
        self.assertEqual(Chi.TOOL_CALL, "tool-call")
        self.assertIn(Chi.TOOL_RESULT, REPLIES)
        self.assertEqual(encode({"chi": Chi.PERF_MARK}), b'{"chi":"perf-mark"}')

    def test_sets(self) -> None:
        """The sets are those of the wire's rules."""
        self.assertEqual(LINK_CHI, names("hello hello-proof ping pong goodbye succession revocation"))
        replies = "chunk finish error session-ready pulse permission-ask tendril-reach tool-info tool-meta tool-result"
        self.assertEqual(REPLIES, names(replies))
        never = "error echo log perf-mark drone drone-retrofit pulse breath hello hello-proof ping pong goodbye "
        never += "succession revocation"
        self.assertEqual(NEVER_ANSWERED, names(never))
        from_peers = names("gossip-publish kad-find-node kad-find-node-resp wane-sync")
        self.assertEqual(NEVER_ANSWERED_PEER - NEVER_ANSWERED, from_peers)
        self.assertLess(NEVER_ANSWERED, NEVER_ANSWERED_PEER)

    def test_nothing_that_somebody_waits_for_is_droppable(self) -> None:
        """Only tones that nobody waits for may be dropped: no error, and nothing that keeps a link alive."""
        self.assertLess(DROPPABLE - {"gossip-publish"}, NEVER_ANSWERED)
        self.assertEqual(DROPPABLE & (LINK_CHI | {"error", "finish", "chunk", "tool-result"}), frozenset())
        self.assertIn("gossip-publish", DROPPABLE)

    def test_pulse_kinds(self) -> None:
        """The pulse kinds are those of the wire, and documented with the chi."""
        kinds = {kind.value for kind in PulseKind}
        self.assertEqual(kinds, {"cell-spawned", "cell-ready", "cell-idle", "cell-died", "cell-evicted"})
        self.assertTrue(all(kind in CHI_TABLE[Chi.PULSE].body for kind in kinds))


class QualifierTests(SynchronousTestCase):
    """Errors on the wire."""

    def test_values(self) -> None:
        """The qualifiers are those of wire-0.8 section 4, each with a meaning."""
        expected = (
            "route.untargeted route.unknown-peer route.send-failed route.no-bee prompt.no-worker sid.in-use "
            "from.forged queue.full tone.too-large tone.malformed tone.expired peer.lost worker.lost bee.lost "
            "not.supported"
        )
        self.assertEqual([qualifier.value for qualifier in Qualifier], expected.split())
        self.assertEqual(list(MEANING), list(Qualifier))
        self.assertTrue(all(text.endswith(".") for text in MEANING.values()))

    def test_error_tone(self) -> None:
        """An error repeats what the failed tone had, leaves out what it had not, and is a tone."""
        full = error_tone(Qualifier.PEER_LOST, "the link is gone", rid="r", sid="s", call_id="c")
        self.assertEqual(
            encode(full),
            b'{"chi":"error","rid":"r","sid":"s","callId":"c","qualifier":"peer.lost","message":"the link is gone"}',
        )
        self.assertEqual(envelope_of(full), peek(encode(full)))
        bare = error_tone(Qualifier.TONE_MALFORMED, "not JSON")
        self.assertEqual(bare, {"chi": "error", "qualifier": "tone.malformed", "message": "not JSON"})
        self.assertEqual(error_tone(Qualifier.SID_IN_USE, "m", sid="")["sid"], "")
