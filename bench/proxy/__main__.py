"""``make bench-proxy``: our proxies beside HAProxy on one hop; 1 if a target is missed."""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

from bench.measure import MeasureError
from bench.proxy.hop import Figures, Hop, hops

BULK_TARGET = 0.5
RATE_TARGET = 0.25
MEMORY_TARGET_MB = 300


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.proxy", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--connections", type=int, default=10_000, help="a round")
    parser.add_argument("--json", type=Path, metavar="FILE", help="save the figures")
    return parser.parse_args(arguments)


def main(arguments: list[str]) -> int:
    """Measure, print, judge."""
    given = parse(arguments)
    try:
        with tempfile.TemporaryDirectory(prefix="peeltap-bench-", dir="/dev/shm") as scratch:
            # nginx gives up root before it reads its files.
            Path(scratch).chmod(0o755)
            with hops(Path(scratch)) as found:
                return report(found, given)
    except (MeasureError, OSError) as error:
        print(f"bench-proxy: {error}", file=sys.stderr)
        return 1


def report(found: list[Hop], given: argparse.Namespace) -> int:
    """Rounds in turn, so that whatever else the machine does hits all of them alike."""
    rates: dict[str, list[Figures]] = {hop.name: [] for hop in found}
    bulks: dict[str, list[Figures]] = {hop.name: [] for hop in found}
    for _ in range(given.rounds):
        for hop in found:
            rates[hop.name].append(hop.connections(given.connections))
            bulks[hop.name].append(hop.bulk(2))
    memory = {hop.name: hop.memory() for hop in found}
    print(f"{'':22}{'connections':>24}{'bulk':>30}{'memory':>20}")
    print(
        f"{'':22}{'per s':>10}{'per CPU s':>14}{'GB/s':>10}{'CPU s/GB':>10}{'GB/CPU s':>10}"
        f"{'with':>20}"
    )
    figures = {}
    for hop in found:
        rate, bulk = rates[hop.name], bulks[hop.name]
        figures[hop.name] = {
            "connections_per_second": median(one.amount / one.wall for one in rate),
            "connections_per_cpu_second": median(one.per_cpu for one in rate),
            "gb_per_second": median(one.amount / one.wall for one in bulk),
            "cpu_seconds_per_gb": median(one.cpu / one.amount for one in bulk),
            "gb_per_cpu_second": median(one.per_cpu for one in bulk),
            "resident_mb": memory[hop.name][1],
            "open_connections": memory[hop.name][0],
        }
        line = list(figures[hop.name].values())
        print(
            f"{hop.name:22}{line[0]:10.0f}{line[1]:14.0f}{line[2]:10.2f}{line[3]:10.3f}"
            f"{line[4]:10.2f}{line[5]:11.0f} MB{line[6]:6.0f}"
        )
    if given.json is not None:
        given.json.write_text(json.dumps(figures, indent=2) + "\n")
    return judge(figures)


def judge(figures: dict[str, dict[str, float]]) -> int:
    """Say whether the targets hold for each of ours; 1 if one does not."""
    best = {
        key: max(figures[name][key] for name in HAPROXIES)
        for key in ("connections_per_cpu_second", "gb_per_cpu_second")
    }
    print(f"\n{'beside the better HAProxy':22}{'connections':>24}{'bulk':>30}{'memory':>20}")
    missed = False
    for name in figures:
        if name in HAPROXIES:
            continue
        one = figures[name]
        rate = one["connections_per_cpu_second"] / best["connections_per_cpu_second"]
        bulk = one["gb_per_cpu_second"] / best["gb_per_cpu_second"]
        holds = rate >= RATE_TARGET and bulk >= BULK_TARGET
        holds &= one["resident_mb"] < MEMORY_TARGET_MB
        missed |= not holds
        print(
            f"{name:22}{rate:24.2f}{bulk:30.2f}{one['resident_mb']:17.0f} MB"
            f"   {'holds' if holds else 'NO'}"
        )
    print(f"{'wanted':22}{RATE_TARGET:24.2f}{BULK_TARGET:30.2f}{MEMORY_TARGET_MB:15} MiB")
    return int(missed)


HAPROXIES = ("haproxy", "haproxy, splice-auto")


def median(values: Iterable[float]) -> float:
    return statistics.median(values)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
