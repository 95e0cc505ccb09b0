"""Asks a real server, on loopback, over UDP."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

import dns.message
import dns.rcode
import dns.rrset
import pytest

from fixtures.netns import wait_until
from suricata.enrichment import reverse_dns
from suricata.enrichment.reverse_dns import ReverseNames
from suricata.enrichment.watched import EnrichmentError

ZONE = {
    "7.113.0.203.in-addr.arpa.": "Scan-7.Example.net.",
    "8.113.0.203.in-addr.arpa.": "not\\032a\\032host.",
    "9.113.0.203.in-addr.arpa.": None,
}


@dataclass
class Server:
    """Answers PTR questions from ZONE; None: no answer at all."""

    sock: socket.socket = field(
        default_factory=lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    )
    asked: list[str] = field(default_factory=list)

    @property
    def port(self) -> int:
        return int(self.sock.getsockname()[1])

    def run(self) -> None:
        while True:
            try:
                data, peer = self.sock.recvfrom(4096)
            except OSError:
                return
            if not data:
                return
            query = dns.message.from_wire(data)
            name = query.question[0].name
            self.asked.append(name.to_text())
            if ZONE.get(name.to_text(), "") is None:
                continue
            answer = dns.message.make_response(query)
            target = ZONE.get(name.to_text())
            if target is None:
                answer.set_rcode(dns.rcode.NXDOMAIN)
            else:
                answer.answer.append(dns.rrset.from_text(name, 60, "IN", "PTR", target))
            self.sock.sendto(answer.to_wire(), peer)


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    made.sock.bind(("127.0.0.1", 0))
    thread = threading.Thread(target=made.run, daemon=True)
    thread.start()
    yield made
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
        last.sendto(b"", ("127.0.0.1", made.port))
    thread.join(60)
    made.sock.close()


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def asking(server: Server, clock: Clock, timeout: float = 60.0) -> ReverseNames:
    names = ReverseNames(["127.0.0.1"], port=server.port, timeout=timeout, clock=clock)
    names.start()
    return names


def test_a_name_is_asked_for_once_and_then_known(server: Server) -> None:
    clock = Clock()
    names = asking(server, clock)
    assert names.name("203.0.113.7") is None  # nobody waits
    wait_until(lambda: names.status()["asked"] == 1, "the answer")
    assert names.name("203.0.113.7") == "scan-7.example.net"
    assert names.name("203.0.113.7") == "scan-7.example.net"
    # Once, unless the server was slow; not with each look.
    assert set(server.asked) == {"7.113.0.203.in-addr.arpa."}
    before = len(server.asked)
    # Believed for an hour; then it is asked for again, and the old name serves meanwhile.
    clock.now = reverse_dns.KNOWN_SECONDS + 1
    assert names.name("203.0.113.7") == "scan-7.example.net"
    wait_until(lambda: len(server.asked) > before, "another question")
    names.stop()


def test_no_name_and_no_answer_are_no_name(server: Server) -> None:
    names = asking(server, Clock(), timeout=0.5)
    for ip in ("203.0.113.8", "203.0.113.9", "198.51.100.1"):
        assert names.name(ip) is None
    wait_until(lambda: names.status()["failed"] == 3, "three times no name")
    assert [names.name(ip) for ip in ("203.0.113.8", "203.0.113.9", "198.51.100.1")] == [None] * 3
    assert names.status()["found"] == 0
    names.stop()


def test_what_is_remembered_and_what_waits_is_bounded() -> None:
    names = ReverseNames(["127.0.0.1"], max_names=3, max_waiting=5, threads=1)  # never started
    for low in range(8):
        assert names.name(f"203.0.113.{low}") is None
    status = names.status()
    assert (status["names"], status["waiting"], status["skipped"]) == (3, 5, 3)
    names.stop()


def test_a_system_without_a_resolver_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(*args: object, **more: object) -> None:
        raise reverse_dns.dns.resolver.NoResolverConfiguration

    monkeypatch.setattr(reverse_dns.dns.resolver, "Resolver", nothing)
    with pytest.raises(EnrichmentError, match="give nameservers"):
        ReverseNames()
