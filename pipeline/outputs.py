"""Output files that never look whole before they are.

A file is written under another name beside its own (`clean.pcap` as `clean.part.pcap`) and takes
its name, in one step, when it is complete. A run that fails or is interrupted leaves the part,
valid as far as it goes, and whatever stood under the real name before.

`-` is standard output; pipes and devices are written directly.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from pipeline.errors import RunError, UsageError

STANDARD = "-"


class Output:
    """One output: `work` is where its bytes are, now and after `commit` or `abandon`."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.standard = name == STANDARD
        self._final: Path | None = None
        self.work = name
        if self.standard:
            return
        final = Path(os.path.realpath(name))
        if not final.exists() or stat.S_ISREG(final.stat().st_mode):
            self._final = final
            self.work = str(final.with_name(f"{final.stem}.part{final.suffix}"))

    @property
    def regular(self) -> bool:
        """Whether the finished output is a file that can be opened again by its name."""
        return self._final is not None

    def prepare(self) -> None:
        """Make the empty part; raises RunError if nothing can be written there."""
        if self.standard or self._final is None:
            return
        try:
            if self._final.exists() and not os.access(self._final, os.W_OK):
                raise PermissionError(13, os.strerror(13))
            Path(self.work).write_bytes(b"")
        except OSError as error:
            raise RunError(f"{self.name}: cannot be written: {error.strerror}") from None

    def commit(self) -> None:
        """Give the finished part its name."""
        if self._final is not None and Path(self.work).exists():
            Path(self.work).replace(self._final)
            self.work, self._final = str(self._final), None

    def abandon(self) -> str | None:
        """Leave the part where it holds something; gives its path, or None."""
        if self._final is None:
            return None
        part = Path(self.work)
        with contextlib.suppress(OSError):
            if part.stat().st_size:
                return str(part)
            part.unlink()
        return None


def refuse_clashes(inputs: Iterable[str], outputs: Iterable[Output]) -> None:
    """Raise UsageError where an output is also an input, or two outputs are one file."""
    taken: dict[tuple[int, int] | str, str] = {}
    for name in inputs:
        if name != STANDARD:
            taken[_identity(name)] = f"is also an input ({name})"
    for output in outputs:
        for path in {output.name, output.work}:
            key = STANDARD if output.standard else _identity(path)
            if key in taken:
                raise UsageError(f"{path}: {taken[key]}; give another name for the output")
        key = STANDARD if output.standard else _identity(output.name)
        taken[key] = "is named for two outputs"


def _identity(path: str) -> tuple[int, int] | str:
    """Tell files apart: by device and inode where they exist, else by their full path."""
    try:
        status = Path(path).stat()
    except OSError:
        return os.path.realpath(path)
    return (status.st_dev, status.st_ino) if stat.S_ISREG(status.st_mode) else f"special {path}"


@contextlib.contextmanager
def open_sink(output: Output | None) -> Iterator[BinaryIO | None]:
    """Open an output for bytes; errors while it is written name it, not its part."""
    if output is None:
        yield None
        return
    try:
        if output.standard:
            with open(1, "wb", closefd=False) as sink:
                yield sink
        else:
            with Path(output.work).open("wb") as sink:
                yield sink
    except BrokenPipeError:
        raise
    except OSError as error:
        if error.filename is not None and error.filename != output.work:
            raise
        raise RunError(f"{output.name}: {error.strerror}") from None
