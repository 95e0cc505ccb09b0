"""`peeltap replay` on recorded captures: what it writes, and what is left when it cannot go on."""

import ctypes
import json
import os
import signal
import stat
import struct
import subprocess
import time
from pathlib import Path

import dpkt
import pytest

from reassembly import capture_filter
from reassembly.store import SqliteStore
from tests.pipeline.conftest import ARGV, CONFIG, Run, capture, child, packets, records, truth

HTTP = capture("http-proxy-v2")
MAGIC = capture("magic")


def test_it_writes_the_clean_capture_and_who_was_behind_it(peeltap: Run, tmp_path: Path) -> None:
    out, flows = tmp_path / "clean.pcap", tmp_path / "flows.jsonl"
    said = peeltap("replay", MAGIC, "-c", CONFIG, "-o", out, "--flows", flows)
    assert said.code == 0, said.err
    known = {tuple(one["true"]) for one in truth("magic")["connections"]}
    found = {
        tuple(record["true"][key] for key in ("src_ip", "src_port", "dest_ip", "dest_port"))
        for record in records(flows)
    }
    assert found == known
    clean = b"".join(frame for _, frame in packets(out))
    assert bytes.fromhex("d1e0c0ffee5eedb5") not in clean
    assert b"GET /cgi-bin/.%2e/" in clean
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clean.pcap", "flows.jsonl"]


def test_the_summary_is_a_table_for_people(peeltap: Run, tmp_path: Path) -> None:
    said = peeltap("replay", MAGIC, "-c", CONFIG, "-o", tmp_path / "clean.pcap")
    lines = [line.strip() for line in said.out.splitlines()]
    count = len(truth("magic")["connections"])
    read = len(packets(MAGIC))
    assert lines[:2] == [f"Connections: {count}", f"{count}  stripped  header taken out"]
    assert f"Headers taken out: {21 * count} bytes" in lines
    assert f"{count}  magic" in lines
    assert f"{read}  read" in lines
    assert "Written" in lines
    assert said.err == ""


SUMMARY_KEYS = [
    "inputs",
    "outputs",
    "mode",
    "interrupted",
    "failure",
    "seconds",
    "packets",
    "merged",
    "dropped",
    "connections",
    "codecs",
    "bytes_removed",
    "oddities",
    "capture",
    "warnings",
    "suricata",
]


def test_json_is_the_same_for_machines(peeltap: Run, tmp_path: Path) -> None:
    out = tmp_path / "clean.pcap"
    said = peeltap("replay", MAGIC, "-c", CONFIG, "-o", out, "--json", "--mode", "restore")
    summary = json.loads(said.out)
    assert list(summary) == SUMMARY_KEYS
    assert summary["inputs"] == [MAGIC]
    assert summary["outputs"] == {"capture": str(out)}
    assert summary["mode"] == "restore"
    assert (summary["interrupted"], summary["failure"], summary["suricata"]) == (False, None, None)
    counts = summary["packets"]
    assert counts["in"] == len(packets(MAGIC))
    assert counts["in"] == sum(counts[name] for name in ("emitted", "merged", "dropped", "held"))
    assert counts["frames_out"] == len(packets(out))
    assert summary["connections"] == {"stripped": 8} | {
        name: n for name, n in summary["connections"].items() if name != "stripped"
    }


def test_standard_output_carries_data_and_standard_error_the_summary() -> None:
    done = child("replay", "-", "-c", CONFIG, "-o", "-", stdin=Path(HTTP).read_bytes())
    assert done.returncode == 0
    assert struct.unpack("<I", done.stdout[:4])[0] in (0xA1B2C3D4, 0xA1B23C4D)
    assert b"Connections: 4" in done.stderr


def test_a_pipe_gives_the_same_bytes_as_a_file(peeltap: Run, tmp_path: Path) -> None:
    out = tmp_path / "clean.pcap"
    assert peeltap("replay", HTTP, "-c", CONFIG, "-o", out, "-q").code == 0
    done = child("replay", "-", "-c", CONFIG, "-o", "-", "-q", stdin=Path(HTTP).read_bytes())
    assert done.stdout == out.read_bytes()


def test_a_cut_capture_gives_all_up_to_the_cut_and_exit_code_1(
    peeltap: Run, tmp_path: Path
) -> None:
    cut, out = tmp_path / "cut.pcap", tmp_path / "clean.pcap"
    whole = Path(MAGIC).read_bytes()
    cut.write_bytes(whole[: len(whole) - 7])
    said = peeltap("replay", cut, "-c", CONFIG, "-o", out, "--flows", tmp_path / "f.jsonl")
    assert said.code == 1
    assert f"peeltap: warning: {cut}" in said.err
    assert "Connections: 8" in said.out
    assert packets(out)
    assert len(records(tmp_path / "f.jsonl")) == 8


def test_a_full_disk_is_one_message(peeltap: Run) -> None:
    said = peeltap("replay", MAGIC, "-c", CONFIG, "-o", "/dev/full", "-q")
    assert (said.code, said.err) == (1, "peeltap: /dev/full: No space left on device\n")
    said = peeltap("replay", MAGIC, "-c", CONFIG, "--flows", "/dev/full", "-q")
    assert (said.code, said.err) == (1, "peeltap: /dev/full: No space left on device\n")


def test_what_stood_there_stays_until_the_new_is_whole(peeltap: Run, tmp_path: Path) -> None:
    out, broken = tmp_path / "clean.pcap", tmp_path / "broken.pcap"
    out.write_bytes(b"of yesterday")
    broken.write_bytes(b"no capture at all, but long enough to be looked at")
    said = peeltap("replay", broken, "-c", CONFIG, "-o", out)
    assert said.code == 1
    assert out.read_bytes() == b"of yesterday"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["broken.pcap", "clean.pcap"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_ends_cleanly_and_leaves_valid_parts(
    tmp_path: Path, number: signal.Signals
) -> None:
    out, flows = tmp_path / "clean.pcap", tmp_path / "flows.jsonl"
    program = subprocess.Popen(
        [*ARGV, "replay", "-", "-c", str(CONFIG), "-o", str(out), "--flows", str(flows)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert program.stdin is not None
    # More than one piece of the core's reading, so that some of it is through.
    whole = Path(capture("offloads-proxy-v2")).read_bytes()
    program.stdin.write(whole + whole[24:] * 40)
    program.stdin.flush()
    part = tmp_path / "clean.part.pcap"
    deadline = time.monotonic() + 60
    while not (part.exists() and part.stat().st_size > 24) and time.monotonic() < deadline:
        time.sleep(0.05)
    program.send_signal(number)
    said, errors = program.communicate(timeout=180)
    assert program.returncode == 130, errors
    assert errors == b"peeltap: interrupted\n"
    assert b"capture, cut short" in said
    assert not out.exists()
    assert not flows.exists()
    assert len(packets(part)) > 0


def test_a_fifo_is_written_directly(tmp_path: Path) -> None:
    fifo = tmp_path / "clean.pcap"
    os.mkfifo(fifo)
    program = subprocess.Popen([*ARGV, "replay", HTTP, "-c", str(CONFIG), "-o", str(fifo), "-q"])
    data = fifo.read_bytes()
    assert program.wait(60) == 0
    assert len(data) > 1000
    assert stat.S_ISFIFO(fifo.stat().st_mode)


def test_a_filter_leaves_packets_out(peeltap: Run, tmp_path: Path) -> None:
    out = tmp_path / "clean.pcap"
    said = peeltap("replay", MAGIC, "-c", CONFIG, "-o", out, "--filter", "tcp port 9022", "--json")
    assert json.loads(said.out)["connections"]["stripped"] == 2
    for _, frame in packets(out):
        segment = dpkt.ethernet.Ethernet(frame).data.data
        assert 9022 in (segment.sport, segment.dport)


def test_a_filter_fits_each_link_type(peeltap: Run) -> None:
    for name in ("http-proxy-v2", "http-proxy-v2-raw", "http-proxy-v2-sll"):
        said = peeltap("replay", capture(name), "-c", CONFIG, "--filter", "tcp port 9080", "--json")
        assert json.loads(said.out)["connections"]["stripped"] == 4, name


@pytest.mark.parametrize("expression", ["tcp prot 80", "port", "((", "tcp port 99999999", "a\0b"])
def test_a_filter_that_libpcap_refuses_is_wrong_use(peeltap: Run, expression: str) -> None:
    said = peeltap("replay", MAGIC, "-c", CONFIG, "--filter", expression)
    assert said.code == 2
    assert said.err.startswith(f"peeltap: --filter {expression!r}: ")
    assert said.err.count("\n") == 1


def test_a_filter_without_libpcap_says_what_to_install(
    peeltap: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def absent(name: str) -> ctypes.CDLL:
        raise OSError(name)

    capture_filter._library.cache_clear()
    monkeypatch.setattr(ctypes, "CDLL", absent)
    said = peeltap("replay", MAGIC, "-c", CONFIG, "--filter", "tcp")
    assert said.code == 1
    assert said.err == (
        "peeltap: a capture filter needs libpcap, which is not installed; on Debian: libpcap0.8\n"
    )


def test_flow_records_go_into_a_store_that_enrich_reads(peeltap: Run, tmp_path: Path) -> None:
    store, as_lines = tmp_path / "flows.sqlite", tmp_path / "flows.jsonl"
    for name, flows in ((HTTP, store), (MAGIC, store), (MAGIC, store), (MAGIC, as_lines)):
        said = peeltap("replay", name, "-c", CONFIG, "--flows", flows, "--json")
        assert said.code == 0, said.err
        assert json.loads(said.out)["outputs"] == {"flows": str(flows)}
    # The second time magic takes the place of the first.
    connections = sum(len(truth(name)["connections"]) for name in ("http-proxy-v2", "magic"))
    with SqliteStore(store) as kept:
        assert len(kept) == connections
    one = records(as_lines)[0]
    observed = {key: one["observed"][key] for key in ("src_ip", "src_port", "dest_ip", "dest_port")}
    event = {"timestamp": one["start"], "event_type": "alert", "proto": "TCP", **observed}
    (tmp_path / "eve.json").write_text(json.dumps(event) + "\n")
    out = tmp_path / "corrected.json"
    said = peeltap("enrich", "--flows", store, "-i", tmp_path / "eve.json", "-o", out, "--json")
    assert json.loads(said.out)["records"] == connections
    [corrected] = records(out)
    assert {key: corrected[key] for key in observed} == one["true"]
    assert corrected["peeltap"]["flow"] == one["id"]
    left = ["corrected.json", "eve.json", "flows.jsonl", "flows.sqlite"]
    assert sorted(path.name for path in tmp_path.iterdir()) == left


def test_a_store_that_cannot_be_used_is_said_before_the_work(peeltap: Run, tmp_path: Path) -> None:
    store, out = tmp_path / "flows.db", tmp_path / "clean.pcap"
    store.write_text("not a store" * 100)
    said = peeltap("replay", HTTP, "-c", CONFIG, "--flows", store, "-o", out)
    assert said.code == 1
    assert said.err.startswith(f"peeltap: {store} is damaged or not a flow store")
    assert not out.exists()


def test_an_input_that_is_not_there_leaves_no_empty_store(peeltap: Run, tmp_path: Path) -> None:
    said = peeltap("replay", "absent.pcap", "-c", CONFIG, "--flows", tmp_path / "flows.db")
    assert said.code == 1
    assert list(tmp_path.iterdir()) == []
