"""EVE correction beside `jq` doing a plain field rewrite: CPU time per event.

    python bench/eve.py [--events 300000] [--runs 5] [--profile]

The events are those of a busy leg: real Suricata output (`fixtures/eve/events.json`) in the
proportions of `MIX`, over 20,000 connections, made anew for each benchmark and thrown away after.
Both programs run one after the other in each round, reading the same file and writing another:
`peeltap enrich --flows F --in eve.json --out out.json`, and `jq`. Figures are medians of user +
system time over the rounds, taken from the kernel's account of the child, and the ratio is the
median of the rounds' own ratios, since a machine's speed changes between rounds. Ours include
starting Python and reading the 20,000 flow records; the correction alone is measured in one more
child, and named so.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from suricata.community_id import community_id  # noqa: E402

SAMPLES = ROOT / "fixtures" / "eve" / "events.json"
SEED = 7
CONNECTIONS = 20_000
TARGET = 3.0

# Events in a thousand, of a honeypot's leg with web, SSH and mail decoys. `frame`, `netflow` and
# `stats` are off by default.
MIX = {
    "flow": 330,
    "http": 240,
    "alert": 150,
    "ssh": 90,
    "fileinfo": 60,
    "tls": 40,
    "anomaly": 40,
    "smtp": 30,
    "dns": 20,
}

# The plain rewrite: what one would write by hand to put other addresses into each event.
JQ = '.src_ip = "203.0.113.7" | .src_port = 46421 | .dest_ip = "192.168.110.2" | .dest_port = 80'


def samples() -> dict[str, list[dict[str, object]]]:
    """Real IPv4 events by type, without what is off by default."""
    found: dict[str, list[dict[str, object]]] = {name: [] for name in MIX}
    for line in SAMPLES.read_bytes().splitlines():
        event = json.loads(line)
        kind = event["event_type"]
        if kind in found and event["proto"] in ("TCP", "UDP") and ":" not in event["src_ip"]:
            event.pop("packet", None)
            event.pop("packet_info", None)
            found[kind].append(event)
    return found


def stamp(micros: int) -> str:
    seconds, fraction = divmod(micros, 1_000_000)
    whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(1767225600 + seconds))
    return f"{whole}.{fraction:06d}+0000"


def generate(directory: Path, events: int) -> tuple[Path, Path]:
    """An EVE file and its flows file."""
    rng = random.Random(SEED)
    eve, flows = directory / "eve.json", directory / "flows.jsonl"
    gap = 1000
    with flows.open("w") as out:
        for n in range(CONNECTIONS):
            record = {
                "id": f"{n:016x}",
                "epoch": 0,
                "observed": {"src_ip": "172.16.23.1", "src_port": 10_000 + n}
                | {"dest_ip": "172.16.23.2", "dest_port": 9000, "proto": "TCP", "vlan": []},
                "true": {"src_ip": f"203.0.{n >> 8 & 255}.{n & 255}", "src_port": 1024 + n}
                | {"dest_ip": "192.168.110.2", "dest_port": 80},
                "headers": [{"codec": "proxy-v2", "length": 28, "tlvs": {}}],
                "start": stamp(n * gap),
                "end": stamp(n * gap + 5_000_000),
                "verdict": "stripped",
                "restored": False,
                "packets": {"to_server": 6, "to_client": 5},
                "bytes": {"to_server": 600, "to_client": 500},
            }
            out.write(json.dumps(record, separators=(",", ":")) + "\n")
    kinds, weights = list(MIX), list(MIX.values())
    by_kind = samples()
    with eve.open("w", encoding="utf-8") as out:
        for i in range(events):
            event = dict(rng.choice(by_kind[rng.choices(kinds, weights)[0]]))
            # Events of a connection stand near one another, as in life.
            n = min(CONNECTIONS - 1, i * CONNECTIONS // events + rng.randrange(50))
            event["timestamp"] = stamp(n * gap + 2_000_000)
            event["flow_id"] = (n * 0x9E3779B97F4A7C15) % (1 << 50)
            port = 10_000 + n
            if event["proto"] == "TCP":
                if "community_id" in event:
                    leg = ("172.16.23.1", port, "172.16.23.2", 9000)
                    event["community_id"] = community_id(*leg, SEED)
                for side in ("src_port", "dest_port"):
                    event[side] = port if event[side] >= 40_000 else 9000
                flow = event.get("flow")
                if isinstance(flow, dict):
                    flow = dict(flow, start=stamp(n * gap))
                    if "src_port" in flow:
                        flow |= {"src_port": port, "dest_port": 9000}
                    event["flow"] = flow
                alert = event.get("alert")
                if isinstance(alert, dict) and "target" in alert:
                    ends = {
                        name: dict(end, port=9000 if end["port"] < 40_000 else port)
                        for name in ("source", "target")
                        if isinstance(end := alert[name], dict)
                    }
                    event["alert"] = alert | ends
            out.write(json.dumps(event, separators=(",", ":"), ensure_ascii=False) + "\n")
    return eve, flows


def ours(eve: str, flows: str, profile: bool) -> None:
    """The child that is measured: what `peeltap enrich` does."""
    from reassembly.records import Garbage, read_records
    from reassembly.store import MemoryStore
    from suricata.streams import enrich_file

    store = MemoryStore()
    with Path(flows).open("rb") as lines:
        store.add_many(read_records(lines, Garbage()))
    before = time.process_time()
    if profile:
        import cProfile
        import pstats

        with cProfile.Profile() as profiler:
            report = enrich_file(eve, os.devnull, store, community_id_seed=SEED)
        pstats.Stats(profiler, stream=sys.stderr).sort_stats("tottime").print_stats(14)
    else:
        report = enrich_file(eve, os.devnull, store, community_id_seed=SEED)
    spent = time.process_time() - before
    outcomes = report.stats["outcomes"]
    print(json.dumps({"seconds": spent, "outcomes": outcomes, "events": report.stats["events"]}))


def measured(command: list[str]) -> tuple[float, bytes]:
    """CPU seconds of a child, user and system, and what it printed."""
    before = os.times()
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, cwd=ROOT)
    after = os.times()
    spent = after.children_user + after.children_system
    return spent - before.children_user - before.children_system, done.stdout


class LostError(Exception):
    """Our side wrote fewer events than it was given."""


@dataclass(frozen=True, slots=True)
class Measured:
    """CPU seconds of each round, by contender, over `events` events of `size` bytes on average."""

    events: int
    size: float
    jq_version: str
    rounds: dict[str, list[float]]  # jq; peeltap: the whole process; inside: the correction alone
    outcomes: dict[str, int]

    def ratio(self, name: str) -> float:
        """How many times less than jq a contender costs: the median of the rounds' own ratios."""
        pairs = zip(self.rounds["jq"], self.rounds[name], strict=True)
        return statistics.median(jq / other for jq, other in pairs)

    def lines(self) -> list[str]:
        """A table for people."""
        names = {
            "jq": f"{self.jq_version}, plain field rewrite",
            "peeltap": "peeltap enrich, whole process",
            "inside": "peeltap enrich, correction alone",
        }
        rows = [
            f"EVE correction: {self.events:,} events, {self.size:.0f} bytes each, "
            f"{len(self.rounds['jq'])} rounds",
            f"  outcomes: {self.outcomes}",
            f"  {'':34}{'us CPU/event':>14}{'events/s CPU':>14}{'x jq':>8}{'spread us':>14}",
        ]
        for name, label in names.items():
            each = [value / self.events * 1e6 for value in self.rounds[name]]
            per = statistics.median(each)
            spread = f"{min(each):.1f}-{max(each):.1f}"
            rows.append(
                f"  {label:34}{per:14.2f}{1e6 / per:14.0f}{self.ratio(name):8.2f}{spread:>14}"
            )
        return rows


def measure(place: Path, events: int = 300_000, runs: int = 5) -> Measured:
    """Generate events in `place` and let both correct them, in turn.

    Raises `FileNotFoundError` without jq, `LostError` if we lose events.
    """
    jq = shutil.which("jq")
    if jq is None:
        raise FileNotFoundError("jq is not installed: run make setup")
    eve, flows = generate(place, events)
    out = place / "out.json"
    command = [sys.executable, "-c", "from pipeline.cli import main; main()", "enrich"]
    command += ["--flows", str(flows), "--in", str(eve), "--out", str(out)]
    command += ["--community-id-seed", str(SEED)]
    rewrite = ["sh", "-c", 'exec "$0" -c "$1" "$2" > "$3"', jq, JQ, str(eve), str(out)]
    child = [sys.executable, __file__, "--child", str(eve), str(flows)]
    rounds: dict[str, list[float]] = {"jq": [], "peeltap": [], "inside": []}
    result: dict[str, Any] = {}
    for _ in range(runs):
        spent, _printed = measured(rewrite)
        rounds["jq"].append(spent)
        out.unlink()
        spent, _printed = measured(command)
        rounds["peeltap"].append(spent)
        with out.open("rb") as lines:
            written = sum(1 for _ in lines)
        out.unlink()
        _spent, printed = measured(child)
        result = json.loads(printed)
        rounds["inside"].append(result["seconds"])
        if not events == result["events"] == written:
            raise LostError(f"events lost: {written} of {events} came out")
    version = subprocess.run([jq, "--version"], capture_output=True, text=True, check=True)
    size = eve.stat().st_size / events
    return Measured(events, size, version.stdout.strip(), rounds, result["outcomes"])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--events", type=int, default=300_000)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument(
        "--profile", action="store_true", help="one run of ours, function by function"
    )
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        ours(*options.child, options.profile)
        return 0
    # In memory where there is some: a disk's speed is not the question.
    memory = "/dev/shm" if Path("/dev/shm").is_dir() else None
    with tempfile.TemporaryDirectory(prefix="peeltap-bench-", dir=memory) as place:
        if options.profile:
            eve, flows = generate(Path(place), options.events)
            child = [sys.executable, __file__, "--child", str(eve), str(flows)]
            subprocess.run([*child, "--profile"], check=True)
            return 0
        try:
            found = measure(Path(place), options.events, options.runs)
        except (FileNotFoundError, LostError) as error:
            print(f"bench/eve.py: {error}", file=sys.stderr)
            return 1
    for line in found.lines():
        print(line)
    ratio = found.ratio("peeltap")
    verdict = "holds" if ratio >= TARGET else "does not hold"
    print(f"target: at least {TARGET:g} x jq in CPU time per event: {ratio:.2f} x, {verdict}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
