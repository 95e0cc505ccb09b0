"""Declared layouts: Python refuses what the core would, in its words, and says where."""

import copy
from collections.abc import Iterator
from typing import Any

import orjson
import peeltap_core
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reassembly.layout import (
    BINARY_KINDS,
    NUMBER_ROLES,
    NUMBER_WIDTHS,
    TEXT_KINDS,
    Problem,
    layout_problems,
)
from reassembly.presets import LAYOUT_PRESETS

Layout = list[Any]

ENDS: Layout = [
    {"ipv4": "peer"},
    {"u16be": "peer_port"},
    {"ipv4": "destination"},
    {"u16be": "destination_port"},
]
EITHER: Layout = [
    {"ip": "peer"},
    {"u16be": "peer_port"},
    {"ip": "destination"},
    {"u16be": "destination_port"},
]


def with_field(field: Any) -> Layout:
    """A layout that is right but for `field`, its second."""
    return [{"bytes": "01"}, field, *ENDS]


def line(behind_peer: Any, last: Any) -> Layout:
    """A text layout with a variable field behind its first address."""
    return [
        {"literal": "P "},
        {"ip": "peer"},
        behind_peer,
        {"decimal": "peer_port"},
        {"literal": ","},
        {"ipv4": "destination"},
        {"literal": ","},
        {"hex": "destination_port"},
        last,
    ]


END = {"terminator": "\n"}
COMMA = {"literal": ","}

RIGHT: dict[str, tuple[Layout, str]] = {
    "magic": (LAYOUT_PRESETS["magic"]("d1e0c0ffee5eedb5"), "binary"),
    "a length tells the family": ([{"bytes": "4f55"}, {"u8": "length"}, *EITHER], "binary"),
    "everything binary": (
        [
            {"skip": 1, "name": "version"},
            {"bytes": "feed"},
            {"u8": 1},
            {"u8": "family", "ipv4": 1, "ipv6": 2},
            {"u16le": "length", "of": "whole"},
            {"ip": "peer", "width": 16},
            {"u32le": "peer_port"},
            {"ip": "destination", "width": 16},
            {"u16be": "destination_port"},
            {"u32be": "crc32c", "over": "before"},
            {"u32be": "value", "name": "tenant"},
            {"padding": 2},
            {"skip": "rest"},
        ],
        "binary",
    ),
    "IPv6 only": (
        [
            {"bytes": "00"},
            {"ipv6": "peer"},
            {"u16be": "peer_port"},
            {"ipv6": "destination"},
            {"u16be": "destination_port"},
        ],
        "binary",
    ),
    "everything text": (
        [
            {"word": "family", "ipv4": "TCP4 ", "ipv6": "TCP6 "},
            {"ip": "peer"},
            {"separator": " \t"},
            {"decimal": "peer_port"},
            {"literal": " -> ["},
            {"ip": "destination"},
            {"literal": "]:"},
            {"hex": "destination_port"},
            {"literal": " by "},
            {"text": "agent", "max": 8, "emit": "me"},
            {"terminator": "\r\n"},
        ],
        "text",
    ),
    "commas": (line(COMMA, END), "text"),
}

WRONG: dict[str, tuple[Layout, str]] = {
    "not a mapping": (with_field("u8"), "binary"),
    "two kinds": (with_field({"u8": 1, "bytes": "00"}), "binary"),
    "no kind": (with_field({"name": "x"}), "binary"),
    "half a byte": (with_field({"bytes": "0"}), "binary"),
    "no bytes": (with_field({"bytes": ""}), "binary"),
    "a sign in hex": (with_field({"bytes": "+1"}), "binary"),
    "bytes as a number": (with_field({"bytes": 12}), "binary"),
    "an option of bytes": (with_field({"bytes": "00", "name": "a"}), "binary"),
    "256 in a byte": (with_field({"u8": 256}), "binary"),
    "-1": (with_field({"u8": -1}), "binary"),
    "a misspelt role": (with_field({"u16be": "peerport"}), "binary"),
    "a role that is true": (with_field({"u16be": True}), "binary"),
    "a port in a byte": (with_field({"u8": "peer_port"}), "binary"),
    "a port twice": (with_field({"u16be": "peer_port"}), "binary"),
    "an address twice": (with_field({"ipv4": "peer"}), "binary"),
    "a family nobody tells": ([{"bytes": "01"}, *EITHER], "binary"),
    "a family told too late": ([{"bytes": "01"}, *EITHER, {"u8": "family"}], "binary"),
    "no such side": (with_field({"ipv4": "source"}), "binary"),
    "a checksum in 16 bits": (with_field({"u16be": "crc32c"}), "binary"),
    "a checksum over what": (with_field({"u32be": "crc32c", "over": "all"}), "binary"),
    "a misspelt option": (with_field({"u8": "length", "off": "rest"}), "binary"),
    "a family's value too large": (with_field({"u8": "family", "ipv4": 256}), "binary"),
    "one value for both families": (with_field({"u8": "family", "ipv4": 6}), "binary"),
    "a value without a name": (with_field({"u8": "value"}), "binary"),
    "a value's name as a number": (with_field({"u8": "value", "name": 3}), "binary"),
    "the rest without a length": (with_field({"skip": "rest"}), "binary"),
    "nothing skipped": (with_field({"skip": 0}), "binary"),
    "too much padding": (with_field({"padding": 65552}), "binary"),
    "a width of 4": (
        [{"bytes": "01"}, {"u8": "family"}, {"ip": "peer", "width": 4}, *EITHER[1:]],
        "binary",
    ),
    "a width for IPv4": (
        [{"bytes": "01"}, {"ipv4": "peer", "width": 16}, *ENDS[1:]],
        "binary",
    ),
    "something behind the rest": (
        [{"bytes": "01"}, {"u8": "length"}, *ENDS, {"skip": "rest"}, {"u8": 1}],
        "binary",
    ),
    "too long": (with_field({"skip": 65551}), "binary"),
    "no constant": (ENDS, "binary"),
    "no peer": ([{"bytes": "00"}], "binary"),
    "no destination's port": ([{"bytes": "00"}, *ENDS[:3]], "binary"),
    "two families": (
        [{"bytes": "00"}, *ENDS[:2], {"ipv6": "destination"}, ENDS[3]],
        "binary",
    ),
    "nothing": ([], "binary"),
    "a length that tells nothing": (
        [
            {"bytes": "00"},
            {"u8": "length"},
            {"ip": "peer", "width": 16},
            {"u16be": "peer_port"},
            {"ip": "destination", "width": 16},
            {"u16be": "destination_port"},
        ],
        "binary",
    ),
    "an open length that tells nothing": (
        [{"bytes": "00"}, {"u8": "length"}, *EITHER, {"skip": "rest"}],
        "binary",
    ),
    "a colon behind an address": (line({"literal": ":"}, END), "text"),
    "a dot behind an address": (line({"separator": " ."}, END), "text"),
    "a digit behind an address": (line({"separator": " 0"}, END), "text"),
    "a token behind an address": (line({"text": "a"}, END), "text"),
    "an f behind hex": (line(COMMA, {"terminator": "f"}), "text"),
    "no terminator": (line(COMMA, COMMA), "text"),
    "a terminator inside": (line(END, END), "text"),
    "an empty literal": (line({"literal": ""}, END), "text"),
    "a literal as a number": (line({"literal": 1}, END), "text"),
    "a binary kind in text": (line({"u8": 1}, END), "text"),
    "one word": ([{"word": "family", "ipv4": "TCP"}, END], "text"),
    "a word in a word": ([{"word": "family", "ipv4": "TCP", "ipv6": "TCP6"}, END], "text"),
    "a word of what": ([{"word": "proto"}, END], "text"),
    "a negative maximum": ([{"text": "a", "max": -1}, END], "text"),
    "a line without addresses": ([{"literal": "a"}, END], "text"),
    "an empty line": ([], "text"),
    "a sample that would not be read back": (
        [
            {"text": "a", "emit": "a,b"},
            COMMA,
            {"ip": "peer"},
            COMMA,
            {"ip": "destination"},
            COMMA,
            {"hex": "peer_port"},
            COMMA,
            {"hex": "destination_port"},
            END,
        ],
        "text",
    ),
    "only separators": (
        [
            {"ip": "peer"},
            {"separator": " "},
            {"ip": "destination"},
            {"separator": " "},
            {"hex": "peer_port"},
            {"separator": " "},
            {"hex": "destination_port"},
            END,
        ],
        "text",
    ),
}


def refusal(layout: Layout, encoding: str, **options: object) -> str | None:
    """What the core says of a layout, without the codec's name; None if it takes it."""
    codec = {"name": "ours", "kind": "layout", "encoding": encoding, "layout": layout, **options}
    try:
        peeltap_core.Engine(orjson.dumps({"codecs": [codec], "gateways": []}))
    except ValueError as error:
        return str(error).partition('codec "ours": ')[2]
    return None


def shown(problem: Problem) -> str:
    """A problem as the core writes it."""
    location, text = problem
    if location == ("max_length",):
        return f"max_length: {text}"
    steps = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in location)
    return f"layout{steps}: {text}"


@pytest.mark.parametrize(("layout", "encoding"), RIGHT.values(), ids=RIGHT)
def test_layouts_that_both_take(layout: Layout, encoding: str) -> None:
    assert list(layout_problems(layout, encoding)) == []
    assert refusal(layout, encoding) is None


@pytest.mark.parametrize(("layout", "encoding"), WRONG.values(), ids=WRONG)
def test_layouts_that_both_refuse_in_the_same_words(layout: Layout, encoding: str) -> None:
    found = list(layout_problems(layout, encoding))
    assert found
    assert shown(found[0]) == refusal(layout, encoding)


def test_every_mistake_of_a_layout_is_found_at_once() -> None:
    layout = [{"bytes": "0"}, {"u8": 256}, {"u9": 1}, *ENDS]
    assert [location for location, _ in layout_problems(layout)] == [
        (0, "bytes"),
        (1, "u8"),
        (2,),
    ]


@pytest.mark.parametrize(("longest", "fits"), [(13, False), (14, True), (65551, True)])
def test_max_length_must_hold_the_fields(longest: int, fits: bool) -> None:
    layout = with_field({"u8": 1})
    found = [shown(problem) for problem in layout_problems(layout, "binary", longest)]
    assert (found == []) is fits
    assert (found[0] if found else None) == refusal(layout, "binary", max_length=longest)


SCALARS = st.one_of(
    st.sampled_from(["peer", "destination", "family", "length", "rest", "", "0a", ",", " "]),
    st.integers(-1, 70_000),
    st.booleans(),
    st.none(),
)


def _mutations(layout: Layout) -> Iterator[tuple[int, str]]:
    for index, field in enumerate(layout):
        for key in field:
            yield index, key


@given(data=st.data())
@settings(deadline=None, max_examples=300)
def test_python_takes_what_the_core_takes_and_nothing_else(data: st.DataObject) -> None:
    """Any one value changed, any field left out or moved: both agree on the verdict."""
    name = data.draw(st.sampled_from(sorted(RIGHT)))
    layout, encoding = copy.deepcopy(RIGHT[name])
    match data.draw(st.sampled_from(["value", "drop", "move", "option"])):
        case "value":
            index, key = data.draw(st.sampled_from(list(_mutations(layout))))
            layout[index][key] = data.draw(SCALARS)
        case "drop":
            del layout[data.draw(st.integers(0, len(layout) - 1))]
        case "move":
            field = layout.pop(data.draw(st.integers(0, len(layout) - 1)))
            layout.insert(data.draw(st.integers(0, len(layout))), field)
        case "option":
            field = layout[data.draw(st.integers(0, len(layout) - 1))]
            option = data.draw(st.sampled_from(["name", "of", "over", "width", "max", "emit"]))
            field[option] = data.draw(SCALARS)
    found = list(layout_problems(layout, encoding))
    assert (found == []) == (refusal(layout, encoding) is None)


def test_the_vocabulary_is_the_cores() -> None:
    """The core lists what it knows when it refuses: the lists are equal."""
    for encoding, kinds in (("binary", BINARY_KINDS), ("text", TEXT_KINDS)):
        told = refusal(["x"], encoding)
        assert told is not None
        assert told.endswith(", ".join(kinds))
    for kind in NUMBER_WIDTHS:
        told = refusal([{kind: "x"}], "binary")
        assert told is not None
        assert told.endswith(", ".join(NUMBER_ROLES))
