"""``make bench``: peeltap beside its peers, in one run. ``bench/README.md`` says how to read it."""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench import capture, eve, instructions
from bench.contenders import Contender, contenders, replay
from bench.legs import CONFIG
from bench.measure import Cost, MeasureError, floor, run
from bench.report import MIB, Runs, Target, at_least, at_most, ratio, table

ROOT = Path(__file__).resolve().parent.parent
# A record of a segment without payload: container, Ethernet, IPv4, TCP and its options.
BARE_RECORD = 16 + 14 + 20 + 32


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--packets", type=int, default=2_000_000, help="of the main capture")
    parser.add_argument("--connections", type=int, default=20_000, help="of the main capture")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of the fast contenders")
    parser.add_argument("--slow-rounds", type=int, default=3, help="rounds of dpkt and scapy")
    parser.add_argument("--dpkt-packets", type=int, default=100_000, help="of the slice for dpkt")
    parser.add_argument("--scapy-packets", type=int, default=8_000, help="of the slice for scapy")
    parser.add_argument("--crowd", type=int, default=1_000_000, help="connections open at once")
    parser.add_argument("--without", default="", help="parts to leave out, by name, with commas")
    parser.add_argument("--place", type=Path, help="directory for the captures")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path, metavar="FILE", help="save the figures")
    return parser.parse_args(arguments)


def choose_place(need: int) -> Path:
    """A directory with room for ``need`` bytes: in memory if there is enough of it, else a disk."""
    memory = Path("/dev/shm")
    available = 0
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            available = int(line.split()[1]) * 1024
    if memory.is_dir() and min(shutil.disk_usage(memory).free, available - 1500 * MIB) > need:
        return memory
    place = Path(os.environ.get("TMPDIR", "/var/tmp"))
    if shutil.disk_usage(place).free < need:
        raise MeasureError(f"{place} has no room for {need / 1e9:.1f} GB: choose --place")
    return place


def say(text: str = "") -> None:
    print(text, flush=True)


def progress(text: str) -> None:
    """What is going on, for a person who waits; nothing in a pipe."""
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


class Bench:
    """One run: its captures, its figures, what could not be measured."""

    def __init__(self, given: argparse.Namespace, scratch: Path) -> None:
        self.given, self.scratch = given, scratch
        self.config = scratch / "bench.yaml"
        self.config.write_text(CONFIG)
        self.empty = scratch / "empty.pcap"
        self.empty.write_bytes(capture.EMPTY)
        self.sink = scratch / "out.pcap"
        self.without = set(filter(None, given.without.split(",")))
        self.summaries: dict[str, dict[str, Any]] = {}
        self.figures: dict[str, Any] = {}
        self.failures: list[str] = []
        self.targets: list[Target] = []

    def make(self, name: str, packets: int, connections: int, kind: str = "traffic") -> Path:
        """Generate a capture, in a process of its own: numpy would enlarge this one for good."""
        path = self.scratch / f"{name}.pcap"
        progress(f"generating {name}: {packets:,} packets")
        said = self.scratch / f"{name}.json"
        sizes = ["--packets", str(packets), "--connections", str(connections)]
        seed = ["--kind", kind, "--seed", str(self.given.seed)]
        run([sys.executable, "-m", "bench.generate", str(path), *sizes, *seed], output=said)
        self.summaries[name] = json.loads(said.read_text())
        return path

    def attempt(self, name: str, part: Callable[[], None]) -> None:
        """Run one part; what it could not measure is reported at the end."""
        if name in self.without:
            return
        try:
            part()
        except (MeasureError, ValueError, KeyError, ImportError) as error:
            said = f"{name}: no figure {error}" if isinstance(error, KeyError) else str(error)
            self.failures.append(said)
            say(f"  could not measure {said}")

    def once(self, contender: Contender, source: Path, sink: Path) -> Cost:
        """One run, into a fresh ``sink``.

        The output before it is deleted only now: a virtual machine's host takes free memory back
        within seconds, and whoever writes next would pay for fetching it again.
        """
        sink.unlink(missing_ok=True)
        return run(contender.command(source, sink))

    def check(self, contender: Contender, summary: dict[str, Any], sink: Path) -> None:
        """Nobody wins by not doing the work: count what came out."""
        found = capture.count(sink)
        expected = summary["packets"]
        size = summary["bytes"]
        if contender.strips:
            # A header alone in its segment goes, and the bare ACK that answers it goes with it.
            gone = 2 * summary["headers_alone"]
            expected -= gone
            size -= summary["header_bytes"] + BARE_RECORD * gone
        if found != expected:
            raise MeasureError(f"{contender.name} wrote {found:,} packets, not {expected:,}")
        # Restored packets of an IPv6 peer are longer than those on the IPv4 leg.
        if contender.name != "restore" and sink.stat().st_size != size:
            raise MeasureError(
                f"{contender.name} wrote {sink.stat().st_size:,} bytes, not {size:,}"
            )

    def side_by_side(self) -> None:
        given = self.given
        density = given.packets / given.connections
        paths = {"full": self.make("full", given.packets, given.connections)}
        for name, packets in (("dpkt", given.dpkt_packets), ("scapy", given.scapy_packets)):
            if name not in self.without:
                paths[name] = self.make(name, packets, max(1, round(packets / density)))
        whole = self.summaries["full"]
        small = self.scratch / "small.pcap"
        taking_part = []
        runs: dict[str, Runs] = {}
        for contender in contenders(self.config):
            if contender.name in self.without:
                continue
            summary = self.summaries[contender.slice]
            sink = self.sink if contender.slice == "full" else small
            try:
                # Round 0: warms caches and the machine's memory; its output is checked.
                progress(f"warming up: {contender.name}")
                self.once(contender, paths[contender.slice], sink)
                self.check(contender, summary, sink)
                if contender.name == "strip" and "dpkt" in paths:
                    self.same_as_dpkt(paths["dpkt"])
            except (MeasureError, ValueError, OSError) as error:
                self.failures.append(str(error))
                say(f"  {contender.name} takes no part: {error}")
                continue
            taking_part.append(contender)
            runs[contender.name] = Runs(
                contender.name,
                contender.what,
                summary["packets"],
                summary["bytes"],
                whole["packets"],
            )
        for number in range(given.rounds):
            for contender in taking_part:
                if contender.slice != "full" and number >= given.slow_rounds:
                    continue
                progress(f"round {number + 1} of {given.rounds}: {contender.name}")
                sink = self.sink if contender.slice == "full" else small
                if contender.starts_slowly:
                    runs[contender.name].starts.append(self.once(contender, self.empty, small))
                runs[contender.name].costs.append(
                    self.once(contender, paths[contender.slice], sink)
                )
                if contender.name in ("strip", "restore"):
                    self.check(contender, whole, sink)
        self.sink.unlink(missing_ok=True)
        small.unlink(missing_ok=True)
        for path in paths.values():
            path.unlink()
        progress("")
        self.report(runs, whole)

    def same_as_dpkt(self, source: Path) -> None:
        """What peeltap writes is, packet for packet, what the plain script writes."""
        by_name = {contender.name: contender for contender in contenders(self.config)}
        plain, stripped = self.scratch / "plain.pcap", self.scratch / "stripped.pcap"
        self.once(by_name["dpkt"], source, plain)
        self.once(by_name["strip"], source, stripped)
        pairs = zip(capture.records(stripped), capture.records(plain), strict=True)
        for number, (one, other) in enumerate(pairs, 1):
            if one != other:
                raise MeasureError(f"packet {number} of strip differs from the dpkt script's")
        plain.unlink()
        stripped.unlink()

    def report(self, runs: dict[str, Runs], whole: dict[str, Any]) -> None:
        size = whole["bytes"]
        say(
            f"Side by side: {whole['packets']:,} packets, {whole['connections']:,} connections, "
            f"{size / 1e9:.3f} GB ({size / whole['packets']:.0f} bytes a packet), "
            f"{self.given.rounds} rounds"
        )
        for line in table(runs, floor()):
            say(line)
        say()
        self.figures["capture"] = whole
        self.figures["side_by_side"] = {name: one.figures() for name, one in runs.items()}

        def paired(one: str, other: str) -> float | None:
            if not {one, other} <= runs.keys() or not (runs[one].costs and runs[other].costs):
                return None
            return ratio(runs[one], runs[other]).mid

        def net(name: str) -> str:
            if name not in runs or "cp" not in runs:
                return ""
            without = ratio(runs[name].without_start(), runs["cp"]).mid
            share = runs[name].start * 1e9 / whole["packets"]
            return f" ({without:.4g} x without start-up, which is {share:.0f} ns a packet)"

        self.targets += [
            at_most("strip costs at most 1.3 x cp", paired("strip", "cp"), 1.3, "x", net("strip")),
            at_most(
                "restore costs at most 1.6 x cp", paired("restore", "cp"), 1.6, "x", net("restore")
            ),
            at_least(
                "strip costs at least 4 x less than tcprewrite",
                paired("tcprewrite", "strip"),
                4,
                "x",
            ),
            at_least(
                "strip costs at least 100 x less than the dpkt script",
                paired("dpkt", "strip"),
                100,
                "x",
            ),
        ]

    def instructions(self) -> None:
        name, counter = instructions.choose(self.scratch)
        density = self.given.packets / self.given.connections
        ends = []
        for part, packets in (("short", 200_000), ("long", 600_000)):
            path = self.make(part, packets, round(packets / density))
            ends.append((path, self.summaries[part]["packets"]))
        found = {}
        for mode in ("strip", "restore"):
            progress(f"instructions: {mode}")
            found[mode] = instructions.a_packet(mode, ends[0], ends[1], self.scratch, counter)
        progress("")
        say(f"Instructions a packet, user space, by {name}:")
        for mode, count in found.items():
            say(f"  {mode:<10} {count:,.0f}")
        say()
        self.figures["instructions_per_packet"] = {"by": name, **found}
        for path, _ in ends:
            path.unlink()

    def crowd(self) -> None:
        many = self.given.crowd
        # Growth between a small crowd and the large one: what both have is not a connection's.
        small = many // 20
        paths = {n: self.make(f"crowd-{n}", 4 * n, n, "crowd") for n in (small, many)}
        found = {}
        said = self.scratch / "core.json"
        for n, path in paths.items():
            progress(f"crowd: {n:,} connections")
            core = [sys.executable, "-m", "bench.core_run", "strip", str(path), str(self.sink)]
            run(core, output=said)
            found[n] = json.loads(said.read_text())
            self.sink.unlink()
        cost = run(replay(self.config, "strip")(paths[many], self.sink))
        for path in (*paths.values(), self.sink):
            path.unlink()
        progress("")
        few, most = found[small]["most"], found[many]["most"]
        tracked, own = most["tracked"], most["bytes_per_connection"]
        each = (most["resident"] - few["resident"]) / (tracked - few["tracked"])
        say(f"A crowd of {many:,} connections, {tracked:,} tracked at once:")
        say(f"  {own:,.0f} bytes each by the engine's own account")
        say(f"  {each:,.0f} bytes each by growth of resident memory, tables and buffers included")
        say(f"  {cost.peak / MIB:,.0f} MiB at the peak of the whole process")
        say()
        self.figures["crowd"] = {
            "connections": many,
            "tracked": tracked,
            "bytes_per_connection": own,
            "resident_bytes_per_connection": each,
            "peak_bytes": cost.peak,
            "cpu_seconds": cost.cpu,
        }
        if tracked < many * 0.99:
            raise MeasureError(f"only {tracked:,} of {many:,} connections were tracked at once")
        self.targets += [
            at_most(
                f"{many:,} tracked connections: at most 160 bytes each",
                max(each, float(own)),
                160,
                "bytes",
            ),
            at_most(
                f"{many:,} tracked connections: under 300 MiB in all",
                cost.peak / MIB,
                300,
                "MiB",
            ),
        ]

    def eve(self) -> None:
        progress("correction of EVE events")
        try:
            found = eve.measure(self.scratch, runs=self.given.rounds)
        except (OSError, eve.LostError) as error:
            raise MeasureError(str(error)) from error
        progress("")
        for line in found.lines():
            say(line)
        say()
        self.figures["eve"] = asdict(found)
        alone = f" (whole process; {found.ratio('inside'):.3g} x for the correction alone)"
        self.targets.append(
            at_least("EVE correction at least 3 x jq", found.ratio("peeltap"), 3, "x", alone)
        )


def main(arguments: list[str]) -> int:
    """Run all parts. Returns 0, or 1 if something could not be measured."""
    given = parse(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    os.chdir(ROOT)
    started = time.monotonic()
    # The capture, an output as large, the slices; the crowd comes when the rest is gone.
    need = max(int(given.packets * 560 * 2.2), given.crowd * 4 * 95 * 2)
    try:
        place = given.place or choose_place(need)
    except MeasureError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    kind = "memory (tmpfs)" if str(place) == "/dev/shm" else "a file system"
    load = os.getloadavg()[0]
    say(f"peeltap bench: {platform.machine()}, {os.cpu_count()} CPUs, load {load:.1f}")
    say(f"All files lie in {place}, {kind}. cp is --reflink=never --sparse=never: read and write.")
    say("CPU time is user and system of the whole process, start-up included, unless it says less.")
    say()
    with tempfile.TemporaryDirectory(prefix="peeltap-bench-", dir=place) as scratch:
        bench = Bench(given, Path(scratch))
        bench.attempt("replay", bench.side_by_side)
        bench.attempt("instructions", bench.instructions)
        bench.attempt("crowd", bench.crowd)
        bench.attempt("eve", bench.eve)
    say("Targets:")
    for target in bench.targets:
        say(target.line())
    for failure in bench.failures:
        say(f"  not measured: {failure}")
    if given.json:
        bench.figures["targets"] = [asdict(target) for target in bench.targets]
        bench.figures["not_measured"] = bench.failures
        bench.figures["seconds"] = time.monotonic() - started
        given.json.write_text(json.dumps(bench.figures, indent=2) + "\n")
    return 1 if bench.failures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
