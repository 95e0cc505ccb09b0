"""A report as the page's figures, whole and in pieces."""

import copy
from typing import Any

import orjson
import pytest

from pipeline.page.figures import figures
from tests.pipeline.samples import REPORT


def test_a_report_as_figures() -> None:
    assert figures(REPORT) == {
        "service": {
            "version": "0.1.0",
            "state": "running",
            "mode": "strip",
            "uptime": 93784.2,
            "from": "br1",
        },
        "suricata": "ready",
        "rates": REPORT["rates"],
        "tracked": 4,
        "lag": 0.4,
        "unread": 120,
        "drops": [
            {"n": "1", "why": "by configuration: other"},
            {"n": "5", "why": "by the kernel, ring full"},
            {"n": "2", "why": "by the output: full"},
        ],
        "connections": [
            {"n": "4", "what": "tracked now"},
            {"n": "3", "what": "stripped"},
            {"n": "1", "what": "plain"},
        ],
        "sinks": [
            {
                "name": "/var/log/peeltap/events.json",
                "kind": "file",
                "trouble": None,
                "lines": 7,
                "backlog": 2048,
                "dropped": 3,
                "rejected": 1,
            }
        ],
        "warnings": [],
    }


def test_what_should_be_looked_at_is_plain_text() -> None:
    report = copy.deepcopy(REPORT)
    report["capture"]["state"] = "gone"
    report["events"]["sinks"]["/var/log/peeltap/events.json"]["trouble"] = "it says \x1b[2J\u202e"
    told = figures(report)
    assert told["warnings"] == ["br1 is gone", "events: it says \\x1b[2J\\u202e"]
    assert told["sinks"][0]["trouble"] == "it says \\x1b[2J\\u202e"


@pytest.mark.parametrize("part", ["events", "rates", "suricata", "table", "page", "service"])
@pytest.mark.parametrize("value", [None, {}])
def test_what_is_not_there_is_left_out(part: str, value: Any) -> None:
    orjson.dumps(figures({**REPORT, part: value}))
    assert figures({})["sinks"] == []
