"""Ratios, scaling and targets say what they mean."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import capture
from bench.measure import Cost, MeasureError, floor, run
from bench.report import Runs, Spread, at_least, at_most, ratio, table


def runs(cpu: list[float], packets: int = 1_000, start: float | None = None) -> Runs:
    made = Runs("name", "what", packets, packets * 500, 1_000)
    made.costs = [Cost(seconds, 0.0, seconds, 1 << 20) for seconds in cpu]
    made.starts = [] if start is None else [Cost(start, 0.0, start, 1 << 20)]
    return made


def test_ratios_are_paired_by_round() -> None:
    slow_second_round = ratio(runs([2.0, 8.0, 2.0]), runs([1.0, 4.0, 1.0]))
    assert slow_second_round == Spread(2.0, 2.0, 2.0)


def test_only_rounds_that_both_ran_are_paired() -> None:
    assert ratio(runs([9.0]), runs([3.0, 100.0])) == Spread(3.0, 3.0, 3.0)


@pytest.mark.parametrize(
    ("cpu", "packets", "start", "ns_a_packet"),
    [
        (1.0, 1_000, 0.4, 1_000_000),  # the whole capture: nothing is scaled
        (1.0, 100, None, 10_000_000),
        (1.0, 100, 0.5, 5_500_000),  # start-up counts once, the rest ten times
    ],
)
def test_a_slice_is_scaled(
    cpu: float, packets: int, start: float | None, ns_a_packet: float
) -> None:
    assert runs([cpu], packets, start).cpu() == [pytest.approx(ns_a_packet)]


def test_start_up_can_be_left_out_round_by_round() -> None:
    one = runs([1.0, 1.5], start=0.25)
    one.starts.append(Cost(0.5, 0.0, 0.5, 1 << 20))
    assert [cost.cpu for cost in one.without_start().costs] == [0.75, 1.0]
    assert one.cpu() == [1_000_000, 1_500_000]


@pytest.mark.parametrize(
    ("target", "holds"),
    [
        (at_most("t", 1.3, 1.3, "x"), True),
        (at_most("t", 1.31, 1.3, "x"), False),
        (at_most("t", None, 1.3, "x"), None),
        (at_least("t", 4.0, 4, "x"), True),
        (at_least("t", 3.9, 4, "x"), False),
        (at_least("t", None, 4, "x"), None),
    ],
)
def test_targets(target: object, holds: bool | None) -> None:
    assert target.holds is holds  # type: ignore[attr-defined]


def test_the_table_names_a_scaled_row() -> None:
    lines = table({"cp": runs([1.0]), "dpkt": runs([1.0], 100)}, 0)
    assert "(100 packets, scaled)" in lines[3]
    assert "scaled" not in lines[2]


def test_a_run_is_measured() -> None:
    busy = "x = bytearray(64 << 20)\nfor i in range(3_000_000): pass"
    cost = run(["python3", "-c", busy])
    assert cost.cpu > 0
    assert cost.wall > 0
    assert cost.peak >= max(64 << 20, floor())


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["/no/such/program"], "did not start: No such file"),
        (["sh", "-c", "echo because >&2; exit 3"], "exit code 3: because"),
    ],
)
def test_a_failed_run_says_why(command: list[str], message: str) -> None:
    with pytest.raises(MeasureError, match=message):
        run(command)


def record(data: bytes) -> bytes:
    return bytes(8) + len(data).to_bytes(4, "little") * 2 + data


def test_records_are_cut_where_they_end(tmp_path: Path) -> None:
    path = tmp_path / "t.pcap"
    written = [record(bytes([n % 256]) * n) for n in (0, 1, 60, capture.BLOCK, 3)]
    path.write_bytes(capture.EMPTY + b"".join(written))
    assert list(capture.records(path)) == written
    assert capture.count(path) == 5


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (capture.EMPTY + record(bytes(60))[:-1], "ends inside a record"),
        (capture.EMPTY + bytes(15), "ends inside a record"),
        (b"\n\r\r\n" + bytes(24), "not a little-endian pcap"),
    ],
)
def test_a_broken_output_is_noticed(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "t.pcap"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message):
        capture.count(path)
