"""What a word of a topology file may be."""

from __future__ import annotations

import pytest

from diversion.setup.values import interface_name, listed, of_one_version, segment_name, tcp


@pytest.mark.parametrize("text", ["br0", "br-win", "eth0.10", "a_b", "x" * 15])
def test_names_that_interfaces_can_have(text: str) -> None:
    assert interface_name(text) == text


@pytest.mark.parametrize(
    "text", ["", "x" * 16, "a b", "a/b", "lo", "all", "..", "a;b", "$(x)", "-i"]
)
def test_names_that_they_cannot_have(text: str) -> None:
    with pytest.raises(ValueError, match="interface"):
        interface_name(text)


@pytest.mark.parametrize(("value", "read"), [(None, []), ("a", ["a"]), (["a", "b"], ["a", "b"])])
def test_one_value_stands_for_a_list(value: object, read: list[str]) -> None:
    assert listed(value) == read


def test_what_is_refused_says_what_is_allowed() -> None:
    with pytest.raises(ValueError, match="up to 10 small letters"):
        segment_name("Web")
    with pytest.raises(ValueError, match="TCP only"):
        tcp("udp/53")
    with pytest.raises(ValueError, match="two IP versions"):
        of_one_version("192.0.2.1", "2001:db8::1")
