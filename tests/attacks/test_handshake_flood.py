"""TLS handshakes by the thousand that nobody means to finish, on real sockets."""

from __future__ import annotations

import os
from typing import Any

from OpenSSL import SSL
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.task import LoopingCall

from ensemble.identity import HumdAddr
from ensemble.mesh import Ensemble
from ensemble.mesh.defaults import ADDRESS_PENDING_LINKS, PENDING_LINKS
from ensemble.protocols import TlsTransport
from ensemble.protocols.share import FLOW_BYTES
from tests.attacks.arena import RealHouse, reactor
from tests.attacks.scene import NEWS
from tests.attacks.test_crowds import Crowded, Silent
from tests.protocols.tls_peers import ALICE, Credential, Sessions

FLOOD = 2000
ADDRESSES = 8  # that the flood comes from
SMALL_LINES = b'{"chi":"x"}\n' * 1300  # less than a link may say before it is one


def client_hello() -> bytes:
    """One that is answered with our certificate and signature."""
    client = SSL.Connection(Sessions(Credential.humd(ALICE))._new_context(), None)
    client.set_connect_state()
    try:
        client.do_handshake()
    except SSL.WantReadError:
        pass
    return client.bio_read(65536)


class HandshakeFloodTests(Crowded):
    """The victim listens for TLS as well."""

    async def over_tls(self) -> HumdAddr:
        """:returns: where the victim is found over TLS until the test ends."""
        ensemble = self.victim.ensemble
        assert ensemble.key is not None
        endpoint = TCP4ServerEndpoint(reactor, 0, backlog=4096, interface="127.0.0.1")
        port: Any = await endpoint.listen(ensemble.factory(TlsTransport(reactor, ensemble.key)))
        self.addCleanup(port.stopListening)
        return HumdAddr(ensemble.me).with_hint(f"tls:127.0.0.1:{port.getHost().port}")

    async def dial(self, house: RealHouse, where: HumdAddr) -> Ensemble:
        """A link over TLS."""
        ensemble = house.ensemble
        assert ensemble.key is not None
        await ensemble.install(await TlsTransport(reactor, ensemble.key).connect(where))
        await self.arena.until(lambda: self.victim.ensemble.linked(ensemble.me))
        return ensemble

    async def test_half_open_by_the_thousand(self) -> None:
        """
        2,000 handshakes that nobody finishes, some of them garbage, at once and from eight addresses.

        At most 64 of an address and 256 of all are pending meanwhile; an honest peer links over TLS, and a link that is
        up carries every tone in order.
        """
        where = await self.over_tls()
        port = int(where.hints[0].rpartition(":")[2])
        old = await self.dial(self.arena.house(), where)
        hello, most, sent = client_hello(), 0, 0
        crowd: set[Silent] = set()

        def flow() -> None:
            nonlocal most, sent
            most = max(most, self.victim.ensemble.pending)
            old.route({"chi": NEWS, "n": sent, "to": self.victim.ensemble.me.full, "pad": "x" * (FLOW_BYTES // 100)})
            sent += 1

        flowing = LoopingCall(flow)
        done = flowing.start(0.002)
        await self.arena.until(lambda: sent >= 50)
        for number in range(FLOOD):
            says = hello if number % 10 else os.urandom(300)
            crowd.add(Silent(port, crowd.discard, f"127.0.3.{number % ADDRESSES + 1}", says))
        new = await self.dial(self.arena.house(), where)
        self.assertTrue(self.victim.ensemble.linked(new.me))
        self.assertLessEqual(most, PENDING_LINKS)
        self.assertGreater(most, ADDRESS_PENDING_LINKS)
        await self.arena.until(lambda: len(crowd) <= PENDING_LINKS)
        self.assertGreater(self.counted("pending.limit", "pending.address"), FLOOD // 2)
        flowing.stop()
        await done
        await self.arena.until(lambda: len(self.to_the_bee) == sent)
        self.assertEqual([tone["n"] for tone in self.to_the_bee], list(range(sent)))
        self.to_the_bee.clear()
        self.tap._lines.clear()
        await self.disperse(crowd)

    async def test_lines_by_the_thousand(self) -> None:
        """Small lines before a hello, which cost us ten times what they cost others, are 128 at most of each."""
        crowd: set[Silent] = set()
        for number in range(100):
            crowd.add(Silent(self.victim.port, crowd.discard, f"127.0.3.{number % ADDRESSES + 1}", SMALL_LINES))
        await self.arena.until(lambda: not crowd)
        self.assertEqual(self.counted("handshake.line"), 100)
        self.nothing_leaked()
        await self.all_is_well()


del Crowded
