"""What may be odd about a line of EVE, as `stats` calls it; and a parser that bears with it."""

from __future__ import annotations

import json
from typing import Any, Final

import orjson

SENTENCES: Final = {
    "not_json": "not JSON",
    "cut": "cut before its end",
    "not_an_object": "JSON, but no object",
    "too_long": "longer than 16 MiB",
    "too_deep": "nested too deeply",
    "long_line": "longer than 1 MiB, corrected all the same",
    "invalid_utf8": "with invalid UTF-8, replaced by U+FFFD",
    "control_character": "with raw control characters, escaped",
    "two_on_a_line": "with two events on it, taken apart",
    "unusual_json": "with JSON that only a lenient parser reads, passed on as it is",
    "big_number": "with a number beyond 64 bits, kept to the digit",
    "bad_address_field": "with an address field of the wrong type, not corrected",
    "bad_timestamp": "without a usable timestamp, matched by its 5-tuple alone",
}


def lenient(text: bytes, odd: list[str]) -> tuple[object | None, str]:
    """The value of `text` and nothing, or None and the name of what is wrong with it."""
    try:
        return orjson.loads(text), ""
    except orjson.JSONDecodeError as error:
        # Where the text ends before its value does, the parser stops at the end.
        cut = error.pos >= len(error.doc) - 1 or "end of data" in error.msg
    try:
        event = json.loads(text, parse_constant=_refuse, parse_int=_any_int)
    except RecursionError:
        return None, "too_deep"
    except ValueError:
        return None, "cut" if cut and text.lstrip().startswith(b"{") else "not_json"
    odd.append("unusual_json")
    return event, ""


def _refuse(constant: str) -> None:
    # NaN and Infinity are no JSON, whatever Python's parser thinks.
    raise ValueError(constant)


def _any_int(digits: str) -> int:
    # Only small numbers are ever read; the text keeps the digits.
    return int(digits) if len(digits) <= 20 else 1 << 64


def read_event(line: bytes) -> dict[str, Any] | None:
    """The value of a line that the correction let through, or None if it is no object.

    Half surrogate pairs may be in it, which only a lenient parser reads; of integers beyond 64 bits
    only the line keeps the digits.
    """
    try:
        event = orjson.loads(line)
    except orjson.JSONDecodeError:
        try:
            event = json.loads(line)
        except (ValueError, RecursionError):
            return None
    return event if type(event) is dict else None
