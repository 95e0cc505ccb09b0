"""What the kernel says of interfaces that were really made."""

from __future__ import annotations

import pytest
import pytun  # type: ignore[import-not-found]
from pyroute2 import IPRoute  # type: ignore[import-untyped]

from fixtures.netns import Lab
from tap.links import Link, Tun, find, snapshot

pytestmark = pytest.mark.netns


def test_interfaces_as_values() -> None:
    with Lab() as lab:
        host, guest = lab.namespace("host"), lab.namespace("guest")
        lab.attach(guest, "eth0", lab.bridge(host, "br1"))
        lab.address(host, "br1", "192.0.2.1/24", "2001:db8::1/64")
        with host.entered(), IPRoute() as netlink:
            netlink.link("add", ifname="one", kind="veth", peer={"ifname": "two"}, mtu=1400)
            host.sysctl("ipv6.conf.one.disable_ipv6", 1)
            host.sysctl("ipv4.conf.one.forwarding", 1)
            tap = pytun.TunTapDevice("t0", pytun.IFF_TAP | pytun.IFF_NO_PI | pytun.IFF_MULTI_QUEUE)
            tun = pytun.TunTapDevice("t1", pytun.IFF_TUN)
            links = snapshot(netlink)
            tap.persist(True)
            tap.close()
            tun.close()
            later = snapshot(netlink)
        br1, port, one, two, t0, t1 = (
            find(links, name) for name in ("br1", "port0", "one", "two", "t0", "t1")
        )
        assert br1 is not None
        assert br1.kind == "bridge"
        assert br1.up
        assert {"192.0.2.1/24", "2001:db8::1/64"} <= set(br1.addresses)
        assert port is not None
        assert (port.kind, port.master, port.lower) == ("veth", br1.index, None)
        assert one is not None
        assert two is not None
        assert (one.lower, two.lower) == (two.index, one.index)
        assert (one.mtu, one.up, one.ipv6, one.forwards) == (1400, False, False, True)
        assert (two.ipv6, two.forwards, two.arp, two.makes_addresses) == (True, False, True, True)
        assert t0 is not None
        assert t0.tun == Tun(True, False, False, False, True)
        assert t1 is not None
        assert t1.tun == Tun(False, True, False, False, False)
        assert not t1.arp
        # Nobody has it open any more; it stays, and says so.
        left = find(later, "t0")
        assert left is not None
        assert left.tun == Tun(True, False, False, True, True)
        assert not left.carrier
        assert find(later, "t1") is None


def test_no_such_interface() -> None:
    assert find({1: Link(index=1, name="lo")}, "lo0") is None
