"""A sink's file turned over: renamed, compressed aside, the oldest ones removed.

    events.json ──rename──> events.json.20260101T000000.000000 ──gzip──> ... .gz

The rename is between two lines and takes no time. Compression is a thread's: into NAME.gz.part,
which takes the plain one's place when it is whole and safe; what a crash leaves is begun anew by
the next one. Names sort by time.
"""

from __future__ import annotations

import contextlib
import gzip
import logging
import os
import re
import shutil
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

_PIECE: Final = 1 << 20

_log = logging.getLogger("peeltap.events")


class Rotation:
    """Turns over when the file has `max_bytes`, or when a multiple of `seconds` since 1970 passed.

    `keep` files are kept besides the one that is written. `say` takes a level and a sentence.
    """

    def __init__(
        self,
        *,
        max_bytes: int | None = None,
        seconds: int | None = None,
        keep: int = 7,
        compress: bool = True,
        say: Callable[[int, str], None] = _log.log,
    ) -> None:
        self._max_bytes = max_bytes
        self._seconds = seconds
        self._keep = keep
        self._compress = compress
        self._say = say
        self._period = 0
        self._turned = 0
        self._failed = 0
        self._path: Path | None = None
        self._wanted = threading.Event()
        self._closed = False
        self._thread: threading.Thread | None = None

    def opened(self, written: float) -> None:
        """The file was opened; it was last `written` (seconds since 1970), or made, then."""
        self._period = self._period_of(written)

    def is_due(self, size: int, now: float) -> bool:
        """Whether a file of `size` bytes is to be turned over `now`."""
        if self._max_bytes is not None and size >= self._max_bytes:
            return True
        return self._period_of(now) != self._period

    def _period_of(self, at: float) -> int:
        return 0 if self._seconds is None else int(at // self._seconds)

    def turn(self, path: Path) -> None:
        """Rename the closed file `path`, and see to the others aside. Raises OSError."""
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%f")
        path.rename(path.with_name(f"{path.name}.{stamp}"))
        self._turned += 1
        self._path = path
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="rotation", daemon=True)
            self._thread.start()
        self._wanted.set()

    def _run(self) -> None:
        while True:
            self._wanted.wait()
            self._wanted.clear()
            if self._closed or self._path is None:
                return
            try:
                tidy(self._path, self._keep, compress=self._compress)
            except OSError as error:
                self._failed += 1
                self._say(
                    logging.WARNING,
                    f"older files of {self._path} cannot be compressed or removed"
                    f" ({error.strerror}): it is tried again at the next rotation; make room",
                )

    def status(self) -> dict[str, Any]:
        """Counters."""
        return {"rotated": self._turned, "rotations_failed": self._failed}

    def close(self) -> None:
        """What is being compressed may be left to the next start."""
        self._closed = True
        self._wanted.set()


def rotated(path: Path) -> list[Path]:
    """What was turned over of `path`, the oldest first, compressed or not. Raises OSError."""
    name = re.compile(rf"{re.escape(path.name)}\.(\d{{8}}T\d{{6}}\.\d{{6}})(\.gz)?", re.ASCII)
    return sorted(one for one in path.parent.iterdir() if name.fullmatch(one.name))


def tidy(path: Path, keep: int, *, compress: bool) -> None:
    """Compress what is not, remove what is beyond `keep`. Raises OSError."""
    for one in rotated(path)[:-keep]:
        one.with_name(one.name + ".gz.part").unlink(missing_ok=True)
        one.unlink(missing_ok=True)
    for one in rotated(path) if compress else ():
        if one.suffix != ".gz":
            _compress(one)


def _compress(plain: Path) -> None:
    part = plain.with_name(plain.name + ".gz.part")
    try:
        with plain.open("rb") as source, part.open("wb") as raw:
            os.fchmod(raw.fileno(), os.fstat(source.fileno()).st_mode & 0o7777)
            with gzip.GzipFile(plain.name, "wb", 6, raw) as target:
                shutil.copyfileobj(source, target, _PIECE)
            raw.flush()
            os.fsync(raw.fileno())
    except OSError:
        with contextlib.suppress(OSError):
            part.unlink()
        raise
    part.replace(plain.with_name(plain.name + ".gz"))
    plain.unlink()
