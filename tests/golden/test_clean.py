"""Clean captures in the eyes of tshark: no worse than what was recorded without a proxy."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from fixtures.topology import MAGIC
from fixtures.truth import Ends, Truth
from tests.golden.harness import (
    TRUTHS,
    bad_checksums,
    each,
    in_both_modes,
    known,
    replayed,
    tshark,
)

pytestmark = [pytest.mark.suricata, pytest.mark.tool("tshark")]

# What tshark says when sequence or acknowledgement numbers do not fit together. Windows are the
# receiving program's own matter. An acknowledgement of nothing but the header stays as one that
# repeats its predecessor, so that duplicates are no fault either.
MARKS = (
    "retransmission",
    "fast_retransmission",
    "spurious_retransmission",
    "lost_segment",
    "ack_lost_segment",
    "out_of_order",
    "keep_alive",
)


def _marks(capture: Path) -> Counter[str]:
    return Counter(mark for row in tshark(capture) for mark in MARKS if row[mark])


@each()
@in_both_modes
def test_no_checksum_is_bad(name: str, mode: str) -> None:
    # Also where the frames recorded have partial checksums.
    assert bad_checksums(replayed(name, mode).clean) == []


@each()
@in_both_modes
def test_no_mark_that_was_not_there_without_a_proxy(name: str, mode: str) -> None:
    one = known(name)
    # Without a direct recording, or where the leg itself lost packets, the leg is the measure.
    measure = one.direct_capture if one.direct and not one.marks else one.capture
    assert _marks(replayed(name, mode).clean) <= _marks(measure)


def _ends(capture: Path) -> set[tuple[Ends, Ends]]:
    """The two ends of every connection, from their SYNs."""
    return {
        (
            (row["source4"] or row["source6"], int(row["source_port"])),
            (row["target4"] or row["target6"], int(row["target_port"])),
        )
        for row in tshark(capture)
        if row["syn"] == "1" and row["ack"] == "0" and "icmp" not in row["protocols"]
    }


def _directly_recorded() -> list[Truth]:
    return [one for one in TRUTHS if one.direct]


@each(_directly_recorded())
def test_restored_packets_have_the_addresses_of_the_direct_recording(name: str) -> None:
    assert _ends(replayed(name, "restore").clean) == _ends(known(name).direct_capture)


@each(_directly_recorded())
def test_stripped_packets_have_the_addresses_of_the_leg(name: str) -> None:
    assert _ends(replayed(name, "strip").clean) == _ends(known(name).capture)


def _begins_with_magic(payload: str) -> bool:
    """Whether the payload, in hex, begins with the magic or is itself the beginning of it."""
    return payload != "" and (payload.startswith(MAGIC) or MAGIC.startswith(payload))


def _headers(capture: Path) -> list[dict[str, str]]:
    """The packets in which tshark finds a PROXY header, or that begin with the magic."""
    return [
        row
        for row in tshark(capture)
        if "proxy" in row["protocols"].split(":") or _begins_with_magic(row["payload"])
    ]


@each(_directly_recorded())
@in_both_modes
def test_no_header_is_left(name: str, mode: str) -> None:
    assert len(_headers(known(name).capture)) >= len(known(name).connections)
    assert _headers(replayed(name, mode).clean) == []


@each()
def test_packets_keep_their_times_and_their_order(name: str) -> None:
    emitted = [row["time"] for row in tshark(replayed(name, "strip").clean)]
    recorded = {row["time"] for row in tshark(known(name).capture)}
    assert emitted == sorted(emitted)
    assert set(emitted) <= recorded
