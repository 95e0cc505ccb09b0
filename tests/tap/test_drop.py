"""Both ways of dropping: packet sockets see what arrives, and nothing else does."""

from __future__ import annotations

import errno
import socket
import subprocess
import sys
from collections.abc import Callable

import pytest
import pytun  # type: ignore[import-not-found]
from pyroute2 import IPRoute  # type: ignore[import-untyped]

import tap.drop
from fixtures.netns import Lab
from tap import TapError
from tap.drop import BpfDrop, Drop, NftDrop, drop, dropped
from tests.tap import wire

pytestmark = pytest.mark.netns

WAYS: dict[str, Callable[[IPRoute, int, str], Drop]] = {
    "nftables": lambda netlink, index, name: NftDrop(name),
    "bpf": lambda netlink, index, name: BpfDrop(netlink, index),
}


@pytest.mark.parametrize("way", WAYS)
def test_packet_sockets_see_it_and_nothing_else_does(way: str) -> None:
    with Lab() as lab, lab.namespace("host").entered(), IPRoute() as netlink:
        plain = pytun.TunTapDevice("plain0", pytun.IFF_TAP | pytun.IFF_NO_PI)
        [index] = netlink.link_lookup(ifname="plain0")
        netlink.link("set", index=index, state="up")
        netlink.addr("add", index=index, address=wire.HOST, prefixlen=24)
        frame = wire.provocations(wire.mac_of("plain0"))["a datagram to a socket"]
        with (
            wire.sniffing("plain0") as sniffer,
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver,
        ):
            receiver.bind((wire.HOST, wire.LISTENING))
            receiver.setblocking(False)
            assert not dropped(netlink, index, "plain0")
            held = WAYS[way](netlink, index, "plain0")
            assert dropped(netlink, index, "plain0")
            assert not dropped(netlink, 1, "lo")
            plain.write(frame)
            with pytest.raises(BlockingIOError):
                receiver.recv(100)
            held.close()
            held.close()
            assert not dropped(netlink, index, "plain0")
            plain.write(frame)
            assert receiver.recv(100) == b"hello"
            assert sniffer.arrived("plain0") == [frame, frame]
        plain.close()


@pytest.mark.parametrize("way", WAYS)
def test_closing_after_the_interface_is_gone(way: str) -> None:
    with Lab() as lab, lab.namespace("host").entered(), IPRoute() as netlink:
        plain = pytun.TunTapDevice("plain0", pytun.IFF_TAP)
        [index] = netlink.link_lookup(ifname="plain0")
        held = WAYS[way](netlink, index, "plain0")
        plain.close()
        held.close()


def test_a_flush_of_all_rules_by_another_program_leaves_it() -> None:
    with Lab() as lab, lab.namespace("host").entered(), IPRoute() as netlink:
        plain = pytun.TunTapDevice("plain0", pytun.IFF_TAP)
        [index] = netlink.link_lookup(ifname="plain0")
        with tap.drop._netfilter() as other:
            # `nft flush ruleset` is a DELTABLE without a name.
            tap.drop._commit(other, [(tap.drop.DELTABLE, 0, b"")])
            held = NftDrop("plain0")
            tap.drop._commit(other, [(tap.drop.DELTABLE, 0, b"")])
        assert dropped(netlink, index, "plain0")
        held.close()
        plain.close()


def test_it_goes_with_a_process_that_is_killed() -> None:
    with Lab() as lab, lab.namespace("host").entered(), IPRoute() as netlink:
        plain = pytun.TunTapDevice("plain0", pytun.IFF_TAP)
        [index] = netlink.link_lookup(ifname="plain0")
        holder = subprocess.Popen(
            [
                sys.executable,
                "-c",
                "import sys, tap.drop; held = tap.drop.NftDrop('plain0');"
                "print(flush=True); sys.stdin.read()",
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert holder.stdout is not None
        holder.stdout.readline()
        assert dropped(netlink, index, "plain0")
        holder.kill()
        holder.communicate()
        assert not dropped(netlink, index, "plain0")
        plain.close()


def test_the_second_way_where_the_first_is_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> NftDrop:
        raise OSError(errno.EOPNOTSUPP, "not supported")

    monkeypatch.setattr(tap.drop, "NftDrop", absent)
    with Lab() as lab, lab.namespace("host").entered(), IPRoute() as netlink:
        plain = pytun.TunTapDevice("plain0", pytun.IFF_TAP)
        [index] = netlink.link_lookup(ifname="plain0")
        held = drop(netlink, index, "plain0")
        assert isinstance(held, BpfDrop)
        held.close()
        plain.close()


def test_what_lacks_for_the_first_way(monkeypatch: pytest.MonkeyPatch) -> None:
    assert tap.drop.nftables_absent() is None
    monkeypatch.setattr(tap.drop, "NETLINK_NETFILTER", 31)
    assert tap.drop.nftables_absent() == "Protocol not supported"


def test_where_neither_is_there_both_reasons_are_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tap.drop, "NETLINK_NETFILTER", 31)
    with (
        Lab() as lab,
        lab.namespace("host").entered(),
        IPRoute() as netlink,
        pytest.raises(TapError, match=r"nftables says 'Protocol not .*BPF 'No such device'.*mod"),
    ):
        drop(netlink, 4711, "absent0")
