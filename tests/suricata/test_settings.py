"""The `suricata:` section: what is allowed, and that each EVE type is one that Suricata has."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import ValidationError

from suricata.settings import EVE_TYPES, EveType, SuricataSettings

REFUSED = [
    ({"eve_types": ["htpt"]}, "eve_types.0"),
    ({"eve_types": []}, "eve_types"),
    ({"community_id_seed": 65536}, "community_id_seed"),
    ({"home_net": ["10.0.0.0/33"]}, "home_net.0"),
    ({"checksums": "maybe"}, "checksums"),
    ({"timeout_seconds": 0}, "timeout_seconds"),
    ({"rule": []}, "rule"),
]


@pytest.mark.parametrize(("section", "where"), REFUSED, ids=[row[1] for row in REFUSED])
def test_refused(section: dict[str, Any], where: str) -> None:
    with pytest.raises(ValidationError) as caught:
        SuricataSettings(**section)
    assert [".".join(map(str, e["loc"])) for e in caught.value.errors()] == [where]


def test_defaults() -> None:
    settings = SuricataSettings(home_net=["192.168.110.0/24", "!2001:db8::1"])
    assert settings.eve_types == list(EVE_TYPES)
    assert set(EVE_TYPES) < set(get_args(EveType))


LIVE_REFUSED = [
    ({"threads": 0}, "threads"),
    ({"ring_mb": 0}, "ring_mb"),
    ({"eve_output": "redis"}, "eve_output"),
    ({"run_as": "a b"}, "run_as"),
    ({"run_as": "user:"}, "run_as"),
    ({"restart_limit": -1}, "restart_limit"),
    ({"external": {"evee": "/x"}}, "external.evee"),
]


@pytest.mark.parametrize(("section", "where"), LIVE_REFUSED, ids=[row[1] for row in LIVE_REFUSED])
def test_live_keys_refused(section: dict[str, Any], where: str) -> None:
    test_refused(section, where)


@pytest.mark.parametrize(
    ("section", "eve"),
    [
        ("external", "/var/log/suricata/eve.json"),
        ({"external": {}}, "/var/log/suricata/eve.json"),
        ({"external": None}, "/var/log/suricata/eve.json"),
        ({"external": {"eve": "/e.json"}, "rules": ["a.rules"]}, "/e.json"),
    ],
)
def test_external(section: object, eve: str) -> None:
    settings = SuricataSettings.model_validate(section)
    assert settings.external is not None
    assert str(settings.external.eve) == eve


def test_not_external_by_itself() -> None:
    assert SuricataSettings().external is None


def test_relative_names_are_beside_the_file() -> None:
    section = {"rules": ["a.rules", "/b.rules"], "external": {"eve": "e", "command_socket": "s"}}
    settings = SuricataSettings.model_validate(section).beside(Path("/etc/peeltap"))
    assert list(map(str, settings.rules)) == ["/etc/peeltap/a.rules", "/b.rules"]
    assert settings.external is not None
    assert str(settings.external.eve) == "/etc/peeltap/e"
    assert str(settings.external.command_socket) == "/etc/peeltap/s"
    unset = SuricataSettings.model_validate("external").beside(Path("/etc/peeltap")).external
    assert unset is not None
    assert unset.command_socket is None
