"""The status of a running service, judged; also one that says nothing of what is asked."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from pipeline.doctor.finding import Finding
from pipeline.doctor.service import Answer, findings

WELL: dict[str, Any] = {
    "service": {"state": "running", "uptime_seconds": 12.4, "pid": 77},
    "packets": {"in": 1000},
    "connections": {"stripped": 10, "plain": 2},
    "table": {"connections": 3},
    "capture": {"interface": "br1", "state": "up", "packets": 1000, "kernel_received": 1000},
    "output": {"name": "vtap0", "state": "up", "frames": 990, "dropped": {"full": 0}},
    "suricata": {"state": "ready", "rules": {"loaded": 5, "failed": 0}, "stats": {}},
    "events": {"state": "running", "lag_seconds": 0.4, "sinks": {"events.json": {}}},
    "store": {},
    "flows": {},
    "checkpoint": {},
}

OFF: list[tuple[tuple[str, ...], Any, str, str]] = [
    (("capture", "state"), "gone", "fail", "br1 is gone"),
    (("capture", "kernel_drops"), 5, "warn", "dropped 5 packets, 0.5 %"),
    (("connections", "malformed"), 4, "warn", "4 had no right header"),
    (("connections", "untrusted"), 1, "warn", "forges headers"),
    (("output", "state"), "down", "fail", "vtap0 is down"),
    (("output", "complaints"), ["vtap0 forwards; sysctl"], "fail", "vtap0 forwards"),
    (("output", "dropped"), {"full": 3, "gone": 1}, "warn", "full 3, gone 1"),
    (("suricata", "state"), "backoff", "fail", "does not stay up (backoff): no reason"),
    (("suricata", "state"), "starting", "warn", "starting"),
    (("suricata", "rules"), {"failed": 2}, "warn", "refused 2 of the rules"),
    (("suricata", "stats"), {"capture.kernel_drops": 9}, "warn", "too slow for 9"),
    (("events", "trouble"), "eve.json cannot be read", "fail", "cannot be read"),
    (("events", "sinks"), {"e.json": {"trouble": "disk full"}}, "fail", "e.json: disk full"),
    (("events", "lag_seconds"), 90.0, "warn", "90 s late"),
    (("store", "trouble"), "disk full", "fail", "disk full"),
    (("flows", "trouble"), "redis: no answer", "fail", "no answer"),
]


WORKERS: dict[str, Any] = {
    "service": {"state": "running", "uptime_seconds": 12.4, "pid": 77, "mode": "workers"},
    "workers": [{"worker": 1, "up": True}, {"worker": 2, "up": False}],
    "group": {"partitions": 16, "held": 8},
    "complaints": [],
    "events": {"lag_seconds": 0.4},
    "store": {"trouble": None},
}

OFF_WORKERS: list[tuple[str, Any, str, str]] = [
    ("workers", [{"worker": 1, "up": False}], "fail", "none is up"),
    ("complaints", ["worker 2 has ended"], "warn", "worker 2 has ended"),
    ("events", {"trouble": "redis: no answer"}, "fail", "no answer"),
    ("store", {"trouble": "redis: no answer"}, "fail", "no answer"),
]


def test_workers_that_are_well() -> None:
    assert [(one.topic, one.state) for one in _findings(WORKERS)] == [
        *(("service", "ok"), ("workers", "ok"), ("events", "ok"))
    ]
    assert _findings(WORKERS)[1].text == "1 of 2 are up, with 8 of 16 partitions"


@pytest.mark.parametrize(("key", "value", "state", "words"), OFF_WORKERS)
def test_workers_that_are_not(key: str, value: Any, state: str, words: str) -> None:
    [found] = _bad({**WORKERS, key: value})
    assert (found.state, words in found.text) == (state, True)
    assert found.remedy


def _findings(status: dict[str, Any]) -> list[Finding]:
    return list(findings(Answer(True, status, None)))


def _bad(status: dict[str, Any]) -> list[Any]:
    return [one for one in _findings(status) if one.state != "ok"]


def test_well() -> None:
    found = _findings(WELL)
    assert [one for one in found if one.state != "ok"] == []
    assert found[0].text == "it is running for 12 s, pid 77"


@pytest.mark.parametrize(("path", "value", "state", "words"), OFF, ids=[row[3] for row in OFF])
def test_off(path: tuple[str, ...], value: Any, state: str, words: str) -> None:
    status = copy.deepcopy(WELL)
    status[path[0]][path[1]] = value
    [found] = _bad(status)
    assert (found.state, words in found.text) == (state, True)
    assert found.remedy


def test_no_packet_yet() -> None:
    status = {**WELL, "capture": {"interface": "br1"}, "connections": {}, "packets": {"in": 0}}
    status["table"] = {}
    [found] = _bad(status)
    assert "no packet came from br1" in found.text


def test_packets_and_no_connection_on_a_leg() -> None:
    [found] = _bad({**WELL, "connections": {"stripped": 0}, "table": {"connections": 0}})
    assert "no connection is on a leg" in found.text


def test_only_connections_older_than_the_capture() -> None:
    [found] = _bad({**WELL, "connections": {"midstream": 7}})
    assert "older than the capture" in found.text


def test_a_service_that_does_not_run() -> None:
    [found] = findings(Answer(False, None, "no service answers on /run/x"))
    assert (found.state, found.text) == ("warn", "no service answers on /run/x")
    assert "before the run" in str(found.remedy)


def test_a_service_that_does_not_answer_us() -> None:
    [found] = findings(Answer(True, None, "/run/x is not yours to use"))
    assert (found.state, found.text) == ("warn", "/run/x is not yours to use")
    assert "as root" in str(found.remedy)


@pytest.mark.parametrize("odd", [None, 3, "x", [], {}])
def test_answers_of_another_version_are_not_judged(odd: Any) -> None:
    assert all(one.text for one in _findings(dict.fromkeys(WELL, odd)))
    told = {**dict.fromkeys(WORKERS, odd), "service": {"mode": "workers"}}
    assert all(one.text for one in _findings(told))
