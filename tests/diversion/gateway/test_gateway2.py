"""gateway2 on loopback, with its own address as the source: headers, trust, choice of the decoy."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from diversion.gateway.gateway2 import Gateway2, choose, make_source
from diversion.gateway.parse import Header
from diversion.gateway.settings import Gateway2Settings, GatewaySettings, LegListen
from diversion.proxy.addresses import Ends, show_ends
from diversion.proxy.headers import emit_v1, emit_v2
from diversion.snat.iptables import IptablesSource
from diversion.snat.nft import NftSource
from diversion.snat.source import Go, Lease, OwnSource
from diversion.snat.transparent import TransparentSource
from tests.diversion.running import Running, assert_reset, running, server

PEER: Ends = ("203.0.113.7", 46421)
ATTACKED: Ends = ("198.51.100.7", 80)


Place = tuple[Running, Ends, socket.socket, Gateway2]


@contextmanager
def place(trusted: str = "127.0.0.1") -> Iterator[Place]:
    """A gateway2, where it listens, and its decoy."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        at = free.getsockname()
    with running() as relay, server() as (decoy, to):
        listen = [{"address": show_ends(at), "decoy": [show_ends(to)]}]
        two = {"listen": listen, "trusted": [trusted], "source": "own"}
        gateway2 = Gateway2(GatewaySettings.model_validate({"gateway2": two}), relay.hub)
        relay.do(gateway2.start)
        yield relay, at, decoy, gateway2
        relay.do(gateway2.stop)


def test_the_header_is_taken_out() -> None:
    with place() as (relay, at, decoy, _), socket.create_connection(at, timeout=60) as leg:
        leg.sendall(emit_v2(PEER, ATTACKED) + b"payload")
        sock, _ = decoy.accept()
        with sock:
            assert sock.recv(100) == b"payload"
            sock.sendall(b"answer")
        assert leg.recv(100) == b"answer"
        leg.close()
        line = relay.line(end="closed")
        assert (line["peer"], line["destination"]) == ("203.0.113.7:46421", "198.51.100.7:80")
        assert (line["bytes_to_decoy"], line["bytes_to_peer"]) == (7, 6)


def test_only_gateway1_is_believed() -> None:
    with place(trusted="192.0.2.0/24") as (relay, at, _, _):
        assert_reset(at)
        relay.line(end="untrusted")


@pytest.mark.parametrize(
    ("said", "how"),
    [
        (emit_v1(PEER, ATTACKED), "header_malformed"),
        (b"\r\n\r\n\0\r\nQUIT\n\x20\x00\0\0", "local"),
        (emit_v2(("2001:db8::7", 1), ("2001:db8::8", 2)) + b"x", None),
    ],
)
def test_what_is_not_for_a_decoy(said: bytes, how: str | None) -> None:
    with place() as (relay, at, decoy, _), socket.create_connection(at, timeout=60) as leg:
        leg.sendall(said)
        if how is None:
            # With gateway2's own address it does not matter of which version the peer is.
            sock, _ = decoy.accept()
            assert sock.recv(1) == b"x"
            sock.close()
        else:
            relay.line(end=how)


V4, V6 = ("192.0.2.1", 80), ("2001:db8::1", 80)
CHOICES = [
    {"destination": "198.51.100.0/24:1-99", "decoy": "destination"},
    {"destination": "198.51.0.0/16", "decoy": [show_ends(V6), show_ends(V4)]},
]


@pytest.mark.parametrize(
    ("listen", "header", "decoy"),
    [
        ({"decoy": [show_ends(V4), show_ends(V6)]}, Header(PEER, ATTACKED), V4),
        ({"decoy": [show_ends(V4), show_ends(V6)]}, Header(("::1", 1), ("::2", 2)), V6),
        ({"decoy": [show_ends(V4)]}, Header(("::1", 1), ("::2", 2)), "no_family"),
        ({"decoys": CHOICES}, Header(PEER, ATTACKED), ATTACKED),
        ({"decoys": CHOICES}, Header(PEER, ("198.51.100.7", 100)), V4),
        ({"decoys": CHOICES}, Header(PEER, ("198.52.0.1", 80)), "no_rule"),
    ],
)
def test_the_decoy_for_a_header(listen: dict[str, Any], header: Header, decoy: object) -> None:
    one = LegListen.model_validate({"address": "127.0.0.1:9000", **listen})
    if isinstance(decoy, str):
        with pytest.raises(LookupError, match=decoy):
            choose(one, header)
    else:
        assert choose(one, header) == decoy


def test_sources_by_name() -> None:
    kinds = {
        "own": OwnSource,
        "nftables": NftSource,
        "iptables": IptablesSource,
        "transparent": TransparentSource,
    }
    with running() as relay:
        for name, kind in kinds.items():
            two = {
                "listen": [{"address": "127.0.0.1:9000", "decoy": ["127.0.0.1:80"]}],
                "trusted": ["127.0.0.1"],
                "source": name,
            }
            source = make_source(Gateway2Settings.model_validate(two), relay.hub)
            assert isinstance(source, kind)


def test_where_another_listens_the_source_is_not_touched() -> None:
    class Touched(OwnSource):
        def open(self) -> None:
            raise AssertionError

    with socket.create_server(("127.0.0.1", 0)) as other, running() as relay:
        listen = [
            {"address": show_ends(at), "decoy": ["127.0.0.1:9"]}
            for at in (("127.0.0.1", 0), other.getsockname())
        ]
        two = {"listen": listen, "trusted": ["127.0.0.1"], "source": "own"}
        gateway2 = Gateway2(GatewaySettings.model_validate({"gateway2": two}), relay.hub)
        gateway2.source = Touched()
        with pytest.raises(OSError, match="in use"):
            gateway2.start()


@pytest.mark.parametrize("helps", [True, False])
def test_where_the_kernel_refuses_a_port_the_source_is_asked_for_another(helps: bool) -> None:
    """Also of a source that lets it connect before it has said what its lease is."""
    over: list[None] = []

    class Taken(OwnSource):
        def begin(self, sock: socket.socket, peer: Ends, decoy: Ends, go: Go) -> Lease:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(theirs.getsockname())
            go(None)
            return Lease(lambda: over.append(None), lambda other: helps)

    with place() as (relay, at, decoy, gateway2), socket.socket() as theirs:
        # With the same four values connect(2) says EADDRNOTAVAIL.
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        theirs.bind(("127.0.0.1", 0))
        theirs.connect(decoy.getsockname())
        decoy.accept()[0].close()
        gateway2.source = Taken()
        with socket.create_connection(at, timeout=60) as leg:
            leg.sendall(emit_v2(PEER, ATTACKED) + b"payload")
            if helps:
                sock, _ = decoy.accept()
                with sock:
                    sock.settimeout(60)
                    assert sock.recv(100) == b"payload"
                leg.shutdown(socket.SHUT_WR)
                relay.line(end="closed")
            else:
                relay.line(end="unreachable")
        assert over == [None]
