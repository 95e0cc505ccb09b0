"""Suricata: what of its configuration would make it see less, and of its rules."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from pipeline.doctor.sensor import Sensor, findings

VALUES = {
    "af-packet.0.interface": "vtap0",
    "af-packet.0.tpacket-v3": "true",
    "af-packet.0.block-size": "131072",
    "af-packet.0.checksum-checks": "kernel",
    "vlan.use-for-tracking": "true",
    "stream.inline": "auto",
    "stream.reassembly.depth": "1mb",
}
WELL = Sensor(version="7.0.10", values=VALUES, rules=["a.rules"], tested=True)
THEIRS = Sensor(external=True, version="8.0", eve="/var/log/suricata/eve.json")

SET = [
    ({"af-packet.0.tpacket-v3": "no"}, "fail", "without tpacket-v3"),
    ({"af-packet.0.block-size": "32768"}, "fail", "block-size of 32768"),
    ({"af-packet.0.checksum-checks": "auto"}, "warn", "checksum-checks is auto"),
    ({"af-packet.0.copy-mode": "ips"}, "fail", "copy-mode"),
    ({"af-packet.0.bpf-filter": "port 80"}, "warn", "bpf-filter 'port 80'"),
    ({"snaplen": "1500"}, "warn", "snaplen 1500"),
    ({"stream.midstream": "true"}, "warn", "stream.midstream"),
    ({"stream.async-oneside": "yes"}, "warn", "stream.async-oneside"),
    ({"stream.inline": "yes"}, "warn", "stream.inline"),
    ({"vlan.use-for-tracking": "false"}, "warn", "vlan.use-for-tracking is off"),
    ({"stream.reassembly.depth": "0"}, "warn", "without bound"),
]

OFF = [
    (replace(WELL, error="suricata is not installed"), "fail", "not installed"),
    (replace(WELL, values=None, values_error="no such file"), "fail", "does not read its config"),
    (replace(WELL, rules_errors=["a.rules cannot be read: gone"]), "fail", "cannot be read"),
    (replace(WELL, test_error="a.rules:3: Suricata refuses"), "fail", "a.rules:3"),
    (replace(WELL, rules=[]), "warn", "no alerts"),
]


def test_well() -> None:
    assert [(one.topic, one.state) for one in findings(WELL)] == [
        ("suricata", "ok"),
        ("suricata", "ok"),
        ("rules", "ok"),
    ]


@pytest.mark.parametrize(("change", "state", "words"), SET, ids=[row[2] for row in SET])
def test_one_value_off(change: dict[str, str], state: str, words: str) -> None:
    sensor = replace(WELL, values={**VALUES, **change})
    [found] = [one for one in findings(sensor) if one.state != "ok"]
    assert (found.state, words in found.text) == (state, True)
    assert found.remedy


@pytest.mark.parametrize(("sensor", "state", "words"), OFF, ids=[row[2] for row in OFF])
def test_off(sensor: Sensor, state: str, words: str) -> None:
    [found] = [one for one in findings(sensor) if one.state != "ok"]
    assert (found.state, words in found.text) == (state, True)


def test_cut_frames_need_no_large_blocks() -> None:
    values = {**VALUES, "af-packet.0.block-size": "32768"}
    sensor = replace(WELL, values=values, superframes="segment")
    assert [one for one in findings(sensor) if one.state != "ok"] == []


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, ["ok", "ok", "warn"]),
        ({"version": None}, ["ok", "warn"]),
        ({"answers_error": "nobody there"}, ["fail", "ok", "warn"]),
        ({"eve_error": "Permission denied"}, ["ok", "fail", "warn"]),
    ],
)
def test_another_s(change: dict[str, Any], expected: list[str]) -> None:
    assert [one.state for one in findings(replace(THEIRS, **change))] == expected
