"""The tools of these tests, tested without an engine: a naive strip passes them, and each way in
which a strip can be wrong is seen.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given, settings

from tests.property import expect
from tests.property.strategies import Case, Header, cases
from tests.support import headers, packets
from tests.support.conversation import Conversation, Disturbance, Fate, Ranges, disturb
from tests.support.dissect import NotTcp, dissect, internet_sum, sack_blocks
from tests.support.driver import Driver
from tests.support.legs import LEG4, LEG6, LEGS
from tests.support.naive import NaiveStrip
from tests.support.packets import ACK, FIN, PSH, SYN, Leg, Packet
from tests.support.reassembler import Stream, reassemble
from tests.support.transcript import Talk

H = headers.proxy_v2()
CLIENT, SERVER = b"GET /decoy HTTP/1.1\r\nHost: decoy\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n"


def naive(case: Case) -> Driver:
    driver = Driver(NaiveStrip(case.leg, len(case.header.raw)), case.leg.link)
    driver.run(case.frames)
    return driver


def simple_case(leg: Leg = LEG4) -> Case:
    talk = Conversation(leg, H, CLIENT, SERVER, client_isn=2**32 - 20)
    talk.handshake()
    talk.send(True, 40)
    talk.send(True, 10, Fate.LOST_BEHIND)
    talk.send(True, 100)
    talk.ack(False)
    talk.resend(True, 0, 20)
    talk.resend(True, 20, 50)
    talk.repair()
    talk.close("fin")
    return Case(Header("proxy-v2", H, None), talk, talk.captured)


@settings(max_examples=50, deadline=None, derandomize=True, database=None)
@given(cases(disturbed=False, legs=(LEG4, LEG6), fates=(Fate.ARRIVED, Fate.LOST_BEHIND)))
def test_a_naive_strip_of_complete_captures_meets_the_properties(case: Case) -> None:
    driver = naive(case)
    expect.streams(case, driver.frames)
    expect.in_order(driver.emitted)


@pytest.mark.parametrize("leg", LEGS, ids=str)
def test_frames_of_every_leg_read_back(leg: Leg) -> None:
    case = simple_case(leg)
    connection = reassemble(case.frames, leg.link).only()
    assert connection.faults == []
    assert connection.to_server.whole() == H + CLIENT
    assert connection.to_client.whole() == SERVER
    assert (connection.client, connection.vlans) == ((leg.client, leg.client_port), leg.vlans)


def last_data(frames: list[bytes]) -> int:
    return max(n for n, frame in enumerate(frames) if dissect(frame).payload)


def edit_last_data(frames: list[bytes], change: Callable[[Packet], Packet]) -> list[bytes]:
    n = last_data(frames)
    seen = dissect(frames[n])
    from_client = seen.source == (LEG4.client, LEG4.client_port)
    packet = Packet(from_client, seen.seq, seen.ack, seen.flags, seen.payload, seen.options)
    return [*frames[:n], LEG4.frame(change(packet)), *frames[n + 1 :]]


def break_checksum(frames: list[bytes], at: int) -> list[bytes]:
    n = last_data(frames)
    frame = bytearray(frames[n])
    frame[at] ^= 1
    return [*frames[:n], bytes(frame), *frames[n + 1 :]]


WRONG: dict[str, Callable[[list[bytes]], list[bytes]]] = {
    "a wrong TCP checksum": lambda frames: break_checksum(frames, 14 + 20 + 16),
    "a wrong IPv4 checksum": lambda frames: break_checksum(frames, 14 + 10),
    "a lost segment": lambda frames: [*frames[: (n := last_data(frames))], *frames[n + 1 :]],
    "a shift too far": lambda frames: edit_last_data(frames, lambda p: p.with_(seq=p.seq + 1)),
    "an ack of the unseen": lambda frames: edit_last_data(
        frames, lambda p: p.with_(ack=p.ack + 500)
    ),
    "a SACK of nothing": lambda frames: edit_last_data(
        frames,
        lambda p: p.with_(options=packets.join_options(packets.sack([(p.ack + 9, p.ack + 9)]))),
    ),
    "other bytes": lambda frames: edit_last_data(
        frames, lambda p: p.with_(payload=p.payload[:-1] + b"?")
    ),
    "a stray fragment": lambda frames: [
        *frames,
        *LEG4.fragments(Packet(True, 1, 1, ACK, bytes(64)), 32),
    ],
}


@pytest.mark.parametrize("wrong", WRONG)
def test_what_a_strip_can_do_wrong_is_seen(wrong: str) -> None:
    case = simple_case()
    frames = naive(case).frames
    expect.streams(case, frames)
    with pytest.raises(AssertionError):
        expect.streams(case, WRONG[wrong](frames))


def test_a_header_left_in_the_stream_is_seen() -> None:
    case = simple_case()
    with pytest.raises(AssertionError):
        expect.streams(case, case.frames)


def test_an_account_that_does_not_add_up_is_seen() -> None:
    class Forgetful(NaiveStrip):
        def stats(self) -> dict[str, object]:
            return super().stats() | {"merged": {}}

    case = simple_case()
    driver = Driver(Forgetful(case.leg, len(H)))
    with pytest.raises(AssertionError):
        driver.run(case.frames)


def test_streams_take_the_first_of_conflicting_bytes_and_show_holes() -> None:
    stream = Stream(isn=0)
    stream.put(-1, b"?ab")
    stream.put(1, b"Bc")
    stream.put(6, b"xyz")
    assert stream.runs() == [(0, b"abc"), (6, b"xyz")]
    assert (stream.whole(), stream.conflicts) == (None, 1)


def test_ranges_know_their_gaps() -> None:
    ranges = Ranges()
    for span in [(4, 6), (8, 9), (6, 8), (12, 12), (20, 30)]:
        ranges.add(*span)
    assert ranges.spans == [(4, 9), (20, 30)]
    assert ranges.missing(25) == [(0, 4), (9, 20)]
    assert ranges.contiguous() == 0


def test_endpoints_offer_sack_blocks_for_what_arrived_out_of_order() -> None:
    talk = Conversation(LEG4, H, CLIENT, SERVER, client_isn=2**32 - 10)
    talk.handshake()
    talk.send(True, 10, Fate.LOST_BEHIND)
    talk.send(True, 20)
    talk.ack(False)
    blocks = sack_blocks(dissect(LEG4.frame(talk.captured[-1])))
    assert blocks == [(1, 21)]
    assert talk.captured[-1].ack % 2**32 == 2**32 - 9


def test_the_capture_keeps_the_syn_first_and_the_header_before_a_fin() -> None:
    talk = Conversation(LEG4, H, b"", SERVER)
    talk.handshake()
    talk.send(True, 100)
    talk.repair()
    talk.close("fin")
    everything = [Disturbance(n, delay=50) for n in range(len(talk.captured))]
    out = disturb(talk.captured, everything[:4], len(H))
    assert out[0].flags == SYN
    first_fin = next(n for n, packet in enumerate(out) if packet.flags & FIN)
    assert any(packet.payload for packet in out[:first_fin] if packet.from_client)


def test_checksums_agree_with_dpkt_at_the_edges() -> None:
    for data in (b"\0\0", b"\xff\xff", b"\xff\xff\0\0", b"\x01", b"\x80\x01\x7f\xfe", b"abc"):
        padded = data + b"\0" * (len(data) % 2)
        assert internet_sum(padded + packets.ones_complement(data).to_bytes(2, "big")) == 0


def test_crc32c_of_the_standard_check_string() -> None:
    assert headers.crc32c(b"123456789") == 0xE3069283


def test_a_transcript_reads_as_it_was_written() -> None:
    driver = Driver(NaiveStrip(LEG4, len(H)))
    Talk(driver, H, CLIENT, SERVER, client_isn=2**32 - 3).check(
        """
        c>s [S] <mss 1460,sackok,ts 1 0>     -> same
        s>c [S.] ack 0 win 100               -> same
        c>s [.] 0 ack 0                      -> same
        c>s [P.] 0:28 ack 0                  -> gone
        c>s [P.] 28:46 ack 0                 -> c>s [P.] 0:18 ack 0
        s>c [.] 0 ack 28 <sack 28:46>        -> s>c [.] 0 ack 0 <sack 0:18>
        c>s [.] 45:46 "\\x00" ack 0          -> c>s [.] 17:18 "\\x00" ack 0
        s>c [FP.] 0:19 ack 46                -> s>c [FP.] 0:19 ack 18
        wait 5s                              -> nothing
        """
    )


def test_a_transcript_shows_the_difference() -> None:
    driver = Driver(NaiveStrip(LEG4, 0))
    with pytest.raises(AssertionError, match=r"c>s \[P\.\] 0:5 ack 0 -> same"):
        Talk(driver, b"", b"hello", b"").check("c>s [P.] 0:5 ack 0 -> c>s [P.] 0:4 ack 0")


def test_a_frame_that_is_no_tcp_packet_says_why() -> None:
    frame = LEG4.frame(Packet(True, 1, 1, ACK | PSH, b"hello"))
    for damaged, reason in (
        (frame[:10], "shorter than its link header"),
        (frame[:50], "longer than its frame"),
        (frame[:23] + b"\x11" + frame[24:], "IP protocol 17"),
    ):
        with pytest.raises(NotTcp, match=reason):
            dissect(damaged)


def test_packets_change_by_copy() -> None:
    packet = Packet(True, 1, 2, ACK)
    assert packet.with_(seq=3) == replace(packet, seq=3)
