"""
Lines to paste lead to the humd that they are about, also where its files are not in the usual places.

In every text of ours, what stands in backticks and begins with ``ensemble`` or ``twistd humd`` is to be run on this
machine, and gets here the options that it needs there.  What is for another machine stands in no backticks.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from functools import partial
from typing import Final

_LINE: Final = re.compile(r"`((?:ensemble [a-z]+|twistd humd(?=`))[^`]*)`")
_COMMAND: Final = re.compile(r"(?:^|(?<=&& ))(?:ensemble [a-z]+|twistd humd)(?!\S)")


def pasteable(text: str, options: Mapping[str, str]) -> str:
    """
    :param options: such as ``--state-dir``, each with its value; none where the usual places are meant.
    :returns: ``text``, with them in each command that does not have them.
    """
    return _LINE.sub(partial(_with, options), text) if options else text


def _with(options: Mapping[str, str], line: re.Match[str]) -> str:
    words = [f"{name} {shlex.quote(value)}" for name, value in options.items() if f" {name} " not in line[1]]
    return "`" + _COMMAND.sub(lambda command: " ".join((command[0], *words)), line[1]) + "`"
