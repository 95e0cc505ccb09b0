"""The engine's JSON, and that plain Python reads a right file as the models do."""

import copy
import re
from pathlib import Path
from typing import Any

import orjson
import peeltap_core
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from reassembly.engine_config import LIMITS, engine_config, read
from reassembly.settings import EngineSettings, Limits
from tests.support import headers
from tests.support.driver import Driver
from tests.support.transcript import Talk

LEG = {"from": "172.16.23.1", "to": "172.16.23.2:9000", "headers": ["proxy-v2"]}


def validated(data: dict[str, Any]) -> dict[str, Any]:
    """What the models make of `data`."""
    return EngineSettings.model_validate(data).model_dump(by_alias=True)


def test_engine_config_is_the_cores_object() -> None:
    settings = validated(
        {
            "gateways": [
                {
                    "from": "172.16.23.0/24:40000",
                    "to": "172.16.23.2:9000",
                    "headers": ["proxy-v2", "magic", "ours"],
                    "required": True,
                    "depth": 2,
                },
                {"from": "fd00::1", "to": "[fd00::2]:9000", "headers": ["sslproxy"]},
            ],
            "codecs": {
                "magic": {"magic": "d1e0c0ffee5eedb5"},
                "ours": {"layout": OURS},
                "sslproxy": {"position": "request"},
                "mail": {"position": "front"},
            },
            "mode": "restore",
            "midstream": "drop",
            "limits": {"connections": 5, "hold_seconds": 1},
        }
    )
    assert orjson.loads(engine_config(settings)) == {
        "mode": "restore",
        "midstream": "drop",
        "other": "pass",
        "superframes": "keep",
        "codecs": [
            {"name": "proxy-v2", "kind": "proxy-v2"},
            {"name": "proxy-v1", "kind": "proxy-v1"},
            {
                "name": "magic",
                "kind": "layout",
                "encoding": "binary",
                "layout": [
                    {"bytes": "d1e0c0ffee5eedb5"},
                    {"u8": "family"},
                    {"ip": "peer"},
                    {"u16be": "peer_port"},
                    {"ip": "destination"},
                    {"u16be": "destination_port"},
                ],
            },
            {"name": "ours", "kind": "layout", "encoding": "binary", "layout": OURS},
            {"name": "sslproxy", "kind": "sslproxy", "position": "request"},
            {"name": "mail", "kind": "sslproxy", "position": "front"},
        ],
        "gateways": [
            {
                "from": "172.16.23.0/24",
                "from_port": 40000,
                "to": "172.16.23.2/32",
                "to_port": 9000,
                "headers": ["proxy-v2", "magic", "ours"],
                "required": True,
                "depth": 2,
            },
            {
                "from": "fd00::1/128",
                "from_port": None,
                "to": "fd00::2/128",
                "to_port": 9000,
                "headers": ["sslproxy"],
                "required": False,
                "depth": 1,
            },
        ],
        "limits": {
            "connections": 5,
            "half_open": 65536,
            "hold_packets": 256,
            "hold_bytes": 1048576,
            "hold_seconds": 1.0,
            "hold_total_bytes": 67108864,
            "fragments": 4096,
            "fragment_seconds": 30.0,
            "idle_seconds": 3600.0,
            "half_open_seconds": 60.0,
            "closed_seconds": 60.0,
        },
        "announce": False,
        "records": True,
    }


OURS = [
    {"bytes": "4f555253"},
    {"u8": "length"},
    {"ip": "peer"},
    {"u16be": "peer_port"},
    {"ip": "destination"},
    {"u16be": "destination_port"},
]


FORGED = headers.sslproxy(("6.6.6.6", 6666))
TRUE = headers.sslproxy()
HTTP = b"GET / HTTP/1.1\r\n"


# Where SSLproxy's line stands, what the client side of the leg carries, and which peer is believed.
# Without HTTP the line comes first, and what follows is the attacker's; with HTTP the attacker's
# first line comes first, and he may have copied the format.
@pytest.mark.parametrize(
    ("position", "stream", "believed"),
    [
        ("request", HTTP + TRUE, "203.0.113.7"),
        ("request", FORGED + TRUE, "203.0.113.7"),
        ("request", FORGED + HTTP, None),
        ("front", TRUE + FORGED, "203.0.113.7"),
        ("front", HTTP + TRUE, None),
        ("any", HTTP + TRUE, "203.0.113.7"),
        ("any", TRUE + HTTP, "203.0.113.7"),
        # The risk that docs/codecs.md tells of.
        ("any", FORGED + TRUE, "6.6.6.6"),
    ],
)
def test_the_position_of_sslproxys_line_says_who_is_believed(
    position: str, stream: bytes, believed: str | None
) -> None:
    settings = validated(
        {
            "gateways": [{**LEG, "headers": ["sslproxy"]}],
            "codecs": {"sslproxy": {"position": position}},
        }
    )
    driver = Driver(peeltap_core.Engine(engine_config(settings)))
    stream += b"Host: decoy\r\n\r\n"
    talk = Talk(driver, client=stream)
    for text in ("c>s [S]", "s>c [S.] ack 0", "c>s [.] 0 ack 0", f"c>s [P.] 0:{len(stream)} ack 0"):
        driver.push(talk.frame(text))
    driver.finish()
    [record] = driver.take_records()
    assert (record["true"] and record["true"]["src_ip"]) == believed


@pytest.mark.parametrize("edge", ["least", "most"])
def test_the_core_takes_every_limit_that_the_models_take(edge: str) -> None:
    limits = {}
    for name, field in Limits.model_fields.items():
        bounds = {type(one).__name__: one for one in field.metadata}
        if edge == "most":
            limits[name] = bounds["Le"].le
        else:
            limits[name] = bounds["Ge"].ge if "Ge" in bounds else bounds["Gt"].gt + 1e-9
    settings = validated({"gateways": [LEG], "limits": limits})
    peeltap_core.Engine(engine_config(settings))


def test_the_cores_defaults_are_the_models() -> None:
    """A configuration that says nothing behaves as documented, whoever fills the gaps."""
    settings = validated({"gateways": [LEG]})
    said = orjson.loads(engine_config(settings))
    source = Path(__file__).parents[2] / "core/src/engine/config.rs"
    told = source.read_text().partition("impl Default for Limits")[2].partition("}\n    }")[0]
    for name, value in said["limits"].items():
        [text] = re.findall(rf"\b{name}: ([^,]+),", told)
        assert eval(text.replace("_", "")) == value


def test_the_command_lines_choices_come_before_the_files() -> None:
    settings = validated({"gateways": [LEG]})
    chosen = orjson.loads(engine_config(settings, mode="restore", superframes="segment"))
    assert (chosen["mode"], chosen["superframes"]) == ("restore", "segment")


FULL: dict[str, Any] = {
    "gateways": [
        {**LEG, "headers": ["proxy-v2", "magic", "ours", "sslproxy"], "required": True, "depth": 2},
        {"from": "FD00::1", "to": "[fd00::2]:9000", "headers": ["proxy-v1"]},
    ],
    "codecs": {
        "magic": {"magic": "d1e0c0ffee5eedb5"},
        "ours": {"layout": OURS, "encoding": "binary", "max_length": 100},
        "sslproxy": {"position": "request"},
    },
    "mode": "restore",
    "midstream": "drop",
    "other": "drop",
    "superframes": "segment",
    "limits": {"connections": 7, "idle_seconds": 5, "hold_seconds": 0.5},
}


@pytest.mark.parametrize("data", [{"gateways": [LEG]}, FULL], ids=["least", "all"])
def test_a_right_file_is_read_without_the_models(data: dict[str, Any]) -> None:
    assert read(data) == validated(data)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The way to every value inside."""
    inside = value.items() if isinstance(value, dict) else enumerate(value)
    found = []
    for key, one in inside:
        found.append((*path, key))
        if isinstance(one, dict | list):
            found += places(one, (*path, key))
    return found


WORDS = ("", "x", "strip", "front", "text", "proxy-v1", "172.16.23.1", "172.16.23.1/24")
COUNTS = (0, 1, -1, 8, 9, 1 << 24, (1 << 24) + 1, 10**39, 10**400)
SECONDS = (0.5, 1e8, 1e9, float("nan"), float("inf"))
INSIDE = ([], ["proxy-v2"], [None], {}, {"x": 1}, {"layout": []})
ODD = st.sampled_from([None, True, False, *COUNTS, *SECONDS, *WORDS, *INSIDE])


@settings(max_examples=400, deadline=None)
@given(place=st.sampled_from(places(FULL)), value=ODD, key=st.sampled_from([None, "x", "source"]))
def test_a_file_with_one_odd_value_is_read_as_the_models_read_it_or_not_at_all(
    place: tuple[Any, ...], value: Any, key: str | None
) -> None:
    data = copy.deepcopy(FULL)
    parent: Any = data
    for step in place[:-1]:
        parent = parent[step]
    parent[place[-1] if key is None or isinstance(parent, list) else key] = value
    plain = read(data)
    try:
        expected = validated(data)
    except ValidationError:
        assert plain is None
    else:
        # Each of the models' shorthands that is not read would cost its file the models' import.
        assert plain == expected or key == "source"


def test_the_bounds_of_limits_are_the_models() -> None:
    assert list(LIMITS) == list(Limits.model_fields)
    for name, field in Limits.model_fields.items():
        bounds = {type(one).__name__: one for one in field.metadata}
        assert LIMITS[name] == (field.default, bounds["Le"].le)
        assert type(LIMITS[name][0]) is field.annotation
