"""Splicing: the changed values change, every other byte stays."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from suricata.splice import splice

# text | changes | appended | result
TABLE = [
    (b'{"a":1}', {}, {}, b'{"a":1}'),
    (b"{}", {("a",): b"9"}, {"z": b"1"}, b'{"z":1}'),
    (b'{"a":1,"b":2}', {("a",): b"9"}, {"z": b"{}"}, b'{"a":9,"b":2,"z":{}}'),
    (
        b'{ "a" : 1.1 ,"b":[1 , 2] }\r',
        {("a",): b"9"},
        {"z": b"0"},
        b'{ "a" : 9 ,"b":[1 , 2] ,"z":0}\r',
    ),
    (b'{"a":{"a":1,"b":{"a":2}}}', {("a", "b", "a"): b"9"}, {}, b'{"a":{"a":1,"b":{"a":9}}}'),
    (b'{"a":[{"a":1}],"b":{"a":1}}', {("a",): b"9"}, {}, b'{"a":9,"b":{"a":1}}'),
    (b'{"x":[{"a":1}],"a":1}', {("x", "a"): b"9", ("a",): b"8"}, {}, b'{"x":[{"a":1}],"a":8}'),
    (b'{"a":1,"a":2}', {("a",): b"9"}, {}, b'{"a":9,"a":9}'),
    (rb'{"\u0061":1,"b":"\"a\":1,}{"}', {("a",): b"9"}, {}, rb'{"\u0061":9,"b":"\"a\":1,}{"}'),
    (
        b'{"a":123456789012345678901,"b":1e999}',
        {("b",): b"0"},
        {},
        b'{"a":123456789012345678901,"b":0}',
    ),
    (b'{"a":"x","b":null,"c":true}', {("b",): b'"y"'}, {}, b'{"a":"x","b":"y","c":true}'),
]


@pytest.mark.parametrize(("text", "changes", "append", "result"), TABLE, ids=range(len(TABLE)))
def test_table(text: bytes, changes: dict[Any, bytes], append: Any, result: bytes) -> None:
    assert splice(text, changes, append) == result


KEYS = st.text(min_size=1, max_size=3) | st.sampled_from(["a", 'b"', "{", "flow"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=20,
)


def paths(value: dict[str, Any], at: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    found = []
    for key, member in value.items():
        found.append((*at, key))
        if isinstance(member, dict):
            found += paths(member, (*at, key))
    return found


@given(st.data(), st.dictionaries(KEYS, JSON, min_size=1, max_size=5), st.sampled_from([None, 1]))
def test_any_object_changes_at_any_path_and_nowhere_else(
    data: st.DataObject, value: dict[str, Any], indent: int | None
) -> None:
    path = data.draw(st.sampled_from(paths(value)))
    text = json.dumps(value, indent=indent, ensure_ascii=data.draw(st.booleans()))
    spliced = splice(text.encode(errors="surrogatepass"), {path: b'"new"'}, {"peeltap": b"1"})
    holder = value
    for name in path[:-1]:
        holder = holder[name]
    holder[path[-1]] = "new"
    value["peeltap"] = 1
    assert list(json.loads(spliced).items()) == list(value.items())
