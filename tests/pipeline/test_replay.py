"""`peeltap replay` on recorded captures: what it writes, and what is left when it cannot go on."""

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
import yaml

from tests.pipeline.conftest import ARGV, CONFIG, FIXTURES, RULES, Run, capture, child

HTTP = capture("http-proxy-v2")
MAGIC = capture("magic")


def truth(name: str) -> dict:
    """What is known of a capture without Peeltap."""
    return yaml.safe_load((FIXTURES / "captures" / f"{name}.yaml").read_text())


def packets(path: Path | str) -> list[tuple[float, bytes]]:
    with Path(path).open("rb") as stream:
        return list(dpkt.pcap.Reader(stream))


def records(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


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
    deadline = time.monotonic() + 30
    while not (part.exists() and part.stat().st_size > 24) and time.monotonic() < deadline:
        time.sleep(0.05)
    program.send_signal(number)
    said, errors = program.communicate(timeout=30)
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


@pytest.mark.suricata
def test_alerts_name_the_true_attacker(peeltap: Run, tmp_path: Path) -> None:
    eve = tmp_path / "events.json"
    said = peeltap(
        "replay", MAGIC, "-c", CONFIG, "--suricata", "--rules", RULES, "--eve", eve, "--json"
    )
    assert said.code == 0, said.err
    summary = json.loads(said.out)
    known = {
        (alert["sid"], alert["from"][0], *alert["to"])
        for alert in truth("magic")["alerts"]
        if "strip" in alert["modes"]
    }
    rows = summary["suricata"]["alerts"]
    assert {
        (row["signature_id"], row["attacker"], row["decoy"], row["decoy_port"]) for row in rows
    } == known
    assert all(row["true"] for row in rows)
    assert list(summary["suricata"]) == [
        "version",
        "events",
        "outcomes",
        "rejected",
        "alerts",
        "more_alerts",
    ]
    for event in records(eve):
        if "src_ip" in event:
            assert event["peeltap"]["confidence"] in ("exact", "time")
            assert "172.16.23." not in event["src_ip"] + event["dest_ip"]


@pytest.mark.suricata
def test_the_summary_lists_alerts(peeltap: Run) -> None:
    said = peeltap("replay", MAGIC, "-c", CONFIG, "--suricata", "--rules", RULES)
    assert said.code == 0, said.err
    assert "Alerts: 5" in said.out
    assert "203.0.113.7  192.168.110.2:25   PEELTAP SMTP VRFY probes" in said.out


@pytest.mark.suricata
def test_rules_that_suricata_refuses_end_the_run_but_not_the_capture(
    peeltap: Run, tmp_path: Path
) -> None:
    rules, out, eve = tmp_path / "bad.rules", tmp_path / "clean.pcap", tmp_path / "e.json"
    rules.write_text('# ours\nalert htttp any any -> any any (msg:"x"; sid:1;)\n')
    said = peeltap(
        "replay", HTTP, "-c", CONFIG, "-o", out, "--suricata", "--rules", rules, "--eve", eve
    )
    assert said.code == 1
    assert f"peeltap: {rules}:2: Suricata refuses this rule" in said.err
    assert packets(out)
    assert not eve.exists()


def test_without_suricata_one_sentence_says_so(peeltap: Run, tmp_path: Path) -> None:
    config = tmp_path / "peeltap.yaml"
    config.write_text(CONFIG.read_text() + "  binary: /absent/suricata\n")
    said = peeltap("replay", HTTP, "-c", config, "--suricata", "-o", tmp_path / "clean.pcap")
    assert said.code == 1
    assert said.err.startswith("peeltap: there is no program '/absent/suricata': install Suricata")
    assert not (tmp_path / "clean.pcap").exists()


def test_a_suricata_that_is_killed_is_one_sentence(peeltap: Run, tmp_path: Path) -> None:
    """A stand-in that says it is Suricata and then dies of a signal, as for lack of memory."""
    binary, config = tmp_path / "suricata", tmp_path / "peeltap.yaml"
    binary.write_text(
        "#!/bin/sh\n[ \"$1\" = -V ] && echo 'This is Suricata version 7.0.10 RELEASE' && exit\n"
        "kill -9 $$\n"
    )
    binary.chmod(0o755)
    config.write_text(CONFIG.read_text() + f"  binary: {binary}\n")
    said = peeltap("replay", HTTP, "-c", config, "--suricata", "-o", tmp_path / "clean.pcap")
    assert said.code == 1
    assert "peeltap: Suricata was killed by SIGKILL" in said.err
    assert "/tmp/peeltap-" not in said.err
    assert packets(tmp_path / "clean.pcap")
