"""Endpoints as they are written, and what shows only between values."""

import pytest

from reassembly.rules import Endpoint, hint, problems


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


def test_a_hint_names_what_is_near_and_all_that_is_allowed() -> None:
    assert hint("proxy-v3", ["proxy-v2", "magic"]) == (
        "; did you mean proxy-v2? allowed: proxy-v2, magic"
    )
    assert hint("x", ["proxy-v2", "magic"]) == "; allowed: proxy-v2, magic"
