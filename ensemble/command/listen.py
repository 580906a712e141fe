"""``ensemble listen``: tones as they arrive, one JSON line each; nobody else gets one less."""

from __future__ import annotations

from ensemble.command.control import NoDaemon, converse
from ensemble.command.here import Here
from ensemble.command.naming import find_peer
from ensemble.command.outcome import OK


def listen(here: Here) -> int:
    """
    ``listen``: until enough came, nobody reads any more, or Ctrl-C.

    :raises NoDaemon: there is none, or it went away.
    """
    options = here.options
    wanted: dict[str, object] = {}
    if options.chi:
        wanted["chi"] = list(options.chi)
    if options.peer is not None:
        wanted["peer"] = find_peer(here, options.peer).full
    left = options.count
    lines = converse(here.paths().control, "tap", seconds=None, output=here.screen.descriptor(), **wanted)
    try:
        next(lines)
        here.screen.note("listening", listening=True)  # a program may wait for this before it makes tones come
        for line in lines:
            if isinstance(lost := line.get("lost"), int):
                here.screen.note(f"{lost} tones lost: they came faster than they were read", lost=lost)
            if isinstance(tone := line.get("tone"), dict):
                here.screen.document(tone)
                if left is not None:
                    left -= 1
                    if not left:
                        return OK
    finally:
        lines.close()
    raise NoDaemon("the humd went away")
