"""Injected packets draw no reply and reach no socket of the host, while packet sockets see all."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import pytun  # type: ignore[import-not-found]
from pyroute2 import IPRoute  # type: ignore[import-untyped]

import tap.drop
from fixtures.netns import Lab, Namespace, wait_until
from tap import open_output
from tap.links import Link
from tap.quarantine import breaches
from tap.settings import TapSettings
from tests.tap import wire

GUEST_MAC = "02:00:00:00:00:09"

GOOD = Link(index=3, name="vtap0", kind="tun", arp=False, makes_addresses=False, ipv6=False)

BREACHES = [
    ({"up": False}, True, "down"),
    ({"addresses": ("192.0.2.7/24",)}, True, "has the address 192.0.2.7/24"),
    ({"makes_addresses": True}, True, "addrgenmode none"),
    ({"ipv6": True}, True, "disable_ipv6=1"),
    ({"arp": True}, True, "arp off"),
    ({"forwards": True}, True, "forwards"),
    ({"master": 2}, True, "belongs to br7"),
    ({"master": 9}, True, "belongs to 9"),
    ({}, False, "is not dropped"),
]


@pytest.mark.parametrize(("change", "dropped", "words"), BREACHES, ids=[b[2] for b in BREACHES])
def test_a_breach_is_named_with_its_remedy(
    change: dict[str, object], dropped: bool, words: str
) -> None:
    link = Link(**{**vars(GOOD), **change})  # type: ignore[arg-type]
    links = {2: Link(index=2, name="br7", kind="bridge"), 3: link}
    [found] = breaches(links, link, dropped)
    assert words in found
    assert "vtap0" in found


def test_no_breach() -> None:
    assert list(breaches({3: GOOD}, GOOD, True)) == []


@contextmanager
def _host() -> Iterator[tuple[Lab, Namespace]]:
    """A host with br1, its addresses and listeners, and a guest that could be answered."""
    with Lab() as lab:
        host, guest = lab.namespace("host"), lab.namespace("guest")
        for scope in ("all", "default"):
            host.sysctl(f"ipv4.conf.{scope}.rp_filter", 0)
        bridge = lab.bridge(host, "br1")
        lab.attach(guest, "eth0", bridge, addresses=[f"{wire.GUEST}/24", f"{wire.GUEST6}/64"])
        lab.address(host, "br1", f"{wire.HOST}/24", f"{wire.HOST6}/64")
        # The host knows the guest already: no reply has to wait for neighbour discovery.
        with host.netlink() as netlink:
            [index] = netlink.link_lookup(ifname="br1")
            for address in (wire.GUEST, wire.GUEST6):
                netlink.neigh("add", dst=address, lladdr=GUEST_MAC, ifindex=index)
        with host.entered():
            yield lab, host


@contextmanager
def _sockets() -> Iterator[list[socket.socket]]:
    with (
        socket.create_server(("", wire.LISTENING)) as tcp,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp,
        socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as icmp,
        socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP) as raw,
        socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6) as icmp6,
    ):
        udp.bind(("", wire.LISTENING))
        readers = [udp, icmp, raw, icmp6]
        for one in (tcp, *readers):
            one.setblocking(False)
        yield readers


def _received(readers: list[socket.socket]) -> list[bytes]:
    found = []
    for one in readers:
        try:
            found.append(one.recv(4096))
        except BlockingIOError:
            continue
    return found


@pytest.mark.netns
@pytest.mark.parametrize("way", ["nftables", "bpf"])
def test_injected_packets_draw_no_reply_and_reach_no_socket(
    way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if way == "bpf":
        monkeypatch.setattr(tap.drop, "NETLINK_NETFILTER", 31)  # which no kernel has
    with _host(), _sockets() as readers, wire.sniffing() as sniffer:
        output = open_output(TapSettings(), "br1", 1)
        frames = wire.provocations(wire.mac_of("vtap0"))
        sniffer.drain().clear()
        # The kernel serves a frame, reply included, within the write.
        with open(output.fds[0], "wb", buffering=0, closefd=False) as written:
            for frame in frames.values():
                assert written.write(wire.NO_OFFLOAD + frame) == 10 + len(frame)
        assert sniffer.arrived("vtap0") == list(frames.values())
        assert sniffer.sent() == []
        assert _received(readers) == []
        assert output.check() == []
        output.close()


@pytest.mark.netns
def test_without_quarantine_the_host_does_reply() -> None:
    """The control: on a plain tap each of the same frames is answered, and sockets get theirs."""
    with _host(), _sockets() as readers, wire.sniffing() as sniffer, IPRoute() as netlink:
        plain = pytun.TunTapDevice("plain0", pytun.IFF_TAP | pytun.IFF_NO_PI | pytun.IFF_VNET_HDR)
        [index] = netlink.link_lookup(ifname="plain0")
        netlink.link("set", index=index, state="up")
        frames = wire.provocations(wire.mac_of("plain0"))
        own = wire.link_local(wire.mac_of("plain0"))
        wait_until(lambda: own in Path("/proc/net/if_inet6").read_text() or _has(own), "fe80::")
        silent = []
        for name, frame in frames.items():
            sniffer.drain().clear()
            plain.write(wire.NO_OFFLOAD + frame)
            if not sniffer.sent():
                silent.append(name)
        # A datagram that a socket takes is answered by nobody but it.
        assert silent == ["a datagram to a socket"]
        assert len(_received(readers)) == len(readers)
        plain.close()


def _has(address: str) -> bool:
    """Whether the address can be bound: tentative ones cannot."""
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((address, 0, 0, socket.if_nametoindex("plain0")))
        except OSError:
            return False
        return True


@pytest.mark.netns
@pytest.mark.tool("dumpcap")
def test_a_real_sniffer_sees_all() -> None:
    with _host() as (lab, host):
        output = open_output(TapSettings(), "br1", 1)
        frames = list(wire.provocations(wire.mac_of("vtap0")).values())
        capture = lab.directory / "seen.pcap"
        dumpcap = host.spawn(
            ["dumpcap", "-q", "-P", "-i", "vtap0", "-c", str(len(frames)), "-w", capture],
            log="dumpcap.log",
            contained=False,
        )
        wait_until(lambda: capture.exists() and capture.stat().st_size >= 24, "dumpcap to listen")
        with open(output.fds[0], "wb", buffering=0, closefd=False) as written:
            for frame in frames:
                written.write(wire.NO_OFFLOAD + frame)
        assert dumpcap.wait(timeout=60) == 0
        assert all(frame in capture.read_bytes() for frame in frames)
        output.close()


@pytest.mark.netns
def test_what_somebody_changes_later_is_reported_and_put_right_by_opening_again() -> None:
    with Lab() as lab:
        host = lab.namespace("host")
        lab.bridge(host, "br1")
        with host.entered(), IPRoute() as netlink:
            output = open_output(TapSettings(), "br1", 1)
            [index] = netlink.link_lookup(ifname="vtap0")
            [bridge] = netlink.link_lookup(ifname="br1")
            host.sysctl("ipv6.conf.vtap0.disable_ipv6", 0)
            netlink.addr("add", index=index, address="192.0.2.7", prefixlen=24)
            netlink.link("set", index=index, master=bridge, arp=True, state="down")
            words = ["down", "192.0.2.7/24", "IPv6 is on", "ARP is on", "belongs to br1"]
            found = output.check()
            assert [word for word in words if not any(word in line for line in found)] == []
            output.close()
            output = open_output(TapSettings(), "br1", 1)
            assert output.adopted
            assert output.check() == []
            output.close()
