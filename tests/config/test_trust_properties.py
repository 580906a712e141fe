"""Edits of ``peers.json`` however it is written: only the row that is meant changes."""

from __future__ import annotations

import json
from typing import Any

from attrs import evolve
from hypothesis import given, strategies as st
from twisted.trial.unittest import SynchronousTestCase

from ensemble.config import Trust, parse_peers
from ensemble.config.trust import trusted, untrusted
from ensemble.errors import ConfigurationError
from tests.config.test_trust import ME, NEW, OLD, OTHER, PLACE, THEM, YOU

BLANKS = st.text(" \t\r\n", max_size=3)
NAMES = st.sampled_from(["humd_id", "hints", "alias", "auth", "relays", "plain", "x", 'a"b', "[", "é\u2028"])
SCALARS = st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.sampled_from(["[", '"', "\\", "},"])
HINTS = st.sampled_from([PLACE, OLD, NEW, OTHER, "tcp:h:1", "tcp:h:2", "odd"])
OTHERS = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3))
IDS = st.sampled_from([ME.full, YOU.full, YOU.digest.hex().upper(), THEM.full, THEM.short, "odd"])
ROWS = st.fixed_dictionaries(
    {"humd_id": IDS},
    optional={
        "hints": st.lists(HINTS, max_size=4) | st.none(),
        "alias": st.sampled_from(["a", "b", "", None]),
        "auth": st.sampled_from(["open", None, "odd"]),
        "relays": st.booleans(),
        "plain": st.booleans(),
        "follow": st.booleans(),
        "x": OTHERS,
    },
)
WISHES = st.builds(
    Trust,
    peer=st.sampled_from([ME, YOU, THEM]),
    hints=st.lists(HINTS.filter(lambda hint: hint != "odd"), max_size=3).map(tuple),
    only=st.booleans(),
    alias=st.none() | st.sampled_from(["a", "c"]),
    auth=st.none() | st.sampled_from(["open", "proven"]),
    relays=st.none() | st.booleans(),
    plain=st.none() | st.booleans(),
    follow=st.none() | st.booleans(),
    unset=st.lists(st.sampled_from(["alias", "auth"]), unique=True).map(tuple),
).filter(lambda wish: not wish.fields.keys() & set(wish.unset))  # nobody can ask for both


@st.composite
def written(draw: st.DrawFn, value: Any) -> str:
    """The value as JSON, with blanks wherever there may be some, and now and then a key that a later one overrules."""

    def between(items: list[str], brackets: str) -> str:
        return brackets[0] + ",".join(f"{draw(BLANKS)}{item}{draw(BLANKS)}" for item in items) + brackets[1]

    def write(part: Any) -> str:
        if isinstance(part, list):
            return between([write(each) for each in part], "[]")
        if isinstance(part, dict):
            overruled = draw(st.lists(st.sampled_from(sorted(part)), max_size=1)) if part else []
            members = [*((key, draw(SCALARS)) for key in overruled), *part.items()]
            return between([f"{write(key)}{draw(BLANKS)}:{draw(BLANKS)}{write(each)}" for key, each in members], "{}")
        return json.dumps(part, ensure_ascii=draw(st.booleans()))

    return write(value)


@st.composite
def files(draw: st.DrawFn) -> tuple[list[str], str, str]:
    """Rows as they are written, and what stands around them."""
    rows = [draw(written(row)) for row in draw(st.lists(ROWS | OTHERS, max_size=4))]
    more = [f"{json.dumps(name)}:{draw(written(draw(OTHERS)))}" for name in draw(st.lists(st.sampled_from("vw")))]
    at = draw(st.integers(0, len(more)))
    lead = draw(st.sampled_from(["", "\ufeff"])) + draw(BLANKS) + "{" + "".join(f"{each}," for each in more[:at])
    tail = "".join(f",{each}" for each in more[at:]) + "}" + draw(BLANKS)
    return rows, f'{lead}{draw(BLANKS)}"peers"{draw(BLANKS)}:{draw(BLANKS)}', tail


class PropertyTests(SynchronousTestCase):
    @given(files(), WISHES, st.data())
    def test_only_the_row_changes(self, file: tuple[list[str], str, str], wish: Trust, data: st.DataObject) -> None:
        """
        However the file is written: the row says what is wanted and every other row is as it was, byte for byte, or
        the edit is refused; and removing it takes nothing else.
        """
        rows, lead, tail = file
        listed = "[" + ",".join(f"{data.draw(BLANKS)}{row}{data.draw(BLANKS)}" for row in rows) + "]"
        text = f"{lead}{listed}{tail}"
        before = parse_peers(text.encode())
        try:
            after = trusted(text, wish)
        except ConfigurationError:
            return
        self.assertTrue(after.startswith(lead) and after.endswith(tail))
        there = before.row(wish.peer)
        place = before.places[before.rows.index(there)] if there is not None else len(rows)
        position = 0
        for index, row in enumerate(rows):
            if index != place:
                position = after.index(row, position) + len(row)
        found = parse_peers(after.encode())
        self.assertEqual(
            [evolve(row, alias=None) for row in found.rows if row.humd_id != wish.peer],
            [evolve(row, alias=None) for row in before.rows if row.humd_id != wish.peer],
        )
        wanted = found.row(wish.peer)
        assert wanted is not None
        self.assertEqual(trusted(after, wish), after)
        said = wish.fields | dict.fromkeys(wish.unset)
        self.assertEqual({key: getattr(wanted, key) for key in said}, said)
        self.assertLessEqual(set(wish.hints), set(wanted.hints))
        gone = untrusted(after, wish.peer)
        self.assertIsNone(parse_peers(gone.encode()).row(wish.peer))
        if there is None:  # an array that had no rows loses the blanks in its brackets
            self.assertEqual(gone, text if rows else f"{lead}[]{tail}")
