"""
Who may link, and with how much proof: wire-0.8 section 1.

Two independent questions.  *Proof* is a `Level`; *permission* is whether the id has a row, or ``any`` id may come.
"""

from __future__ import annotations

import shlex
from collections.abc import Container, Iterable, Mapping
from typing import Protocol

from attrs import field, frozen

from ensemble.identity import SECURE_SCHEMES, BadHint, Hint, HumdId, names_secure
from ensemble.protocols import Level


def _by_id(rows: Iterable[KnownPeer] | Mapping[HumdId, KnownPeer]) -> Mapping[HumdId, KnownPeer]:
    if isinstance(rows, Mapping):
        return rows
    return {row.peer: row for row in rows}


def _texts(hints: Iterable[str]) -> tuple[str, ...]:
    if isinstance(hints, str):
        raise BadHint(f"{hints!r} is one hint: a row has a sequence of them")
    return tuple(hints)


class Row(Protocol):
    """What `KnownPeer.of` reads: a row as ``ensemble.config.read_peers`` has it."""

    @property
    def humd_id(self) -> HumdId: ...
    @property
    def hints(self) -> tuple[str, ...]: ...
    @property
    def alias(self) -> str | None: ...
    @property
    def auth(self) -> str | None: ...
    @property
    def relays(self) -> bool: ...
    @property
    def plain(self) -> bool: ...
    @property
    def follow(self) -> bool: ...
    @property
    def secure(self) -> bool: ...


@frozen
class KnownPeer:
    """
    One row of ``peers.json``, as the mesh sees it; `of` makes it of one that was read.

    :ivar peer: whom it is about.
    :ivar hints: texts, in any order; one that cannot be read is passed over.  ``tls-fp:`` ones pin a certificate.
    :ivar alias: what people call it; None for no name.
    :ivar level: what it must show at least; None for that of the policy.
    :ivar relays: it may deliver tones of others; nothing does yet.
    :ivar plain: it may be linked over plain wires although it names a secure hint.
    :ivar secure: it names a secure hint, be it one that was left out of ``hints``.
    :ivar follow: an id that its id says it goes on as has its rights (``docs/rekeying.rst``).
    :ivar heir_of: the id whose row this was; None for a row of the file.
    :raises BadHint: ``hints`` is one text.
    """

    peer: HumdId
    hints: tuple[str, ...] = field(default=(), converter=_texts)
    alias: str | None = None
    level: Level | None = None
    relays: bool = False
    plain: bool = False
    secure: bool = False
    follow: bool = False
    heir_of: HumdId | None = None

    @classmethod
    def of(cls, row: Row) -> KnownPeer:
        """
        What a row of ``peers.json`` says.

        :param row: of the ``rows`` of ``ensemble.config.read_peers``.
        :raises KeyError: its ``auth`` is no level; in a row that was read it is one.
        """
        level = None if row.auth is None else Level.named(row.auth)
        flags = {name: getattr(row, name) for name in ("relays", "plain", "secure", "follow")}
        return cls(row.humd_id, row.hints, row.alias, level, **flags)

    @property
    def needs_secure(self) -> bool:
        """
        True where only secure wires may carry this peer: it names a secure hint and does not say ``plain``.

        One that cannot be read counts: a slip in it is not to be what sends tones in clear.
        """
        return not self.plain and (self.secure or any(map(names_secure, self.hints)))

    def handover(self, heir: HumdId) -> str:
        """The line to paste that gives this row, which is in the file, to another id."""
        words = [hint for hint in self.hints if not hint.startswith("tls-fp:")]  # those pin the old certificate
        words += ["--alias", self.alias] if self.alias is not None else []
        words += ["--auth", self.level.word] if self.level is not None else []
        words += [f"--{name}" for name in ("plain", "relays", "follow") if getattr(self, name)]
        # The old row goes first, for no two have one alias.
        return f"`ensemble untrust {self.peer.full} && {shlex.join(['ensemble', 'trust', heir.full, *words])}`"

    def parsed_hints(self) -> list[Hint]:
        """The hints that can be read, in the order of the row; the others were reported where that was read."""
        return [hint for text in self.hints if (hint := Hint.try_parse(text)) is not None]

    def dial_order(self, schemes: Container[str]) -> list[Hint]:
        """
        Whom to dial, best first: secure hints in the order of their schemes, then the others where allowed.

        :param schemes: those that can be dialled from here.  One that is not ours counts as plain.
        """
        hints = [hint for hint in self.parsed_hints() if hint.scheme in schemes]
        secure = [hint for scheme in SECURE_SCHEMES for hint in hints if hint.scheme == scheme]
        return secure if self.needs_secure else [*secure, *(hint for hint in hints if hint not in secure)]


@frozen
class Policy:
    """
    The rules of one humd; a new value replaces the old when ``peers.json`` changes.

    :ivar level: what an id without an own level must show.
    :ivar admit_any: True lets in ids that have no row.
    :ivar known: the rows by id; may be given as any iterable of them, where of two with one id the later counts.
    :ivar barred: ids that are refused whatever else is said of them, each with the cause.
    :ivar named: for the refusal of an id without a row: what is known of it, with the mend.
    """

    level: Level = Level.OPEN
    admit_any: bool = True
    known: Mapping[HumdId, KnownPeer] = field(factory=tuple, converter=_by_id)
    barred: Mapping[HumdId, str] = field(factory=dict)
    named: Mapping[HumdId, str] = field(factory=dict, eq=False)  # it changes no rule, only what is said

    def level_for(self, claimed: HumdId) -> Level:
        """The least level at which a link that claims ``claimed`` is admitted."""
        row = self.known.get(claimed)
        return self.level if row is None or row.level is None else row.level

    def admits(self, claimed: HumdId, wire_secure: bool) -> str | None:
        """
        May this id link over such a wire?

        :returns: None, or why not, with the mend.
        """
        cause = self.barred.get(claimed)
        if cause is not None:
            return f"{cause}; take its row out of peers.json, and put the id there that its owner tells you"
        row = self.known.get(claimed)
        if row is None:
            if self.admit_any:
                return None
            return self.named.get(claimed) or (
                f'no row in peers.json; to let it in: `ensemble trust {claimed.full}`, or add {{"humd_id":'
                f'"{claimed.full}"}} (a known peer that changed its key has a new id, and comes to this)'
            )
        if row.needs_secure and not wire_secure:
            return (
                "its row names a secure hint, so a plain wire is refused; to allow plain wires: "
                f"`ensemble trust {claimed.full} --plain`"
            )
        return None

    def denies(self, peer: HumdId, level: Level, wire_secure: bool) -> str | None:
        """
        May a link that is up, at this level, not stay?

        :returns: None where it may, or why not.
        """
        cause = self.admits(peer, wire_secure)
        if cause is None and level < self.level_for(peer):
            return "it showed less than is wanted of it now"
        return cause

    def admits_leaf(self, leaf: HumdId | None) -> str | None:
        """
        May whoever showed this certificate say hello?

        :param leaf: the id whose key it proved; None where it showed none, or one that names no id.
        :returns: None, or why not, with the mend.
        """
        if leaf is not None:
            return self.admits(leaf, wire_secure=True)
        if self.level < Level.PROVEN or any(row.level not in (None, Level.PROVEN) for row in self.known.values()):
            return None
        return (
            "it shows no certificate of a humd, and every peer must be proven; to link with humds of protocol 0.7, "
            "say for each of them: `ensemble trust PEER --auth signed` (or open)"
        )
