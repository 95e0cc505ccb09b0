"""``make bench-events``: events from file to file, Redis and Kafka, beside jq and fever."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from bench.events.parts import FULL, QUICK, Bench
from bench.measure import MeasureError

PARTS = ("side_by_side", "memory", "lag")


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.events", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer events and rounds")
    parser.add_argument("--only", default="", help="parts to measure, by name, with commas")
    parser.add_argument("--events", type=int, help="of each round, side by side")
    parser.add_argument("--rounds", type=int, help="side by side")
    parser.add_argument("--memory-events", type=int, help="over which memory has to be flat")
    parser.add_argument("--json", type=Path, metavar="FILE", help="save the figures")
    return parser.parse_args(arguments)


def main(arguments: list[str]) -> int:
    """Measure all parts; 0, or 1 if something could not be measured."""
    given = parse(arguments)
    only = set(filter(None, given.only.split(","))) or set(PARTS)
    if unknown := only - set(PARTS):
        print(
            f"bench-events: there is no part {', '.join(sorted(unknown))}; {', '.join(PARTS)}",
            file=sys.stderr,
        )
        return 2
    sizes = QUICK if given.quick else FULL
    asked = {"events": given.events, "rounds": given.rounds, "memory": given.memory_events}
    sizes = replace(sizes, **{name: value for name, value in asked.items() if value})
    failures, begin = [], time.monotonic()
    # In memory where there is some: a disk's speed is not the question.
    memory = "/dev/shm" if Path("/dev/shm").is_dir() else None
    with tempfile.TemporaryDirectory(prefix="peeltap-bench-", dir=memory) as scratch:
        bench = Bench(Path(scratch), sizes, lambda text: print(text, flush=True))
        report = bench.report
        report.say(
            f"peeltap bench-events: {platform.machine()}, {os.cpu_count()} CPUs,"
            f" load {os.getloadavg()[0]:.1f}"
        )
        for name in PARTS:
            if name not in only:
                continue
            try:
                getattr(bench, name)()
            except (MeasureError, OSError) as error:
                failures.append(f"{name}: {error}")
    report.say("Targets:")
    for target in report.targets:
        report.say(target.line())
    for failure in failures:
        report.say(f"  not measured: {failure}")
    report.say(f"\n{time.monotonic() - begin:.0f} s on {platform.release()}, {platform.machine()}")
    if given.json:
        report.figures["targets"] = [
            {"text": one.text, "figure": one.figure, "holds": one.holds} for one in report.targets
        ]
        report.figures["not_measured"] = failures
        given.json.write_text(json.dumps(report.figures, indent=1) + "\n")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
