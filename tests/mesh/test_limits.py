"""The numbers that an operator may set."""

from __future__ import annotations

from attrs import asdict
from twisted.trial.unittest import SynchronousTestCase

from ensemble.errors import ConfigurationError
from ensemble.mesh import Limits


class LimitsTests(SynchronousTestCase):
    """Each is named, has a unit, and keeps to its range."""

    def test_about(self) -> None:
        """Every limit has a default in its range, a unit that its name ends with, and a meaning."""
        told = Limits.about()
        self.assertEqual({one.name: one.default for one in told}, asdict(Limits()))
        for one in told:
            self.assertTrue(one.least <= one.default <= one.most, one.name)
            self.assertTrue(one.name.endswith(one.unit.replace(" ", "_")), one.name)
            self.assertTrue(one.meaning)

    def test_parse(self) -> None:
        """What is set counts, of two the later; all else is the default."""
        limits = Limits.parse(["pending_links=5", "peer_hold_bytes=65536", "pending_links=7"])
        self.assertEqual(limits, Limits(pending_links=7, peer_hold_bytes=65536))
        self.assertEqual(Limits.parse([]), Limits())

    def test_edges(self) -> None:
        """The least and the most are in the range; one less and one more are not, and the text names the range."""
        for one in Limits.about():
            for value in (one.least, one.most):
                self.assertEqual(asdict(Limits.parse([f"{one.name}={value}"]))[one.name], value)
            for value in (one.least - 1, one.most + 1):
                error = self.assertRaises(ConfigurationError, Limits, **{one.name: value})
                self.assertIn(f"{one.least} to {one.most} {one.unit}", str(error))

    def test_refusals(self) -> None:
        """What cannot be read says what is wanted: the near names, a number, the range."""
        for text, told in (
            ("pending_dial=4", "there is pending_dials"),
            ("nothing=4", "peer_queue_bytes, peer_hold_bytes"),
            ("", "no limit ''"),
            ("pending_links", "a whole number of links, as in pending_links=256"),
            ("pending_links=", "a whole number of links"),
            ("pending_links=-", "a whole number of links"),
            ("pending_links=--1", "a whole number of links"),
            ("pending_links=1.5", "a whole number of links"),
            ("pending_links=\u0664", "a whole number of links"),
            ("pending_links=0", "1 to 65536 links, not 0"),
            ("pending_links=-1", "1 to 65536 links, not -1"),
            ("pending_links=" + "9" * 18, "1 to 65536 links, not " + "9" * 18),
            ("pending_links=" + "9" * 9999, "1 to 65536 links, not a number of 9999 digits"),
        ):
            error = self.assertRaises(ConfigurationError, Limits.parse, [text])
            self.assertIn(told, str(error))
        self.assertRaises(ConfigurationError, Limits, pending_links=True)
