"""A second reader of tones, made of nothing but Python's own: slow, plain, and written from the rules alone."""

from __future__ import annotations

import json
import math
from typing import Any

DEPTH = 127
TEXT = 4096
SIGNED = range(-(2**63), 2**63)
UNSIGNED = range(2**64)


class Refused(Exception):
    """The line is not a tone."""


def strict_tone(line: bytes) -> dict[str, Any] | None:
    """The tone of a line; None where it is not one."""
    try:
        text = line.decode("utf-8")
        tone = json.loads(text, parse_float=_float, parse_int=_int, parse_constant=_constant, object_pairs_hook=_object)
        _check_nesting(text)
    except (ValueError, RecursionError, Refused):
        return None
    if not isinstance(tone, dict) or not _has_envelope(tone):
        return None
    return tone


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Of a key that is there twice the last counts, and both are looked at."""
    if not all(_is_clean(key) and _is_clean(item) for key, item in pairs):
        raise Refused
    return dict(pairs)


def _float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise Refused
    return value


def _int(text: str) -> int:
    _float(text)
    return int(text)


def _constant(text: str) -> object:
    raise Refused


def _check_nesting(text: str) -> None:
    depth = 0
    in_string = escaped = False
    for character in text:
        if in_string:
            if escaped:
                escaped = False
            elif character == "\\":
                escaped = True
            elif character == '"':
                in_string = False
        elif character == '"':
            in_string = True
        elif character in "{[":
            depth += 1
            if depth > DEPTH:
                raise Refused
        elif character in "}]":
            depth -= 1


def _is_clean(value: Any) -> bool:
    """No text in it, key or value, has a lone surrogate."""
    if isinstance(value, str):
        return not any("\ud800" <= character <= "\udfff" for character in value)
    return all(map(_is_clean, value)) if isinstance(value, list) else True


def _has_envelope(tone: dict[str, Any]) -> bool:
    chi = tone.get("chi")
    ext = tone.get("ext")
    return (
        isinstance(chi, str)
        and 0 < len(chi) <= TEXT
        and all(_is_text(tone.get(key)) for key in ("rid", "from", "to", "sid", "sigil"))
        and _is_integer(tone.get("wane"), UNSIGNED)
        and _is_integer(tone.get("sentAt"), SIGNED)
        and _is_integer(tone.get("dusk"), SIGNED)
        and (ext is None or (isinstance(ext, dict) and all(isinstance(value, dict) for value in ext.values())))
    )


def _is_text(value: Any) -> bool:
    return value is None or (isinstance(value, str) and len(value) <= TEXT)


def _is_integer(value: Any, allowed: range) -> bool:
    return value is None or (type(value) is int and value in allowed)
