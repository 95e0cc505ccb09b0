"""The live benchmark's traffic is right, its judgement too, and its parts run."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from itertools import islice
from pathlib import Path

import dpkt
import pytest
from peeltap_core import Engine

from bench.legs import engine_config
from bench.live import frames
from bench.live.parts import Bench, Scale
from bench.live.sender import Sender
from bench.live.soak import Sample, flat
from bench.live.wire import Wire
from bench.report import MIB
from tests.support.dissect import Segment, dissect


def dissected(source: Iterable[bytes]) -> list[Segment]:
    """All frames; their checksums are right."""
    found = [dissect(frame) for frame in source]
    assert {segment.faults for segment in found} == {()}
    return found


def verdicts(source: Iterable[bytes]) -> dict[str, int]:
    engine = Engine(engine_config("strip"))
    for at, frame in enumerate(source):
        engine.push(1_800_000_000 * 10**9 + at * 10_000, frame)
    counts: dict[str, int] = engine.stats()["connections"]
    return counts


@pytest.mark.parametrize("size", [64, 512, 1448])
def test_segments_have_their_size(size: int) -> None:
    sent = list(frames.sized(size, 300))
    segments = dissected(sent)
    assert len(segments) == 300
    sizes = {len(segment.payload) for segment in segments}
    assert sizes == {0, size, len(frames.HEADER)}
    assert verdicts(sent) == {"stripped": 3}


def test_http_is_http() -> None:
    sent = list(islice(frames.http(1000), 1000))
    payloads = [segment.payload for segment in dissected(sent) if segment.payload]
    assert sum(payload.startswith(b"GET /") for payload in payloads) > 20
    assert sum(payload.startswith(b"HTTP/1.1 200 OK") for payload in payloads) > 20
    assert verdicts(sent).keys() == {"stripped"}
    assert not any(b"QUIT" in segment.payload for segment in dissected(frames.http(100, b"")))


def test_a_flood_is_of_distinct_tuples(tmp_path: Path) -> None:
    path = tmp_path / "flood.pcap"
    assert frames.write_flood(path, 120_000) == 120_000
    with path.open("rb") as file:
        sent = [frame for _, frame in dpkt.pcap.Reader(file)]
    segments = dissected(sent[::1000])
    assert {segment.flags for segment in segments} == {frames.SYN}
    assert len({frame[26:38] for frame in sent}) == 120_000


def test_offloaded_frames_have_partial_checksums() -> None:
    [frame] = [frame for frame in frames.offloaded(1) if len(frame) > 20_000][:1]
    flags, kind, head, size, start, offset = frames.VNET.unpack(frame[: frames.VNET.size])
    assert (flags, kind, head, size, start, offset) == (1, 1, 66, 1448, 34, 16)
    (length,) = struct.unpack(">H", frame[26:28])
    assert length == len(frame) - 10 - 14


def test_a_pass_has_ports_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "sent.pcap"
    count = frames.write(path, frames.sized(64, 300))
    sender = Sender(path)
    sender.move_ports(27_998)
    after = dissected(taken(sender))
    assert len(after) == count
    ports = {port for segment in after for _, port in (segment.source, segment.destination)}
    assert ports == {60_766, 60_767, 32_768, 9000}, "of 28,000, round and round"
    assert verdicts(taken(sender)) == {"stripped": 3}


def taken(sender: Sender) -> list[bytes]:
    lengths = sender.iovecs["len"].tolist()
    pairs = zip(sender.starts.tolist(), lengths, strict=True)
    return [bytes(sender.memory[at : at + length]) for at, length in pairs]


@pytest.mark.parametrize(
    ("memory", "seconds", "holds"),
    [
        ([100] * 20, 600, True),
        ([50, 80, 100, 104, 100, 104] + [104] * 14, 600, True),
        ([100 + 5 * n for n in range(20)], 600, False),
        ([100 + 5 * n for n in range(20)], 60, None),
    ],
)
def test_flat_memory_is_judged_once_it_is_warm(
    memory: list[int], seconds: int, holds: bool | None
) -> None:
    step = seconds / len(memory)
    samples = [Sample((n + 1) * step, 0, [size * MIB]) for n, size in enumerate(memory)]
    assert flat(samples, 0)[0] is holds


@pytest.mark.netns
def test_the_parts_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scale = Scale(rounds=1, packets=2000, crowd=2000, flood=5000, seconds=0.1, idle=0, megabytes=5)
    with Wire() as wire:
        bench = Bench(wire, tmp_path, scale)
        bench.offloads()
        bench.crowd()
        bench.flood()
    [_, crowd, flood] = bench.report.targets
    assert (crowd.figure, crowd.holds) == ("2,000 tracked, 0 dropped", True)
    assert (flood.figure, flood.holds) == ("0 lost", True)
    assert "A flood of 5,000 SYNs over 10,000 established connections" in capsys.readouterr().out
