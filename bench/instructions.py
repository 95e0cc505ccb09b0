"""Instructions a packet, in user space: reading, the engine, writing.

Counted for two captures of different length; the difference is free of start-up. The CPU's own
counter serves where the kernel offers it (``perf stat``); elsewhere valgrind's callgrind counts.
Unlike time, the figure does not depend on who else uses the machine.
"""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from bench.measure import MeasureError, run


def _command(mode: str, source: Path, sink: Path) -> list[str]:
    return [sys.executable, "-m", "bench.core_run", mode, str(source), str(sink)]


def by_counter(command: list[str], scratch: Path) -> int:
    """Instructions of ``command`` by the CPU's counter; ``MeasureError`` where there is none."""
    said = scratch / "perf.txt"
    perf = ["perf", "stat", "-x,", "-e", "instructions:u", "-o", str(said), "--"]
    run([*perf, *command])
    found = re.search(r"^(\d+),", said.read_text(), re.MULTILINE)
    if found is None:
        raise MeasureError("this machine offers no instruction counter")
    return int(found[1])


def by_valgrind(command: list[str], scratch: Path) -> int:
    """Instructions of ``command`` by callgrind; some fifty times slower than the command."""
    said = scratch / "callgrind.txt"
    tool = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={scratch / 'callgrind.out'}"]
    run([*tool, *command], environment={"PYTHONHASHSEED": "0"}, errors=said)
    found = re.search(r"Collected : (\d+)", said.read_text(errors="replace"))
    if found is None:
        raise MeasureError("callgrind did not say how many instructions it counted")
    return int(found[1])


Counter = Callable[[list[str], Path], int]


def choose(scratch: Path) -> tuple[str, Counter]:
    """What can count here, best first. Raises ``MeasureError`` if nothing can."""
    if shutil.which("perf"):
        try:
            by_counter(["true"], scratch)
            return "perf stat -e instructions:u", by_counter
        except MeasureError:
            pass
    if shutil.which("valgrind"):
        return "valgrind --tool=callgrind", by_valgrind
    raise MeasureError("neither perf counters nor valgrind are here: run make setup")


def a_packet(
    mode: str, short: tuple[Path, int], long: tuple[Path, int], scratch: Path, counter: Counter
) -> float:
    """Instructions for one packet, from two captures given as (path, packets)."""
    counts = []
    for source, _ in (short, long):
        sink = scratch / "instructions.pcap"
        counts.append(counter(_command(mode, source, sink), scratch))
        sink.unlink()
    return (counts[1] - counts[0]) / (long[1] - short[1])
