"""Sentences for the log, each kind of them at most once in a while."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Final

AGAIN_SECONDS: Final = 60.0

_MAX_KINDS: Final = 256


class Notices:
    """Says a sentence of each kind at once, then not before `again_seconds`; with what was kept.

    `ended` says that a trouble is over, if it was told of.
    """

    def __init__(
        self,
        say: Callable[[int, str], None],
        *,
        again_seconds: float = AGAIN_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._say = say
        self._again = again_seconds
        self._clock = clock
        self._said: dict[str, tuple[float, int]] = {}

    def say(self, kind: str, sentence: str, level: int = logging.WARNING) -> None:
        """Say it, or count it."""
        now = self._clock()
        at, kept = self._said.get(kind, (float("-inf"), 0))
        if now - at < self._again:
            self._said[kind] = at, kept + 1
            return
        if len(self._said) >= _MAX_KINDS:
            self._said.clear()
        self._said[kind] = now, 0
        self._say(level, f"{sentence} ({kept} more of these not said)" if kept else sentence)

    def ended(self, kind: str, sentence: str) -> None:
        """The trouble `kind` is over; said only if it was."""
        if self._said.pop(kind, None) is not None:
            self._say(logging.INFO, sentence)
