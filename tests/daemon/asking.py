"""Two humds, and a program that asks the first over its control socket."""

from __future__ import annotations

from typing import Any

from ensemble.daemon.humd import Humd
from ensemble.mesh import Limits
from ensemble.protocols import InMemoryEndpoint, Turn
from ensemble.thrum import ThrumClient
from tests.daemon.memory import HumdTestCase, settle


class ControlTestCase(HumdTestCase):
    """Two humds that let each other in, and a program that asks the first."""

    limits = Limits()

    def setUp(self) -> None:
        super().setUp()
        self.one, self.two = (self.humd(self.settings(admit_any=True, limits=self.limits)) for _ in range(2))
        self.asks = self.asker(self.one)

    def program(self, humd: Humd, **hello: Any) -> ThrumClient:
        """A local program that has said hello."""
        near, far = InMemoryEndpoint.pair(humd.me, None, humd.me, None, self.reactor)
        humd.thrum.accepted(far)
        client = ThrumClient(near, Turn(self.reactor), lambda: 0)
        client.start()
        client.hello(hello.pop("name"), **hello)
        settle(self.reactor)
        return client

    def refused(self, **request: Any) -> str:
        """The qualifier of a refusal."""
        answer = self.asks.ask(**request)
        self.assertIs(answer["ok"], False)
        self.assertTrue(answer["message"])
        qualifier: str = answer["qualifier"]
        return qualifier
