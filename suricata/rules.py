"""Rule files: whether they changed, and the last ones that Suricata took.

Suricata reads rule files at each start and at each reload, leaves out what it refuses, and goes on
with the rest; a file that is absent it takes for an empty one. So that a slip of an editor disarms
nothing, files are tried by a second Suricata (`-T`) before the first is told to reload, and a copy
of the last accepted ones is kept, to start it with while the files are others.

    state DIRECTORY/rules/       001-my.rules 002-other.rules, the last accepted
                    rules.json   which files they were, to know after a restart what is loaded
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import orjson

Fingerprint = tuple[tuple[str, int, int, int], ...]
"""Name, inode, size and time of change (ns) of each file; zeros for one that is absent."""

_COPIES: Final = "rules"
_NOTE: Final = "rules.json"
_MAX_NOTE: Final = 1 << 20


def fingerprint(paths: Sequence[Path]) -> Fingerprint:
    """What tells a changed file without reading it."""
    found = []
    for path in paths:
        try:
            status = path.stat()
            found.append((str(path), status.st_ino, status.st_size, status.st_mtime_ns))
        except OSError:
            found.append((str(path), 0, 0, 0))
    return tuple(found)


def unreadable(paths: Sequence[Path]) -> list[str]:
    """A sentence for each file that cannot be read."""
    sentences = []
    for path in paths:
        try:
            if path.is_dir():
                sentences.append(f"{path} is a directory, not a rule file")
            else:
                path.open("rb").close()
        except OSError as error:
            sentences.append(f"{path} cannot be read: {error.strerror}")
    return sentences


class Accepted:
    """The copy of the last accepted rule files, in `directory`."""

    def __init__(self, directory: Path, paths: Sequence[Path]) -> None:
        self._directory = directory
        self._paths = list(paths)

    def keep(self, seen: Fingerprint) -> None:
        """Copy the rule files, which have the fingerprint `seen`. Raises OSError."""
        fresh = self._directory / f"{_COPIES}.new"
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(parents=True)
        for path, copy in zip(self._paths, self._copies(fresh), strict=True):
            shutil.copyfile(path, copy)
        current = self._directory / _COPIES
        shutil.rmtree(current, ignore_errors=True)
        fresh.rename(current)
        self.note(seen)

    def note(self, seen: Fingerprint) -> None:
        """Remember that files with this fingerprint are loaded. Raises OSError."""
        draft = self._directory / f"{_NOTE}.new"
        draft.write_bytes(orjson.dumps({"loaded": _digest(seen)}))
        draft.rename(self._directory / _NOTE)

    def is_loaded(self, seen: Fingerprint) -> bool:
        """Whether these files were the last to be loaded, as far as is known."""
        try:
            with (self._directory / _NOTE).open("rb") as note:
                said = orjson.loads(note.read(_MAX_NOTE))
        except (OSError, orjson.JSONDecodeError):
            return False
        return isinstance(said, dict) and said.get("loaded") == _digest(seen)

    def copies(self) -> list[Path] | None:
        """The copies, if there is one of each of the files; None otherwise."""
        copies = self._copies(self._directory / _COPIES)
        return copies if copies and all(copy.is_file() for copy in copies) else None

    def _copies(self, directory: Path) -> list[Path]:
        return [
            directory / f"{number:03d}-{path.name}" for number, path in enumerate(self._paths, 1)
        ]


def _digest(seen: Fingerprint) -> str:
    return hashlib.sha256(orjson.dumps(seen)).hexdigest()
