"""Who used how much of the processor.

The kernel counts the time of each thread to the nanosecond (schedstat). Work that it does for
packets between threads is counted to the thread that caused it: of a packet sent through a virtual
link everything up to the last receiver's ring is the sender's, of one written to a tap it is the
writer's. What is left for later is ksoftirqd's. So the sum of the sender, of all programs that
handle the packets and of ksoftirqd is what the packets cost, whoever was charged, and the same sum
without those programs is what they would cost anyway.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")


def kernel_threads() -> list[int]:
    """ksoftirqd, one a processor."""
    found = []
    for path in PROC.glob("[0-9]*"):
        try:
            if (path / "comm").read_text().startswith("ksoftirqd/"):
                found.append(int(path.name))
        except OSError:  # it ended meanwhile
            continue
    return found


def used(pids: Iterable[int]) -> dict[int, int]:
    """Nanoseconds that each process has used so far, all its threads."""
    found = {}
    for pid in pids:
        total = 0
        for thread in PROC.glob(f"{pid}/task/[0-9]*"):
            try:
                total += int((thread / "schedstat").read_text().split()[0])
            except OSError:  # it ended meanwhile
                continue
        found[pid] = total
    return found


@dataclass(frozen=True, slots=True)
class Memory:
    """Resident bytes, and those of them that are this process's alone or its share (PSS)."""

    resident: int
    proportional: int


def memory(pid: int) -> Memory:
    lines = (PROC / str(pid) / "smaps_rollup").read_text().splitlines()[1:]
    kib = {line.split(":")[0]: int(line.split()[1]) for line in lines}
    return Memory(kib["Rss"] * 1024, kib["Pss"] * 1024)
