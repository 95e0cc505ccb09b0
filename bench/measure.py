"""Run one command; say what it cost.

CPU time and peak memory come from ``wait4``, so they are of the whole process and of the children
it waited for: interpreter start, imports and summary included.
"""

from __future__ import annotations

import os
import resource
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


class MeasureError(Exception):
    """Something could not be measured; the text is one sentence with the remedy."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What one run took: seconds, and bytes of resident memory at its peak."""

    user: float
    system: float
    wall: float
    peak: int

    @property
    def cpu(self) -> float:
        return self.user + self.system


def run(
    command: Sequence[str],
    *,
    environment: Mapping[str, str] | None = None,
    output: Path | None = None,
    errors: Path | None = None,
) -> Cost:
    """Run ``command`` to its end and return its cost.

    Standard output goes to ``output``, standard error to ``errors``; without them both are thrown
    away, except that the end of standard error is shown if the command fails. Raises
    ``MeasureError`` if it cannot be started or its exit code is not 0.

    The kernel counts the memory of the process between fork and exec too, so ``peak`` is never
    below ``floor()``: keep the calling process small.
    """
    with (
        (output or Path(os.devnull)).open("wb") as out,
        errors.open("w+b") if errors else tempfile.TemporaryFile() as err,
    ):
        started = time.monotonic()
        try:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                env={**os.environ, **(environment or {})},
            )
        except OSError as error:
            raise MeasureError(f"{command[0]} did not start: {error.strerror}") from error
        try:
            _, status, used = os.wait4(process.pid, 0)
        except BaseException:
            process.kill()
            process.wait()
            raise
        wall = time.monotonic() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            err.seek(0)
            said = err.read()[-800:].decode(errors="replace").strip()
            raise MeasureError(f"{' '.join(command)}: exit code {process.returncode}: {said}")
    return Cost(used.ru_utime, used.ru_stime, wall, used.ru_maxrss * 1024)


def floor() -> int:
    """The smallest peak that ``run`` can report: this process's own, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
