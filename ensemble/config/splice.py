"""
JSON text with one thing changed and every other byte kept, for files that people write and programs edit.

Nothing is judged here: the text was read before (`ensemble.tone.read_document`), so it is known to be JSON.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Set
from functools import cached_property
from typing import Any, Final

from attrs import frozen

from ensemble.tone import read_document, write_document

BLANKS: Final = " \t\r\n"
_STRING: Final = r'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_KEY: Final = re.compile(rf'"[{BLANKS}]*:')  # the end of a key; in a string there may be one that is none
_MARK: Final = re.compile(rf"{_STRING}|[][{{}},]")  # a string is one mark, whatever is in it
_MEMBER: Final = re.compile(rf"({_STRING})([{BLANKS}]*:[{BLANKS}]*)(.+)", re.DOTALL)
_NEW_LINE: Final = re.compile(r"(?:\r\n|\n|\r)[ \t]*\Z")


@frozen
class Container:
    """The text of one array or object, from bracket to bracket."""

    text: str

    @cached_property
    def spans(self) -> tuple[tuple[int, int], ...]:
        """Where each item, of an object each member, begins and ends, blanks around it left out."""
        found, depth, begin = [], 0, 1
        for mark in _MARK.finditer(self.text):
            if mark[0] in "[{":
                depth += 1
            elif mark[0] in "]}":
                depth -= 1
            if depth == 0 or (depth == 1 and mark[0] == ","):
                item = self.text[begin : mark.start()]
                start = begin + len(item) - len(item.lstrip(BLANKS))
                if item := item.strip(BLANKS):
                    found.append((start, start + len(item)))
                begin = mark.end()
        return tuple(found)

    @property
    def items(self) -> list[str]:
        """The text of each item."""
        return [self.text[start:end] for start, end in self.spans]

    @property
    def colon(self) -> str | None:
        """What stands between the first key of an object and its value; None where it has none."""
        return _parts(self.items[0])[1] if self.spans else None

    @property
    def repeated(self) -> tuple[str, ...]:
        """The keys that an object has more than once."""
        counts = Counter(read_document(_parts(item)[0]) for item in self.items)
        return tuple(key for key, count in counts.items() if count > 1)

    def value(self, key: str) -> str | None:
        """The text of a member's value: of the last one, where there are more, for that is the one that is read."""
        index = self._index(key)
        return None if index is None else _parts(self.items[index])[2]

    def replaced(self, index: int, item: str) -> str:
        """With another item in the place of this one."""
        start, end = self.spans[index]
        return self.text[:start] + item + self.text[end:]

    def removed(self, places: Set[int]) -> str:
        """Without these items, and a comma and the blanks around it for each."""
        kept = [place for place in range(len(self.spans)) if place not in places]
        if not kept:
            return self.text[0] + self.text[-1]
        first, last = self.spans[0], self.spans[-1]
        # Each keeps what stands behind it, so that who moves up stands where the one before it stood.
        pieces = [self.text[self.spans[place][0] : self.spans[place + 1][0]] for place in kept[:-1]]
        start, end = self.spans[kept[-1]]
        return "".join((self.text[: first[0]], *pieces, self.text[start:end], self.text[last[1] :]))

    def appended(self, item: str, blank: str) -> str:
        """
        With one more item, parted from the others as these are.

        :param blank: behind the comma, where no two items show what belongs there.
        """
        if not self.spans:
            return f"{self.text[0]}{item}{self.text[-1]}"
        end = self.spans[-1][1]
        return self.text[:end] + self._layout(blank)[1] + item + self.text[end:]

    def with_member(self, key: str, value: str, colon: str) -> str:
        """With this value of a key; ``colon`` parts them where the key is new."""
        index = self._index(key)
        if index is None:
            return self.appended(f"{write_document(key)}{colon}{value}", blank_behind(colon))
        name, between, _ = _parts(self.items[index])
        return self.replaced(index, f"{name}{between}{value}")

    def without_member(self, key: str) -> str:
        """Without this key, however often it is there."""
        return self.removed({index for index, item in enumerate(self.items) if _is_key(_parts(item)[0], key)})

    def like(self, items: Iterable[str], blank: str) -> str:
        """The text of a container of the same kind, with these items, laid out as this one."""
        lead, comma, tail = self._layout(blank)
        return f"{self.text[0]}{lead}{comma.join(items)}{tail}{self.text[-1]}"

    def opened(self, item: str, key: str) -> str:
        """
        The array under a key of this object, empty until now, with its first item: on a line of its own where
        the key has one.
        """
        index = self._index(key)
        assert index is not None
        line = _NEW_LINE.search(self.text[: self.spans[index][0]])
        if line is None:
            return f"[{item}]"
        indent = line[0].lstrip("\r\n")
        return f"[{line[0]}{indent}{item}{line[0]}]"

    def _layout(self, blank: str) -> tuple[str, str, str]:
        """What stands before the first item, between two, and behind the last."""
        if not self.spans:
            return "", f",{blank}", ""
        lead, tail = self.text[1 : self.spans[0][0]], self.text[self.spans[-1][1] : -1]
        if len(self.spans) > 1:
            return lead, self.text[self.spans[-2][1] : self.spans[-1][0]], tail
        return lead, f",{lead if _NEW_LINE.search(lead) else blank}", tail

    def _index(self, key: str) -> int | None:
        for index in reversed(range(len(self.spans))):
            start, end = self.spans[index]
            if _is_key(_parts(self.text[start:end])[0], key):
                return index
        return None


def may_repeat(text: str, value: Any) -> bool:
    """
    Whether some object in a text may have a key twice.  To ask costs a tenth of looking at each one.

    :param value: what the text was read as, where of equal keys one is left.
    """
    keys, left = 0, [value]
    while left:
        each = left.pop()
        if isinstance(each, dict):
            keys += len(each)
            left += each.values()
        elif isinstance(each, list):
            left += each
    return len(_KEY.findall(text)) > keys


def blank_behind(colon: str) -> str:
    """How a file parts what stands on one line: a blank where it puts one behind its colons."""
    return " " if colon[-1] in BLANKS else ""


def _is_key(name: str, key: str) -> bool:
    return name == f'"{key}"' or ("\\" in name and read_document(name) == key)


def _parts(member: str) -> tuple[str, str, str]:
    """The key, the colon with its blanks, and the value."""
    found = _MEMBER.fullmatch(member)
    assert found is not None
    return found[1], found[2], found[3]
