"""The models' answer on a whole file; tests/pipeline/test_config.py has every message."""

from typing import Any

import pytest

from pipeline.config_check import check, kind_of
from reassembly.engine_config import read
from suricata.settings import SuricataSettings

LEG = {"from": "172.16.23.1", "to": "172.16.23.2:9000", "headers": ["proxy-v2"]}


def test_a_right_file_gives_both_parts() -> None:
    data = {"gateways": [LEG], "mode": "restore"}
    assert check(data) == (read(data), SuricataSettings())
    assert check({**data, "suricata": {"home_net": ["192.0.2.0/24"]}}) == (
        read(data),
        SuricataSettings(home_net=["192.0.2.0/24"]),
    )


def test_mistakes_come_with_their_places() -> None:
    data: dict[str, Any] = {
        "gateways": [{**LEG, "headers": ["proxy-v2", "nope"]}],
        "suricata": {"home_net": ["x"]},
        "tap": {},
    }
    found = check(data)
    assert isinstance(found, list)
    assert {path for path, _ in found} == {
        ("gateways", 0, "headers", 1),
        ("suricata", "home_net", 0),
        ("tap",),
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
