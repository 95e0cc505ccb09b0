"""A file that is read again when it changes."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Final, Generic, TypeVar

T = TypeVar("T")

LOOK_SECONDS: Final = 10.0


class EnrichmentError(Exception):
    """What an operator has to put right: file, what is wrong with it, remedy, in one sentence."""


class Watched(Generic[T]):
    """What `load` makes of the file at `path`.

    It is loaded at once; EnrichmentError, which `load` raises, gets through. Later a file that is
    gone or wrong is a `trouble`, and what was loaded before it serves on.
    """

    def __init__(
        self, path: Path, load: Callable[[Path], T], *, look_seconds: float = LOOK_SECONDS
    ) -> None:
        self.path = path
        self._load = load
        self._look_seconds = look_seconds
        self._look_at = 0.0
        self._seen = _look(path)
        self._value = load(path)
        self.trouble: str | None = None
        self.loads = 1

    @property
    def value(self) -> T:
        """What the file held when it was last loaded."""
        return self._value

    def refresh(self, now: float) -> bool:
        """Load anew what has changed, if it is time to look; whether there is another value.

        `now`: seconds of a clock that does not run backwards.
        """
        if now < self._look_at:
            return False
        self._look_at = now + self._look_seconds
        seen = _look(self.path)
        if seen is None:
            self.trouble = f"{self.path} is gone; what was read from it before serves on"
            # Whatever comes in its place is another file.
            self._seen = None
            return False
        if seen == self._seen and self.trouble is None:
            return False
        try:
            self._value = self._load(self.path)
        except EnrichmentError as error:
            self.trouble = f"{error}; what was read from it before serves on"
            return False
        self._seen = seen
        self.trouble = None
        self.loads += 1
        return True


def _look(path: Path) -> tuple[int, int, int] | None:
    try:
        found = os.stat(path)  # noqa: PTH116 - a plain look, without a Path's detours
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
