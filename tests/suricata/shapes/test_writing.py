from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given

from suricata.shapes import SHAPES, make_shape, write

from .material import broken, of, some


@pytest.mark.parametrize("name", SHAPES)
def test_a_shape_is_written_as_one_line(name: str) -> None:
    written = write(make_shape(name), of("alert"))
    assert b"\n" not in written
    assert orjson.loads(written)


def test_no_other_shape_is_known() -> None:
    with pytest.raises(KeyError):
        make_shape("cef")


def nested(depth: int) -> object:
    value: object = 1
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize(
    "value",
    ["\ud800", 1 << 70, nested(252), nested(800)],
    ids=["surrogate", "big", "deep", "deeper"],
)
def test_what_cannot_be_written_hides_nothing_else(name: str, value: object) -> None:
    event = of("alert")
    event["http"] = {"url": "/x", "hostname": value}
    event["odd"] = value
    written = orjson.loads(write(make_shape(name), event))
    text = orjson.dumps(written).decode()
    assert event["alert"]["signature"] in text
    assert "/x" in text
    assert event["src_ip"] in text


@some
@given(event=broken())
def test_any_event_can_be_written(event: dict[str, Any]) -> None:
    for shape in SHAPES.values():
        assert type(orjson.loads(write(shape, event))) is dict
