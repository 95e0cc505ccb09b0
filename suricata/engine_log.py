"""Suricata's own log, as JSON: read whole after a run, or followed while it lives.

{"timestamp": ..., "log_level": "Error", "event_type": "engine",
 "engine": {"message": "unknown rule keyword 'foo'.", "thread_name": ..., "module": ...}}
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

import orjson

MAX_BYTES: Final = 1 << 20
"""Of a log that a failing program may fill without end so much is read at a time."""

STARTED: Final = "Engine started."
"""How the message ends that says that packets are being looked at."""

SERIOUS: Final = ("Error", "Emergency", "Alert", "Critical")

_BAD_RULE: Final = re.compile(
    r'error parsing signature "(?P<rule>.*)" from file (?P<file>.*) at line (?P<line>\d+)',
    re.DOTALL,
)


class Entry(NamedTuple):
    """One line of the log."""

    level: str
    text: str


@dataclass(frozen=True, slots=True)
class BadRule:
    """A rule that Suricata refused, and why."""

    file: str
    line: int
    reason: str
    rule: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: Suricata refuses this rule: {self.reason}"


def entries(text: bytes | str) -> Iterator[Entry]:
    """The entries in lines of the log; a line that was cut is left out."""
    for line in text.splitlines():
        try:
            entry = orjson.loads(line)
            level, message = entry["log_level"], entry["engine"]["message"]
        except (orjson.JSONDecodeError, KeyError, TypeError):
            continue
        if isinstance(level, str) and isinstance(message, str):
            yield Entry(level, message)


def bad_rules(errors: Sequence[str]) -> list[BadRule]:
    """The refused rules among the texts of errors, in order."""
    found = []
    for at, text in enumerate(errors):
        match = _BAD_RULE.search(text)
        if match is None:
            continue
        # Suricata says the reason first, then which rule it was.
        before = errors[at - 1] if at else ""
        reason = before if before and _BAD_RULE.search(before) is None else "it does not say why"
        found.append(BadRule(match["file"], int(match["line"]), reason.strip(), match["rule"]))
    return found


@dataclass(frozen=True, slots=True)
class Said:
    """Entries sorted by what they are for; `errors` and `warnings` are told once each."""

    started: bool
    bad: list[BadRule]
    errors: list[str]
    warnings: list[str]


def sort(found: Iterable[Entry]) -> Said:
    """Sort entries that were written together."""
    every = list(found)
    serious = [entry.text for entry in every if entry.level in SERIOUS]
    # Of a refused rule there are two entries: the reason, and then which one it was.
    about = {at for at, text in enumerate(serious) if _BAD_RULE.search(text)}
    errors = [text for at, text in enumerate(serious) if at not in about and at + 1 not in about]
    return Said(
        started=any(entry.text.endswith(STARTED) for entry in every),
        bad=bad_rules(serious),
        errors=list(dict.fromkeys(errors)),
        warnings=list(dict.fromkeys(e.text for e in every if e.level == "Warning")),
    )


def tail(path: Path) -> str:
    """The last `MAX_BYTES` of a file; nothing if it cannot be read."""
    try:
        with path.open("rb") as log:
            log.seek(max(0, path.stat().st_size - MAX_BYTES))
            return log.read(MAX_BYTES).decode(errors="replace")
    except OSError:
        return ""


class Follower:
    """What was added to the log since the last look."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._position = 0
        self._inode: int | None = None

    def skip(self) -> None:
        """Leave out what is there already."""
        try:
            status = self._path.stat()
            self._position, self._inode = status.st_size, status.st_ino
        except OSError:
            self._position, self._inode = 0, None

    def read(self) -> list[Entry]:
        """The entries that are whole by now; at most `MAX_BYTES` of them. Never raises."""
        try:
            with self._path.open("rb") as log:
                return self._read(log.fileno())
        except OSError:
            return []

    def _read(self, descriptor: int) -> list[Entry]:
        status = os.fstat(descriptor)
        if status.st_size < self._position or self._inode not in (None, status.st_ino):
            # Begun anew, or cut by whoever tends logs.
            self._position = 0
        self._inode = status.st_ino
        data = os.pread(descriptor, MAX_BYTES, self._position)
        whole = data.rfind(b"\n") + 1
        if not whole and len(data) == MAX_BYTES:
            # A line without an end is no entry.
            whole = len(data)
        self._position += whole
        return list(entries(data[:whole]))
