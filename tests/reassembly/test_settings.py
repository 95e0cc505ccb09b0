"""The models of gateways, codecs and limits, and the JSON that the core is given."""

import re
from pathlib import Path

import orjson
import peeltap_core
import pytest
from pydantic import ValidationError

from reassembly.settings import Endpoint, EngineSettings, Limits, engine_config, problems
from tests.support import headers
from tests.support.driver import Driver
from tests.support.transcript import Talk

LEG = {"from": "172.16.23.1", "to": "172.16.23.2:9000", "headers": ["proxy-v2"]}


@pytest.mark.parametrize(
    ("text", "network", "port", "shown"),
    [
        ("172.16.23.1", "172.16.23.1/32", None, "172.16.23.1"),
        ("172.16.23.1:9000", "172.16.23.1/32", 9000, "172.16.23.1:9000"),
        ("172.16.23.0/24", "172.16.23.0/24", None, "172.16.23.0/24"),
        ("172.16.23.0/24:9000", "172.16.23.0/24", 9000, "172.16.23.0/24:9000"),
        ("0.0.0.0/0", "0.0.0.0/0", None, "0.0.0.0/0"),
        ("::1", "::1/128", None, "::1"),
        ("[::1]", "::1/128", None, "::1"),
        ("[::1]:9000", "::1/128", 9000, "[::1]:9000"),
        ("fd00::/64", "fd00::/64", None, "fd00::/64"),
        ("[fd00::/64]:65535", "fd00::/64", 65535, "[fd00::/64]:65535"),
        ("FD00:0:0::0001", "fd00::1/128", None, "fd00::1"),
    ],
)
def test_an_endpoint_is_read_and_shown(
    text: str, network: str, port: int | None, shown: str
) -> None:
    endpoint = Endpoint.parse(text)
    assert (endpoint.network, endpoint.port) == (network, port)
    assert str(endpoint) == shown
    assert Endpoint.parse(shown) == endpoint


@pytest.mark.parametrize(
    "text",
    [
        "",
        "host",
        "172.16.23",
        "172.16.23.1:",
        "172.16.23.1:0",
        "172.16.23.1:65536",
        "172.16.23.1:٣",
        "172.16.23.1:+1",
        "172.16.23.1/33",
        "172.16.23.1/24",
        "[::1",
        "[::1]9000",
        "[::1]:",
        "::1]:9000",
        "fe80::1%br1",
        "1:2:3",
        7,
        None,
        ["172.16.23.1"],
    ],
)
def test_what_is_no_endpoint_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match=r"write|allowed|leave out"):
        Endpoint.parse(text)


def test_engine_config_is_the_cores_object() -> None:
    settings = EngineSettings.model_validate(
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
    settings = EngineSettings.model_validate(
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
    settings = EngineSettings.model_validate({"gateways": [LEG], "limits": limits})
    peeltap_core.Engine(engine_config(settings))


def test_the_cores_defaults_are_the_models() -> None:
    """A configuration that says nothing behaves as documented, whoever fills the gaps."""
    settings = EngineSettings.model_validate({"gateways": [LEG]})
    said = orjson.loads(engine_config(settings))
    source = Path(__file__).parents[2] / "core/src/engine/config.rs"
    told = source.read_text().partition("impl Default for Limits")[2].partition("}\n    }")[0]
    for name, value in said["limits"].items():
        [text] = re.findall(rf"\b{name}: ([^,]+),", told)
        assert eval(text.replace("_", "")) == value


def test_the_command_lines_choices_come_before_the_files() -> None:
    settings = EngineSettings.model_validate({"gateways": [LEG]})
    chosen = orjson.loads(engine_config(settings, mode="restore", superframes="segment"))
    assert (chosen["mode"], chosen["superframes"]) == ("restore", "segment")


def test_problems_between_values_are_errors_of_the_model_too() -> None:
    with pytest.raises(ValidationError) as caught:
        EngineSettings.model_validate({"gateways": [{**LEG, "headers": ["proxy-v2", "ours"]}]})
    [error] = caught.value.errors()
    assert error["loc"] == ("gateways", 0, "headers", 1)
    assert error["msg"].startswith("no codec is called 'ours'")


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"gateways": None, "codecs": 7},
        {"gateways": [None, 3, [], {"headers": "proxy-v2"}, {"headers": [[], {}, None]}]},
        {"gateways": [{"from": {}, "to": 3, "headers": ["proxy-v2"]}]},
        {"codecs": {"magic": {"magic": 7}, "ours": {"layout": "x", "encoding": []}}},
    ],
)
def test_problems_leaves_wrong_types_to_the_models(settings: dict[str, object]) -> None:
    assert list(problems(settings)) == []


def test_settings_do_not_change() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Limits().connections = 5  # type: ignore[misc]
