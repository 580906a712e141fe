"""What a hello says of the keys before this one."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from ensemble.errors import LocalWireError
from ensemble.identity import MAX_CHAIN, HumdKey, revoke, succeed
from ensemble.protocols import PeerCapabilities, hello_line, read_hello
from tests.protocols.handshaking import NOW


class ChainTests(SynchronousTestCase):
    """``succeeds``."""

    def test_chain(self) -> None:
        """The successions that lead to us are in it, and where it grows too long the oldest are not."""
        keys = [HumdKey.from_seed(bytes([number]) * 32) for number in range(MAX_CHAIN + 1)]
        chain = tuple(succeed(old, new, NOW) for old, new in pairwise(keys))
        me = keys[-1].humd_id()
        self.assertNotIn("succeeds", json.loads(hello_line(me, PeerCapabilities())))
        self.assertEqual(read_hello(hello_line(me, PeerCapabilities(), succeeds=chain)).succeeds, chain)
        for nests, kept in ((84, 6), (116, 0)):
            line = hello_line(me, PeerCapabilities(nests=["n" * 100] * nests), succeeds=chain)
            self.assertEqual(read_hello(line).succeeds, chain[MAX_CHAIN - kept :])
        self.assertRaises(LocalWireError, hello_line, me, PeerCapabilities(nests=["n" * 100] * 120), succeeds=chain)

    def test_bad_chain(self) -> None:
        """A chain of another shape, with a gap, or that leads to another id is passed over, and the hello is read."""
        keys = [HumdKey.from_seed(bytes([number]) * 32) for number in range(MAX_CHAIN + 2)]
        steps = [succeed(old, new, NOW).to_tone() for old, new in pairwise(keys)]
        plain = json.loads(hello_line(keys[2].humd_id(), PeerCapabilities()))
        chains: list[Any] = [1, {}, [], [1], [steps[0]], steps[:2][::-1], [steps[0], steps[0]], steps[1:3]]
        chains += [[revoke(keys[2], NOW).to_tone()], [steps[1] | {"issued": -1}], None, [steps[1], steps[1]]]
        chains += [[steps[0] | {"issued": -1}, steps[1]], [steps[1], steps[1] | {"issued": -1}]]
        for chain in chains:
            hello = read_hello(json.dumps(plain | {"succeeds": chain}).encode())
            self.assertEqual((hello.succeeds, hello.humd_id), ((), keys[2].humd_id()), chain)
        self.assertEqual(len(read_hello(json.dumps(plain | {"succeeds": steps[:2]}).encode()).succeeds), 2)
        last = json.loads(hello_line(keys[-1].humd_id(), PeerCapabilities()))
        self.assertEqual(read_hello(json.dumps(last | {"succeeds": steps}).encode()).succeeds, ())
