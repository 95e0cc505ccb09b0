"""vtap0: made, kept, adopted, refused, deleted, by root and by less."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import pytun  # type: ignore[import-not-found]
from pyroute2 import IPRoute  # type: ignore[import-untyped]

from fixtures.netns import Lab, Namespace
from tap import TapError
from tap.device import MARK, delete_device, fits, open_device, refusal
from tap.links import Link, Tun, find, snapshot
from tap.settings import TapSettings
from tests.tap import wire

OURS = Tun(is_tap=True, packet_info=False, vnet_hdr=True, persistent=True, multi_queue=False)

REFUSED = [
    (Link(3, "vtap0", "veth", carrier=False), "it is no tap (veth)"),
    (Link(3, "vtap0", None, carrier=False), "it is no tap (hardware)"),
    (Link(3, "vtap0", "tun", carrier=False, tun=Tun(False, False, True, True, False)), "no tap"),
    (Link(3, "vtap0", "tun", carrier=False, tun=OURS), "not of our making"),
    (Link(3, "vtap0", "tun", carrier=False, tun=OURS, alias="qemu's"), "not of our making"),
    (Link(3, "vtap0", "tun", carrier=True, tun=OURS, alias=MARK), "in use by another process"),
]


@pytest.mark.parametrize(("link", "words"), REFUSED, ids=[row[1] for row in REFUSED])
def test_what_is_not_ours_or_not_free_is_refused(link: Link, words: str) -> None:
    reason = refusal(link)
    assert reason is not None
    assert words in reason


def test_ours_and_free() -> None:
    assert refusal(Link(3, "vtap0", "tun", carrier=False, tun=OURS, alias=MARK)) is None


@pytest.mark.parametrize(
    ("tun", "queues", "answer"),
    [
        (OURS, 1, True),
        (OURS, 2, False),
        (Tun(True, False, True, True, True), 2, True),
        (Tun(True, False, True, True, True), 1, False),
        (Tun(True, True, True, True, False), 1, False),
        (Tun(True, False, False, True, False), 1, False),
    ],
)
def test_whether_a_form_fits(tun: Tun, queues: int, answer: bool) -> None:
    assert fits(tun, queues) is answer


@contextmanager
def _inside() -> Iterator[tuple[Namespace, Callable[[], Link | None]]]:
    """A namespace in which this thread is, and a look at vtap0."""
    with Lab() as lab:
        host = lab.namespace("host")
        with host.entered(), IPRoute() as netlink:
            yield host, lambda: find(snapshot(netlink), "vtap0")


@pytest.mark.netns
def test_a_persistent_one_outlives_its_closing_and_is_adopted() -> None:
    with _inside() as (_, look):
        first = open_device(TapSettings(), 1500, 1)
        with wire.sniffing("vtap0") as suricata:
            first.close()
            between = look()
            second = open_device(TapSettings(), 1500, 1)
            os.write(second.fds[0], wire.NO_OFFLOAD + bytes(60))
            # The same socket goes on: the device never went away.
            assert suricata.arrived("vtap0") == [bytes(60)]
        assert (first.adopted, second.adopted) == (False, True)
        assert between is not None
        assert between.index == second.index
        assert between.tun is not None
        assert (between.tun.persistent, between.tun.owner) == (True, os.geteuid())
        second.close()


@pytest.mark.netns
def test_one_that_is_not_persistent_goes_with_its_closing() -> None:
    with _inside() as (_, look):
        open_device(TapSettings(), 1500, 1).close()
        adopted = open_device(TapSettings(persistent=False), 1500, 1)
        assert adopted.adopted
        adopted.close()
        assert look() is None


@pytest.mark.netns
def test_a_foreign_one_is_left_alone() -> None:
    with _inside() as (_, look):
        theirs = pytun.TunTapDevice("vtap0", pytun.IFF_TAP)
        theirs.persist(True)
        theirs.close()
        before = look()
        with pytest.raises(TapError, match=r"not of our making; delete it \(ip link delete vtap0"):
            open_device(TapSettings(), 1500, 1)
        with pytest.raises(TapError, match="not of our making"):
            delete_device("vtap0")
        assert look() == before


@pytest.mark.netns
@pytest.mark.parametrize("queues", [1, 2])
def test_one_in_use_is_not_shared(queues: int) -> None:
    with _inside():
        first = open_device(TapSettings(), 1500, queues)
        with pytest.raises(TapError, match="in use by another process"):
            open_device(TapSettings(), 1500, 3 - queues)
        with pytest.raises(TapError, match="in use by another process"):
            open_device(TapSettings(), 1500, queues)
        first.close()


@pytest.mark.netns
def test_several_queues_and_back() -> None:
    with _inside() as (_, look):
        for queues in (1, 3, 3, 2, 1):
            device = open_device(TapSettings(), 1500, queues)
            with wire.sniffing("vtap0") as sniffer:
                frames = [bytes([at]) * 60 for at in range(queues)]
                for descriptor, frame in zip(device.fds, frames, strict=True):
                    os.write(descriptor, wire.NO_OFFLOAD + frame)
                assert sniffer.arrived("vtap0") == frames
            link = look()
            assert link is not None
            assert link.tun is not None
            assert link.tun.multi_queue == (queues > 1)
            assert not any(os.get_inheritable(descriptor) for descriptor in device.fds)
            device.close()


@pytest.mark.netns
@pytest.mark.parametrize("mtu", [1500, 65521])
def test_an_offloaded_frame_of_64_kib_passes_whole(mtu: int) -> None:
    with _inside() as (_, look):
        device = open_device(TapSettings(mtu=mtu), 1400, 1)
        link = look()
        assert link is not None
        assert link.mtu == mtu
        written = wire.superframe(wire.mac_of("vtap0"), payload=65535 - 40)
        with wire.sniffing("vtap0") as sniffer:
            assert os.write(device.fds[0], written) == len(written)
            assert sniffer.arrived("vtap0") == [written[10:]]
        device.close()


@pytest.mark.netns
def test_without_a_setting_the_mtu_is_the_one_given() -> None:
    with _inside() as (_, look):
        device = open_device(TapSettings(), 9000, 1)
        link = look()
        assert link is not None
        assert link.mtu == 9000
        device.close()


@pytest.mark.netns
def test_deleted_from_outside_it_is_made_again() -> None:
    with _inside(), IPRoute() as netlink:
        first = open_device(TapSettings(), 1500, 1)
        netlink.link("del", index=first.index)
        assert first.quarantine.drift() == [
            "vtap0 was deleted or renamed from outside; it has to be made anew"
        ]
        second = open_device(TapSettings(), 1500, 1)
        first.close()
        assert second.quarantine.drift() == []
        second.close()


@pytest.mark.netns
@pytest.mark.tool("ip")
@pytest.mark.tool("tc")
@pytest.mark.parametrize("queues", [1, 2])
def test_its_deletion_leaves_nothing(queues: int) -> None:
    with Lab() as lab:
        host = lab.namespace("host")

        def everything() -> dict[str, object]:
            return {
                "links": host.run(["ip", "-d", "link"]),
                "addresses": host.run(["ip", "address"]),
                "qdiscs": host.run(["tc", "qdisc"]),
                "tables": host.run([sys.executable, "-c", TABLES]),
                "settings": wire.names_and_values(Path("/proc/sys/net")),
            }

        with host.entered():
            before = everything()
            open_device(TapSettings(), 1500, queues).close()
            assert everything() != before
            assert delete_device("vtap0")
            assert not delete_device("vtap0")
            assert everything() == before
            open_device(TapSettings(persistent=False), 1500, queues).close()
            assert everything() == before


# All tables of all families, as the kernel lists them.
TABLES = """
import socket
with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12) as asked:
    asked.send(bytes.fromhex("14000000010a0103" "0100000000000000" "00000000"))
    print(asked.recv(1 << 16)[16:].hex())
"""

# The service opens the tap as root and then keeps these two (linux/capability.h, capset(2)).
GIVE_UP = """
import ctypes, os, struct
libc = ctypes.CDLL(None, use_errno=True)
NET_ADMIN, NET_RAW, KEEPCAPS, VERSION_3 = 12, 13, 8, 0x20080522
libc.prctl(KEEPCAPS, 1, 0, 0, 0)
os.setgroups([]), os.setresgid(65534, 65534, 65534), os.setresuid(65534, 65534, 65534)
kept = 1 << NET_ADMIN | 1 << NET_RAW
data = struct.pack("=6I", kept, kept, 0, 0, 0, 0)
assert libc.capset(struct.pack("=Ii", VERSION_3, 0), data) == 0
"""

LESS_THAN_ROOT = {
    "a user namespace of its own": (["unshare", "--user", "--map-root-user", "--net"], ""),
    "two capabilities": ([], GIVE_UP),
}


@pytest.mark.netns
@pytest.mark.parametrize("less", LESS_THAN_ROOT)
def test_with_less_than_root_it_is_made_and_made_again(less: str) -> None:
    """Also where /dev/net/tun is root's alone, as on machines without udev."""
    enter, give_up = LESS_THAN_ROOT[less]
    script = f"""
import os
from pyroute2 import IPRoute
from tap import open_output
from tap.settings import TapSettings
first = open_output(TapSettings(), "br1", 1)
assert first.check() == [], first.check()
{give_up}
with IPRoute() as netlink:
    netlink.link("del", index=first._device.index)
second = open_output(TapSettings(), "br1", 1, before=first)
assert second.check() == [], second.check()
first.close()
os.write(second.fds[0], bytes(70))
with IPRoute() as netlink:
    netlink.link("del", index=second._device.index)
third = open_output(TapSettings(), "br1", 1, before=second)
second.close()
print(os.write(third.fds[0], bytes(70)), third.check())
"""
    with Lab() as lab, lab.namespace("host").entered():
        done = subprocess.run(
            [*enter, sys.executable, "-c", script],
            cwd=Path(__file__).parent.parent.parent,
            capture_output=True,
            text=True,
        )
    assert (done.stderr, done.stdout) == ("", "70 []\n")
