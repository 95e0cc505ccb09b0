"""From costs to figures: medians, paired ratios, targets, tables."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from statistics import median
from typing import Any

from bench.measure import Cost

MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Spread:
    """Smallest, middle and greatest of several measurements."""

    low: float
    mid: float
    high: float

    @classmethod
    def of(cls, values: list[float]) -> Spread:
        return cls(min(values), median(values), max(values))


@dataclass(slots=True)
class Runs:
    """All runs of one contender, round by round, over a capture of ``packets`` and ``size``."""

    name: str
    what: str
    packets: int
    size: int  # bytes of the capture it was given
    whole_packets: int  # of the capture that everything is scaled to
    costs: list[Cost] = field(default_factory=list)
    starts: list[Cost] = field(default_factory=list)  # the same command on an empty capture

    @property
    def start(self) -> float:
        """CPU seconds before the first packet; 0 where it was not measured."""
        return median(cost.cpu for cost in self.starts) if self.starts else 0.0

    @property
    def scaled(self) -> bool:
        return self.packets != self.whole_packets

    def _scale(self, total: float) -> float:
        """Seconds for the whole capture, from seconds for the slice: start-up counts once."""
        if not self.scaled:
            return total
        return self.start + (total - self.start) * self.whole_packets / self.packets

    def cpu(self) -> list[float]:
        """CPU nanoseconds a packet, round by round."""
        return [self._scale(cost.cpu) * 1e9 / self.whole_packets for cost in self.costs]

    def without_start(self) -> Runs:
        """The same runs, each less what the start cost in its round; only of unscaled ones."""
        costs = [
            replace(cost, user=cost.user - start.user, system=cost.system - start.system)
            for cost, start in zip(self.costs, self.starts, strict=True)
        ]
        return replace(self, costs=costs, starts=[])

    def rate(self) -> float:
        """Packets a second, by the clock on the wall."""
        return self.whole_packets / median(self._scale(cost.wall) for cost in self.costs)

    def figures(self) -> dict[str, Any]:
        """What ``--json`` saves of it."""
        return {
            "what": self.what,
            "packets": self.packets,
            "scaled": self.scaled,
            "cpu_ns_per_packet": asdict(Spread.of(self.cpu())),
            "start_cpu_seconds": self.start,
            "packets_per_second": self.rate(),
            "gigabytes_per_second": self.rate() * self.size / self.packets / 1e9,
            "peak_bytes": max(cost.peak for cost in self.costs),
            "rounds": [asdict(cost) for cost in self.costs],
        }


def ratio(one: Runs, other: Runs) -> Spread:
    """CPU time of ``one`` over that of ``other``: the spread of the rounds that both ran.

    Paired by round, so that a slow spell of the machine, which slows neighbours alike, cancels.
    """
    return Spread.of([a / b for a, b in zip(one.cpu(), other.cpu(), strict=False)])


@dataclass(frozen=True, slots=True)
class Target:
    """A promise, the figure that was measured, and whether it holds; ``None``: not measured."""

    text: str
    figure: str
    holds: bool | None

    def line(self) -> str:
        said = {True: "holds", False: "DOES NOT HOLD", None: "not measured"}[self.holds]
        return f"  {said:<14} {self.text:<58} {self.figure}"


def at_most(text: str, value: float | None, limit: float, unit: str, more: str = "") -> Target:
    """The target that ``value`` is at most ``limit``."""
    if value is None:
        return Target(text, "", None)
    return Target(text, f"{value:.4g} {unit}{more}", value <= limit)


def at_least(text: str, value: float | None, limit: float, unit: str, more: str = "") -> Target:
    """The target that ``value`` is at least ``limit``."""
    if value is None:
        return Target(text, "", None)
    return Target(text, f"{value:.4g} {unit}{more}", value >= limit)


def table(runs: dict[str, Runs], memory_floor: int) -> list[str]:
    """The side-by-side table, one line a contender."""
    head = (
        f"  {'':<11} {'CPU ns/packet':>28} {'x cp':>8} {'x strip':>8} "
        f"{'packets/s':>11} {'GB/s':>6} {'peak MiB':>8} {'start ms':>8}  what"
    )
    lines = [head, f"  {'':<11} {'min':>9}{'median':>10}{'max':>9}"]
    for one in runs.values():
        spread = Spread.of(one.cpu())
        figures = one.figures()
        peak = figures["peak_bytes"]
        memory = f"< {memory_floor / MIB:.0f}" if peak <= memory_floor else f"{peak / MIB:.0f}"
        ratios = [
            f"{ratio(one, runs[base]).mid:.3g}" if base in runs else "-" for base in ("cp", "strip")
        ]
        start = f"{one.start * 1e3:.0f}" if one.starts else "-"
        note = f"{one.what} ({one.packets:,} packets, scaled)" if one.scaled else one.what
        lines.append(
            f"  {one.name:<11} {spread.low:>9,.0f}{spread.mid:>10,.0f}{spread.high:>9,.0f} "
            f"{ratios[0]:>8} {ratios[1]:>8} {one.rate():>11,.0f} "
            f"{figures['gigabytes_per_second']:>6.2f} {memory:>8} {start:>8}  {note}"
        )
    return lines
