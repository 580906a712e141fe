"""Look-ups of names: each once at a time, and few of one peer."""

from __future__ import annotations

import gc
from typing import Any
from weakref import ref

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IHostnameResolver, IReactorPluggableNameResolver
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from ensemble.errors import LinkRefused
from ensemble.identity import Hint, HumdAddr, HumdKey
from ensemble.interfaces import IWire
from ensemble.protocols import Names, TcpTransport, TlsTransport, names as names_module
from ensemble.protocols.names import KEPT_LOOK_UPS, LOOK_UP_SECONDS, LOOK_UPS, MAX_ADDRESSES, PEER_LOOK_UPS, Question


@implementer(IHostnameResolver)
class Threads:
    """Stands for the reactor's: what is asked is answered when the test says so, and cannot be stopped."""

    def __init__(self) -> None:
        self.busy: dict[str, Any] = {}

    def resolveHostName(self, receiver: Any, hostName: str, portNumber: int = 0, *more: Any) -> Any:
        assert hostName not in self.busy
        self.busy[hostName] = receiver
        receiver.resolutionBegan(None)

    def answer(self, name: str, *hosts: str) -> None:
        receiver = self.busy.pop(name)
        for host in hosts:
            receiver.addressResolved((IPv6Address if ":" in host else IPv4Address)("TCP", host, 0))
        receiver.resolutionComplete()


@implementer(IReactorPluggableNameResolver)
class NamingReactor(MemoryReactorClock):
    """One that may have a resolver."""


class NamesTests(SynchronousTestCase):
    """Two transports that share their look-ups, and peers that are dialled by name."""

    def setUp(self) -> None:
        self.reactor: Any = NamingReactor()
        self.threads = self.reactor.nameResolver = Threads()  # Twisted's name for it
        names = Names(self.reactor)
        self.transports = [TcpTransport(self.reactor, names=names) for _ in range(2)]
        self.alice, self.bob, self.carol = (HumdAddr(HumdKey.generate().humd_id()) for _ in range(3))

    def dial(self, peer: HumdAddr, *names: str, port: int = 1, transport: int = 0) -> list[Deferred[IWire]]:
        """One dial for each name."""
        dial = self.transports[transport].dial
        return [dial(Hint.parse(f"tcp:{name}:{port}"), peer) for name in names]

    def test_a_resolver_that_forgets(self) -> None:
        """A look-up that is never told to be over holds its place for a minute; then the name is looked up again."""
        for dial in self.dial(self.alice, "a.example"):
            dial.addErrback(lambda failure: failure.trap(LinkRefused))
        forgotten = self.threads.busy.pop("a.example")
        self.reactor.advance(LOOK_UP_SECONDS - 1)
        [early] = self.dial(self.bob, "a.example")
        self.assertEqual(list(self.threads.busy), [])
        self.reactor.advance(1)
        [again] = self.dial(self.carol, "a.example")
        forgotten.resolutionComplete()  # it had only been slow
        self.assertNoResult(again)
        self.threads.answer("a.example", "192.0.2.1")
        self.assertEqual([host for host, *_ in self.reactor.tcpClients], ["192.0.2.1"] * 2)
        for dial in (early, again):
            dial.cancel()
            self.failureResultOf(dial)

    def test_addresses_and_descriptors(self) -> None:
        """Where descriptors are short one address of a name is tried, for that is what a dial has a turn for."""
        left = [True, False, False]
        transport = TcpTransport(self.reactor, names=Names(self.reactor, lambda: left.pop(0)))
        dial = transport.dial(Hint.parse("tcp:a.example:1"), self.alice)
        self.threads.answer("a.example", "192.0.2.1", "192.0.2.2", "192.0.2.3")
        for _ in range(20):
            self.reactor.advance(0.1)
        self.assertEqual([host for host, *_ in self.reactor.tcpClients], ["192.0.2.1", "192.0.2.2"])
        dial.cancel()
        self.failureResultOf(dial)

    def connect(self, transport: TlsTransport, peer: HumdAddr, port: int = 1) -> tuple[str, Deferred[IWire]]:
        """A dial that connects to an address of ``a.example`` and hears nothing there; which, and the dial."""
        dial = transport.dial(Hint.parse(f"tls:a.example:{port}"), peer)
        self.threads.answer("a.example", "192.0.2.1", "192.0.2.2", "192.0.2.3")
        host, _, factory, *_ = self.reactor.tcpClients[-1]
        wire = factory.buildProtocol(None)
        wire.makeConnection(socket := StringTransport())
        self.assertNotEqual(socket.value(), b"")
        return host[-1], dial

    def test_addresses_that_lead_nowhere(self) -> None:
        """Each dial that had connected and led nowhere has the next of the same begin with the next address."""
        transport, dialled = TlsTransport(self.reactor, HumdKey.generate(), names=Names(self.reactor)), ""
        for _ in range(4):
            for peer, port in ((self.alice, 1), (self.alice, 2), (self.bob, 1)):  # each has turns of its own
                address, dial = self.connect(transport, peer, port)
                dialled += address
                self.reactor.advance(10)
                self.failureResultOf(dial, LinkRefused)
        self.assertEqual(dialled, "111222333111")
        for _ in range(2):  # whoever gives up says nothing of the address
            address, dial = self.connect(transport, self.alice)
            self.assertEqual(address, "2")
            dial.cancel()
            self.failureResultOf(dial, CancelledError)

    def test_addresses_that_refuse(self) -> None:
        """A dial that connected nowhere has tried them all, and says the same again."""
        transport = TlsTransport(self.reactor, HumdKey.generate(), names=Names(self.reactor))
        for _ in range(2):
            dial = transport.dial(Hint.parse("tls:a.example:1"), self.alice)
            self.threads.answer("a.example", "192.0.2.1", "192.0.2.2")
            self.assertEqual(self.reactor.tcpClients[-1][0], "192.0.2.1")
            self.reactor.advance(10)
            self.failureResultOf(dial, LinkRefused)

    def test_dials_that_fail_are_forgotten(self) -> None:
        """What is remembered of them has a ceiling."""
        self.patch(names_module, "ANSWERED", 2)
        remembered = Names(self.reactor)
        transport = TlsTransport(self.reactor, HumdKey.generate(), names=remembered)
        for port in (1, 2, 3):
            _, dial = self.connect(transport, self.alice, port)
            self.reactor.advance(10)
            self.failureResultOf(dial, LinkRefused)
        self.assertEqual(list(remembered._failed), [(self.alice.id, "a.example", 3)])

    def crowd(self, count: int) -> list[Deferred[IWire]]:
        """So many peers are dialled, each by a name of its own."""
        peers = [HumdAddr(HumdKey.generate().humd_id()) for _ in range(count)]
        return [dial for number, peer in enumerate(peers) for dial in self.dial(peer, f"h{number}.test")]

    def places(self) -> list[tuple[str, int]]:
        """Where connections are opened to, in order."""
        return [client[:2] for client in self.reactor.tcpClients]

    def test_names_of_one_peer(self) -> None:
        """Of one peer two look-ups are under way, however many names it has, and another peer's begins at once."""
        dials = self.dial(self.alice, *(f"h{number}.test" for number in range(32)))
        self.assertEqual(list(self.threads.busy), ["h0.test", "h1.test"])
        self.dial(self.bob, "bob.test")
        self.threads.answer("bob.test", "192.0.2.7")
        self.assertEqual(self.places(), [("192.0.2.7", 1)])
        self.threads.answer("h0.test")
        self.failureResultOf(dials[0], LinkRefused)
        self.assertEqual(list(self.threads.busy), ["h1.test", "h2.test"])

    def test_given_up(self) -> None:
        """A dial that was given up still occupies its thread, and no other is begun for it; what waited is dropped."""
        dials = self.dial(self.alice, "h0.test", "h1.test", "h2.test", "h3.test")
        self.reactor.advance(5)
        for dial in dials[:3]:
            dial.cancel()
            self.failureResultOf(dial, CancelledError)
        self.assertEqual(len(self.threads.busy), PEER_LOOK_UPS)
        self.reactor.advance(5)
        told = str(self.failureResultOf(dials[3], LinkRefused).value)
        self.assertIn("no address for tcp:h3.test:1 within 10 s", told)
        self.threads.answer("h0.test", "192.0.2.7")
        self.assertEqual((list(self.threads.busy), self.places()), (["h1.test"], []))
        self.dial(self.alice, "h1.test", "h4.test")
        self.assertEqual(list(self.threads.busy), ["h1.test", "h4.test"])
        self.threads.answer("h1.test", "192.0.2.8")
        self.assertEqual(self.places(), [("192.0.2.8", 1)])

    def test_one_name(self) -> None:
        """A name that many ask for is looked up once, on whatever wire, and each dials its own port."""
        self.dial(self.alice, "one.test", port=1)
        self.dial(self.bob, "one.test", port=2, transport=1)
        self.threads.answer("one.test", "192.0.2.7", "2001:db8::7")
        self.assertEqual(self.places(), [("192.0.2.7", 1), ("192.0.2.7", 2)])
        self.dial(self.carol, "one.test", port=3)
        self.assertEqual(list(self.threads.busy), ["one.test"])  # what was found is not kept

    def test_name_that_waits(self) -> None:
        """A name that waits behind others of its peer is looked up at once where another peer asks for it, for both."""
        self.dial(self.alice, "h0.test", "h1.test", "bob.test")
        self.dial(self.bob, "bob.test", port=2)
        self.threads.answer("bob.test", "192.0.2.7")
        self.assertEqual(self.places(), [("192.0.2.7", 1), ("192.0.2.7", 2)])

    def test_all_threads(self) -> None:
        """Where all are taken a peer waits for one, in order, and has it when its turn comes."""
        dials = self.crowd(LOOK_UPS)
        free = LOOK_UPS - KEPT_LOOK_UPS
        self.assertEqual(len(self.threads.busy), free)
        self.threads.answer("h3.test")
        self.failureResultOf(dials[3], LinkRefused)
        self.assertEqual(list(self.threads.busy)[-1], f"h{free}.test")

    def test_name_that_had_an_answer(self) -> None:
        """However many names have no answer, one that had one finds a thread, until it has none either."""
        self.dial(self.bob, "bob.test")
        self.threads.answer("bob.test", "192.0.2.7")
        self.crowd(40)
        self.assertEqual(len(self.threads.busy), LOOK_UPS - KEPT_LOOK_UPS)
        (again,) = self.dial(self.bob, "bob.test")
        self.threads.answer("bob.test")
        self.failureResultOf(again, LinkRefused)
        self.dial(self.bob, "bob.test")
        self.assertNotIn("bob.test", self.threads.busy)

    def test_names_remembered(self) -> None:
        """Of names that had an answer so many are remembered; one more, and that is the first of the next ones."""
        self.patch(names_module, "ANSWERED", 2)
        for name in ("a.test", "b.test", "c.test"):
            self.dial(self.bob, name)
            self.threads.answer(name, "192.0.2.7")
        self.crowd(40)
        self.dial(self.alice, "a.test", "b.test", "c.test")
        self.assertEqual(list(self.threads.busy)[LOOK_UPS - KEPT_LOOK_UPS :], ["c.test"])

    def test_answered_at_once(self) -> None:
        """A resolver that answers while it is asked is asked once for a name, whoever waits for it."""
        self.dial(self.alice, "h0.test", "h1.test", "one.test")
        self.dial(self.alice, "one.test", port=2)
        asked = []

        def at_once(receiver: Any, name: str, *more: Any) -> None:
            asked.append(name)
            self.threads.busy[name] = receiver
            self.threads.answer(name, "192.0.2.8")

        self.patch(self.threads, "resolveHostName", at_once)
        self.threads.answer("h0.test", "192.0.2.7")
        self.assertEqual(asked, ["one.test"])
        self.assertEqual(self.places(), [("192.0.2.7", 1), ("192.0.2.8", 1), ("192.0.2.8", 2)])

    def test_nothing_is_kept_of_what_was_given_up(self) -> None:
        """However long the look-up goes on."""

        class Receiver:
            resolutionBegan = staticmethod(lambda question: None)

        names, receiver = Names(self.reactor), Receiver()
        question, kept = Question(names, "alice", "h0.test", 1, receiver), ref(receiver)
        names.ask(question)
        question.cancel()
        del question, receiver
        gc.collect()
        self.assertEqual((list(self.threads.busy), kept()), (["h0.test"], None))

    def test_nothing_is_kept_of_what_was_answered(self) -> None:
        """Nor of one that whoever was told first has given up, and who asked that is told nothing."""
        told: list[str] = []

        class Receiver:
            resolutionBegan = addressResolved = staticmethod(lambda _: None)

            def __init__(self, name: str) -> None:
                self.name = name

            def resolutionComplete(self) -> None:
                told.append(self.name)
                second.cancel()

        names = Names(self.reactor)
        first, second = (Question(names, "alice", "h0.test", 1, Receiver(name)) for name in ("first", "second"))
        kept = ref(first)
        for question in (first, second):
            names.ask(question)
        self.threads.answer("h0.test", "192.0.2.7")
        del question, first
        gc.collect()
        self.assertEqual((told, kept()), (["first"], None))

    def test_many_addresses(self) -> None:
        """Of a name with a thousand addresses some are dialled."""
        (dial,) = self.dial(self.alice, "many.test")
        self.threads.answer("many.test", *(f"192.0.2.{number}" for number in range(200)))
        self.reactor.pump([0.5] * 15)
        self.assertEqual(len(self.places()), MAX_ADDRESSES)
        dial.cancel()
        self.failureResultOf(dial, CancelledError)

    def test_names_that_are_no_host_names(self) -> None:
        """What only the system knows, as of containers, is looked up as it is; where it has no address that is said."""
        dials = self.dial(self.alice, "my_app", "-db-")
        self.threads.answer("my_app", "192.0.2.1")
        self.threads.answer("-db-")
        self.assertEqual(self.places(), [("192.0.2.1", 1)])
        told = str(self.failureResultOf(dials[1], LinkRefused).value)
        self.assertEqual(told, "cannot reach tcp:-db-:1: no address is known for its name")
        dials[0].cancel()
        self.failureResultOf(dials[0], CancelledError)

    def test_no_name(self) -> None:
        """What no thread could make anything of is refused, and occupies none."""
        for name in ("a..b", "a" * 64 + ".test", "\N{HEBREW LETTER ALEF}1.test"):  # Python's own codec refuses the last
            (dial,) = self.dial(self.alice, name)
            self.failureResultOf(dial, LinkRefused)
        self.assertEqual(self.threads.busy, {})
