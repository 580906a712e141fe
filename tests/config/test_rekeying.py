"""The owner's files of a new key: each step, cut short anywhere, can be taken again."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from random import Random
from typing import Any
from unittest.mock import patch

from twisted.trial.unittest import SynchronousTestCase

from ensemble.config import (
    OwnStatements,
    alone,
    begin_rotation,
    finish_rotation,
    keep_revocation,
    lost_key,
    old_key_file,
    read_own_statements,
    read_revocation,
    remove_seeds,
    revoke_own,
    write_revocation,
    write_text,
)
from ensemble.config.rekeying import MAX_FILE, MAX_REVOCATIONS, SUCCESSIONS
from ensemble.errors import ConfigurationError
from ensemble.identity import MAX_CHAIN, HumdId, HumdKey, KeyFileExists, Succession, load, mint, revoke, save

NOW = 1_700_000_000_000


class Crash(BaseException):
    """The power is gone."""


@contextmanager
def dies_after(steps: int) -> Iterator[None]:
    """So many links, renames and syncs succeed; at the next one the process is gone."""
    left = iter(range(steps))

    def step(real: Callable[..., None]) -> Callable[..., None]:
        def call(*args: Any) -> None:
            if next(left, None) is None:
                raise Crash
            real(*args)

        return call

    with ExitStack() as patches:
        for name in ("replace", "link", "fsync"):
            patches.enter_context(patch(f"os.{name}", step(getattr(os, name))))
        yield


class RekeyingTestCase(SynchronousTestCase):
    """A machine with a key."""

    def setUp(self) -> None:
        self.state = Path(tempfile.mkdtemp(prefix="hum d-"))
        self.addCleanup(shutil.rmtree, self.state)
        self.key_file, self.next = self.state / "humd.key", self.state / "humd.key.next"
        self.random = Random(1)
        self.old = mint(self.key_file, self.random.randbytes)
        self.me = self.old.humd_id()

    def begin(self) -> Succession:
        return begin_rotation(self.key_file, self.state, NOW, self.random.randbytes)

    def finish(self) -> Succession:
        return finish_rotation(self.key_file, self.state)

    def own(self) -> OwnStatements:
        return read_own_statements(self.state)

    def refused(self, call: Callable[[], object], *words: str) -> None:
        """The call fails and names these."""
        error = self.assertRaises(ConfigurationError, call)
        for word in words:
            self.assertIn(word, str(error))


class RotationTests(RekeyingTestCase):
    """``ensemble rotate``."""

    def test_begin_and_finish(self) -> None:
        """The next key is minted and named, then takes the place of the key, which is kept; all for us alone."""
        begun = self.begin()
        self.assertEqual((begun.who, begun.heir), (self.me, load(self.next).humd_id()))
        self.assertEqual(load(self.key_file), self.old)
        self.assertEqual((self.own().begun(self.me), self.own().leading_to(self.me)), (begun, ()))
        self.assertEqual(self.own().to_tell(self.me), [begun])
        self.assertEqual(self.finish(), begun)
        self.assertEqual(load(self.key_file).humd_id(), begun.heir)
        self.assertEqual(load(old_key_file(self.key_file, self.me)), self.old)
        self.assertFalse(self.next.exists())
        self.assertEqual((self.own().begun(begun.heir), self.own().leading_to(begun.heir)), (None, (begun,)))
        for path in self.state.iterdir():
            self.assertEqual(stat.S_IMODE(path.stat().st_mode), 0o600, path)

    def test_again(self) -> None:
        """Called again, each says what is so and signs nothing more."""
        begun = self.begin()
        self.assertEqual(begin_rotation(self.key_file, self.state, NOW + 1), begun)
        self.finish()
        self.assertEqual(self.finish(), begun)

    def test_seeds(self) -> None:
        """What a killed process left of a key would outlive it: it is gone when the rotation is finished."""
        self.begin()
        old = old_key_file(self.key_file, self.me)
        for also, call in ((old, self.finish), (old, self.finish), (self.next, lambda: remove_seeds(self.key_file))):
            left = [path.with_name(f".{path.name}.abcd_123.tmp") for path in (self.key_file, also)]
            for path in left:
                path.write_bytes(self.old.seed)
            remove_seeds(self.key_file)  # one that is made just now may be somebody's
            for path in left:
                os.utime(path, (0, 0))
            with alone(self.state):
                remove_seeds(self.key_file)  # somebody is at them
            self.assertTrue(all(path.exists() for path in left))
            if call == self.finish:  # under the lock, and with a key there, nobody makes one
                for path in left:
                    os.utime(path)
            call()
            self.assertEqual(list(self.state.glob(".*")), [])

    def test_shared(self) -> None:
        """Where others could put files of theirs nothing is signed, as the daemon would not start there."""
        for mode in (0o770, 0o1770):
            self.state.chmod(mode)
            for step in (self.begin, self.finish, lambda: revoke_own(self.key_file, self.state, NOW)):
                self.refused(step, "others can write to the state dir", f"chmod go-w {shlex.quote(str(self.state))}")
        self.assertEqual(list(self.state.iterdir()), [self.key_file])
        self.state.chmod(0o700)
        self.begin()

    def test_cut_short(self) -> None:
        """Wherever it is cut short, there is a key, never a second succession, and calling it again completes it."""
        cut = 0
        for steps in range(20):
            self.setUp()
            heirs = set[HumdId]()
            try:
                with dies_after(steps):
                    heirs.add(self.begin().heir)
                    self.finish()
            except Crash:
                cut += 1
            if load(self.key_file) == self.old:
                heirs |= {each.heir for each in self.own().successions}
                heirs.add(self.begin().heir)
            heirs.add(self.finish().heir)
            self.assertEqual(heirs, {load(self.key_file).humd_id()})
            self.assertEqual(load(old_key_file(self.key_file, self.me)), self.old)
        self.assertGreater(cut, 8)

    def test_two_at_once(self) -> None:
        """One waits for the other: else it might sign a second successor of a key that was just finished."""

        def meanwhile(length: int) -> bytes:
            self.refused(self.begin, "has held the lock")
            self.refused(self.finish, "has held the lock")
            return self.random.randbytes(length)

        with patch("time.sleep"):
            begun = begin_rotation(self.key_file, self.state, NOW, meanwhile)
        self.assertEqual(self.finish(), begun)

    def test_chain(self) -> None:
        """Nine rotations later the chain has its eight latest, and leads to the key."""
        begun = []
        for _ in range(MAX_CHAIN + 1):
            begun.append(self.begin())
            self.finish()
        self.assertEqual(list(self.own().leading_to(load(self.key_file).humd_id())), begun[1:])

    def test_lost_next_key(self) -> None:
        """Where the next key is lost or another there is no second succession, and the mend is named."""
        begun = self.begin()
        self.next.unlink()
        self.refused(self.begin, "humd.key.next", begun.heir.full, "revoke")
        self.refused(self.finish, "humd.key.next", begun.heir.full)
        mint(self.next)
        self.refused(self.begin, "another key")
        self.assertEqual(load(self.key_file), self.old)

    def test_lost_key(self) -> None:
        """Where successions lead to other keys than the one that is there, what is left of those is named."""
        self.assertEqual(lost_key(self.key_file, self.own(), None), "")
        begun = self.begin()
        for me in (self.me, begun.heir):
            self.assertEqual(lost_key(self.key_file, self.own(), me), "")
        self.key_file.unlink()
        third = HumdId.from_public(bytes(32))
        for mine, word in (
            (None, "is of neither: put a copy back, or go on"),
            (third, "is of neither: stop the humd and move the new key away, then put a copy back, or go on"),
        ):
            told = lost_key(self.key_file, self.own(), mine)
            mend = shlex.join(("mv", "-n", str(self.next), str(self.key_file)))
            for each in (self.me.full, begun.heir.full, word, f"with `{mend}`; "):
                self.assertIn(each, told)
        heir = load(self.next)
        self.next.unlink()
        self.assertNotIn("go on as the latter", lost_key(self.key_file, self.own(), None))
        for ended in (self.old, heir):
            path = keep_revocation(self.state, revoke(ended, NOW))
            self.assertEqual(lost_key(self.key_file, self.own(), third), "")
            path.unlink()

    def test_not_begun(self) -> None:
        """Nothing can be finished that was not begun."""
        self.refused(self.finish, "ensemble rotate")

    def test_used_before(self) -> None:
        """A next key that is there already counts, unless it is this one or an earlier one."""
        save(self.next, self.old)
        self.refused(self.begin, "used before")
        self.next.unlink()
        ready = mint(self.next)
        self.assertEqual(self.begin().heir, ready.humd_id())
        self.finish()
        save(self.next, self.old)
        self.refused(self.begin, "used before")

    def test_next_of_another_key(self) -> None:
        """A next key that another key of ours has named is not named again: it may be known to whoever stole that."""
        self.begin()
        keep_revocation(self.state, revoke(self.old, NOW))
        self.key_file.unlink()
        mint(self.key_file, self.random.randbytes)
        self.refused(self.begin, "used before")

    def test_in_the_way(self) -> None:
        """An old key is never written over; where the same is there already it is kept."""
        self.begin()
        kept = old_key_file(self.key_file, self.me)
        mint(kept)
        self.refused(self.finish, "in the way")
        kept.unlink()
        save(kept, self.old)
        self.finish()

    def test_linked_key(self) -> None:
        """Where the key file is a link, its target changes and the link stays."""
        link = self.state / "link.key"
        link.symlink_to(self.key_file)
        begun = begin_rotation(link, self.state, NOW)
        finish_rotation(link, self.state)
        self.assertTrue(link.is_symlink())
        self.assertEqual(load(self.key_file).humd_id(), begun.heir)

    def test_no_rename(self) -> None:
        """A rename that fails is told, and the key stays."""
        self.begin()
        with patch("os.replace", side_effect=OSError(28, "No space left on device")):
            self.refused(self.finish, "No space left")
        self.assertEqual(load(self.key_file), self.old)


class RevocationTests(RekeyingTestCase):
    """``ensemble revoke``."""

    def test_kept(self) -> None:
        """A revocation is told from then on, also by the next key; the key names no successor any more."""
        revocation = revoke(self.old, NOW)
        path = keep_revocation(self.state, revocation)
        self.assertEqual(read_revocation(path), revocation)
        self.assertEqual(self.own().to_tell(self.me), [revocation])
        self.assertEqual(self.own().to_tell(HumdId.from_public(bytes(32))), [revocation])
        self.refused(self.begin, "was revoked")

    def test_for_a_bad_day(self) -> None:
        """One that is only written changes nothing, and never writes over a file."""
        path = self.state / "spare.json"
        written = write_revocation(path, self.old, NOW)
        self.assertEqual(read_revocation(path), written)
        self.assertEqual(self.own().to_tell(self.me), [])
        self.refused(lambda: write_revocation(path, self.old, NOW), "not touched")
        self.refused(lambda: write_revocation(self.state / "humd.key" / "x", self.old, NOW), "cannot write")
        self.refused(lambda: keep_revocation(self.state / "humd.key", revoke(self.old, NOW)), "cannot write")

    def test_once(self) -> None:
        """Our key is revoked once, whoever else is at it: each further statement would be news to everybody."""

        def meanwhile(path: str, text: str) -> None:
            self.refused(lambda: revoke_own(self.key_file, self.state, NOW + 1), "has held the lock")
            write_text(path, text)

        with patch("time.sleep"), patch("ensemble.config.rekeying.write_text", meanwhile):
            path = revoke_own(self.key_file, self.state, NOW)
        before = path.read_bytes()
        self.assertEqual(revoke_own(self.key_file, self.state, NOW + 1), path)
        self.assertEqual((path.read_bytes(), read_revocation(path).issued), (before, NOW))

    def test_too_many(self) -> None:
        """Only so many are told, so one more is not kept, for no humd would start with it; the same again may be."""
        said = [revoke(HumdKey.from_seed(bytes([number]) * 32), NOW - number) for number in range(MAX_REVOCATIONS + 1)]
        paths = [keep_revocation(self.state, each) for each in said[:-1]]
        self.refused(lambda: keep_revocation(self.state, said[-1]), "nothing was done", f"oldest away, {paths[-1]}")
        keep_revocation(self.state, said[0])
        self.assertEqual(len(self.own().revocations), MAX_REVOCATIONS)
        shutil.copy(paths[0], paths[0].with_name("revocation-copy.json"))
        self.refused(self.own, "move the oldest away")


class DamageTests(RekeyingTestCase):
    """Files that are not as we wrote them."""

    def test_successions(self) -> None:
        """What has another shape, a wrong signature, or no order is named, with the mend."""
        self.begin()
        self.finish()
        self.begin()
        path = self.state / SUCCESSIONS
        good = json.loads(path.read_text())
        one, two = good["succeeds"]
        damaged: list[Any] = [
            "{",
            "[]",
            '{"succeeds": {}}',
            {"succeeds": [two, one]},
            {"succeeds": [one | {"issued": 1}]},
            {"succeeds": [{}]},
            {"succeeds": [revoke(self.old, NOW).to_tone()]},
            {"succeeds": [one] * (MAX_CHAIN + 1)},
            " " * (MAX_FILE + 1),
        ]
        for bad in damaged:
            path.write_text(bad if isinstance(bad, str) else json.dumps(bad))
            self.refused(self.own, SUCCESSIONS, "move it away")

    def test_unreadable(self) -> None:
        """A place that cannot be looked at is an error, not one with nothing in it; a folder leaks no descriptor."""
        self.refused(lambda: read_own_statements(self.key_file), "cannot read", SUCCESSIONS)
        (self.state / "revocation-0.json").mkdir()
        before = os.listdir("/dev/fd")
        self.refused(self.own, "cannot read", "directory")
        self.assertEqual(os.listdir("/dev/fd"), before)

    def test_revocation(self) -> None:
        """The same for a revocation, and for what is no file."""
        path = self.state / "r.json"
        self.refused(lambda: read_revocation(path), "No such file")
        self.refused(lambda: read_revocation(self.state), "directory")
        path.write_text(json.dumps(revoke(self.old, NOW).to_tone() | {"issued": 1}))
        self.refused(lambda: read_revocation(path), "signature")
        path.write_text(json.dumps(self.begin().to_tone()))
        self.refused(lambda: read_revocation(path), "no revocation")

    def test_save(self) -> None:
        """A key is never saved over another."""
        self.assertRaises(KeyFileExists, save, self.key_file, self.old)
