"""Replays the corpus of the EVE target, without a fuzzer."""

from __future__ import annotations

from pathlib import Path

import pytest

from .eve import CORPUS, check


@pytest.mark.parametrize("path", sorted(CORPUS.iterdir()), ids=lambda path: path.name)
def test_every_input_holds(path: Path) -> None:
    check(path.read_bytes())
