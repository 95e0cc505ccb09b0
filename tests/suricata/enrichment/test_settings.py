from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from suricata.enrichment.settings import (
    EnrichmentSettings,
    GeoipSettings,
    Named,
    PeerSettings,
    SessionSettings,
)

DOCS = Path(__file__).parents[3] / "docs" / "enrichment.md"

# What is written | what is said of it.
WRONG: list[tuple[dict[str, Any], str]] = [
    ({"decoys": [{"name": "web", "addresses": []}]}, "at least 1 item"),
    ({"decoys": [{"name": "", "addresses": ["192.0.2.1"]}]}, "at least 1 character"),
    ({"decoys": [{"name": "web", "addresses": ["192.0.2.300"]}]}, "is no address and no network"),
    ({"decoys": [{"name": "w", "addresses": ["192.0.2.1/24"]}]}, "the network is 192.0.2.0/24"),
    ({"geoip": {}}, "names no file; give city, asn, or both"),
    ({"deny": {"then": "drop"}}, "names nobody"),
    ({"deny": {"addresses": ["192.0.2.1"], "then": "hide"}}, "'drop' or 'tag'"),
    ({"reverse_dns": True, "nameservers": ["dns"]}, "'dns' is no address"),
    ({"geo": 1}, "Extra inputs are not permitted"),
]


@pytest.mark.parametrize(("data", "expected"), WRONG)
def test_mistakes_are_named(data: dict[str, Any], expected: str) -> None:
    with pytest.raises(ValidationError, match=re.escape(expected)):
        EnrichmentSettings.model_validate(data)


def test_nothing_is_asked_for_unless_it_is() -> None:
    assert not EnrichmentSettings().asks_for_anything
    assert EnrichmentSettings(reverse_dns=True).asks_for_anything


def test_a_window_is_bounded() -> None:
    with pytest.raises(ValidationError):
        SessionSettings(window_seconds=0)
    with pytest.raises(ValidationError):
        SessionSettings(ipv6_prefix=129)


@pytest.mark.parametrize(
    "model", [EnrichmentSettings, Named, GeoipSettings, PeerSettings, SessionSettings]
)
def test_every_key_is_in_the_documentation_with_its_default(model: type[BaseModel]) -> None:
    text = DOCS.read_text()
    for name, field in model.model_fields.items():
        told = re.findall(rf"^\| `{name}` \| (.+?) \|", text, re.MULTILINE)
        assert told, name
        default = field.default
        if field.is_required():
            assert "needed" in told
        elif default in (None, []):
            assert "none" in told
        else:
            shown = str(default).lower() if isinstance(default, bool) else str(default)
            assert f"`{shown}`" in told, name
