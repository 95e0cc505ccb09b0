"""`peeltap replay --suricata`: alerts that name the true attacker, and every way it can fail."""

import json
from pathlib import Path

import pytest

from tests.pipeline.conftest import CONFIG, RULES, Run, capture, packets, records, truth

HTTP = capture("http-proxy-v2")
MAGIC = capture("magic")


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
