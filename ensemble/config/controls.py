"""
Characters that say nothing and do something: they move the cursor of a terminal, or turn the order of what stands
around them (Unicode's bidirectional controls), or begin a line for some.  What a peer wrote may hold them.
"""

from __future__ import annotations

import re
from typing import Final

_BEYOND_ASCII: Final = r"\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069"
CONTROLS: Final = re.compile(rf"[\x00-\x1f{_BEYOND_ASCII}]")
CONTROLS_BUT_LINES: Final = re.compile(rf"[\x00-\x08\x0b-\x1f{_BEYOND_ASCII}]")


def escaped_json(document: str) -> str:
    """A document on one line, without any of them; it says the same."""
    return CONTROLS.sub(lambda found: f"\\u{ord(found[0]):04x}", document)
