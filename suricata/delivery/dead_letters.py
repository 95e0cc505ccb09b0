"""What a sink will never take: kept for a person, in a bounded file for each sink.

    {"time": "2026-01-01T00:00:00.000000+0000", "id": "...", "reason": "...", "line": "{...}"}

At some MiB the file becomes NAME.1, and what was there before goes.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from hashlib import blake2b
from pathlib import Path
from typing import Final, NamedTuple

import orjson

MAX_BYTES: Final = 16 << 20

_REASON: Final = 1000
_LINE: Final = 64 << 10
_ODD: Final = re.compile(r"[^A-Za-z0-9._-]+")


class Letter(NamedTuple):
    """One event, and why it was refused."""

    id: str
    reason: str
    line: bytes


class DeadLetters:
    """The file of sink `name` in `directory`; both are made with the first letter."""

    def __init__(self, directory: Path, name: str, *, max_bytes: int = MAX_BYTES) -> None:
        # Names differ in what a file's name may not have.
        mark = blake2b(name.encode(), digest_size=4).hexdigest()
        plain = _ODD.sub("-", name).strip("-.")[:64]
        self.path = directory / f"{plain}-{mark}.jsonl"
        self._max = max_bytes
        self.count = 0

    def add(self, letters: Sequence[Letter]) -> None:
        """Keep `letters`. Raises OSError; then none of them counts as kept."""
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f%z")
        text = b"".join(
            orjson.dumps(
                {
                    "time": now,
                    "id": letter.id,
                    "reason": letter.reason[:_REASON].encode(errors="replace").decode(),
                    "line": letter.line[:_LINE].decode(errors="replace"),
                },
                None,
                orjson.OPT_APPEND_NEWLINE,
            )
            for letter in letters
        )
        self.path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
        fd = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
        try:
            size = os.fstat(fd).st_size
            if size and size + len(text) > self._max:
                self.path.replace(self.path.with_name(self.path.name + ".1"))
                os.close(fd)
                fd = os.open(
                    self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640
                )
                size = 0
            view = memoryview(text)
            try:
                while view:
                    view = view[os.write(fd, view) :]
            except OSError:
                os.ftruncate(fd, size)
                raise
            os.fdatasync(fd)
        finally:
            os.close(fd)
        self.count += len(letters)
