"""`peeltap sinks test`: a canary through each sink, as a person and as a program sees it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pipeline import sinks
from suricata.event_settings import SinkSettings
from suricata.sinks.client import Partly, Rejected, Unavailable

from ..suricata.delivery.parts import Told
from .conftest import Run

LIVE = (
    "gateways: [{from: 172.16.23.1, to: 172.16.23.2, headers: [proxy-v2]}]\n"
    "capture: {interface: br1}\n"
)


def test_a_canary_arrives_in_each_sink(peeltap: Run, tmp_path: Path) -> None:
    config = tmp_path / "p.yaml"
    config.write_text(LIVE + "sinks: [{file: a.json}, {file: b.json, name: second}]\n")
    said = peeltap("sinks", "test", "-c", config, "--json")
    assert said.code == 0, said.err
    told = json.loads(said.out)["sinks"]
    assert [one["sink"] for one in told] == [str(tmp_path / "a.json"), "second"]
    for one, name in zip(told, ("a.json", "b.json"), strict=True):
        assert one["acknowledged"]
        assert "can be written to" in one["found"]
        [event] = map(json.loads, (tmp_path / name).read_text().splitlines())
        assert event["event_type"] == "peeltap"
        assert event["peeltap"] == {"kind": "canary", "id": one["id"]}


def test_one_that_fails_is_named_and_the_others_are_tried(peeltap: Run, tmp_path: Path) -> None:
    config = tmp_path / "p.yaml"
    config.write_text(LIVE + "sinks: [{file: gone/a.json}, {file: b.json}]\n")
    said = peeltap("sinks", "test", "--config", config)
    assert said.code == 1
    failed, well = said.out.splitlines()
    assert f"{tmp_path}/gone/a.json (file): FAILED; " in failed
    assert "gone/a.json cannot be written to (No such file" in failed
    assert f"{tmp_path}/b.json (file): acknowledged in " in well
    assert (tmp_path / "b.json").exists()


def unavailable(batch: Any) -> list[Rejected]:
    raise Unavailable("siem is down: start it")


def partly(batch: Any) -> list[Rejected]:
    raise Partly("busy", taken=set(), rejected=[Rejected(0, "no such index")])


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        (unavailable, "siem is down: start it"),
        (partly, "no such index"),
        (lambda batch: [Rejected(0, "strict mapping")], "refused: strict mapping"),
    ],
)
def test_what_a_client_says_is_what_is_shown(
    monkeypatch: pytest.MonkeyPatch, answer: Any, found: str
) -> None:
    client = Told()
    client.script = [answer]
    monkeypatch.setattr(sinks, "make_client", lambda *_, **__: client)
    outcome = sinks.send(SinkSettings(stdout=True, name="siem"))
    assert (outcome.acknowledged, outcome.found) == (False, found)
    assert sinks.lines([outcome]) == [f"siem (stdout): FAILED; {found}"]
    assert client.closed
