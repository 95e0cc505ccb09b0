"""The demo on its real recordings, with the real Suricata."""

import json
import tomllib
from pathlib import Path

import pytest

from pipeline.demo import offline
from pipeline.demo.network import TOPOLOGY
from pipeline.demo.sides import UNDERSTOOD
from tests.pipeline.conftest import Run, records, truth


@pytest.mark.suricata
def test_without_and_with_peeltap(peeltap: Run, tmp_path: Path) -> None:
    said = peeltap("demo", "--offline", "--json", "--keep", tmp_path)
    assert said.code == 0, said.err
    told = json.loads(said.out)
    assert told["recordings"] == list(offline.RECORDINGS)
    # Whatever Suricata says alone, it names only the gateways.
    assert {flow["source"] for flow in told["without"]["flows"]} == {"172.16.23.1"}
    assert all(row["attacker"] == "172.16.23.1" for row in told["without"]["alerts"])
    # With Peeltap, it says what the recordings' authors know.
    known = {
        (alert["sid"], alert["from"][0], *alert["to"])
        for name in offline.RECORDINGS
        for alert in truth(name)["alerts"]
        if "restore" in alert["modes"]
    }
    assert {
        (row["signature_id"], row["attacker"], row["decoy"], row["decoy_port"])
        for row in told["with"]["alerts"]
    } == known
    attackers = {
        one["true"][0] for name in offline.RECORDINGS for one in truth(name)["connections"]
    }
    assert {flow["source"] for flow in told["with"]["flows"]} == attackers
    for name in UNDERSTOOD:
        assert told["with"]["understood"][name] > told["without"]["understood"][name], name
    assert told["with"]["understood"]["SSH clients"] == told["with"]["events"]["ssh"]
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "as-captured.pcap",
        "clean.pcap",
        "flows.jsonl",
        "with-peeltap.json",
        "without-peeltap.json",
    ]
    assert len(records(tmp_path / "flows.jsonl")) == told["replay"]["connections"]["stripped"]


def test_without_its_recordings_it_says_so(
    peeltap: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(offline, "FIXTURES", tmp_path)
    said = peeltap("demo", "--offline")
    assert said.code == 1
    assert said.err.startswith(f"peeltap: {tmp_path}/captures/http-proxy-v2.pcap: the demo's ")


def test_an_installation_has_what_it_shows() -> None:
    """The wheel takes along just these files, and they are here."""
    root = offline.FIXTURES.parent
    project = tomllib.loads((root / "pyproject.toml").read_text())
    taken = {entry["path"] for entry in project["tool"]["maturin"]["include"]}
    assert taken == {
        "fixtures/peeltap.yaml",
        "fixtures/rules/peeltap.rules",
        str(TOPOLOGY.relative_to(root)),
        *(f"fixtures/captures/{name}.pcap" for name in offline.RECORDINGS),
    }
    for path in taken:
        assert (root / path).is_file()
