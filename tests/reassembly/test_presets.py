"""Layouts that ship are right by the rules of declared ones, and read what a site sends."""

import orjson
import peeltap_core
import pytest

from reassembly.layout import layout_problems
from reassembly.presets import LAYOUT_PRESETS
from tests.support import headers


@pytest.mark.parametrize("name", LAYOUT_PRESETS)
def test_a_preset_is_a_right_layout(name: str) -> None:
    layout = LAYOUT_PRESETS[name](headers.MAGIC.hex())
    assert list(layout_problems(layout, "binary", None)) == []


@pytest.mark.parametrize(
    ("peer", "destination"),
    [(headers.PEER, headers.DESTINATION), (headers.PEER6, headers.DESTINATION6)],
    ids=["IPv4", "IPv6"],
)
def test_magic_is_the_design_s_header(peer: headers.Address, destination: headers.Address) -> None:
    layout = LAYOUT_PRESETS["magic"](headers.MAGIC.hex())
    codec = orjson.dumps({"name": "magic", "kind": "layout", "layout": layout})
    header = headers.magic(peer, destination)
    assert peeltap_core.emit_header(codec, *peer, *destination) == header
    found = peeltap_core.parse_header(codec, header + b"GET /")
    assert found is not None
    assert found["length"] == len(header)
