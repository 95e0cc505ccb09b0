"""Progress of long work: a bar on a terminal, nothing in a pipe."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import Protocol


class Progress(Protocol):
    """What the work tells of itself."""

    def update(self, packets: int, done: int, total: int | None) -> None:
        """Say how many packets were handled (0: not counted), and how many bytes of how many."""

    def stage(self, text: str) -> None:
        """Say what is being done now, where no numbers are known."""


class Silent:
    """Progress that nobody watches."""

    def update(self, packets: int, done: int, total: int | None) -> None:
        """Do nothing."""

    def stage(self, text: str) -> None:
        """Do nothing."""


class _Bar:
    """A rich progress bar with packets/s and the time left."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            DownloadColumn,
            Progress,
            SpinnerColumn,
            TextColumn,
            TimeRemainingColumn,
        )

        self.bar = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(binary_units=True),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
        )
        self._task = self.bar.add_task("taking headers out", total=None, rate="")

    def update(self, packets: int, done: int, total: int | None) -> None:
        elapsed = self.bar.tasks[0].elapsed or 0.0
        rate = f"{packets / elapsed:,.0f} packets/s" if packets and elapsed > 0.2 else ""
        self.bar.update(self._task, completed=done, total=total, rate=rate)

    def stage(self, text: str) -> None:
        self.bar.reset(self._task, total=None, description=text, rate="")


@contextlib.contextmanager
def progress(*, quiet: bool) -> Iterator[Progress]:
    """Give what shows progress: a bar on standard error if that is a terminal, else nothing."""
    if quiet or not sys.stderr.isatty():
        yield Silent()
        return
    bar = _Bar()
    with bar.bar:
        yield bar
