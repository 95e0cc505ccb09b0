"""Changes single values inside a JSON text and leaves every other byte as it was.

The correction's fast way parses a line and writes it anew. That is right only where writing what
was parsed gives the same bytes back; numbers beyond 64 bits, `1.10`, a repeated key or unusual
spacing do not. This is the way for those lines: it walks the text token by token, so it costs more
and is right for any JSON.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Final

import orjson

Path = tuple[str, ...]

# Strings are taken whole, so that brackets and commas inside them are no structure.
_TOKEN: Final = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|[{}\[\],:]|[^\s{}\[\],:"]++', re.DOTALL)

_ARRAY: Final = ""


def splice(text: bytes, changes: Mapping[Path, bytes], append: Mapping[str, bytes]) -> bytes:
    """`text` with the value at each path of `changes` replaced, and `append` as last members.

    `text` is one valid JSON object in UTF-8 (the caller has parsed it); a path names members from
    the root, never an array's elements. Values are JSON text. Where a key is repeated, each of its
    values is replaced. A path that is not there adds nothing.
    """
    out: list[bytes] = []
    copied = 0
    path: list[str] = []  # the member we are in, for each open container; "" in an array
    is_object: list[bool] = []
    expect_key = False
    key = ""
    value_at = -1  # where the value of a wanted path began
    value_depth = 0
    members = 0
    last = 0

    for token in _TOKEN.finditer(text):
        start = token.start()
        first = text[start]
        depth = len(is_object)
        # A value ends where its container goes on.
        if value_at >= 0 and depth == value_depth and first in b",}":
            out.append(text[copied:value_at])
            out.append(changes[(*path[1:], key)])
            copied = last
            value_at = -1
        if first in b"{[":
            path.append(key if is_object and is_object[-1] else _ARRAY)
            is_object.append(first == 0x7B)
            expect_key = first == 0x7B
        elif first in b"}]":
            is_object.pop()
            key = path.pop()
            expect_key = False
            if not is_object:
                out.append(text[copied:start])
                for name, value in append.items():
                    out.append(b"," if members else b"")
                    out.append(orjson.dumps(name) + b":" + value)
                    members += 1
                out.append(text[start:])
                return b"".join(out)
        elif first == 0x2C:
            expect_key = is_object[-1]
        elif first == 0x3A:
            if value_at < 0 and _ARRAY not in path[1:] and (*path[1:], key) in changes:
                value_at = token.end()
                while text[value_at] in b" \t\r\n":
                    value_at += 1
                value_depth = depth
        elif expect_key:
            key = json.loads(token[0].decode())
            expect_key = False
            members += depth == 1
        last = token.end()
    raise ValueError("not one JSON object")
