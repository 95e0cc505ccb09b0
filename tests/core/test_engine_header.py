"""The engine's table, row by row: a header in pieces, out of order, contradicted, incomplete."""

from __future__ import annotations

import pytest

from tests.core.talks import (
    HEADER,
    OPEN,
    REQUEST,
    TRUTH,
    counted,
    drive,
    talk,
    unstripped,
    verdict,
)
from tests.support import headers
from tests.support.packets import Leg

# What happens to a header that is cut off after 10 bytes.
BEGUN = (
    OPEN
    + """
    c>s [P.] 0:10 ack 0          -> held
"""
)


def test_header_split_in_two_is_held_until_complete() -> None:
    conversation = talk()
    conversation.check(
        OPEN
        + """
        c>s [P.] 0:10 ack 0      -> held
        s>c [P.] 0:19 ack 10     -> held
        c>s [P.] 10:46 ack 0     -> s>c [P.] 0:19 ack 0
                                 -> c>s [P.] 0:18 ack 0
        """
    )
    assert conversation.driver.packets["merged"] == 1


@pytest.mark.parametrize(
    "header",
    [
        headers.proxy_v2(),
        headers.proxy_v1(),
        headers.magic(),
        headers.magic(headers.PEER6, headers.DESTINATION6),
    ],
    ids=["proxy-v2", "proxy-v1", "magic", "magic over IPv6"],
)
def test_header_split_to_one_byte_a_segment(header: bytes) -> None:
    conversation = talk(header=header)
    conversation.check(OPEN)
    size = len(header)
    for at in range(size - 1):
        conversation.check(f"c>s [P.] {at}:{at + 1} ack 0 -> held")
    conversation.check(
        f"""
        c>s [P.] {size - 1}:{size} ack 0         -> gone
        c>s [P.] {size}:{size + 18} ack 0        -> c>s [P.] 0:18 ack 0
        """
    )
    assert conversation.driver.packets["merged"] == size
    assert conversation.driver.packets["held"] == 0


def test_header_held_is_capped_in_packets() -> None:
    conversation = unstripped(drive(limits={"hold_packets": 3}))
    conversation.check(
        OPEN
        + """
        c>s [P.] 0:1 ack 0       -> held
        c>s [P.] 1:2 ack 0       -> held
        c>s [P.] 2:3 ack 0       -> held
        c>s [P.] 3:4 ack 0
        c>s [P.] 4:46 ack 0      -> same
        s>c [.] 0 ack 46         -> same
        end                      -> nothing
        """
    )
    assert len(conversation.driver.frames) == conversation.driver.pushed
    assert verdict(conversation.driver) == "incomplete"


def test_header_held_is_capped_in_bytes() -> None:
    header = headers.proxy_v2(tlvs=headers.tlv(4, bytes(500)))
    conversation = unstripped(drive(limits={"hold_bytes": 400}), header=header)
    conversation.check(OPEN)
    for at in range(0, 500, 50):
        conversation.check(f"c>s [P.] {at}:{at + 50} ack 0")
    assert len(conversation.driver.frames) == 13
    conversation.driver.finish()
    assert verdict(conversation.driver) == "incomplete"


def test_header_held_is_capped_in_time() -> None:
    conversation = unstripped(drive(limits={"hold_seconds": 3.0}))
    conversation.check(
        BEGUN
        + """
        wait 2s                  -> nothing
        wait 2s                  -> c>s [P.] 0:10 ack 0
        c>s [P.] 10:46 ack 0     -> same
        s>c [P.] 0:19 ack 46     -> same
        """
    )
    conversation.driver.finish()
    assert verdict(conversation.driver) == "incomplete"


def test_header_held_past_its_time_is_flushed_by_the_next_packet_of_any_connection() -> None:
    """In a file no timer runs: the packets' own timestamps are the clock."""
    driver = drive(limits={"hold_seconds": 3.0})
    unstripped(driver).check(BEGUN)
    other = talk(driver, leg=Leg(client_port=40002))
    driver.now += 4 * 10**9
    frame = other.frame("c>s [S]")
    assert [out for _, out in driver.push(frame)] == [
        unstripped(driver).frame("c>s [P.] 0:10 ack 0"),
        frame,
    ]


def test_header_never_complete_is_flushed_raw_at_the_end_of_input() -> None:
    conversation = unstripped()
    conversation.check(BEGUN + "end -> c>s [P.] 0:10 ack 0")
    assert verdict(conversation.driver) == "incomplete"


def test_data_beyond_an_incomplete_header_is_held_and_released_in_order() -> None:
    talk(client=bytes(range(60))).check(
        OPEN
        + """
        c>s [.] 28:38 ack 0                  -> held
        s>c [.] 0 ack 0 <sack 28:38>         -> held
        c>s [P.] 38:48 ack 0                 -> held
        s>c [.] 0 ack 0 <sack 28:48>         -> held
        c>s [.] 0:28 ack 0                   -> c>s [.] 0:10 ack 0
                                             -> s>c [.] 0 ack 0 <sack 0:10>
                                             -> c>s [P.] 10:20 ack 0
                                             -> s>c [.] 0 ack 0 <sack 0:20>
        s>c [.] 0 ack 48                     -> s>c [.] 0 ack 20
        """
    )


def test_bare_ack_behind_an_incomplete_header_is_held_too() -> None:
    """A capture that reorders shows the acknowledgement before the data that precedes it."""
    talk().check(
        OPEN
        + """
        c>s [.] 46 ack 0         -> held
        c>s [P.] 0:46 ack 0      -> c>s [.] 18 ack 0
                                 -> c>s [P.] 0:18 ack 0
        """
    )


def test_header_segments_in_reverse_order() -> None:
    talk().check(
        OPEN
        + """
        c>s [P.] 20:46 ack 0     -> held
        c>s [P.] 10:20 ack 0     -> held
        c>s [P.] 0:10 ack 0      -> c>s [P.] 0:18 ack 0
        """
    )


def test_data_beyond_an_incomplete_header_is_bounded_globally() -> None:
    """Many connections that each hold a little: together they keep within the pool."""
    driver = drive(limits={"hold_total_bytes": 64 * 1024})
    sizes = {}
    for n in range(200):
        conversation = talk(driver, client=bytes(1400), leg=Leg(client_port=1000 + n))
        conversation.check("c>s [S] -> same")
        sizes[driver.pushed] = 1400
        driver.push(conversation.frame("c>s [P.] 28:1428 ack 0"))
        left = {slot for slot, _ in driver.emitted}
        held = sum(size for slot, size in sizes.items() if slot not in left)
        assert held <= 64 * 1024
    assert driver.packets["held"] > 0
    driver.finish()
    assert len(driver.frames) == driver.pushed


def test_overlap_with_different_bytes_first_wins_and_is_counted() -> None:
    """Another source address in a repeated piece of the header is not believed."""
    conversation = talk()
    forged = headers.proxy_v2(("198.51.100.66", 666))
    conversation.check(OPEN + "c>s [P.] 0:26 ack 0 -> held")
    packet = conversation.packet("c>s [P.] 10:28 ack 0")
    packet = packet.with_(payload=forged[10:26] + HEADER[26:28])
    assert conversation.driver.push(conversation.leg.frame(packet)) == []
    conversation.check("c>s [P.] 28:46 ack 0 -> c>s [P.] 0:18 ack 0")
    conversation.driver.finish()
    (record,) = conversation.driver.take_records()
    assert record["true"] == TRUTH
    assert counted(conversation.driver, "header_overlap_differs") == 1


def test_overlap_with_different_bytes_that_came_first_wins_too() -> None:
    """Out of order as well: the first captured copy of each byte counts."""
    conversation = talk()
    forged = headers.proxy_v2(("198.51.100.66", 46421))
    conversation.check(OPEN)
    packet = conversation.packet("c>s [P.] 10:28 ack 0").with_(payload=forged[10:28])
    assert conversation.driver.push(conversation.leg.frame(packet)) == []
    conversation.check("c>s [P.] 0:46 ack 0 -> c>s [P.] 0:18 ack 0")
    conversation.driver.finish()
    (record,) = conversation.driver.take_records()
    assert record["true"] == TRUTH | {"src_ip": "198.51.100.66"}
    assert counted(conversation.driver, "header_overlap_differs") == 1


def test_same_bytes_again_are_no_oddity() -> None:
    conversation = talk()
    conversation.check(
        OPEN
        + """
        c>s [P.] 0:20 ack 0      -> held
        c>s [P.] 5:20 ack 0      -> held
        c>s [P.] 10:46 ack 0     -> c>s [P.] 0:18 ack 0
        """
    )
    assert counted(conversation.driver, "header_overlap_differs") == 0


def test_tcp_segment_cut_by_the_snap_length_inside_the_header_is_passed() -> None:
    """The bytes behind the cut are unknown; nothing is guessed."""
    conversation = unstripped()
    conversation.check(OPEN)
    whole = conversation.frame("c>s [P.] 0:46 ack 0")
    conversation.driver.push(whole[: 54 + 12], orig_len=len(whole))
    conversation.driver.finish()
    assert conversation.driver.frames[-1] == whole[: 54 + 12]
    assert conversation.driver.take_records()[0]["verdict"] != "stripped"


def test_tcp_segment_cut_by_the_snap_length_behind_the_header_is_stripped() -> None:
    """The IP length still tells of all 46 bytes; 10 of the payload's 18 are there."""
    conversation = talk()
    conversation.check(OPEN)
    whole = conversation.frame("c>s [P.] 0:46 ack 0")
    ((_, out),) = conversation.driver.push(whole[: 54 + 38], orig_len=len(whole))
    assert out[54:] == REQUEST[:10]
    assert int.from_bytes(out[16:18], "big") == 20 + 20 + 18
    conversation.check("c>s [.] 46 ack 0 -> c>s [.] 18 ack 0")
