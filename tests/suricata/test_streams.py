"""Files and pipes of events: whole lines, at once, and a reader who goes away."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
from pathlib import Path

import pytest

from reassembly.records import emit_record
from suricata.streams import EnrichError, enrich_file

from .samples import SEED, lines, record, store

EVENTS = b"\n".join(lines()) + b"\n"

# The smallest program around `enrich_file`: standard input to standard output.
PIPE = """
import sys
from reassembly.records import Garbage, read_records
from reassembly.store import MemoryStore
from suricata.streams import enrich_file
store = MemoryStore()
store.add_many(read_records(open(sys.argv[1], "rb"), Garbage()))
report = enrich_file("-", "-", store, wait_events=int(sys.argv[2]), wait_seconds=0.3)
sys.stderr.write(f"{report.closed_early} {report.stats['events']}")
"""


def test_a_file(tmp_path: Path) -> None:
    source, target, rejects = (tmp_path / name for name in ("in", "out", "rejects"))
    source.write_bytes(EVENTS + b"garbage\n" + lines()[0][:50])
    seen: list[tuple[int, int | None]] = []
    report = enrich_file(
        source,
        target,
        store(),
        community_id_seed=SEED,
        rejects=rejects,
        progress=lambda done, total: seen.append((done, total)),
    )
    out = target.read_bytes()
    assert out.count(b"\n") == len(lines())
    assert out.endswith(b"\n")
    assert rejects.read_bytes() == b"garbage\n" + lines()[0][:50] + b"\n"
    assert report.stats["rejected"] == 2
    assert [sentence.split(" (")[0] for sentence in report.warnings] == [
        "EVE: 1 line cut before its end",
        "EVE: 1 line not JSON",
    ]
    size = source.stat().st_size
    assert seen[-1] == (size, size)
    assert report.alerts.alerts > 5
    assert not report.closed_early


def child(tmp_path: Path, wait_events: int) -> subprocess.Popen[bytes]:
    flows = tmp_path / "flows.jsonl"
    flows.write_bytes(emit_record(record("http")) + b"\n")
    return subprocess.Popen(
        [sys.executable, "-c", PIPE, str(flows), str(wait_events)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    )


def answer(pipe: object) -> list[str]:
    """What comes out of a pipe before it is closed; confidence of each event."""
    fd = pipe.fileno()  # type: ignore[attr-defined]
    ready, _, _ = select.select([fd], [], [], 120)
    assert ready
    data = os.read(fd, 1 << 20)
    assert data.endswith(b"\n")
    return [json.loads(line)["peeltap"]["confidence"] for line in data.splitlines()]


EVENT = next(line for line in lines() if b'"event_type":"http"' in line and b":40000," in line)
UNKNOWN = EVENT.replace(b":40000,", b":1,")


def test_a_pipe_gives_lines_on_before_it_ends(tmp_path: Path) -> None:
    with child(tmp_path, 0) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(EVENT + b"\n" + EVENT[:20])
        process.stdin.flush()
        assert answer(process.stdout) == ["time"]
        process.stdin.write(EVENT[20:] + b"\n")
        process.stdin.flush()
        assert answer(process.stdout) == ["time"]
        process.stdin.close()
        assert process.stdout.read() == b""


def test_a_silent_pipe_does_not_keep_what_waits(tmp_path: Path) -> None:
    with child(tmp_path, 10) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(UNKNOWN + b"\n")
        process.stdin.flush()
        assert answer(process.stdout) == ["none"]
        process.stdin.close()


def test_a_reader_that_goes_away_is_no_error(tmp_path: Path) -> None:
    with child(tmp_path, 0) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        process.stdin.write(EVENT + b"\n")
        process.stdin.close()
        assert process.stderr.read().startswith(b"True ")
    assert process.returncode == 0


def test_the_input_is_not_overwritten(tmp_path: Path) -> None:
    source = tmp_path / "eve.json"
    source.write_bytes(EVENTS)
    os.link(source, tmp_path / "link")
    for other in (source, tmp_path / "link"):
        with pytest.raises(EnrichError, match=r"is the input .* itself: name another output"):
            enrich_file(source, other, store())
        with pytest.raises(EnrichError, match=r"is the input .* itself: name another output"):
            enrich_file(source, tmp_path / "out", store(), rejects=other)
    assert source.read_bytes() == EVENTS


BAD_PATHS = [
    ("gone", "out", None, "gone cannot be read: No such file or directory"),
    (".", "out", None, "cannot be read: Is a directory"),
    ("in", "gone/out", None, "out cannot be written to: No such file or directory"),
    ("in", "out", "out", "is named for both"),
    ("in", "/dev/full", None, "/dev/full cannot be written to: No space left on device"),
]


@pytest.mark.parametrize(("source", "target", "rejects", "sentence"), BAD_PATHS, ids=range(5))
def test_bad_paths_are_one_sentence(
    tmp_path: Path, source: str, target: str, rejects: str | None, sentence: str
) -> None:
    (tmp_path / "in").write_bytes(EVENTS)
    with pytest.raises(EnrichError, match=sentence):
        enrich_file(
            tmp_path / source,
            tmp_path / target,
            store(),
            rejects=None if rejects is None else tmp_path / rejects,
        )
