"""JSON text with one thing changed, and what parts its items kept."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from ensemble.config.splice import Container, blank_behind


class ItemTests(SynchronousTestCase):
    def test_found(self) -> None:
        """Items are found whatever is in them: brackets and commas in strings, escaped quotes, other containers."""
        for items in (
            [],
            ["1"],
            ['"a,b"', '"]"', r'"\"[,"', '"\\\\"', "[1, [2,3]]", '{"a": [1,2]}', "null"],
        ):
            for layout in ("[{}]", "[ {} ]", "[\r\n\t{}\n]"):
                text = layout.format(" ,\n ".join(items))
                self.assertEqual(Container(text).items, items, text)

    def test_members(self) -> None:
        """A value is found by its key, however that is written; of equal keys the last counts."""
        row = Container(r'{"a" : 1, "\u0062":{"a":2} ,"a":[3]}')
        self.assertEqual([row.value(key) for key in ("a", "b", "c")], ["[3]", '{"a":2}', None])
        self.assertEqual(row.with_member("a", "4", ":"), r'{"a" : 1, "\u0062":{"a":2} ,"a":4}')
        self.assertEqual((row.colon, Container("{ }").colon), (" : ", None))

    def test_appended(self) -> None:
        """A new item stands behind the last as that stands behind the one before it, or as the file does it."""
        for before, after in (
            ("[]", "[9]"),
            ("[ ]", "[9]"),
            ("[1]", "[1, 9]"),
            ("[ 1 ]", "[ 1, 9 ]"),
            ("[1,2]", "[1,2,9]"),
            ("[1,\t2 ]", "[1,\t2,\t9 ]"),
            ("[\n  1\n]", "[\n  1,\n  9\n]"),
            ("[\r\n\t1,\r\n\t2\r\n]", "[\r\n\t1,\r\n\t2,\r\n\t9\r\n]"),
            ("[ 1\n, 2\n]", "[ 1\n, 2\n, 9\n]"),
        ):
            self.assertEqual(Container(before).appended("9", " "), after)
        self.assertEqual(Container("[1]").appended("9", ""), "[1,9]")
        self.assertEqual(Container("{}").with_member("k", "9", ":"), '{"k":9}')

    def test_removed(self) -> None:
        """An item goes with one comma; the others stand as they stood."""
        text = "[ 1,\n  2 , 3\t]"
        self.assertEqual(
            [Container(text).removed(places) for places in ({0}, {1}, {2}, {0, 1}, {0, 2}, {1, 2}, set[int]())],
            ["[ 2 , 3\t]", "[ 1,\n  3\t]", "[ 1,\n  2\t]", "[ 3\t]", "[ 2\t]", "[ 1\t]", text],
        )
        self.assertEqual(Container("[\n 1\n]").removed({0}), "[]")

    def test_like(self) -> None:
        """A new container is laid out as its model, an empty model as one line."""
        self.assertEqual(Container("[\n 1,\n 2\n]").like(["8", "9"], " "), "[\n 8,\n 9\n]")
        self.assertEqual(Container("[\n 1\n]").like(["8", "9"], " "), "[\n 8,\n 9\n]")
        self.assertEqual(Container("{ 1 }").like(["8", "9"], ""), "{ 8,9 }")
        self.assertEqual(Container("[]").like(["8", "9"], " "), "[8, 9]")

    def test_opened(self) -> None:
        """The first item of an array has a line of its own where the key of the array has one."""
        for before, after in (
            ('{"k": []}', "[9]"),
            ('{"a":1, "k": []}', "[9]"),
            ('{\n  "k": [ ]\n}', "[\n    9\n  ]"),
            ('{"a": 1,\r\n\t"k":[]}', "[\r\n\t\t9\r\n\t]"),
            ('{\n"k": []}', "[\n9\n]"),
        ):
            self.assertEqual(Container(before).opened("9", "k"), after)

    def test_blank(self) -> None:
        """Who puts a blank behind a colon puts one behind a comma."""
        self.assertEqual([blank_behind(colon) for colon in (":", ": ", " :", " : ")], ["", " ", "", " "])
