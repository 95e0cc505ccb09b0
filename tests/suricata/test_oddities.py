"""The words for odd lines."""

from __future__ import annotations

from suricata.enrich import LONG_LINE_BYTES, MAX_LINE_BYTES
from suricata.oddities import SENTENCES


def test_sizes_in_words_are_the_limits() -> None:
    assert SENTENCES["too_long"] == f"longer than {MAX_LINE_BYTES >> 20} MiB"
    assert SENTENCES["long_line"].startswith(f"longer than {LONG_LINE_BYTES >> 20} MiB, ")
