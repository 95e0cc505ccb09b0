"""Carries EVE between files and pipes through an Enricher: bytes in and out, and the clock.

Follows nothing: a file ends at its end, a pipe when its writer closes it. Whole lines are written,
and in a pipe they go on as soon as they come in. `-` is standard input or output.
"""

from __future__ import annotations

import gc
import os
import select
import stat
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

from .enrich import Enricher
from .flows import FlowStore
from .summary import AlertSummary

# Half of a usual second-level cache: with 256 KiB an event costs a seventh more.
READ_BYTES: Final = 1 << 16
_TICK_SECONDS: Final = 0.25

Progress = Callable[[int, "int | None"], None]


class EnrichError(Exception):
    """A file or pipe of events cannot be used; the text is one sentence that names it."""


@dataclass(frozen=True, slots=True)
class Report:
    """What became of the lines (`Enricher.stats`), a sentence for each oddity, and the alerts.

    `closed_early`: the reader of the output went away before its end (`| head`).
    """

    stats: dict[str, Any]
    warnings: list[str]
    alerts: AlertSummary
    closed_early: bool


def enrich_file(
    source: str | Path,
    target: str | Path,
    store: FlowStore,
    *,
    community_id_seed: int = 0,
    wait_events: int = 0,
    wait_seconds: float = 5.0,
    rejects: str | Path | None = None,
    progress: Progress | None = None,
) -> Report:
    """Correct the events of `source` into `target`; paths, or `-` for the standard streams.

    `wait_events=0`: the store is complete, nothing waits. `rejects` is a file for the lines that
    are no events. `progress` is called with bytes read and, for a file, bytes in all. Raises
    EnrichError.
    """
    with ExitStack() as stack:
        reader = stack.enter_context(_reader(source))
        # Compared before the output is opened, which would empty it.
        _tell_apart(reader, source, target, rejects)
        writer = stack.enter_context(_writer(target))
        aside = None if rejects is None else stack.enter_context(_writer(rejects))
        enricher = Enricher(
            store,
            community_id_seed=community_id_seed,
            wait_events=wait_events,
            wait_seconds=wait_seconds,
            rejects=None if aside is None else lambda line: _write(aside, line, str(rejects)),
        )
        closed_early = False
        # What is parsed here holds no cycles, so reference counts free it all; the collector would
        # only walk the store's records again and again.
        collecting = gc.isenabled()
        gc.disable()
        try:
            _carry(reader, writer, enricher, str(source), str(target), progress)
        except BrokenPipeError:
            closed_early = True
        finally:
            if collecting:
                gc.enable()
    return Report(enricher.stats(), enricher.warnings(), enricher.alerts, closed_early)


def _carry(
    reader: int,
    writer: int,
    enricher: Enricher,
    source: str,
    target: str,
    progress: Progress | None,
) -> None:
    status = os.fstat(reader)
    total = status.st_size if stat.S_ISREG(status.st_mode) else None
    done = 0
    while True:
        # A pipe may be silent for long; what waits in the enricher must not wait with it.
        if total is None and enricher.waiting:
            ready, _, _ = select.select([reader], [], [], _TICK_SECONDS)
            if not ready:
                _write(writer, enricher.tick(time.monotonic()), target)
                continue
        try:
            data = os.read(reader, READ_BYTES)
        except OSError as error:
            raise EnrichError(f"{_name(source)} cannot be read: {error.strerror}") from error
        if not data:
            break
        _write(writer, enricher.feed(data, time.monotonic()), target)
        done += len(data)
        if progress is not None:
            progress(done, total)
    _write(writer, enricher.flush(), target)


def _write(fd: int, data: bytes, name: str) -> None:
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(fd, view) :]
        except BrokenPipeError:
            raise
        except OSError as error:
            raise EnrichError(f"{_name(name)} cannot be written to: {error.strerror}") from error


def _name(path: str) -> str:
    return "standard stream" if path == "-" else path


@contextmanager
def _reader(source: str | Path) -> Iterator[int]:
    if str(source) == "-":
        yield sys.stdin.fileno()
        return
    with _opened(source, "rb", "read") as file:
        yield file.fileno()


@contextmanager
def _writer(target: str | Path) -> Iterator[int]:
    if str(target) == "-":
        sys.stdout.flush()
        yield sys.stdout.fileno()
        return
    with _opened(target, "wb", "written to") as file:
        yield file.fileno()


def _opened(path: str | Path, mode: str, what: str) -> BinaryIO:
    try:
        file: BinaryIO = Path(path).open(mode)  # type: ignore[assignment]  # noqa: SIM115
    except OSError as error:
        raise EnrichError(f"{path} cannot be {what}: {error.strerror}") from error
    return file


def _tell_apart(
    reader: int, source: str | Path, target: str | Path, rejects: str | Path | None
) -> None:
    """Raise EnrichError if an output is the input: opening it would empty what is to be read."""
    status = os.fstat(reader)
    for other in (target, rejects):
        if other is None or str(other) == "-" or not stat.S_ISREG(status.st_mode):
            continue
        try:
            same = os.path.samestat(status, Path(other).stat())
        except OSError:
            continue
        if same:
            raise EnrichError(f"{other} is the input {source} itself: name another output")
    if rejects is not None and str(rejects) != "-" and str(rejects) == str(target):
        raise EnrichError(f"{target} is named for both events and rejected lines: name two files")
