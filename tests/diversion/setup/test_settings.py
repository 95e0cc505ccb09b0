"""The topology file's models: what they make of what a person wrote."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from diversion.setup import settings
from diversion.setup.settings import TopologySettings, interface_name


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


@pytest.mark.parametrize("text", ["br0", "br-win", "eth0.10", "a_b", "x" * 15])
def test_names_that_interfaces_can_have(text: str) -> None:
    assert interface_name(text) == text


@pytest.mark.parametrize(
    "text", ["", "x" * 16, "a b", "a/b", "lo", "all", "..", "a;b", "$(x)", "-i"]
)
def test_names_that_they_cannot_have(text: str) -> None:
    with pytest.raises(ValueError, match="interface"):
        interface_name(text)


@pytest.mark.parametrize("value", ["02:00", True, None, 1.5, "10.0.0.1/33", "fe80::1"])
def test_what_is_no_address(value: Any) -> None:
    with pytest.raises(ValidationError):
        read(virtual=[{"on": "br0", "to": value, "addresses": ["10.0.0.2"]}])
