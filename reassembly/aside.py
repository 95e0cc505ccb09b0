"""An SQLite file that cannot be used makes room for a new one, and is kept for whoever asks why."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path


def move_aside(path: Path, now: int) -> Path:
    """Rename the file and what belongs to it to NAME.bad-TIME, for `now` in ns; its new path.

    Raises OSError.
    """
    stamp = datetime.fromtimestamp(now / 1e9, UTC).strftime("%Y%m%dT%H%M%S")
    target = path.with_name(f"{path.name}.bad-{stamp}")
    number = 1
    while target.exists():
        number += 1
        target = target.with_name(f"{path.name}.bad-{stamp}-{number}")
    path.rename(target)
    for suffix in ("-wal", "-shm"):
        # What belongs to the old file must not be read into the new one.
        beside = path.with_name(path.name + suffix)
        if beside.exists():
            beside.rename(target.with_name(target.name + suffix))
    return target
