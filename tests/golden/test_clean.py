"""Clean captures in the eyes of tshark: no worse than what was recorded without a proxy."""

from __future__ import annotations

from collections import Counter

import pytest

from fixtures.truth import Ends, Truth
from tests.golden.harness import TRUTHS, each, in_both_modes, known, replayed, tshark

pytestmark = [pytest.mark.suricata, pytest.mark.tool("tshark")]

# tcp.analysis.FLAG of everything that a wrong sequence or acknowledgement number would cause.
# Window marks are left out: a window is the receiving program's own matter.
MARKS = (
    "retransmission",
    "fast_retransmission",
    "spurious_retransmission",
    "lost_segment",
    "ack_lost_segment",
    "out_of_order",
    "duplicate_ack",
    "keep_alive",
)


def _marks(capture: object) -> Counter[str]:
    return Counter(
        {mark: len(tshark(capture, f"tcp.analysis.{mark}", "frame.number")) for mark in MARKS}  # type: ignore[arg-type]
    )


@each()
@in_both_modes
def test_no_checksum_is_bad(name: str, mode: str) -> None:
    # Also where the frames recorded have partial checksums.
    bad = 'ip.checksum.status == "Bad" || tcp.checksum.status == "Bad"'
    assert tshark(replayed(name, mode).clean, bad, "frame.number") == []


@each()
@in_both_modes
def test_no_mark_that_was_not_there_without_a_proxy(name: str, mode: str) -> None:
    one = known(name)
    # Without a direct recording, or where the leg itself lost packets, the leg is the measure.
    measure = one.direct_capture if one.direct and not one.marks else one.capture
    assert _marks(replayed(name, mode).clean) <= _marks(measure)


def _ends(capture: object) -> set[tuple[Ends, Ends]]:
    found = set()
    for row in tshark(
        capture,  # type: ignore[arg-type]
        "tcp.flags.syn == 1 && tcp.flags.ack == 0 && !icmp",
        *("ip.src", "ipv6.src", "tcp.srcport", "ip.dst", "ipv6.dst", "tcp.dstport"),
    ):
        source4, source6, source_port, target4, target6, target_port = row
        found.add(((source4 or source6, int(source_port)), (target4 or target6, int(target_port))))
    return found


def _directly_recorded() -> list[Truth]:
    return [one for one in TRUTHS if one.direct]


@each(_directly_recorded())
def test_restored_packets_have_the_addresses_of_the_direct_recording(name: str) -> None:
    assert _ends(replayed(name, "restore").clean) == _ends(known(name).direct_capture)


@each(_directly_recorded())
def test_stripped_packets_have_the_addresses_of_the_leg(name: str) -> None:
    assert _ends(replayed(name, "strip").clean) == _ends(known(name).capture)


@each(_directly_recorded())
@in_both_modes
def test_no_header_is_left(name: str, mode: str) -> None:
    clean = replayed(name, mode).clean
    magic = "tcp.payload contains d1:e0:c0:ff:ee:5e:ed:b5"
    assert tshark(clean, f"proxy || {magic}", "frame.number") == []
    assert tshark(known(name).capture, f"proxy || {magic}", "frame.number") != [] or name in (
        # Here no packet holds a whole magic value.
        "split-magic",
    )


@each()
def test_the_order_and_the_times_of_packets_are_kept(name: str) -> None:
    times = [
        float(row[0]) for row in tshark(replayed(name, "strip").clean, "frame", "frame.time_epoch")
    ]
    assert times == sorted(times)
    recorded = {row[0] for row in tshark(known(name).capture, "frame", "frame.time_epoch")}
    emitted = {row[0] for row in tshark(replayed(name, "strip").clean, "frame", "frame.time_epoch")}
    assert emitted <= recorded
