"""EVE from files: one path, or the `eve.N.json` of Suricata's threaded output.

Looked at by `stat` a few times a second, not by inotify: a watch says nothing of network and
overlay file systems, and a read is needed all the same.
"""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, cast

from .follow import Mark
from .position import Keeper, StateFile
from .rotation import LINGER_SECONDS, Rotating
from .source import Batch, SourceError

POLL_SECONDS: Final = 0.1

# New files of threads are looked for at most this often.
_DISCOVER_SECONDS: Final = 1.0

# Suricata's threads are as many as cores, and a few.
_MAX_THREADS: Final = 1024

STATE_FILE: Final = "events-position.json"


class FileSource:
    """Follows `path` from where `state`, a keeper or a directory, says that it was left.

    `threaded`: Suricata writes `eve.N.json` for each of its threads; None finds that out, by the
    plain file not being there. `from_end` leaves out what is there when nothing was read before.
    `notice` takes a sentence whenever something is lost.
    """

    def __init__(
        self,
        path: Path,
        state: Path | Keeper,
        *,
        threaded: bool | None = None,
        from_end: bool = False,
        notice: Callable[[str], None] = lambda _: None,
        poll_seconds: float = POLL_SECONDS,
        linger_seconds: float = LINGER_SECONDS,
    ) -> None:
        self._path = path
        self._state = StateFile(state / STATE_FILE) if isinstance(state, Path) else state
        self._threaded = threaded
        self._notice = notice
        self._poll = poll_seconds
        self._linger = linger_seconds
        self._saved, why = self._state.load()
        if why is not None:
            notice(why)
        # A file of a thread that comes later is new, and wanted from its beginning.
        self._from_end = from_end and not self._saved
        self._files: dict[str, Rotating] = {}
        self._held: dict[str, set[int]] = {}
        self._turn = 0
        self._discover_at = 0.0
        self._gather_until = 0.0
        stem, suffix = path.name.removesuffix(path.suffix), path.suffix
        self._of_thread = re.compile(rf"{re.escape(stem)}\.\d{{1,5}}{re.escape(suffix)}", re.ASCII)
        for name in self._saved:
            self._follow(name)

    @property
    def name(self) -> str:
        """The path."""
        return str(self._path)

    @property
    def rereads(self) -> bool:
        """See Source."""
        return True

    def read(self, max_bytes: int, timeout: float) -> Batch | None:
        """See Source: each file in turn."""
        # A batch costs as much as ten events: a trickle is let gather for half a poll.
        rest = min(timeout, self._gather_until - time.monotonic())
        if rest > 0:
            time.sleep(rest)
        batch = self._read(max_bytes)
        if batch is None and timeout > 0:
            time.sleep(min(timeout, self._poll))
            batch = self._read(max_bytes)
        if batch is not None and len(batch.lines) < max_bytes // 2:
            self._gather_until = time.monotonic() + self._poll / 2 / len(self._files)
        return batch

    def _read(self, max_bytes: int) -> Batch | None:
        now = time.monotonic()
        if now >= self._discover_at:
            self._discover_at = now + _DISCOVER_SECONDS if self._files else now
            self._discover()
            # What comes after the first look was not there before it.
            self._from_end = False
        files = list(self._files.values())
        trouble: SourceError | None = None
        for step in range(len(files)):
            # The one after the last that gave anything: a busy thread does not starve the others.
            at = (self._turn + step) % len(files)
            try:
                found = files[at].read(max_bytes, now)
            except SourceError as error:
                trouble = error
                continue
            except OSError as error:
                trouble = SourceError(f"{files[at].path} cannot be read ({error.strerror})")
                continue
            if found is not None:
                self._turn = at + 1
                lines, mark = found
                return Batch(lines, (files[at], mark), mark.generation.ids())
        self._remember()
        if trouble is not None:
            raise trouble
        return None

    def _remember(self) -> None:
        """Save which files there are when that has changed: one of them may be rotated away."""
        held = {name: one.inodes() for name, one in self._files.items()}
        if held == self._held or not any(held.values()):
            return
        self._held = held
        # If it cannot be, `commit` says so.
        with contextlib.suppress(OSError):
            self._save()

    def _save(self) -> None:
        self._state.save({name: one.positions() for name, one in self._files.items()})

    def _discover(self) -> None:
        plain = self._path.name
        if self._threaded is False or (self._threaded is None and plain in self._files):
            self._follow(plain)
            return
        if self._threaded is None and self._path.exists():
            self._follow(plain)
            return
        held = {inode for one in self._files.values() for inode in one.inodes()}
        try:
            entries = sorted(self._path.parent.iterdir())
        except OSError:
            return
        for entry in entries:
            if not self._of_thread.fullmatch(entry.name) or entry.name in self._files:
                continue
            try:
                if entry.stat().st_ino in held:
                    continue
            except OSError:
                continue
            self._follow(entry.name)

    def _follow(self, name: str) -> None:
        if name in self._files or len(self._files) >= _MAX_THREADS:
            return
        self._files[name] = Rotating(
            self._path.parent / name,
            saved=self._saved.get(name, ()),
            from_end=self._from_end,
            notice=self._notice,
            linger_seconds=self._linger,
        )

    def look(self) -> None:
        """See Source: a file that is rotated away is held open."""
        now = time.monotonic()
        for one in self._files.values():
            one.look(now)
        self._remember()

    def commit(self, tokens: Sequence[object]) -> None:
        """See Source."""
        for token in tokens:
            place = cast("tuple[Rotating, Mark]", token)
            place[0].settle(place[1])
        self._save()

    def status(self) -> dict[str, Any]:
        """See Source."""
        files = list(self._files.values())
        return {
            "kind": "file",
            "path": str(self._path),
            "files": len(files),
            "backlog": sum(one.backlog() for one in files),
            "rotations": sum(one.rotations for one in files),
            "emptied": sum(one.emptied for one in files),
            "gaps": sum(one.gaps for one in files),
            "too_long": sum(one.too_long for one in files),
        }

    def close(self) -> None:
        """Let go of the files."""
        for one in self._files.values():
            one.close()
