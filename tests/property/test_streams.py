"""For any conversation, header, segmentation, retransmission and bad capture: what comes out is the
conversation without its header.
"""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from peeltap_core import Engine

from tests.property import expect
from tests.property.strategies import DISTURBANCES, Case, cases, content, plain_cases
from tests.support import headers
from tests.support.conversation import Conversation, Fate, disturb
from tests.support.driver import Driver, configure, gateway
from tests.support.legs import LEG4, LEGS
from tests.support.packets import Packet
from tests.support.reassembler import reassemble


def replay(case: Case, **settings: Any) -> Driver:
    driver = Driver(Engine(configure(**settings)), case.leg.link)
    driver.run(case.frames)
    return driver


@given(cases(disturbed=False))
def test_streams_are_the_input_without_the_header(case: Case) -> None:
    driver = replay(case)
    expect.streams(case, driver.frames)
    expect.shapes(case, driver.emitted)
    expect.in_order(driver.emitted)


@given(cases())
def test_streams_survive_a_bad_capture(case: Case) -> None:
    driver = replay(case)
    expect.streams(case, driver.frames)
    expect.shapes(case, driver.emitted)
    expect.in_order(driver.emitted)


@given(cases())
def test_flow_record_tells_the_truth(case: Case) -> None:
    (record,) = replay(case).take_records()
    leg, truth = case.leg, case.header.truth
    assert record["verdict"] == "stripped"
    ends = (leg.client, leg.client_port), (leg.server, leg.server_port)
    assert record["observed"] == named(ends) | {"proto": "TCP", "vlan": list(leg.vlans)}
    assert [(entry["codec"], entry["length"]) for entry in record["headers"]] == [
        (case.header.codec, len(case.header.raw))
    ]
    assert record["true"] == (truth and named(truth))


def named(truth: tuple[headers.Address, headers.Address]) -> dict[str, Any]:
    (peer, peer_port), (destination, destination_port) = truth
    return {
        "src_ip": in_full(peer),
        "src_port": peer_port,
        "dest_ip": in_full(destination),
        "dest_port": destination_port,
    }


def in_full(address: str) -> str:
    """As Suricata writes it, and so do records: IPv6 without abbreviation."""
    return ip_address(address).exploded


@given(cases(truthful=True, disturbed=False))
def test_restore_writes_the_true_addresses_into_all_packets(case: Case) -> None:
    driver = replay(case, mode="restore")
    expect.streams(case, driver.frames, ends=case.header.truth)
    expect.shapes(case, driver.emitted, same_headers=False)
    expect.in_order(driver.emitted)


@given(cases(truthful=True))
def test_restore_survives_a_bad_capture(case: Case) -> None:
    driver = replay(case, mode="restore")
    expect.streams(case, driver.frames, ends=case.header.truth)
    expect.shapes(case, driver.emitted, same_headers=False)
    expect.in_order(driver.emitted)
    (record,) = driver.take_records()
    assert (record["verdict"], record["restored"]) == ("stripped", True)


@pytest.mark.parametrize("mode", ["strip", "restore"])
@given(case=plain_cases())
def test_plain_conversations_are_untouched_to_the_byte(mode: str, case: Case) -> None:
    driver = replay(case, mode=mode)
    expect.untouched(case, driver.frames)
    expect.in_order(driver.emitted)


@given(
    case=cases(disturbed=False),
    rule=st.sampled_from(
        [
            gateway(from_="172.16.23.99/32"),
            gateway(to="172.16.23.99/32"),
            gateway(to_port=9001),
            gateway(from_port=40002),
        ]
    ),
)
def test_connections_of_no_gateway_are_untouched_to_the_byte(
    case: Case, rule: dict[str, Any]
) -> None:
    driver = Driver(Engine(configure(rule)), case.leg.link)
    expect.untouched(case, driver.run(case.frames))


@given(
    case=cases(legs=LEGS, disturbed=False),
    data=st.data(),
)
def test_streams_survive_ip_fragmentation(case: Case, data: st.DataObject) -> None:
    frames: list[bytes] = []
    for packet in case.packets:
        if len(packet.payload) > 16 and data.draw(st.booleans(), "fragmented"):
            size = 8 * data.draw(st.integers(len(packet.payload) // 64 + 1, 200), "size / 8")
            pieces = case.leg.with_(padded=False).fragments(packet, size)
            frames += data.draw(st.permutations(pieces), "order") if len(pieces) < 9 else pieces
        else:
            frames.append(case.leg.frame(packet))
    driver = Driver(Engine(configure()), case.leg.link)
    expect.streams(case, driver.run(frames))


@given(first=cases(legs=(LEG4,)), second=cases(legs=(LEG4,)), copies=st.lists(st.integers(0, 20)))
def test_late_packets_of_an_old_epoch_stay_in_it(
    first: Case, second: Case, copies: list[int]
) -> None:
    """The same ports again with another ISN, and copies of the old packets among the new ones."""
    apart = abs(first.conversation.client_isn - second.conversation.client_isn) % 2**32
    server_apart = abs(first.conversation.server_isn - second.conversation.server_isn) % 2**32
    if min(apart, 2**32 - apart, server_apart, 2**32 - server_apart) < 2**24:
        return
    late = [first.packets[n % len(first.packets)] for n in copies]
    late = [packet for packet in late if not packet.flags & 0x02]
    packets = list(first.packets)
    for n, packet in enumerate(second.packets):
        packets.append(packet)
        if n and late:
            packets.append(late.pop())
    driver = Driver(Engine(configure()))
    connections = reassemble(driver.run([LEG4.frame(p) for p in packets])).finish()
    assert [c.faults for c in connections] == [[], []]
    assert [c.to_server.whole() for c in connections] == [
        case.conversation.client for case in (first, second)
    ]
    assert [c.to_client.whole() for c in connections] == [
        case.conversation.server for case in (first, second)
    ]
    records = driver.take_records()
    assert sorted(record["epoch"] for record in records) == [0, 1]
    assert len({record["id"] for record in records}) == 2


@st.composite
def sslproxy_talks(draw: st.DrawFn) -> tuple[Conversation, bytes, list[Packet]]:
    """A conversation with an SSLproxy line behind its request line, if it has one; what its
    client's stream is without the line; and a bad capture of it.
    """
    request = draw(st.sampled_from([b"", b"GET /shell?cd+/tmp HTTP/1.1\r\n"]))
    rest = b"Host: decoy\r\n\r\n" + content(draw(st.integers(0, 300)), 5)
    line = headers.sslproxy()
    isn = draw(st.integers(2**32 - 400, 2**32 - 1))
    talk = Conversation(LEG4, b"", request + line + rest, content(500, 1 << 18), client_isn=isn)
    talk.handshake()
    sizes = st.integers(1, 150)
    fates = st.sampled_from([Fate.ARRIVED, Fate.LOST_BEHIND, Fate.LOST_BEFORE])
    for who, size, fate in draw(st.lists(st.tuples(st.booleans(), sizes, fates), max_size=12)):
        talk.send(who, size, fate)
    talk.repair([draw(st.sampled_from([536, 40]))])
    talk.close("fin")
    packets = disturb(talk.captured, draw(DISTURBANCES), len(request + line))
    return talk, request + rest, packets


@pytest.mark.parametrize("mode", ["strip", "restore"])
@given(case=sslproxy_talks())
def test_sslproxy_line_behind_the_request_line_is_excised(
    mode: str, case: tuple[Conversation, bytes, list[Packet]]
) -> None:
    """An excision at another offset than 0, with everything that happens to a header at 0."""
    talk, client, packets = case
    driver = Driver(Engine(configure(gateway(headers=["sslproxy"]), mode=mode)))
    driver.run([LEG4.frame(packet) for packet in packets])
    connection = reassemble(driver.frames).only()
    assert connection.faults == []
    assert connection.to_server.whole() == client
    assert connection.to_client.whole() == talk.server
    expect.in_order(driver.emitted)
    (record,) = driver.take_records()
    assert record["verdict"] == "stripped"
    assert record["true"] == named((headers.PEER, headers.DESTINATION))
    if mode == "restore":
        assert (connection.client, connection.server) == (headers.PEER, headers.DESTINATION)
