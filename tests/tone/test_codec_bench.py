"""The figures behind the codec's choices can be had, and say what the codec relies on."""

from __future__ import annotations

import io
import json
from contextlib import redirect_stdout
from unittest import mock

from twisted.trial.unittest import SynchronousTestCase

from bench import codec as bench_codec


class CodecBenchTests(SynchronousTestCase):
    """``python -m bench.codec``, with tiny counts."""

    def said(self, *arguments: str) -> str:
        out = io.StringIO()
        with (
            mock.patch.object(bench_codec, "BATCHES", 1),
            mock.patch.object(bench_codec, "BATCH", 1),
            redirect_stdout(out),
        ):
            self.assertEqual(bench_codec.main(list(arguments)), 0)
        return out.getvalue()

    def test_we_take_no_bad_line(self) -> None:
        """Every bad line of the table is taken by somebody, and never by us."""
        for name, takers in bench_codec.leaks().items():
            self.assertNotIn("ours", takers, name)
            self.assertTrue(takers, name)

    def test_for_programs(self) -> None:
        """With ``--json`` every call has its figure, its reason and at least one rival."""
        document = json.loads(self.said("--json"))
        self.assertEqual(document["unit"], "us")
        self.assertEqual([call["name"] for call in document["calls"]], [call.name for call in bench_codec.CALLS])
        for call in document["calls"]:
            self.assertTrue(call["why"])
            self.assertTrue(all(figure > 0 for figure in (call["ours"], *call["rivals"].values())))

    def test_for_people(self) -> None:
        """Without it, every call and every bad line has its row."""
        said = self.said()
        for name in (*(call.name for call in bench_codec.CALLS), *bench_codec.BAD_LINES):
            self.assertIn(name, said)
