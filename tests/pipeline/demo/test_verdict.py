"""The verdict is taken from events alone: right only where the one who did it is named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pipeline.demo.attacks import JNDI, LOGINS, TRAVERSAL, Step
from pipeline.demo.network import Ends
from pipeline.demo.verdict import Verdict, judge

DECOY = ("192.168.110.2", 80)
DECOY6 = ("2001:db8:110::2", 80)
LEG = {"src_ip": "172.16.23.1", "src_port": 40001, "dest_ip": "172.16.23.2", "dest_port": 9080}
OBSERVED = {"peeltap": {"observed": LEG}}
SCANNER = ("203.0.113.7", 1)


def step(what: str, who: str, port: int, expected: int | str, target: Ends = DECOY) -> Step:
    return Step(what, who, port, target, (), expected)


STEPS = (
    step("visit", "visitor", 1, "http"),
    step("traversal", "scanner", 1, TRAVERSAL),
    step("logins", "robot", 1, LOGINS, DECOY6),
    step("logins", "robot", 2, LOGINS, DECOY6),
)


def ends(source: Ends, target: Ends) -> dict[str, Any]:
    return {
        "src_ip": source[0],
        "src_port": source[1],
        "dest_ip": target[0],
        "dest_port": target[1],
    }


def alert(sid: int, source: Ends, target: Ends = DECOY) -> dict[str, Any]:
    found = {"event_type": "alert", "alert": {"signature_id": sid}}
    return {**found, **ends(source, target), **OBSERVED}


def http(source: Ends, target: Ends = DECOY, method: str = "GET") -> dict[str, Any]:
    said = {"event_type": "http", "http": {"http_method": method}}
    return {**said, **ends(source, target), **OBSERVED}


RIGHT = [
    http(("192.0.2.44", 1)),
    alert(TRAVERSAL, SCANNER),
    # Suricata writes IPv6 in full, and says an answer's addresses the other way round.
    alert(LOGINS, ("2001:0db8:0bad:0000:0000:0000:0000:0007", 2), DECOY6),
    {"event_type": "flow", **ends(DECOY, SCANNER)},
    {"event_type": "stats"},
]


def judged(tmp_path: Path, corrected: list[Any], alone: list[Any] | None = None) -> Verdict:
    for name, events in (("alone", alone or []), ("corrected", corrected)):
        text = "".join(json.dumps(event) + "\n" for event in events)
        (tmp_path / name).write_text(text)
    return judge(STEPS, tmp_path / "alone", tmp_path / "corrected")


def test_all_are_named(tmp_path: Path) -> None:
    verdict = judged(tmp_path, RIGHT)
    assert verdict.right
    assert [(row.what, row.attack, row.tap, row.named, row.right) for row in verdict.rows] == [
        ("visit", False, "172.16.23.1", "192.0.2.44", True),
        ("traversal", True, "172.16.23.1", "203.0.113.7", True),
        ("logins", True, "172.16.23.1", "2001:db8:bad::7", True),
    ]
    assert verdict.attackers == ["203.0.113.7", "2001:db8:bad::7"]
    assert (verdict.alerts, verdict.wronged) == (2, [])
    assert verdict.as_dict()["right"] is True


@pytest.mark.parametrize("lacking", [0, 1, 2])
def test_one_who_is_not_named_is_missing(tmp_path: Path, lacking: int) -> None:
    verdict = judged(tmp_path, RIGHT[:lacking] + RIGHT[lacking + 1 :])
    assert not verdict.right
    assert [row.right for row in verdict.rows] == [at != lacking for at in range(3)]


@pytest.mark.parametrize(
    "event",
    [
        alert(TRAVERSAL, ("172.16.23.1", 40001), ("172.16.23.2", 9080)),
        alert(TRAVERSAL, ("203.0.113.7", 2)),
        alert(TRAVERSAL, ("192.0.2.44", 1)),
    ],
    ids=["a proxy", "another port", "the visitor"],
)
def test_whoever_is_accused_of_nothing_he_did_spoils_it(tmp_path: Path, event: Any) -> None:
    verdict = judged(tmp_path, [*RIGHT, event])
    assert verdict.wronged == [event["src_ip"]]
    assert not verdict.right


def test_another_attack_of_the_same_connection_names_nobody(tmp_path: Path) -> None:
    verdict = judged(tmp_path, [RIGHT[0], alert(JNDI, SCANNER), RIGHT[2]])
    assert [row.named for row in verdict.rows] == ["192.0.2.44", None, "2001:db8:bad::7"]


def test_the_one_on_br1_is_told_by_what_it_saw(tmp_path: Path) -> None:
    leg = ("172.16.23.1", 40001), ("172.16.23.2", 9080)
    seen = [alert(JNDI, *leg), alert(LOGINS, *leg), http(*leg, method="\0")]
    verdict = judged(tmp_path, RIGHT, seen)
    assert [row.alone for row in verdict.rows] == [None, None, "172.16.23.1"]
    assert verdict.alerts_alone == 2
    assert verdict.blamed == ["172.16.23.1"]
    # What happens there does not make the corrected events less right.
    assert verdict.right


def test_without_events_nobody_is_named(tmp_path: Path) -> None:
    verdict = judge(STEPS, tmp_path / "none", tmp_path / "nothing")
    assert not verdict.right
    assert verdict.attackers == []


def test_a_line_that_was_cut_is_left_out(tmp_path: Path) -> None:
    judged(tmp_path, RIGHT)
    with (tmp_path / "corrected").open("a") as stream:
        stream.write('{"event_type": "al')
    assert judge(STEPS, tmp_path / "alone", tmp_path / "corrected").right
