"""The file between Suricata and peeltap: turned over when long, its cut end mended.

    eve.json  ──>  eve.json.1  ──>  eve.json.2  ──>  gone         (`eve_keep: 2`)

Suricata goes on writing to a file that was renamed until it is told to open its files anew; whoever
reads follows the rename. Threaded output has a file for each thread, eve.N.json, treated alike.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final

_NAMES: Final = re.compile(r"eve(\.\d+)?\.json")


def files(directory: Path) -> list[Path]:
    """The files that Suricata writes to now, in order of their names. Raises OSError."""
    return sorted(path for path in directory.iterdir() if _NAMES.fullmatch(path.name))


def mend_end(path: Path) -> bool:
    """End the last line of a file whose writer was killed; whether it had to be. Raises OSError.

    Otherwise the next Suricata's first event would stand on the line of the killed one's last.
    """
    with path.open("r+b") as file:
        end = file.seek(0, os.SEEK_END)
        if end == 0:
            return False
        file.seek(end - 1)
        if file.read(1) == b"\n":
            return False
        file.write(b"\n")
        return True


def turn_over(path: Path, keep: int) -> None:
    """Rename the file to NAME.1, the older ones one up; beyond `keep` they go. Raises OSError."""
    older = [path.with_name(f"{path.name}.{number}") for number in range(1, keep + 1)]
    for newer, name in zip(reversed([path, *older[:-1]]), reversed(older), strict=True):
        if newer.exists():
            newer.replace(name)
