"""The two kinds of output, by the same contract; what is refused; how the package is entered."""

from __future__ import annotations

import errno
import os
import subprocess
import sys

import pytest
from pyroute2 import IPRoute  # type: ignore[import-untyped]
from pyroute2.netlink.exceptions import NetlinkError  # type: ignore[import-untyped]

import tap
from fixtures.netns import Lab
from tap import TapError, open_output
from tap.output import Output
from tap.settings import TapSettings
from tests.tap import wire


def test_the_package_leads_here_and_costs_nothing_before() -> None:
    assert tap.open_output is open_output
    assert tap.Output is Output
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        tap.nothing  # noqa: B018
    script = "import sys, tap.settings; print('pyroute2' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout == "False\n"


@pytest.mark.parametrize("settings", [TapSettings(name="br1"), TapSettings(interface="br1")])
def test_the_captured_interface_itself_is_refused(settings: TapSettings) -> None:
    with pytest.raises(TapError, match="br1 is the interface that is captured"):
        open_output(settings, "br1", 1)


def test_what_the_kernel_does_not_tell_is_a_complaint(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(netlink: IPRoute) -> None:
        raise NetlinkError(errno.EAGAIN)

    monkeypatch.setattr("tap.output.snapshot", refuse)
    assert Output("veth9", "packet", []).check() == [
        "veth9 cannot be looked at just now: Resource temporarily unavailable"
    ]


@pytest.mark.netns
def test_a_tap_with_a_queue_for_each_worker() -> None:
    with Lab() as lab:
        host = lab.namespace("host")
        lab.bridge(host, "br1")
        with host.entered(), IPRoute() as netlink:
            [bridge] = netlink.link_lookup(ifname="br1")
            netlink.link("set", index=bridge, mtu=9000)
            output = open_output(TapSettings(persistent=False), "br1", 2)
            assert (output.name, output.kind, len(output.fds)) == ("vtap0", "tap", 2)
            [message] = netlink.get_links(ifname="vtap0")
            assert message.get_attr("IFLA_MTU") == 9000
            copy = os.dup(output.fds[0])  # the datapath's own
            output.remove()
            output.close()
            assert output.fds == []
            assert netlink.link_lookup(ifname="vtap0") == []
            os.close(copy)


@pytest.mark.netns
def test_a_persistent_tap_stays_when_removed() -> None:
    with Lab() as lab, lab.namespace("host").entered(), IPRoute() as netlink:
        open_output(TapSettings(), "br1", 1).remove()
        assert len(netlink.link_lookup(ifname="vtap0")) == 1


@pytest.mark.netns
def test_an_existing_interface_carries_frames_and_superframes() -> None:
    with Lab() as lab:
        host, sensor = lab.namespace("host"), lab.namespace("sensor")
        lab.bridge(host, "br1")
        lab.connect((host, "out0", ()), (sensor, "in0", ()), offloads=True)
        with sensor.entered():
            mac = wire.mac_of("in0")
            frame = wire.provocations(mac)["a SYN to a listener"]
            superframe = wire.superframe(mac, payload=60000)
            with wire.sniffing("in0") as sniffer:
                sniffer.drain().clear()
                with host.entered(), wire.sniffing("out0") as own:
                    output = open_output(TapSettings(interface="out0"), "br1", 2)
                    assert (output.name, output.kind, len(output.fds)) == ("out0", "packet", 2)
                    assert output.check() == []
                    os.write(output.fds[0], wire.NO_OFFLOAD + frame)
                    os.write(output.fds[1], superframe)
                    # A Suricata that listens on this end sees them as well.
                    assert own.sent() == [frame, superframe[10:]]
                    output.close()
                    output.close()
                assert sniffer.arrived("in0") == [frame, superframe[10:]]


@pytest.mark.netns
def test_what_happens_to_an_existing_interface_is_reported() -> None:
    with Lab() as lab:
        host, sensor = lab.namespace("host"), lab.namespace("sensor")
        lab.bridge(host, "br1")
        lab.connect((host, "out0", ()), (sensor, "in0", ()))
        with host.entered(), IPRoute() as netlink:
            output = open_output(TapSettings(interface="out0"), "br1", 1)
            [index] = netlink.link_lookup(ifname="out0")
            [bridge] = netlink.link_lookup(ifname="br1")
            netlink.link("set", index=index, mtu=1400, state="down")
            down, small = output.check()
            assert "out0 is down" in down
            assert "out0 has an MTU of 1400, br1 of 1500" in small
            netlink.link("set", index=index, state="up", master=bridge)
            [captured] = output.check()
            assert "out0: it is a port of br1" in captured
            netlink.link("del", index=index)
            assert output.check() == ["out0 was deleted; packets go nowhere until it is made again"]
            output.remove()


@pytest.mark.netns
def test_a_peer_that_the_host_would_answer_from_is_reported() -> None:
    with Lab() as lab, lab.namespace("host").entered(), IPRoute() as netlink:
        netlink.link("add", ifname="out0", kind="veth", peer={"ifname": "in0"})
        netlink.link("set", index=netlink.link_lookup(ifname="out0")[0], state="up")
        output = open_output(TapSettings(interface="out0"), "br1", 1)
        [complaint] = output.check()
        assert "in0, where the packets arrive, belongs to this host" in complaint
        output.close()


@pytest.mark.netns
def test_what_would_be_captured_again_is_refused() -> None:
    with Lab() as lab:
        host, guest = lab.namespace("host"), lab.namespace("guest")
        lab.attach(guest, "eth0", lab.bridge(host, "br1"))
        with host.entered(), IPRoute() as netlink:
            netlink.link("add", ifname="far", kind="veth", peer={"ifname": "near"})
            [bridge] = netlink.link_lookup(ifname="br1")
            [near] = netlink.link_lookup(ifname="near")
            netlink.link("set", index=near, master=bridge)
            for interface, words in {
                "port0": "it is a port of br1",
                "far": "far -> near -> br1",
                "absent0": "there is no interface absent0",
            }.items():
                with pytest.raises(TapError, match=words):
                    open_output(TapSettings(interface=interface), "br1", 1)
