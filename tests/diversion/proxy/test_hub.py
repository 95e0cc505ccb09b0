"""What all connections share: draining, descriptors that run out, options."""

from __future__ import annotations

import resource
import socket

import pytest

from diversion.proxy import hub as hubs
from diversion.proxy.addresses import Ends
from diversion.proxy.hub import Hub
from fixtures.netns import wait_until
from tests.diversion.running import assert_reset, forward, reset, running, server, through


def test_draining_lets_open_connections_end() -> None:
    with running() as relay, through(relay) as (peer, decoy):
        peer.sendall(b"before")
        assert decoy.recv(10) == b"before"
        relay.do(relay.hub.drain)
        peer.sendall(b"after")
        assert decoy.recv(10) == b"after"
        peer.close()
        decoy.close()
        assert relay.join()
        relay.hub.lines.flush()
        assert relay.line(end="closed")["bytes_to_decoy"] == 11


def test_draining_accepts_nothing_more() -> None:
    with running() as relay, server() as (listening, to):
        at = relay.serve(forward(to))
        with socket.create_connection(at, timeout=60):
            listening.accept()
            relay.do(relay.hub.drain)
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(at, timeout=60)


def test_draining_has_an_end() -> None:
    with running(drain_seconds=1.0) as relay, through(relay) as (peer, _):
        relay.do(relay.hub.drain)
        with pytest.raises(ConnectionResetError):
            peer.recv(1)
        assert relay.join()
        relay.hub.lines.flush()
        relay.line(end="drained")


def test_told_twice_it_ends_at_once() -> None:
    with running(drain_seconds=3600.0) as relay, through(relay) as (peer, _):
        relay.do(relay.hub.drain)
        relay.do(relay.hub.drain)
        with pytest.raises(ConnectionResetError):
            peer.recv(1)
        assert relay.join()


def test_without_descriptors_it_waits_and_goes_on() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    with running() as relay, server() as (listening, to):
        at = relay.serve(forward(to))
        waiting = [socket.create_connection(at, timeout=60) for _ in range(3)]
        for _ in waiting:
            listening.accept()[0].close()
        for sock in waiting:
            assert sock.recv(1) == b""
            sock.close()
        # A descriptor of theirs that is closed later would be one more than there are to be.
        wait_until(lambda: relay.hub.counters.open == 0, "the connections to end")
        relay.do(lambda: None)
        free = socket.socket()
        used = free.fileno()
        free.close()
        peer = socket.socket()
        resource.setrlimit(resource.RLIMIT_NOFILE, (used + 1, before[1]))
        try:
            peer.connect(at)
            for _ in range(3000):
                if relay.hub.counters.ends["limit_files"]:
                    break
                relay.do(lambda: None)
                peer.settimeout(0.02)
                try:
                    peer.recv(1)
                except (TimeoutError, ConnectionResetError):
                    continue
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, before)
        assert relay.hub.counters.ends["limit_files"] >= 1
        peer.close()
        with socket.create_connection(at, timeout=60) as again:
            again.sendall(b"x")
            decoy = listening.accept()[0]
            while decoy.recv(1) != b"x":
                decoy = listening.accept()[0]
            decoy.close()


def test_every_socket_keeps_alive_and_says_at_once_what_it_has() -> None:
    with running(keepalive_seconds=77) as relay:
        sock = relay.hub.socket_to(("127.0.0.1", 1))
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 77
        sock.close()


def test_the_limit_of_descriptors_is_raised_as_far_as_it_goes() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, before[1]))
        hubs.raise_file_limit(1000)
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] >= min(2000, before[1])
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_lines_of_a_flood_are_not_written() -> None:
    with running(connections=1) as relay, server() as (_, to):
        at = relay.serve(forward(to))
        first = socket.create_connection(at, timeout=60)
        for _ in range(5):
            assert_reset(at)
        reset(first)
        relay.line(end="reset_by_peer")
        assert relay.hub.counters.ends["limit_total"] == 5
        assert all(line["end"] != "limit_total" for line in relay.lines())


def test_a_mistake_of_ours_costs_one_connection() -> None:
    def broken(hub: Hub, sock: socket.socket, peer: Ends) -> None:
        raise LookupError(f"ours: {peer[0]}")

    with running() as relay, server() as (listening, to):
        at = relay.serve(broken)
        with socket.create_connection(at, timeout=60):
            line = relay.line(event="a mistake of this program")
        assert "LookupError: ours: 127.0.0.1" in line["why"]
        assert relay.hub.counters.mistakes == 1
        with socket.create_connection(relay.serve(forward(to)), timeout=60) as peer:
            peer.sendall(b"x")
            decoy = listening.accept()[0]
            assert decoy.recv(1) == b"x"
            decoy.close()


def test_addresses_of_one_network_count_as_one() -> None:
    with running(per_peer=2, unheaded=1) as relay:
        hub = relay.hub
        assert [hub.count_peer(f"2001:db8::{at}") for at in range(3)] == [True, True, False]
        assert hub.count_peer("2001:db8:0:1::")
        assert hub.count_source("2001:db8::9")
        assert not hub.count_source("2001:db8::a")
        hub.uncount_peer("2001:db8::1")
        assert hub.count_peer("2001:db8::5")
        hub.uncount_source("2001:db8::")
        assert hub.count_source("2001:db8::a")


def test_at_most_half_of_all_may_owe_their_header() -> None:
    with running(connections=10) as relay:
        hub = relay.hub
        counted = [hub.count_source(f"192.0.2.{at}") for at in range(10)]
        assert counted == [True] * 5 + [False] * 5
        hub.uncount_source("192.0.2.0")
        assert hub.count_source("192.0.2.9")
