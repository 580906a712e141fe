"""
Words of others inside our own: of peers, and of local programs, in a line of the log or in an error.

They may not end the line, move the cursor, turn the text around, or look like a command of ours: what stands in
backticks is ours to say, and gets the options that it needs here.
"""

from __future__ import annotations


def tamed(text: str) -> str:
    """``text`` as it is, but each character that cannot be printed as an escape, and no backticks."""
    if not text.isprintable():
        text = "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)
    return text.replace("`", "'")


def quoted(text: str) -> str:
    """The same in quotes."""
    return repr(text).replace("`", "'")
