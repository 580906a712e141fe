"""Shows a reply tone by tone: all of it as NDJSON to programs; to people the text, and what they must know."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from ensemble.command.outcome import FAILED, OK
from ensemble.command.output import Screen, brief, json_line
from ensemble.tone import write_document

# Of these a person needs nothing: they are about how the answer is made.
_SILENT: Final = frozenset({"chunk", "session-ready", "pulse", "tool-info", "tool-meta"})
_ORDINARY: Final = frozenset({"end_turn", "stop", "stop_sequence", ""})


class Reader:
    """One reply."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self._status = OK
        self._open_line = False

    def tone(self, tone: Mapping[str, Any]) -> None:
        """The next tone of it."""
        chi = tone.get("chi")
        if self._screen.json:
            self._screen.document(tone)
        elif chi == "chunk" and tone.get("chunkType") == "text_delta":
            self._delta(str(tone.get("delta") or ""))
        elif chi == "finish":
            self._finish(str(tone.get("finishReason") or ""))
        elif chi == "tool-result":
            self._result(tone)
        elif chi not in _SILENT and chi != "error":
            self._close_line()
            self._screen.raw(json_line(tone))
        if chi == "error":
            self._close_line()
            tell_error(self._screen, tone)
            self._status = FAILED
        elif chi == "tool-result" and tone.get("isError") is True:
            self._status = FAILED

    def end(self) -> int:
        """The reply is over."""
        self._close_line()
        return self._status

    def _delta(self, text: str) -> None:
        if text:
            self._screen.text(text)
            self._open_line = not text.endswith("\n")

    def _finish(self, reason: str) -> None:
        self._close_line()
        if reason not in _ORDINARY:
            self._screen.note(f"the answer ended early: {reason}")

    def _result(self, tone: Mapping[str, Any]) -> None:
        self._close_line()
        for key in ("output", "result", "content"):
            if tone.get(key) is not None:
                value = tone[key]
                self._screen.text(value if isinstance(value, str) else write_document(value, pretty=True))
                self._open_line = not (isinstance(value, str) and value.endswith("\n"))
                break
        self._close_line()
        if tone.get("isError") is True:
            self._screen.note("the tool says that it failed")

    def _close_line(self) -> None:
        if self._open_line and not self._screen.json:
            self._screen.raw("\n")
        self._open_line = False


def tell_error(screen: Screen, tone: Mapping[str, Any]) -> None:
    """An error tone, on standard error."""
    qualifier = str(tone.get("qualifier") or tone.get("code") or "error")
    message = str(tone.get("message") or "no message came with it")
    if screen.json:
        screen.failure(qualifier, message, **{key: tone[key] for key in ("rid", "sid", "callId") if key in tone})
    else:
        # "No worker here" of another humd means that one's machine.
        sender = tone.get("from")
        says = f"{brief(sender)} says " if isinstance(sender, str) else ""
        screen.failure(qualifier, f"{says}{qualifier}: {message}")
