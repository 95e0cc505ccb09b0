"""Privileges, kernel, clock, directories: one fact off at a time, and the finding of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from pipeline.doctor.finding import Finding
from pipeline.doctor.machine import MIB, NEEDED, Directory, Machine, findings

PLACE = Directory("/var/lib/peeltap", "state", True, None, "peeltap", 10 << 30, 100_000)
WELL = Machine(
    capabilities=frozenset(NEEDED),
    user="root",
    release="6.18",
    ring_error=None,
    tun_error=None,
    drop_error=None,
    clock_synchronised=True,
    directories=(PLACE,),
)

OFF = [
    ({"capabilities": frozenset()}, "fail", "lacks CAP_NET_ADMIN and CAP_NET_RAW"),
    ({"capabilities": frozenset(NEEDED[:1])}, "fail", "root lacks CAP_NET_RAW"),
    ({"run_as": "ghost", "run_as_error": "there is no user"}, "fail", "run_as: ghost: there is no"),
    ({"ring_error": "Operation not permitted"}, "fail", "no capture ring: Operation not"),
    ({"tun_error": "/dev/net/tun: No such file"}, "fail", "no tap can be made: /dev/net/tun"),
    ({"drop_error": "Protocol not supported"}, "warn", "nftables cannot drop"),
    ({"clock_synchronised": False}, "warn", "nobody keeps it right"),
    ({"clock_synchronised": None}, "warn", "does not tell"),
]
FULL = [
    ({"error": "mode 755"}, "fail", "(state) cannot be written to by peeltap: mode 755"),
    ({"free_bytes": 63 * MIB}, "fail", "has 63 MiB free"),
    ({"free_bytes": 900 * MIB}, "warn", "has only 900 MiB free"),
    ({"free_inodes": 5}, "warn", "has only 5 inodes free"),
]


def _bad(machine: Machine, **how: bool) -> list[Finding]:
    how = {"makes_tap": True, "service_runs": False, **how}
    return [one for one in findings(machine, **how) if one.state != "ok"]


def test_all_well() -> None:
    assert _bad(WELL) == []
    assert [one.topic for one in findings(WELL, makes_tap=True, service_runs=False)] == [
        "privileges",
        "kernel",
        "clock",
        "directories",
    ]


@pytest.mark.parametrize(("change", "state", "words"), OFF, ids=[row[2] for row in OFF])
def test_off(change: dict[str, Any], state: str, words: str) -> None:
    [found] = _bad(replace(WELL, **change))
    assert (found.state, words in found.text) == (state, True)
    assert found.remedy


@pytest.mark.parametrize(("change", "state", "words"), FULL, ids=[row[2] for row in FULL])
def test_directories(change: dict[str, Any], state: str, words: str) -> None:
    [found] = _bad(replace(WELL, directories=[replace(PLACE, **change)]))
    assert (found.state, words in found.text) == (state, True)


def test_what_will_be_made_and_what_tells_no_size() -> None:
    place = replace(PLACE, exists=False, free_bytes=None, free_inodes=None)
    *_, found = findings(replace(WELL, directories=[place]), makes_tap=True, service_runs=False)
    assert found.text == "/var/lib/peeltap (state) is writable; it will be made"


def test_a_running_service_has_privileges_of_its_own() -> None:
    [found] = _bad(replace(WELL, capabilities=frozenset()), service_runs=True)
    assert found.state == "warn"
    assert "the service runs" in found.text


def test_without_a_tap_to_be_made_its_needs_are_none() -> None:
    machine = replace(WELL, tun_error="absent", drop_error="absent")
    assert _bad(machine, makes_tap=False) == []
