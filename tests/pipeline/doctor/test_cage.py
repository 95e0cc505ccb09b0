"""The cage: frames cross the bridge, others on it see none, nothing stays."""

from __future__ import annotations

import errno
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from pyroute2 import IPRoute  # type: ignore[import-untyped]

from fixtures.netns import Lab, wait_until
from pipeline.doctor import cage as module
from pipeline.doctor.cage import PORTS, CageError, cage
from tests.tap import wire

pytestmark = pytest.mark.netns


def test_frames_cross_and_nobody_else_is_disturbed() -> None:
    with Lab() as lab:
        host, guest = lab.namespace("host"), lab.namespace("guest")
        bridge = lab.bridge(host, "br1")
        lab.attach(guest, "eth0", bridge, addresses=["172.16.23.2/24", "fd00:23::2/64"])
        with guest.entered(), wire.sniffing("eth0") as bystander:
            with host.entered(), IPRoute() as netlink, wire.sniffing("br1") as capture:
                [index] = netlink.link_lookup(ifname="br1")
                before = netlink.get_links(index)[0].get_attr("IFLA_ADDRESS")
                service = _promiscuous("br1")
                bystander.drain().clear()
                with cage("br1") as (one, two):
                    frame = two.mac + one.mac + b"\x88\xb5" + bytes(60)
                    back = one.mac + two.mac + b"\x88\xb5" + bytes(60)
                    one.send(frame)
                    assert two.expect(frame, 5.0)
                    two.send(back)
                    assert one.expect(back, 5.0)
                    # In the bridge's own address as well: it did not take one of the ports'.
                    assert netlink.get_links(index)[0].get_attr("IFLA_ADDRESS") == before
                    assert not one.expect(frame, 0.05)
                assert {frame, back} <= {seen for _, _, seen in capture.drain()}
                assert [netlink.link_lookup(ifname=name) for name in PORTS] == [[], []]
                table = netlink.fdb("dump")
                assert not {str(entry.get_attr("NDA_LLADDR"))[:8] for entry in table} & {"02:70:74"}
                service.close()
            assert bystander.drain() == []


def _promiscuous(interface: str) -> socket.socket:
    """A packet socket that makes the bridge show what crosses it, as the service's does."""
    opened = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    opened.bind((interface, 0))
    membership = socket.if_nametoindex(interface).to_bytes(4, sys.byteorder)
    # PACKET_ADD_MEMBERSHIP, struct packet_mreq of PACKET_MR_PROMISC.
    opened.setsockopt(263, 1, membership + (1).to_bytes(2, sys.byteorder) + bytes(10))
    return opened


def test_nothing_stays_when_the_doctor_is_killed() -> None:
    script = (
        "import time\nfrom pipeline.doctor.cage import cage\n"
        "with cage('br1'):\n    print(flush=True)\n    time.sleep(600)\n"
    )
    with Lab() as lab:
        host = lab.namespace("host")
        lab.bridge(host, "br1")
        with host.entered(), IPRoute() as netlink:
            doctor = subprocess.Popen(
                [sys.executable, "-c", script],
                stdout=subprocess.PIPE,
                cwd=Path(__file__).parents[3],
            )
            assert doctor.stdout is not None
            doctor.stdout.readline()
            assert len(netlink.link_lookup(ifname=PORTS[0])) == 1
            doctor.kill()
            doctor.communicate()
            wait_until(lambda: netlink.link_lookup(ifname=PORTS[0]) == [], "the ports to go")


def test_what_is_no_bridge_or_has_spanning_tree_is_refused() -> None:
    with Lab() as lab:
        host = lab.namespace("host")
        lab.bridge(host, "br1")
        with host.entered(), IPRoute() as netlink:
            for name in ("lo", "absent0"):
                with pytest.raises(CageError, match=f"{name} is no bridge"), cage(name):
                    pass
            [index] = netlink.link_lookup(ifname="br1")
            netlink.link("set", index=index, kind="bridge", br_stp_state=1)
            with pytest.raises(CageError, match="runs spanning tree"), cage("br1"):
                pass
            netlink.link("set", index=index, kind="bridge", br_stp_state=0)
            with cage("br1"), pytest.raises(CageError, match="another canary"), cage("br1"):
                pass


def test_where_no_namespace_can_be_made(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(outside: int) -> int:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(module, "_new_namespace", refused)
    with pytest.raises(CageError, match="run as root"), cage("br1"):
        pass
