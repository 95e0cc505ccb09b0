"""Addresses and ranges, as text and back."""

from __future__ import annotations

import pytest

from diversion.proxy.addresses import parse_ends, parse_network, parse_range, show_ends, whose

ENDS = [
    ("192.0.2.1:80", ("192.0.2.1", 80)),
    ("[2001:db8::1]:65535", ("2001:db8::1", 65535)),
    ("[2001:0DB8:0:0::1]:0", ("2001:db8::1", 0)),
]


@pytest.mark.parametrize(("text", "ends"), ENDS)
def test_ends(text: str, ends: tuple[str, int]) -> None:
    assert parse_ends(text) == ends
    assert parse_ends(show_ends(ends)) == ends


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (80, "must be text"),
        ("80", "is not ADDRESS:PORT"),
        (":80", "is not ADDRESS:PORT"),
        ("host:80", "is not an IP address"),
        ("2001:db8::1:80", "has brackets"),
        ("[192.0.2.1]:80", "has brackets"),
        ("192.0.2.1:65536", "is not a port"),
        ("192.0.2.1:+8", "is not a port"),
        ("192.0.2.1:\u0668", "is not a port"),
        ("192.0.2.1:", "is not a port"),
    ],
)
def test_what_is_no_address_with_a_port(text: object, what: str) -> None:
    with pytest.raises(ValueError, match=what):
        parse_ends(text)


@pytest.mark.parametrize(
    ("text", "inside", "outside"),
    [
        ("198.51.100.0/24:1-1024", ("198.51.100.9", 1024), ("198.51.100.9", 1025)),
        ("198.51.100.0/24", ("198.51.100.255", 1), ("198.51.101.0", 1)),
        ("198.51.100.7:80", ("198.51.100.7", 80), ("198.51.100.7", 81)),
        ("2001:db8::/32", ("2001:db8::1", 5), ("2001:db9::1", 5)),
        ("[2001:db8::/32]:80", ("2001:db8::1", 80), ("2001:db8::1", 8)),
        ("[2001:db8::1]:80-81", ("2001:db8::1", 81), ("198.51.100.7", 80)),
    ],
)
def test_ranges(text: str, inside: tuple[str, int], outside: tuple[str, int]) -> None:
    one = parse_range(text)
    assert inside in one
    assert outside not in one


def test_a_range_of_one_is_known_as_such() -> None:
    assert parse_range("198.51.100.7:80").single == ("198.51.100.7", 80)
    assert parse_range("[2001:db8::1]:80").single == ("2001:db8::1", 80)
    assert parse_range("198.51.100.7").single is None
    assert parse_range("198.51.100.0/31:80").single is None


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (None, "must be text"),
        ("198.51.100.1/24", "host bits"),
        ("198.51.100.0/24:9-1", "first port is behind the last"),
        ("198.51.100.0/24:x", "is not a port"),
        ("[2001:db8::1", "closing bracket"),
        ("[2001:db8::1]x:80", r"is not \[ADDRESS\]:PORT"),
    ],
)
def test_what_is_no_range(text: object, what: str) -> None:
    with pytest.raises(ValueError, match=what):
        parse_range(text)


def test_networks() -> None:
    assert str(parse_network("192.0.2.1")) == "192.0.2.1/32"
    for wrong in (1, "192.0.2.1/24", "x"):
        with pytest.raises(ValueError, match=r"."):
            parse_network(wrong)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("2001:db8::1", "2001:db8::ffff:0:0:1", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.2", False),
        ("::1", "192.0.2.1", False),
    ],
)
def test_who_counts_as_one_host(one: str, other: str, same: bool) -> None:
    assert (whose(one) == whose(other)) is same
