"""Packets on the wire, through the ring and the engine, onto the tap."""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import dpkt
import orjson
import pytest
from peeltap_core import Live, Replay

from tests.core.talks import talk
from tests.support.driver import configure
from tests.support.legs import LEG4, LEG6
from tests.support.packets import Leg
from tests.support.rig import BRIDGE, Rig, packet_socket
from tests.support.transcript import Talk

pytestmark = pytest.mark.netns

CONVERSATION = """
    c>s [S] <mss 1460,sackok,wscale 7>           -> c>s [S] <mss 1460,sackok,wscale 7>
    s>c [S.] ack 0 <mss 1460,sackok,wscale 7>    -> s>c [S.] ack 0 <mss 1460,sackok,wscale 7>
    c>s [.] 0 ack 0                              -> c>s [.] 0 ack 0
    c>s [P.] 0:10 ack 0                          -> nothing
    s>c [.] 0 ack 10                             -> nothing
    c>s [P.] 10:46 ack 0                         -> c>s [P.] 0:18 ack 0
    s>c [.] 0 ack 46                             -> s>c [.] 0 ack 18
    s>c [P.] 0:19 ack 46                         -> s>c [P.] 0:19 ack 18
    c>s [F.] 46 ack 19                           -> c>s [F.] 18 ack 19
    s>c [F.] 19 ack 47                           -> s>c [F.] 19 ack 19
    c>s [.] 47 ack 20                            -> c>s [.] 19 ack 20
"""


def lines(column: int) -> list[str]:
    rows = [line.split("->") for line in CONVERSATION.strip().splitlines()]
    return [row[column].strip() for row in rows if row[column].strip() != "nothing"]


def frames_of(conversation: Talk) -> list[bytes]:
    return [conversation.frame(line) for line in lines(0)]


@pytest.fixture(scope="module")
def wire() -> Iterator[Rig]:
    with Rig() as rig:
        yield rig


@pytest.fixture
def rig(wire: Rig) -> Rig:
    """The module's wire: a test that breaks it has its own, in test_live_faults."""
    wire.renew()
    return wire


@pytest.mark.parametrize(
    "leg",
    [LEG4, LEG6, LEG4.with_(vlans=(100,)), LEG4.with_(vlans=(100, 7))],
    ids=["IPv4", "IPv6", "802.1Q", "QinQ"],
)
def test_a_conversation_reaches_the_tap_without_its_header(rig: Rig, leg: Leg) -> None:
    conversation = talk(leg=leg)
    live = rig.live(configure(announce=True))
    count = rig.send(frames_of(conversation))
    [stats] = rig.settle(live, packets=count)
    assert [conversation.line(frame) for frame in rig.read()] == lines(1)
    assert stats["connections"] == {"stripped": 1}
    [record] = [orjson.loads(line) for line in live.take_records().splitlines()]
    assert (record["verdict"], record["true"]["src_ip"]) == ("stripped", "203.0.113.7")
    assert record["observed"]["vlan"] == list(leg.vlans)


def test_the_tap_gives_what_a_replay_of_the_recording_gives(rig: Rig, tmp_path: Path) -> None:
    talks = [
        talk(leg=leg.with_(client_port=40001 + index))
        for index in range(20)
        for leg in (LEG4, LEG6)
    ]
    interleaved = [frame for row in zip(*map(frames_of, talks), strict=True) for frame in row]
    live = rig.live(configure())
    recorder = rig.host.call(lambda: packet_socket(BRIDGE, receive=True))
    with recorder:
        count = rig.send(interleaved)
        rig.settle(live, packets=count)
        recorder.settimeout(60)
        with (tmp_path / "in.pcap").open("wb") as file:
            writer = dpkt.pcap.Writer(file, nano=True)
            for index in range(count):
                writer.writepkt(recorder.recv(1 << 17), ts=1_700_000_000 + index / 1000)
    replay = Replay(configure(), [str(tmp_path / "in.pcap")], str(tmp_path / "out.pcap"))
    while replay.step(1000):
        pass
    with (tmp_path / "out.pcap").open("rb") as file:
        wanted = [frame for _, frame in dpkt.pcap.Reader(file)]
    assert Counter(rig.read()) == Counter(wanted)


def test_what_is_no_tcp_passes_untouched_to_the_byte(rig: Rig) -> None:
    addresses = bytes.fromhex("020000000001020000000002")
    frames = [
        addresses + b"\x08\x06" + os.urandom(46),
        addresses + b"\x88\xb5" + os.urandom(1000),
        LEG4.wrap(True, LEG4.ip(True, 17, struct.pack("!HHHH", 53, 53, 20, 0) + bytes(12))),
    ]
    live = rig.live(configure())
    rig.settle(live, packets=rig.send(frames))
    assert rig.read() == frames


def test_a_hold_ends_by_the_clock_where_no_packet_comes(rig: Rig) -> None:
    conversation = talk()
    live = rig.live(configure(limits={"hold_seconds": 0.3}))
    sent = [conversation.frame(line) for line in lines(0)[:4]]
    # The clock goes on while frames are sent: the last was held, however long that took.
    rig.settle(live, packets=rig.send(sent))
    rig.until(lambda: live.stats()["packets"]["held"] == 0, live, what="the hold's end")
    assert rig.read() == sent
    assert live.stats()["events"]["hold_timeout"] == 1


def test_finish_lets_everything_go_and_close_makes_the_records(rig: Rig) -> None:
    conversation = talk()
    live = rig.live(configure())
    rig.settle(live, packets=rig.send([conversation.frame(line) for line in lines(0)[:4]]))
    live.finish()
    assert len(rig.read()) == 4
    assert live.stats()["tracked"] == 1
    while live.close_some(100):
        pass
    [record] = live.take_records().splitlines()
    assert orjson.loads(record)["verdict"] == "incomplete"


def test_the_kernel_keeps_what_the_filter_keeps(rig: Rig) -> None:
    # ip proto 17, as libpcap compiles "udp" without its IPv6 part: ldh [12]; ldb [23]
    udp = [(0x28, 0, 0, 12), (0x15, 0, 3, 0x800), (0x30, 0, 0, 23), (0x15, 0, 1, 17)]
    program = [*udp, (0x6, 0, 0, 262144), (0x6, 0, 0, 0)]
    datagram = LEG4.wrap(True, LEG4.ip(True, 17, struct.pack("!HHHH", 53, 53, 20, 0) + bytes(12)))
    live = rig.live(configure(), filter=program)
    rig.send([*frames_of(talk()), datagram])
    [stats] = rig.settle(live, packets=1)
    assert rig.read() == [datagram]
    assert stats["capture"]["packets"] == 1


def test_packets_leave_by_an_interface_that_is_there(rig: Rig) -> None:
    rig.lab.connect((rig.host, "veth9", []), (rig.guest, "sensor", []))
    rig.silence(rig.host, "veth9")
    rig.silence(rig.guest, "sensor")
    output = rig.host.call(lambda: packet_socket("veth9", vnet=True))
    rig.listen("sensor", rig.guest)
    conversation = talk()
    with output:
        live = rig.live(configure(), output_fd=output.fileno(), output="packet")
        rig.settle(live, packets=rig.send(frames_of(conversation)))
        assert [conversation.line(frame) for frame in rig.read()] == lines(1)
        # A device of this kind takes nothing longer than its MTU allows.
        long = LEG4.wrap(True, LEG4.ip(True, 17, bytes(3000)))
        rig.guest.run(["ip", "link", "set", "eth0", "mtu", "9000"])
        rig.host.run(["ip", "link", "set", "port0", "mtu", "9000"])
        rig.host.run(["ip", "link", "set", BRIDGE, "mtu", "9000"])
        [stats] = rig.settle(live, packets=len(lines(0)) + rig.send([long]))
        assert stats["output"]["dropped"] == {"too_long": 1}


def test_what_leaves_by_a_socket_is_not_captured_when_it_comes_back(rig: Rig) -> None:
    rig.lab.connect((rig.host, "veth8", []), (rig.host, "loop", []))
    for interface in ("veth8", "loop"):
        rig.silence(rig.host, interface)
    rig.host.run(["ip", "link", "set", "loop", "master", BRIDGE])
    with rig.host.call(lambda: packet_socket("veth8", vnet=True)) as output:
        live = rig.live(configure(), output_fd=output.fileno(), output="packet")
        count = rig.send(frames_of(talk()))
        rig.settle(live, packets=count)
        for _ in range(5):
            live.step(50)
    assert live.stats()["capture"]["packets"] == count
    rig.delete("veth8")


def test_restore_gives_the_tap_the_true_addresses(rig: Rig) -> None:
    live = rig.live(configure(mode="restore"))
    rig.settle(live, packets=rig.send(frames_of(talk())))
    for frame in rig.read():
        addresses = {socket.inet_ntoa(frame[26:30]), socket.inet_ntoa(frame[30:34])}
        assert addresses == {"203.0.113.7", "192.168.110.2"}


@pytest.mark.parametrize(
    ("about", "error", "says"),
    [
        ({"ring_bytes": 4096}, ValueError, "ring_bytes: 4096"),
        ({"block_timeout_ms": 0}, ValueError, "block_timeout_ms: 0"),
        ({"output": "pipe"}, ValueError, "output"),
        ({"filter": [(0xFFFF, 0, 0, 0)]}, ValueError, "filter instruction 0"),
        ({"fanout": (1, 0)}, ValueError, "fanout"),
        ({"output_fd": 999}, OSError, "output"),
        ({"output": "packet"}, OSError, "output"),
    ],
    ids=str,
)
def test_what_cannot_be_is_refused_by_name(
    rig: Rig, about: dict[str, object], error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        rig.live(configure(), **about)


def test_an_interface_that_is_absent_is_named(rig: Rig) -> None:
    def build() -> Live:
        return Live(configure(), "br7", output_fd=rig.tap_fd, output="tap")

    with pytest.raises(OSError, match="br7") as caught:
        rig.host.call(build)
    assert caught.value.errno == errno.ENODEV


def test_what_is_injected_cannot_come_back(rig: Rig) -> None:
    output = rig.host.call(lambda: packet_socket(BRIDGE, vnet=True))
    with output, pytest.raises(ValueError, match="br1: it is the interface that is captured"):
        rig.live(configure(), output_fd=output.fileno(), output="packet")
