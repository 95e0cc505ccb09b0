"""The `suricata:` section: what is allowed, and that each EVE type is one that Suricata has."""

from __future__ import annotations

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
