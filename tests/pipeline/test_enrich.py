"""`peeltap enrich`: from files, from a store, in a pipe; garbage is counted and loses nothing."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from reassembly.records import Garbage, read_records
from reassembly.store import SqliteStore
from tests.pipeline.conftest import ARGV, Run, child, records

RECORD = {
    "id": "9f0c2a6e51d3b874",
    "epoch": 0,
    "observed": {
        "src_ip": "172.16.23.1",
        "src_port": 40001,
        "dest_ip": "172.16.23.2",
        "dest_port": 9000,
        "proto": "TCP",
        "vlan": [],
    },
    "true": {
        "src_ip": "203.0.113.7",
        "src_port": 46421,
        "dest_ip": "192.168.110.2",
        "dest_port": 80,
    },
    "headers": [{"codec": "proxy-v2", "length": 28, "tlvs": {}}],
    "start": "2026-01-01T00:00:00.000000+0000",
    "end": "2026-01-01T00:00:10.000000+0000",
    "verdict": "stripped",
    "restored": False,
    "packets": {"to_server": 6, "to_client": 5},
    "bytes": {"to_server": 612, "to_client": 1840},
}
EVENT = {
    "timestamp": "2026-01-01T00:00:01.000000+0000",
    "event_type": "alert",
    "src_ip": "172.16.23.1",
    "src_port": 40001,
    "dest_ip": "172.16.23.2",
    "dest_port": 9000,
    "proto": "TCP",
    "alert": {"signature_id": 7, "signature": "probe [bold]x"},
}
OTHER = {**EVENT, "src_port": 40002}


def lines(*values: object) -> bytes:
    return b"".join(json.dumps(value).encode() + b"\n" for value in values)


@pytest.fixture
def flows(tmp_path: Path) -> Path:
    path = tmp_path / "flows.jsonl"
    path.write_bytes(lines(RECORD))
    return path


@pytest.fixture
def eve(tmp_path: Path) -> Path:
    path = tmp_path / "eve.json"
    path.write_bytes(lines(EVENT, OTHER))
    return path


def test_events_get_the_true_addresses(
    peeltap: Run, tmp_path: Path, flows: Path, eve: Path
) -> None:
    out = tmp_path / "corrected.json"
    said = peeltap("enrich", "--flows", flows, "--in", eve, "--out", out)
    assert (said.code, said.err) == (0, "")
    first, second = records(out)
    assert (first["src_ip"], first["dest_port"]) == ("203.0.113.7", 80)
    assert first["peeltap"]["flow"] == RECORD["id"]
    assert first["peeltap"]["confidence"] == "time"
    assert second["src_ip"] == "172.16.23.1"
    assert second["peeltap"] == {"confidence": "none"}
    assert [line.split() for line in said.out.splitlines() if "203.0.113.7" in line] == [
        ["1", "203.0.113.7", "192.168.110.2:80", "probe", "[bold]x", "[7]"]
    ]
    assert "172.16.23.1 (on the wire)" in said.out


def test_a_store_serves_as_well(peeltap: Run, tmp_path: Path, flows: Path, eve: Path) -> None:
    path, out = tmp_path / "flows.sqlite", tmp_path / "corrected.json"
    with SqliteStore(path) as store, flows.open("rb") as stream:
        store.add_many(read_records(stream, Garbage()))
    said = peeltap("enrich", "--flows", path, "-i", eve, "-o", out, "--json")
    assert said.code == 0
    assert json.loads(said.out)["records"] == 1
    assert records(out)[0]["src_ip"] == "203.0.113.7"


def test_a_store_that_is_none_is_one_message(peeltap: Run, tmp_path: Path, eve: Path) -> None:
    path = tmp_path / "flows.db"
    path.write_bytes(b"not a database" * 100)
    said = peeltap("enrich", "--flows", path, "-i", eve, "-o", tmp_path / "out.json")
    assert said.code == 1
    assert said.err.startswith(f"peeltap: {path} is damaged or not a flow store")
    assert not (tmp_path / "out.json").exists()


def test_json_has_the_counts(peeltap: Run, tmp_path: Path, flows: Path, eve: Path) -> None:
    said = peeltap("enrich", "--flows", flows, "-i", eve, "-o", tmp_path / "o.json", "--json")
    told = json.loads(said.out)
    assert list(told) == [
        "records",
        "interrupted",
        "version",
        "events",
        "outcomes",
        "rejected",
        "alerts",
        "more_alerts",
        "warnings",
    ]
    assert told["events"] == {"alert": 2}
    assert {name: n for name, n in told["outcomes"].items() if n} == {"time": 1, "none": 1}


def test_garbage_is_counted_and_loses_no_neighbour(
    peeltap: Run, tmp_path: Path, flows: Path, eve: Path
) -> None:
    flows.write_bytes(b"garbage\n" + lines(RECORD) + b'{"id": 1}\n')
    eve.write_bytes(b"{cut\n" + lines(EVENT) + b"[]\n" + lines(OTHER))
    out = tmp_path / "corrected.json"
    said = peeltap("enrich", "--flows", flows, "-i", eve, "-o", out)
    assert said.code == 0
    assert len(records(out)) == 2
    assert f"peeltap: warning: {flows}: 1 line left out as not_json (first: line 1" in said.err
    assert "peeltap: warning: EVE: 1 line JSON, but no object (first: line 3)" in said.err


def test_a_pipe_is_answered_as_it_speaks(flows: Path) -> None:
    """An event comes out before the next one goes in."""
    program = subprocess.Popen(
        [*ARGV, "enrich", "--flows", str(flows), "-q"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert program.stdin is not None
    assert program.stdout is not None
    for _ in range(3):
        program.stdin.write(lines(EVENT))
        program.stdin.flush()
        assert json.loads(program.stdout.readline())["src_ip"] == "203.0.113.7"
    assert program.communicate()[0] == b""
    assert program.returncode == 0


def test_flow_records_may_come_by_standard_input(tmp_path: Path, eve: Path) -> None:
    done = child("enrich", "--flows", "-", "-i", eve, "-q", stdin=lines(RECORD))
    assert done.returncode == 0
    assert json.loads(done.stdout.splitlines()[0])["src_ip"] == "203.0.113.7"


def test_a_full_disk_is_one_message(peeltap: Run, flows: Path, eve: Path) -> None:
    said = peeltap("enrich", "--flows", flows, "-i", eve, "-o", "/dev/full")
    assert said.code == 1
    assert said.err == "peeltap: /dev/full cannot be written to: No space left on device\n"


def test_an_interrupt_leaves_the_part(tmp_path: Path, flows: Path) -> None:
    import signal

    out = tmp_path / "corrected.json"
    fifo = tmp_path / "eve.json"
    os.mkfifo(fifo)
    program = subprocess.Popen(
        [*ARGV, "enrich", "--flows", str(flows), "-i", str(fifo), "-o", str(out)],
        stderr=subprocess.PIPE,
    )
    with fifo.open("wb") as stream:
        stream.write(lines(EVENT))
        stream.flush()
        part = tmp_path / "corrected.part.json"
        while not (part.exists() and part.stat().st_size):
            assert program.poll() is None
        program.send_signal(signal.SIGINT)
        assert program.stderr is not None
        errors = program.stderr.read()
        assert program.wait(60) == 130
        program.stderr.close()
    assert f"interrupted: {part} holds the events up to here".encode() in errors
    assert records(part)[0]["src_ip"] == "203.0.113.7"
    assert not out.exists()


def test_lines_that_are_no_events_are_kept_aside(peeltap: Run, flows: Path, tmp_path: Path) -> None:
    source, out, aside = (tmp_path / name for name in ("eve.json", "out.json", "rejects"))
    source.write_bytes(b"garbage\n" + lines(EVENT) + b'{"cut": \n' + lines(OTHER))
    said = peeltap(
        "enrich", "--flows", flows, "-i", source, "-o", out, "--rejects", aside, "--json"
    )
    assert said.code == 0
    assert json.loads(said.out)["rejected"] == 2
    assert aside.read_bytes() == b'garbage\n{"cut": \n'
    assert len(records(out)) == 2
    assert not list(tmp_path.glob("*.part*"))


@pytest.mark.parametrize(
    ("out", "rejects", "code", "message"),
    [
        ("out.json", "out.json", 2, "out.json: is named for two outputs"),
        ("-", "-", 2, "-: is named for two outputs"),
        ("out.json", "eve.json", 2, "eve.json: is also an input"),
        ("out.json", "/absent/rejects", 1, "/absent/rejects: cannot be written: No such file"),
    ],
)
def test_rejects_need_a_place_of_their_own(
    peeltap: Run,
    flows: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    out: str,
    rejects: str,
    code: int,
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("eve.json").write_bytes(lines(EVENT))
    said = peeltap("enrich", "--flows", flows, "-i", "eve.json", "-o", out, "--rejects", rejects)
    assert said.code == code
    assert said.err.startswith(f"peeltap: {message}")
    assert Path("eve.json").read_bytes() == lines(EVENT)
    assert not list(tmp_path.glob("*.part*"))
