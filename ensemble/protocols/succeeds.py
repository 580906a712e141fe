"""
The successions that lead to an id, as it shows them: in its hello, and over TLS behind its certificate.

``docs/rekeying.rst`` has the bytes and who may.  Nothing is verified here: a statement proves itself, and only where
somebody cares for the id that it is about is it worth a look at its signatures.
"""

from __future__ import annotations

from collections.abc import Sequence

from ensemble.identity import MAX_CHAIN, BadStatement, HumdId, HumdKey, Succession, carried, carrier_of, statement_from
from ensemble.tone import BadDocument, read_document, write_document


def chain_in(values: object, heir: HumdId) -> tuple[Succession, ...]:
    """
    Read the array ``succeeds`` of a hello, or the one that a certificate carries.

    All of them or none: each begins where the one before it ended, and the last leads to ``heir``, who says so.
    """
    if not isinstance(values, list) or len(values) > MAX_CHAIN:
        return ()
    chain: list[Succession] = []
    for value in reversed(values):
        try:
            statement = statement_from(value)
        except BadStatement:
            return ()
        if not isinstance(statement, Succession) or statement.heir != (chain[-1].who if chain else heir):
            return ()
        chain.append(statement)
    return tuple(reversed(chain))


def carrier(key: HumdKey, chain: Sequence[Succession]) -> bytes:
    """The certificate (DER) to show behind that of ``key``, to which ``chain`` leads."""
    return carrier_of(key, write_document([each.to_tone() for each in chain]).encode())


def chain_behind(der: bytes, leaf: HumdId) -> tuple[Succession, ...]:
    """What the last certificate behind ``leaf`` carries; nothing, where it is the leaf itself or any other."""
    text = carried(der)
    try:
        return chain_in(read_document(text), leaf) if text else ()
    except BadDocument:
        return ()
