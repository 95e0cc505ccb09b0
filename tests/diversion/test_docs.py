"""docs/proxies.md: its examples are right, its tables leave nothing out."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from pydantic import BaseModel

from diversion.agent import config as agent_config
from diversion.gateway.rules import Decoy, Rule, Rules
from diversion.gateway.settings import (
    AgentListen,
    Gateway1Settings,
    Gateway2Settings,
    GatewaySettings,
    KnownAgent,
    LegListen,
    LimitSettings,
)
from diversion.proxy.counters import ENDS
from diversion.proxy.listener import ACCEPT_WAYS

PAGE = (Path(__file__).parents[2] / "docs/proxies.md").read_text()


def section(title: str) -> str:
    return re.split(r"\n#+ ", PAGE.partition(f"# {title}\n")[2])[0]


@pytest.mark.parametrize("text", re.findall(r"^```yml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL))
def test_examples_are_right(text: str) -> None:
    data = yaml.safe_load(text)
    model: type[BaseModel] = Rules if "rules" in data else GatewaySettings
    model.model_validate(data)


def test_the_agents_example_is_right() -> None:
    [text, _] = re.findall(r"^```json\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    assert agent_config.check(yaml.safe_load(text), "agent.json").name == "edge-3"


@pytest.mark.parametrize(
    ("title", "models"),
    [
        ("peeltap gateway", [GatewaySettings]),
        ("gateway1", [Gateway1Settings, AgentListen, KnownAgent, Decoy, Rule]),
        ("gateway2", [Gateway2Settings, LegListen]),
        ("limits", [LimitSettings]),
    ],
)
def test_every_key_is_there(title: str, models: list[type[BaseModel]]) -> None:
    text = section(title)
    for model in models:
        for name, field in model.model_fields.items():
            key = field.alias or name
            assert re.search(rf"`(rules\[\]\.)?{key}`|\b{key}[,}}]", text), (
                f"{model.__name__}.{key}"
            )


def test_every_key_of_the_agent_is_there() -> None:
    text = section("peeltap agent")
    for key in agent_config.KEYS:
        assert f"| `{key}` |" in text
    for way in ACCEPT_WAYS:
        assert f"| `{way}` |" in text


def test_defaults_are_the_programs() -> None:
    for name, field in LimitSettings.model_fields.items():
        assert f"| `{name}` | `{field.default}` |" in section("limits")
    for name in ("source", "name", "table"):
        assert f"| `{name}` | `{Gateway2Settings.model_fields[name].default}` |" in PAGE


def test_every_end_is_there() -> None:
    rows = re.findall(r"^\| (`.+?`) \|", section("What is written"), re.MULTILINE)
    assert {word for row in rows for word in re.findall(r"`(\w+)`", row)} - {"end"} == set(ENDS)
