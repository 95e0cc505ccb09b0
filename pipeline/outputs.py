"""Output files that never look whole before they are.

A file is written under another name beside its own (`clean.pcap` as `clean.part.pcap`) and takes
its name, in one step, when it is complete. A run that fails or is interrupted leaves the part,
valid as far as it goes, and whatever stood under the real name before.

`-` is standard output; pipes and devices are written directly. A flow store is added to.
"""

from __future__ import annotations

import contextlib
import io
import os
import stat
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from pipeline.errors import RunError, UsageError

if TYPE_CHECKING:
    from reassembly.store import SqliteStore

STANDARD = "-"

STORE_SUFFIXES = (".sqlite", ".sqlite3", ".db")
"""Names of flow stores; any other file of flow records holds JSON lines."""


# As far back as integers of 64 bits reach.
_UNBOUNDED_SECONDS = 5e9


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


class StoreOutput(Output):
    """A flow store, to which flow records are added: what was in it stays.

    The records of an unfinished run stay as well, each of them whole. A file replaced under a store
    that another process has open would be damaged, so there is no part of it.
    """

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.work, self._final = name, None
        self._store: SqliteStore | None = None
        self._new = False

    def prepare(self) -> None:
        """Open or make the store; raises RunError if it cannot be used."""
        from reassembly.store import SqliteStore, StoreError

        self._new = not Path(self.name).exists()
        try:
            # A capture is asked for as a whole; a service that opens the store sets bounds.
            self._store = SqliteStore(
                self.name, max_records=sys.maxsize, retention_seconds=_UNBOUNDED_SECONDS
            )
        except StoreError as error:
            raise RunError(str(error)) from None

    def write(self, lines: bytes) -> int:
        """Add flow records, given as the core gives them; raises RunError."""
        from reassembly.records import Garbage, read_records
        from reassembly.store import StoreError

        if self._store is None:
            raise RunError(f"{self.name}: is not open")
        try:
            self._store.add_many(read_records(io.BytesIO(lines), Garbage()))
        except StoreError as error:
            raise RunError(str(error)) from None
        return len(lines)

    def commit(self) -> None:
        """Close the store."""
        if self._store is not None:
            self._store.close()
            self._store = None

    def abandon(self) -> str | None:
        """Close the store, remove it if it is new and empty; gives its path if it holds records."""
        if self._store is None:
            return None
        held = len(self._store)
        self.commit()
        if held:
            return self.name
        if self._new:
            Path(self.name).unlink(missing_ok=True)
        return None


class Sink(Protocol):
    """What takes bytes."""

    def write(self, data: bytes, /) -> int:
        """Take all of `data`."""


def flow_output(name: str) -> Output:
    """Give the output for flow records that `name` asks for: a store or JSON lines."""
    return StoreOutput(name) if name.endswith(STORE_SUFFIXES) else Output(name)


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
def open_sink(output: Output | None) -> Iterator[Sink | None]:
    """Open an output for bytes; errors while it is written name it, not its part."""
    if output is None or isinstance(output, StoreOutput):
        yield output
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
