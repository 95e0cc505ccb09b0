"""``make bench-live``: live packets beside the kernel's own copy, plain scripts and Suricata."""

from __future__ import annotations

import argparse
import json
import platform
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from bench.live.parts import FULL, QUICK, Bench
from bench.live.wire import Wire
from bench.measure import MeasureError
from fixtures.netns import LabError, may_build

PARTS = ("side_by_side", "suricata", "drops", "offloads", "crowd", "flood", "headline")


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.live", description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="fewer rounds, smaller crowds: 2 minutes"
    )
    parser.add_argument("--only", default="", help="parts to measure, by name, with commas")
    parser.add_argument("--json", type=Path, metavar="FILE", help="save the figures")
    return parser.parse_args(arguments)


def main(arguments: list[str]) -> int:
    """Measure all parts; 0, or 1 if something could not be measured."""
    given = parse(arguments)
    if (why := may_build()) is not None:
        print(f"bench-live: {why}", file=sys.stderr)
        return 1
    only = set(filter(None, given.only.split(","))) or set(PARTS)
    if unknown := only - set(PARTS):
        print(
            f"bench-live: there is no part {', '.join(unknown)}; {', '.join(PARTS)}",
            file=sys.stderr,
        )
        return 2
    failures = []
    begin = time.monotonic()
    # In memory: what the sender reads must not come from a disk.
    with (
        tempfile.TemporaryDirectory(prefix="peeltap-bench-", dir="/dev/shm") as scratch,
        Wire() as wire,
    ):
        bench = Bench(wire, Path(scratch), QUICK if given.quick else FULL)
        for name in PARTS:
            if name not in only:
                continue
            try:
                getattr(bench, name)()
            except (MeasureError, LabError, OSError) as error:
                failures.append(f"{name}: {error}")
                bench.say(f"  could not measure {name}: {error}")
                with suppress(LabError, AttributeError, OSError):
                    wire.mirror(False)
    report = bench.report
    report.say("Targets:")
    for target in report.targets:
        report.say(target.line())
    report.say(f"\n{time.monotonic() - begin:.0f} s on {platform.release()}, {platform.machine()}")
    if given.json:
        report.figures["targets"] = [
            {"text": one.text, "figure": one.figure, "holds": one.holds} for one in report.targets
        ]
        given.json.write_text(json.dumps(report.figures, indent=1) + "\n")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
