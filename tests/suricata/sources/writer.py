"""A writer of EVE and its rotation, as Suricata and logrotate do both."""

from __future__ import annotations

import os
import shutil
from pathlib import Path


class Writer:
    """Appends numbered lines to `path`; `lines` are all that were ever written.

    Every change moves the files' times on by a second: here all happens in one tick of the kernel.
    """

    def __init__(self, path: Path, prefix: str = "") -> None:
        self.path = path
        self.prefix = prefix
        self.lines: list[bytes] = []
        self._pending = b""
        self._clock = 1_000_000_000
        self._file = path.open("ab", buffering=0)
        self._touch(path)

    def _touch(self, path: Path) -> None:
        self._clock += 1
        os.utime(path, (self._clock, self._clock))

    def _line(self) -> bytes:
        number = len(self.lines)
        line = b'{"timestamp":"%s%07d","n":%d}\n' % (self.prefix.encode(), number, number)
        self.lines.append(line)
        return line

    def append(self, count: int, *, torn: int = 0) -> None:
        """Write whole lines; of the last one `torn` bytes stay back until the next call."""
        data = self._pending + b"".join(self._line() for _ in range(count))
        at = len(data) - torn
        self._file.write(data[:at])
        self._pending = data[at:]
        os.utime(self._file.fileno(), (self._clock + 1, self._clock + 1))
        self._clock += 1

    def finish(self) -> None:
        """Write what stayed back."""
        self.append(0)

    def _shift(self) -> Path:
        """Rotated files go one number up."""
        there = {int(one.suffix[1:]): one for one in self.path.parent.glob(f"{self.path.name}.*")}
        for number in sorted(there, reverse=True):
            there[number].rename(f"{self.path}.{number + 1}")
        return Path(f"{self.path}.1")

    def rename(self) -> None:
        """logrotate with `create` and Suricata's reopening."""
        self.finish()
        self.path.rename(self._shift())
        self._file.close()
        self._file = self.path.open("ab", buffering=0)
        self._touch(self.path)

    def copytruncate(self) -> None:
        """logrotate with `copytruncate`."""
        self.finish()
        copy = self._shift()
        shutil.copyfile(self.path, copy)
        self._touch(copy)
        os.truncate(self.path, 0)
        self._touch(self.path)

    def both(self) -> None:
        """One after the other."""
        self.copytruncate()
        self.append(5)
        self.rename()

    def close(self) -> None:
        self._file.close()
