"""The words for odd lines."""

from __future__ import annotations

import pytest

from suricata.enrich import LONG_LINE_BYTES, MAX_LINE_BYTES
from suricata.oddities import SENTENCES, read_event


def test_sizes_in_words_are_the_limits() -> None:
    assert SENTENCES["too_long"] == f"longer than {MAX_LINE_BYTES >> 20} MiB"
    assert SENTENCES["long_line"].startswith(f"longer than {LONG_LINE_BYTES >> 20} MiB, ")


@pytest.mark.parametrize(
    ("line", "event"),
    [
        (b'{"a":1}\n', {"a": 1}),
        (b'{"a":123456789012345678901234567890}', {"a": 123456789012345678901234567890.0}),
        (b'{"a":"\\ud800"}', {"a": "\ud800"}),
        (b"[1]", None),
        (b"{", None),
        (b"[" * 100_000, None),
    ],
    ids=["usual", "big number", "half a pair", "no object", "cut", "deep"],
)
def test_what_was_let_through_is_read_again(line: bytes, event: object) -> None:
    assert read_event(line) == event
