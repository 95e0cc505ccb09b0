"""The engine's table, row by row: what lies below TCP, and what is no TCP."""

from __future__ import annotations

import struct
from itertools import pairwise

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6PacketTooBig, IPv6
from scapy.layers.l2 import ARP, Dot1Q, Ether

from tests.core.talks import HEADER, OPEN, REQUEST, STARTED, drive, talk, unstripped, verdict
from tests.support.dissect import dissect, internet_sum
from tests.support.driver import gateway
from tests.support.legs import LEG4, LEG6, PAD_DESTINATION, PAD_HOP_BY_HOP, ROUTER_ALERT
from tests.support.packets import FIN, PSH, Leg
from tests.support.transcript import Talk

LEGS = pytest.mark.parametrize("leg", [LEG4, LEG6], ids=["IPv4", "IPv6"])
VLANS = pytest.mark.parametrize("vlans", [(100,), (100, 7)], ids=["802.1Q", "QinQ"])
DIALOGUE = """
    c>s [P.] 0:46 ack 0          -> c>s [P.] 0:18 ack 0
    s>c [P.] 0:19 ack 46         -> s>c [P.] 0:19 ack 18
    c>s [.] 46 ack 19            -> c>s [.] 18 ack 19
"""


# Fragments


@LEGS
@pytest.mark.parametrize("size", [8, 16, 24, 40, 64])
@pytest.mark.parametrize("backwards", [False, True], ids=["in order", "backwards"])
def test_ip_fragments_of_tracked_traffic_are_reassembled_first(
    leg: Leg, size: int, backwards: bool
) -> None:
    conversation = talk(leg=leg)
    driver = conversation.driver
    conversation.check(OPEN)
    pieces = leg.fragments(conversation.packet("c>s [P.] 0:46 ack 0").with_(ident=77), size)
    *firsts, last = pieces[::-1] if backwards else pieces
    for piece in firsts:
        assert driver.push(piece) == []
    assert driver.packets["held"] + driver.packets["merged"] == len(firsts)
    ((_, whole),) = driver.push(last)
    assert conversation.line(whole) == "c>s [P.] 0:18 ack 0"
    conversation.check("s>c [.] 0 ack 46 -> s>c [.] 0 ack 18")
    assert driver.packets["merged"] == len(firsts)


@LEGS
def test_ip_fragments_that_never_complete_leave_after_their_time_or_are_counted(leg: Leg) -> None:
    conversation = talk(drive(limits={"fragment_seconds": 30.0}), leg=leg)
    driver = conversation.driver
    conversation.check(OPEN)
    first, second, _third = leg.fragments(conversation.packet("c>s [P.] 0:46 ack 0"), 24)
    driver.push(first)
    driver.push(second)
    driver.wait(31)
    assert driver.packets["held"] == 0
    conversation.check("c>s [P.] 0:46 ack 0 -> c>s [P.] 0:18 ack 0")


@LEGS
def test_ip_fragments_of_other_traffic_are_untouched(leg: Leg) -> None:
    datagram = struct.pack("!HHHH", 53, 53, 108, 0) + bytes(100)
    frames = [
        leg.wrap(True, leg.ip_fragment(True, 17, datagram[at : at + 40], offset=at, more=at < 80))
        for at in (0, 40, 80)
    ]
    driver = drive()
    assert driver.run(frames) == frames


@LEGS
def test_ip_fragments_of_two_packets_do_not_mix(leg: Leg) -> None:
    conversation = talk(leg=leg)
    conversation.check(OPEN)
    one = conversation.packet("c>s [P.] 0:38 ack 0").with_(ident=1)
    two = conversation.packet("c>s [P.] 38:46 ack 0").with_(ident=2)
    for pair in zip(leg.fragments(one, 40), [*leg.fragments(two, 16), b""], strict=False):
        for frame in pair:
            conversation.driver.push(frame)
    lines = [conversation.line(frame) for frame in conversation.driver.frames[3:]]
    assert lines == ["c>s [P.] 0:10 ack 0", "c>s [P.] 10:18 ack 0"]


# Tags, options, padding, links


@VLANS
@LEGS
def test_vlan_tags_are_kept_and_in_the_record(leg: Leg, vlans: tuple[int, ...]) -> None:
    leg = leg.with_(vlans=vlans)
    conversation = talk(leg=leg)
    conversation.check(OPEN + DIALOGUE)
    tags = 12 + 4 * len(vlans) + 2
    packet = conversation.frame("c>s [P.] 0:46 ack 0")
    assert conversation.driver.frames[3][:tags] == packet[:tags]
    conversation.driver.finish()
    (record,) = conversation.driver.take_records()
    assert record["observed"]["vlan"] == list(vlans)


def test_vlan_tags_keep_their_priority_bits() -> None:
    conversation = talk(leg=LEG4.with_(vlans=(0xA064,)))
    conversation.check(OPEN)
    ((_, frame),) = conversation.driver.push(conversation.frame("c>s [P.] 0:46 ack 0"))
    assert frame[12:18] == bytes.fromhex("8100a0640800")
    assert dissect(frame).payload == REQUEST


def test_vlan_tags_are_part_of_the_connections_key() -> None:
    """The same 5-tuple in three places is three connections."""
    driver = drive()
    one = talk(driver)
    two = talk(driver, leg=LEG4.with_(vlans=(7,)), client_isn=7)
    three = unstripped(driver, leg=LEG4.with_(vlans=(7, 8)), header=b"", client=bytes(46))
    for conversation in (one, two, three):
        conversation.check(OPEN)
    three.check("c>s [P.] 0:46 ack 0     -> same")
    two.check("c>s [P.] 0:10 ack 0       -> held")
    one.check("c>s [P.] 0:46 ack 0       -> c>s [P.] 0:18 ack 0")
    two.check("c>s [P.] 10:46 ack 0      -> c>s [P.] 0:18 ack 0")
    driver.finish()
    verdicts = {tuple(r["observed"]["vlan"]): r["verdict"] for r in driver.take_records()}
    assert verdicts == {(): "stripped", (7,): "stripped", (7, 8): "plain"}


@pytest.mark.parametrize(
    "leg",
    [
        LEG4.with_(ip_options=ROUTER_ALERT),
        LEG4.with_(ip_options=b"\x07\x27\x04" + bytes(36) + b"\0"),
        LEG6.with_(extensions=(PAD_HOP_BY_HOP,)),
        LEG6.with_(extensions=(PAD_HOP_BY_HOP, PAD_DESTINATION)),
        LEG6.with_(extensions=((43, b"\x04\0" + bytes(4)),)),
    ],
    ids=["router alert", "record route", "hop-by-hop", "hop-by-hop, destination", "routing"],
)
def test_ipv4_options_and_ipv6_extension_headers_are_kept(leg: Leg) -> None:
    conversation = talk(leg=leg)
    conversation.check(OPEN + DIALOGUE)
    for frame in conversation.driver.frames:
        out = dissect(frame)
        assert out.ip_options == leg.ip_options
        assert out.extensions == tuple(number for number, _ in leg.extensions)


def test_ethernet_padding_is_trimmed_and_never_becomes_payload() -> None:
    leg = LEG4.with_(padded=True)
    conversation = talk(leg=leg)
    conversation.check(
        """
        c>s [S] <mss 1460>       -> c>s [S] <mss 1460>
        s>c [S.] ack 0           -> s>c [S.] ack 0
        c>s [.] 0 ack 0          -> c>s [.] 0 ack 0
        c>s [P.] 0:3 ack 0       -> held
        c>s [P.] 3:28 ack 0      -> gone
        c>s [P.] 28:29 ack 0     -> c>s [P.] 0:1 ack 0
        s>c [P.] 0:1 ack 29      -> s>c [P.] 0:1 ack 1
        c>s [P.] 27:30 ack 1     -> c>s [P.] 0:2 ack 1
        c>s [P.] 10:20 ack 2     -> c>s [.] 0 ack 2
        """
    )
    assert [dissect(frame).trailer for frame in conversation.driver.frames] == [b""] * 7


@pytest.mark.parametrize("link", ["ethernet", "raw", "sll", "sll2", "null"])
@LEGS
def test_every_link_type_is_kept(leg: Leg, link: str) -> None:
    conversation = talk(drive(link=link), leg=leg.with_(link=link))
    conversation.check(OPEN + DIALOGUE)


def test_null_link_of_the_other_byte_order() -> None:
    conversation = talk(drive(link="null"), leg=LEG4.with_(link="null"))
    for line in ("c>s [S]", "s>c [S.] ack 0", "c>s [P.] 0:46 ack 0"):
        conversation.driver.push(b"\0\0\0\2" + conversation.frame(line)[4:])
    out = conversation.driver.frames[-1]
    assert out[:4] == b"\0\0\0\2"
    assert dissect(out[4:], "raw").payload == REQUEST


# Offloaded frames


def superframe_talk(leg: Leg, mode: str, size: int) -> Talk:
    conversation = talk(drive(superframes=mode), leg=leg, client=bytes(range(250)) * (size // 250))
    conversation.check(OPEN)
    return conversation


@LEGS
def test_offloaded_frames_keep_gives_one_stripped_frame(leg: Leg) -> None:
    conversation = superframe_talk(leg, "keep", 64000)
    conversation.check("c>s [P.] 0:64028 ack 0 -> c>s [P.] 0:64000 ack 0")


@LEGS
def test_offloaded_frames_segment_cuts_to_the_mss(leg: Leg) -> None:
    """IP ids count up, PSH and FIN stand on the last segment only, sequence numbers follow on."""
    conversation = superframe_talk(leg, "segment", 20000)
    packet = conversation.packet("c>s [FP.] 0:20028 ack 0").with_(ident=65530, window=99)
    out = conversation.driver.push(leg.frame(packet))
    assert {slot for slot, _ in out} == {3}
    parts = [dissect(frame) for _, frame in out]
    assert [part.faults for part in parts] == [()] * 14
    assert [len(part.payload) for part in parts] == [1460] * 13 + [20000 - 13 * 1460]
    assert b"".join(part.payload for part in parts) == conversation.client
    assert all((b.seq - a.seq) % 2**32 == len(a.payload) for a, b in pairwise(parts))
    assert parts[0].seq == conversation.client_isn + 1
    assert [part.flags & (PSH | FIN) for part in parts] == [0] * 13 + [PSH | FIN]
    assert {(part.ack, part.window) for part in parts} == {(packet.ack, 99)}
    if leg.version == 4:
        assert [part.ident for part in parts] == [(65530 + n) % 65536 for n in range(14)]


@LEGS
def test_offloaded_frames_segment_cuts_the_servers_too(leg: Leg) -> None:
    conversation = talk(drive(superframes="segment"), leg=leg, server=bytes(range(256)) * 20)
    conversation.check(STARTED)
    out = conversation.driver.push(conversation.frame("s>c [P.] 0:5120 ack 46"))
    lines = [conversation.line(frame) for _, frame in out]
    assert lines == [
        "s>c [.] 0:1460 ack 18",
        "s>c [.] 1460:2920 ack 18",
        "s>c [.] 2920:4380 ack 18",
        "s>c [P.] 4380:5120 ack 18",
    ]


def test_offloaded_frames_segment_leaves_room_for_timestamps() -> None:
    """With 12 bytes of options, a full segment carries 12 bytes less (RFC 6691)."""
    conversation = talk(drive(superframes="segment"), client=bytes(3000))
    conversation.check(OPEN)
    out = conversation.driver.push(conversation.frame("c>s [P.] 0:3028 ack 0 <ts 1 2>"))
    assert [len(dissect(frame).payload) for _, frame in out] == [1448, 1448, 104]


def test_offloaded_frames_segment_cuts_to_the_size_that_the_source_names() -> None:
    conversation = talk(drive(superframes="segment"), client=bytes(3000))
    conversation.check(OPEN)
    frame = conversation.frame("c>s [P.] 0:3028 ack 0")
    out = conversation.driver.push(frame, gso_size=1000)
    assert [len(dissect(frame).payload) for _, frame in out] == [1000, 1000, 1000]


def test_frames_within_the_mss_are_not_cut() -> None:
    conversation = talk(drive(superframes="segment"), client=bytes(1460))
    conversation.check(OPEN + "c>s [P.] 0:1488 ack 0 -> c>s [P.] 0:1460 ack 0")


# Checksums


@LEGS
@pytest.mark.parametrize("mode", ["strip", "restore"])
def test_checksums_left_partial_by_local_traffic_are_completed(leg: Leg, mode: str) -> None:
    conversation = talk(drive(mode=mode), leg=leg)
    for line in (
        "c>s [S] <mss 1460>",
        "s>c [S.] ack 0 <mss 1460>",
        "c>s [.] 0 ack 0",
        "c>s [P.] 0:46 ack 0",
        "s>c [P.] 0:19 ack 46",
        "c>s [P.] 28:46 ack 19",
    ):
        conversation.driver.push(leg.frame(conversation.packet(line), partial=True))
    outs = [dissect(frame) for frame in conversation.driver.frames]
    assert len(outs) == 6
    assert [out.faults for out in outs] == [()] * 6
    assert outs[3].payload == REQUEST


@LEGS
def test_checksums_left_partial_on_a_plain_connection_are_completed(leg: Leg) -> None:
    conversation = unstripped(leg=leg, header=b"", client=bytes(60))
    for line in ("c>s [S]", "s>c [S.] ack 0", "c>s [P.] 0:60 ack 0", "s>c [P.] 0:19 ack 60"):
        conversation.driver.push(leg.frame(conversation.packet(line), partial=True))
    conversation.driver.finish()
    assert [dissect(frame).faults for frame in conversation.driver.frames] == [()] * 4


@LEGS
@pytest.mark.parametrize("line", ["c>s [P.] 28:46 ack 0", "c>s [P.] 20:46 ack 0"])
def test_checksums_known_to_be_partial_are_carried_as_partial(leg: Leg, line: str) -> None:
    """A ring with virtio-net headers says so, and the tap's reader completes the sum."""
    conversation = talk(leg=leg)
    conversation.check(STARTED)
    frame = leg.frame(conversation.packet(line), partial=True)
    ((_, out),) = conversation.driver.push(frame, partial_checksum=True)
    plain = talk(leg=leg, header=b"")
    assert out == leg.frame(plain.packet("c>s [P.] 0:18 ack 0"), partial=True)


@LEGS
@pytest.mark.parametrize(
    "line",
    ["c>s [P.] 28:46 ack 0", "c>s [P.] 20:46 ack 0", "s>c [P.] 0:19 ack 46", "c>s [.] 46 ack 0"],
)
def test_checksum_bad_on_the_wire_stays_bad(leg: Leg, line: str) -> None:
    conversation = talk(leg=leg)
    conversation.check(STARTED)
    frame = bytearray(conversation.frame(line))
    # The last byte of the TCP header's window; the capture cannot tell what was meant.
    at = frame.rindex(struct.pack("!H", 64240))
    frame[at + 1] ^= 0x08
    ((_, out),) = conversation.driver.push(bytes(frame))
    assert dissect(out).faults == ("TCP checksum",)


def test_ipv4_header_checksum_bad_on_the_wire_stays_bad() -> None:
    conversation = talk()
    conversation.check(STARTED)
    frame = bytearray(conversation.frame("c>s [P.] 20:46 ack 0"))
    frame[24] ^= 0x01
    conversation.driver.push(bytes(frame))
    out = dissect(conversation.driver.frames[-1])
    assert out.faults == ("IPv4 header checksum",)


# ICMP, other protocols


def icmp_about(leg: Leg, from_client: bool, quoted: bytes) -> bytes:
    """The error that the receiver of a packet sends about it; `quoted` is that packet."""
    here, there = (leg.server, leg.client) if from_client else (leg.client, leg.server)
    ether = Ether(src="02:42:ac:10:17:02", dst="02:42:ac:10:17:01")
    if leg.version == 4:
        return bytes(
            ether / IP(src=here, dst=there) / ICMP(type=3, code=4, nexthopmtu=1400) / quoted
        )
    return bytes(ether / IPv6(src=here, dst=there) / ICMPv6PacketTooBig(mtu=1400) / quoted)


def quoted_in(leg: Leg, frame: bytes) -> tuple[bytes, bytes]:
    """The ICMP message of a frame and the packet that it quotes."""
    at = 14 + (20 if leg.version == 4 else 40)
    return frame[at:], frame[at + 8 :]


def icmp_sum(leg: Leg, frame: bytes) -> int:
    message, _ = quoted_in(leg, frame)
    pseudo = b""
    if leg.version == 6:
        pseudo = frame[22:54] + struct.pack("!II", len(message), 58)
    return internet_sum(pseudo + message)


@LEGS
@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("c>s [P.] 38:46 ack 0", "c>s [P.] 10:18 ack 0"),
        ("c>s [P.] 28:46 ack 0", "c>s [P.] 0:18 ack 0"),
        ("s>c [P.] 0:19 ack 46", "s>c [P.] 0:19 ack 18"),
    ],
)
def test_icmp_errors_that_quote_a_tracked_packet_have_the_quote_mapped(
    leg: Leg, line: str, expected: str
) -> None:
    conversation = talk(leg=leg)
    conversation.check(STARTED)
    frame = conversation.frame(line)
    packet = frame[14:]
    error = icmp_about(leg, line.startswith("c>s"), packet)
    assert icmp_sum(leg, error) == 0
    ((_, out),) = conversation.driver.push(error)
    assert icmp_sum(leg, out) == 0
    tcp = 20 if leg.version == 4 else 40
    wanted = talk(leg=leg, header=b"").frame(expected)[14:]
    _, quote = quoted_in(leg, out)
    # Ports, sequence number, acknowledgement; the quoted checksum is nobody's to verify.
    assert quote[tcp : tcp + 12] == wanted[tcp : tcp + 12]
    assert len(out) == len(error)


@LEGS
def test_icmp_errors_that_quote_eight_bytes_have_the_sequence_number_mapped(leg: Leg) -> None:
    conversation = talk(leg=leg)
    conversation.check(STARTED)
    tcp = 20 if leg.version == 4 else 40
    error = icmp_about(leg, True, conversation.frame("c>s [P.] 38:46 ack 0")[14:][: tcp + 8])
    ((_, out),) = conversation.driver.push(error)
    _, quote = quoted_in(leg, out)
    assert quote[tcp + 4 :] == struct.pack("!I", conversation.client_isn + 1 + 10)
    assert icmp_sum(leg, out) == 0


@LEGS
def test_icmp_errors_that_quote_other_traffic_are_untouched(leg: Leg) -> None:
    conversation = talk(leg=leg)
    conversation.check(STARTED)
    stranger = leg.with_(server_port=22).frame(conversation.packet("c>s [P.] 0:46 ack 0"))
    error = icmp_about(leg, True, stranger[14:])
    assert conversation.driver.push(error) == [(conversation.driver.pushed - 1, error)]


OTHERS = {
    "UDP": bytes(Ether() / IP(src="172.16.23.1", dst="172.16.23.2") / UDP(dport=9000) / b"hello"),
    "ICMP echo": bytes(Ether() / IP(src="172.16.23.1", dst="172.16.23.2") / ICMP() / b"ping"),
    "ARP": bytes(Ether() / ARP(pdst="172.16.23.2")) + bytes(18),
    "ARP in a VLAN": bytes(Ether() / Dot1Q(vlan=7) / ARP(pdst="172.16.23.2")),
    "TCP of another leg": bytes(
        Ether() / IP(src="172.16.23.9", dst="172.16.23.8") / TCP(dport=22) / HEADER
    ),
    "802.3": b"\x01\x80\xc2\0\0\0" + b"\2" * 6 + b"\0\x26\x42\x42\x03" + bytes(35),
    "a cut Ethernet header": b"\2" * 9,
    "an IP version that is none": b"\2" * 12 + b"\x08\0\x95" + bytes(40),
}


@pytest.mark.parametrize("frame", OTHERS.values(), ids=OTHERS)
@pytest.mark.parametrize("mode", ["strip", "restore"])
def test_non_tcp_and_untracked_traffic_is_passed_untouched_to_the_byte(
    mode: str, frame: bytes
) -> None:
    driver = drive(mode=mode)
    assert driver.push(frame) == [(0, frame)]


@pytest.mark.parametrize("name", ["UDP", "ICMP echo", "ARP", "TCP of another leg"])
def test_non_tcp_and_untracked_traffic_is_dropped_and_counted_if_configured(name: str) -> None:
    driver = drive(other="drop")
    assert driver.push(OTHERS[name]) == []
    assert driver.packets["dropped"] == 1
    conversation = talk(driver)
    conversation.check(STARTED)
    driver.finish()
    assert verdict(driver) == "stripped"


def test_gateways_are_matched_by_network_and_port() -> None:
    driver = drive(gateway(from_="172.16.0.0/12", to="172.16.23.0/24", to_port=None))
    talk(driver, leg=Leg(client="172.20.1.1", server_port=1)).check(STARTED)
    talk(driver, leg=Leg(server="172.16.23.250")).check(STARTED)
    assert driver.stats["connections"]["stripped"] == 2
