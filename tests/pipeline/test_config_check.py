"""The models' answer on a whole file; tests/pipeline/test_config.py has every message."""

from pathlib import Path
from typing import Any

import pytest

from pipeline.config_check import Whole, beside, check, kind_of
from reassembly.engine_config import read
from suricata.settings import SuricataSettings

LEG = {"from": "172.16.23.1", "to": "172.16.23.2:9000", "headers": ["proxy-v2"]}


def test_a_right_file_gives_every_part() -> None:
    data = {"gateways": [LEG], "mode": "restore"}
    whole = check(data)
    assert isinstance(whole, Whole)
    assert (whole.engine(), whole.suricata) == (read(data), SuricataSettings())
    whole = check({**data, "suricata": {"home_net": ["192.0.2.0/24"]}})
    assert isinstance(whole, Whole)
    assert whole.engine() == read(data)
    assert whole.suricata == SuricataSettings(home_net=["192.0.2.0/24"])


def test_the_live_service_needs_an_interface() -> None:
    data: dict[str, Any] = {"gateways": [LEG]}
    assert isinstance(check(data), Whole)
    found = check(data, live=True)
    assert isinstance(found, list)
    assert [path for path, _ in found] == [("capture",)]
    assert isinstance(check({**data, "capture": {"interface": "br1"}}, live=True), Whole)


def test_paths_are_taken_as_relative_to_a_directory() -> None:
    whole = check({"gateways": [LEG], "sinks": [{"file": "a"}, {"file": "/b"}, {"stdout": True}]})
    assert isinstance(whole, Whole)
    moved = beside(whole, Path("/etc"))
    assert [sink.label for sink in moved.sinks] == ["/etc/a", "/b", "stdout"]
    assert moved.state == whole.state


def test_mistakes_come_with_their_places() -> None:
    data: dict[str, Any] = {
        "gateways": [{**LEG, "headers": ["proxy-v2", "nope"]}],
        "suricata": {"home_net": ["x"]},
        "tap": {"name": 7},
    }
    found = check(data)
    assert isinstance(found, list)
    assert {path for path, _ in found} == {
        ("gateways", 0, "headers", 1),
        ("suricata", "home_net", 0),
        ("tap", "name"),
    }


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (None, "empty"),
        (True, "true"),
        (7, "the number 7"),
        ("x", "text"),
        ([], "a list"),
        ({}, "a mapping"),
    ],
)
def test_kinds_are_named_as_in_the_file(value: object, kind: str) -> None:
    assert kind_of(value) == kind
