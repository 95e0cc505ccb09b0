"""The topology file's models: what they make of what a person wrote."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from diversion.setup import settings
from diversion.setup.settings import TopologySettings


def models(kind: type[BaseModel], seen: set[type[BaseModel]]) -> set[type[BaseModel]]:
    seen.add(kind)
    for name in dir(settings):
        one = getattr(settings, name)
        if isinstance(one, type) and issubclass(one, BaseModel) and name.endswith("Settings"):
            seen.add(one)
    return seen


@pytest.mark.parametrize("kind", sorted(models(TopologySettings, set()), key=str))
def test_every_key_is_described_and_none_is_unknown(kind: type[BaseModel]) -> None:
    assert kind.model_config["extra"] == "forbid"
    for name, field in kind.model_fields.items():
        assert field.description, name


def read(**sections: Any) -> TopologySettings:
    return TopologySettings.model_validate({"name": "host", **sections})


def test_ports_are_read_with_their_protocol() -> None:
    virtual = {"on": "br0", "to": "10.0.0.1", "addresses": ["10.0.0.2"]}
    told = read(virtual=[virtual | {"ports": [80, "8000-8010", "udp/53"]}]).virtual[0]
    assert told.ports == ["tcp/80", "tcp/8000-8010", "udp/53"]
    assert told.style == "macvlan"


@pytest.mark.parametrize("value", ["02:00", True, None, 1.5, "10.0.0.1/33", "fe80::1"])
def test_what_is_no_address(value: Any) -> None:
    with pytest.raises(ValidationError):
        read(virtual=[{"on": "br0", "to": value, "addresses": ["10.0.0.2"]}])


SIX = {"on": "br0", "to": "2001:db8:1::2", "addresses": ["2001:DB8::10-2001:db8:0::20"]}


def test_ipv6_is_written_in_one_way() -> None:
    told = read(virtual=[SIX | {"gateway": "2001:db8:0:0::1"}]).virtual[0]
    assert told.addresses == ["2001:db8::10-2001:db8::20"]
    assert told.gateway == "2001:db8::1"
    segment = {"name": "a", "on": "br0", "network": "2001:db8::/64", "listener": "[::1]:7000"}
    assert read(segments=[segment]).segments[0].network == ["2001:db8::/64"]


@pytest.mark.parametrize(
    ("sections", "words"),
    [
        ({"virtual": [SIX | {"to": "10.0.0.1"}]}, "of two IP versions"),
        ({"virtual": [SIX | {"gateway": "10.0.0.1"}]}, "of two IP versions"),
        ({"virtual": [SIX | {"gateway": "fe80::1%eth0"}]}, "is no address"),
        ({"bridges": {"b": {"addresses": ["fe80::1%\n-A/64"]}}}, "is no address"),
        ({"bridges": {"b": {"routes": [{"to": "fe80::%x/64", "via": "::1"}]}}}, "is no network"),
        ({"virtual": [SIX | {"addresses": ["10.0.0.1-2001:db8::1"]}]}, "from one IP version"),
        ({"virtual": [SIX | {"addresses": ["2001:db8::/64"]}]}, "no address"),
        ({"bridges": {"b": {"routes": [{"to": "::/0", "via": "10.0.0.1"}]}}}, "two IP versions"),
        (
            {"segments": [{"name": "a", "on": "b", "network": ["10.0.0.0/24", "10.1.0.0/24"]}]},
            "network has two of one IP version",
        ),
        (
            {"segments": [{"name": "a", "on": "b", "network": "::/0", "listener": "[::1]"}]},
            "has no port",
        ),
        (
            {"segments": [{"name": "a", "on": "b", "network": "2001:db8::1/64"}]},
            "the network is 2001:db8::/64",
        ),
        ({"gateway1": {"listen": "192.0.2.1:7000", "agents": ["2001:db8::/64"]}}, "IPv4 network"),
        ({"frr": {"as": 0, "router_id": "1.1.1.1", "neighbours": []}}, "greater than or equal"),
    ],
)
def test_what_is_wrong_is_said(sections: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        read(**sections)
