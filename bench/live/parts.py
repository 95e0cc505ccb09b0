"""What is measured: one method a part. Each leaves figures and targets in the `Report`.

Figures of one part are taken side by side: rounds of short runs, each contender once a round. What
the packets cost without anybody listening is measured in every round, before and behind, and taken
off.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from bench.live import frames, processor
from bench.live.ids import DEFAULT_RING, Suricata
from bench.live.service import Service
from bench.live.wire import BRIDGE, TAP, Program, Wire
from bench.measure import MeasureError, run
from bench.report import MIB, Target, at_least, at_most

SIZES = (64, 512, 1448)
LIMIT = {64: 2.2, 512: 2.2, 1448: 2.6}


@dataclass
class Report:
    """What came of it."""

    lines: list[str] = field(default_factory=list)
    targets: list[Target] = field(default_factory=list)
    figures: dict[str, Any] = field(default_factory=dict)

    def say(self, text: str = "") -> None:
        self.lines.append(text)
        print(text, flush=True)


@dataclass(frozen=True)
class Scale:
    """How much of everything."""

    rounds: int
    packets: int
    crowd: int
    flood: int
    seconds: float
    idle: int
    megabytes: int


FULL = Scale(7, 60_000, 1_000_000, 1_000_000, 4.0, 8, 400)
QUICK = Scale(3, 30_000, 200_000, 200_000, 1.5, 4, 150)
# Packets a second at which costs are compared: below what any of them bears on two processors.
RATE = 60_000.0
# Packets for the plain scripts: all at once, into a socket that holds them.
PEERS = {"dpkt": 4_000, "scapy": 400}
PEER_ROUNDS = 3


class Bench:
    """All parts, on one wire."""

    def __init__(self, wire: Wire, scratch: Path, scale: Scale) -> None:
        self.wire, self.scratch, self.scale = wire, scratch, scale
        self.report = Report()
        self.say = self.report.say

    def capture(self, name: str, source: frames.Frames) -> Path:
        path = self.scratch / f"{name}.pcap"
        frames.write(path, source)
        return path

    # --- the limit, peeltap, the peers --------------------------------------------------------

    def side_by_side(self) -> None:
        """CPU a packet of the kernel's own copy, of peeltap and of the plain scripts."""
        self.say(f"CPU a packet (ns), medians of {self.scale.rounds} rounds:")
        self.say(
            f"  {'payload':>8} {'limit':>8} {'peeltap':>8} {'x':>6} {'dpkt':>10} {'x':>6}"
            f" {'scapy':>10} {'x':>6}   {'(unheard)':>9}"
        )
        for size in SIZES:
            self._sized(size)
        self.say()

    def _sized(self, size: int) -> None:
        wire = self.wire
        path = self.capture(f"size-{size}", frames.sized(size, self.scale.packets))
        taken: dict[str, list[float]] = {name: [] for name in ("unheard", "limit", "peeltap")}
        ratios, resident = [], 0
        with wire.consumer() as consumer, wire.sender(path) as sender:
            self.spend(sender, consumer)  # warms everything up
            for _ in range(self.scale.rounds):
                before = self.spend(sender, consumer)
                wire.mirror(True)
                limit = self.spend(sender, consumer)
                wire.mirror(False)
                with wire.worker() as worker:
                    peeltap = self.spend(sender, consumer, worker)
                    resident = max(resident, processor.memory(worker.pid).resident)
                after = self.spend(sender, consumer)
                unheard = (before + after) / 2
                for name, cost in (
                    ("unheard", unheard),
                    ("limit", limit - unheard),
                    ("peeltap", peeltap - unheard),
                ):
                    taken[name].append(cost)
                ratios.append((peeltap - unheard) / (limit - unheard))
            peers = {kind: self._peer(kind, size, consumer) for kind in PEERS}
        path.unlink()
        mid = {name: median(costs) for name, costs in taken.items()}
        ratio = mid["peeltap"] / mid["limit"]
        against = {kind: cost / mid["peeltap"] for kind, cost in peers.items()}
        self.say(
            f"  {size:>8} {mid['limit']:>8,.0f} {mid['peeltap']:>8,.0f} {ratio:>6.2f}"
            + "".join(f" {peers[kind]:>10,.0f} {against[kind]:>6.0f}" for kind in peers)
            + f"   {mid['unheard']:>9,.0f}"
        )
        self.report.figures[f"segments_{size}"] = {
            **mid,
            **peers,
            "ratio": ratio,
            "ratios": ratios,
            "resident_bytes": resident,
        }
        more = f" ({min(ratios):.2f} to {max(ratios):.2f})"
        text = f"{size:>4} bytes: peeltap at most {LIMIT[size]} x the limit"
        self.report.targets.append(at_most(text, ratio, LIMIT[size], "x", more))
        for kind, least in (("dpkt", 25), ("scapy", 300)):
            text = f"{size:>4} bytes: at least {least} x cheaper than {kind}"
            self.report.targets.append(at_least(text, against[kind], least, "x"))

    def spend(
        self, sender: Program, consumer: Program, worker: Program | None = None, rate: float = RATE
    ) -> float:
        """CPU nanoseconds a packet; with a worker, all packets of which have to come out again."""

        def done(sent: int) -> bool:
            return worker is None or worker.ask()["capture"]["packets"] >= sent

        pids = [program.pid for program in (consumer, worker) if program is not None]
        consumer.ask()
        spent = self.wire.spend(sender, pids, until=done, rate=rate)
        got = consumer.ask()
        if worker is not None:
            lossless(worker, spent.packets)
            if got["drops"]:
                raise MeasureError(f"the consumer's ring dropped {got['drops']:,} packets")
        return spent.a_packet

    def _peer(self, kind: str, size: int, consumer: Program) -> float:
        packets = PEERS[kind]
        path = self.capture("peer", frames.sized(size, packets))
        with self.wire.sender(path) as sender:
            unheard, costs = [], []
            for _ in range(PEER_ROUNDS):
                unheard.append(self.wire.spend(sender, [consumer.pid]).a_packet)
            with Program(self.wire.host, "peers", [kind, BRIDGE, TAP]) as peer:
                for number in range(1, PEER_ROUNDS + 1):
                    spent = self.wire.spend(
                        sender,
                        [consumer.pid, peer.pid],
                        until=lambda sent, n=number: peer.ask()["packets"] >= sent * n,
                        moved=True,
                    )
                    costs.append(spent.a_packet)
                memory = processor.memory(peer.pid).resident
        self.report.figures[f"{kind}_resident_bytes"] = memory
        path.unlink()
        return median(costs) - median(unheard)

    # --- Suricata ------------------------------------------------------------------------------

    def suricata(self) -> None:
        """Suricata's own CPU a packet, and peeltap's share of it in an HTTP mix."""
        wire, count = self.wire, self.scale.packets
        kinds: dict[str, Callable[[], frames.Frames]] = {
            f"{size} bytes": lambda size=size: frames.sized(size, count) for size in SIZES
        }
        kinds["HTTP mix"] = lambda: frames.http(count)
        self.say("Suricata on the tap, CPU a packet (ns):")
        self.say(f"  {'traffic':>10} {'Suricata':>9} {'peeltap':>9} {'share':>6}")
        for name, source in kinds.items():
            path = self.capture("ids", source())
            own, ours = [], []
            with (
                wire.sender(path) as sender,
                wire.worker() as worker,
                self.ids("tap") as suricata,
            ):
                for number in range(max(2, self.scale.rounds // 2)):
                    spent = wire.spend(
                        sender,
                        [worker.pid, suricata.pid],
                        until=lambda _, suricata=suricata: bool(suricata.settle()),
                        rate=RATE / 3,
                        moved=number > 0,
                        step=5000,
                    )
                    own.append(spent.each[suricata.pid] / spent.packets)
                    ours.append((spent.total - spent.each[suricata.pid]) / spent.packets)
                memory = processor.memory(suricata.pid).resident
                mine = processor.memory(worker.pid).resident
            with wire.sender(path) as sender:
                unheard = median(
                    wire.spend(sender, rate=RATE / 3).a_packet for _ in range(len(own))
                )
            path.unlink()
            suricata_ns, peeltap_ns = median(own), median(ours) - unheard
            share = peeltap_ns / suricata_ns
            self.say(f"  {name:>10} {suricata_ns:>9,.0f} {peeltap_ns:>9,.0f} {share:>6.2f}")
            self.report.figures[f"suricata_{name}"] = {
                "suricata": suricata_ns,
                "peeltap": peeltap_ns,
                "share": share,
                "suricata_resident_bytes": memory,
                "peeltap_resident_bytes": mine,
            }
        self.say()
        self.report.targets.append(
            at_most("HTTP mix: at most 0.3 of Suricata's own CPU a packet", share, 0.3, "")
        )

    def ids(self, name: str, **about: Any) -> Suricata:
        self.started = getattr(self, "started", 0) + 1
        place = self.wire.lab.directory / f"{name}-{self.started}"
        return Suricata(self.wire.host, TAP, place, **about).wait_ready()

    def drops(self) -> None:
        """Rates from slow to more than Suricata bears: where it drops nothing, peeltap does not."""
        wire = self.wire
        base = self.report.figures.get("suricata_HTTP mix", {}).get("suricata", 6000.0)
        self.say("Rates (HTTP mix), and what was dropped on the way:")
        self.say(f"  {'packets/s':>10} {'sent':>9} {'peeltap':>9} {'Suricata':>9}")
        holds, most = True, 0.0
        for part in (0.25, 0.5, 0.75, 1.0, 1.5):
            rate = part * 1e9 / base
            path = self.capture("drops", frames.http(int(rate * self.scale.seconds)))
            with (
                wire.sender(path) as sender,
                wire.worker() as worker,
                self.ids("drops") as suricata,
            ):
                spent = wire.spend(
                    sender,
                    until=lambda _, suricata=suricata: bool(suricata.settle()),
                    rate=rate,
                )
                ours, its = dropped(worker.ask()), suricata.counters()["drop"]
            path.unlink()
            reached = spent.packets / spent.seconds
            self.say(f"  {reached:>10,.0f} {spent.packets:>9,} {ours:>9,} {its:>9,}")
            if not its:
                most = max(most, reached)
                holds = holds and ours == 0
        self.say()
        self.report.figures["sustained_packets_per_second"] = most
        text = "nothing dropped at any rate that Suricata sustains"
        self.report.targets.append(Target(text, f"up to {most:,.0f} packets/s", holds))

    # --- offloads ------------------------------------------------------------------------------

    def offloads(self) -> None:
        """Frames that were never segmented: CPU a megabyte."""
        wire = self.wire
        path = self.capture("offloads", frames.offloaded(self.scale.megabytes))
        size = path.stat().st_size / 1e6
        rate = 15_000.0
        limits, ours, ratios = [], [], []
        wire.offloads(True)
        try:
            with wire.consumer() as consumer, wire.sender(path, "--vnet") as sender:
                self.spend(sender, consumer, rate=rate)
                for _ in range(self.scale.rounds):
                    before = self.spend(sender, consumer, rate=rate)
                    wire.mirror(True)
                    limit = self.spend(sender, consumer, rate=rate)
                    wire.mirror(False)
                    with wire.worker() as worker:
                        peeltap = self.spend(sender, consumer, worker, rate=rate)
                        packets = worker.ask()["capture"]["packets"]
                    unheard = (before + self.spend(sender, consumer, rate=rate)) / 2
                    limits.append((limit - unheard) * packets / size)
                    ours.append((peeltap - unheard) * packets / size)
                    ratios.append(ours[-1] / limits[-1])
        finally:
            wire.offloads(False)
            path.unlink()
        ratio = median(ours) / median(limits)
        self.say("Offloaded frames of 24 kB kept whole, CPU a megabyte (us):")
        self.say(f"  limit {median(limits) / 1e3:,.0f}, peeltap {median(ours) / 1e3:,.0f}")
        self.say()
        self.report.figures["offloads"] = {
            "limit_ns_per_mb": median(limits),
            "peeltap_ns_per_mb": median(ours),
            "ratio": ratio,
        }
        more = f" ({min(ratios):.2f} to {max(ratios):.2f})"
        text = "offloaded frames: at most 3 x the limit a megabyte"
        self.report.targets.append(at_most(text, ratio, 3, "x", more))

    # --- connections ---------------------------------------------------------------------------

    def crowd(self) -> None:
        """Very many connections: how fast they come, and what they take."""
        wire, many = self.wire, self.scale.crowd
        path = self.scratch / "crowd.pcap"
        sizes = ["--packets", str(4 * many), "--connections", str(many), "--kind", "crowd"]
        run([sys.executable, "-m", "bench.generate", str(path), *sizes, "--seed", "1"])
        ring = 1024
        with wire.consumer(), wire.sender(path) as sender, wire.worker(ring) as worker:
            before = processor.memory(worker.pid).resident
            begin = time.monotonic()
            spent = wire.spend(
                sender,
                [worker.pid],
                until=lambda sent: taken(worker.ask()) >= sent,
            )
            stats, seconds = worker.ask(), time.monotonic() - begin
            after = processor.memory(worker.pid).resident
        path.unlink()
        tracked, lost = stats["tracked"], dropped(stats)
        a_second = tracked / seconds
        cpu = spent.each[worker.pid] / tracked
        self.say(f"{many:,} connections at once:")
        self.say(
            f"  {tracked:,} tracked, {lost:,} packets dropped, {a_second:,.0f} new ones a second"
        )
        self.say(
            f"  {cpu:,.0f} ns of the worker's CPU each, at most {1e9 / cpu:,.0f} a second of it"
        )
        self.say(
            f"  resident: {before / MIB - ring:,.0f} MiB before, {after / MIB - ring:,.0f} MiB"
            f" after, beside the ring of {ring:,} MiB"
        )
        self.say()
        self.report.figures["crowd"] = {
            "tracked": tracked,
            "per_second": a_second,
            "cpu_ns": cpu,
            "resident_bytes": [before, after],
        }
        text = f"{many:,} concurrent connections are tracked"
        self.report.targets.append(
            Target(text, f"{tracked:,} tracked, {lost:,} dropped", tracked == many)
        )

    def flood(self) -> None:
        """A SYN flood of as many tuples, over established connections."""
        wire, many = self.wire, self.scale.flood
        own = [frames.Connection(number) for number in range(10_000)]
        opening = self.capture("established", frames.opened(own))
        data = self.capture(
            "data", (one.segment(True, frames.PSH | frames.ACK, b"x" * 64) for one in own)
        )
        syns = self.scratch / "flood.pcap"
        frames.write_flood(syns, many)
        with ExitStack() as stack:
            stack.enter_context(wire.consumer())
            ring = 512
            worker = stack.enter_context(wire.worker(ring))
            sent = 0
            for path, rate in ((opening, RATE), (syns, RATE * 2), (data, RATE)):
                with wire.sender(path) as sender:
                    sent += wire.spend(
                        sender,
                        until=lambda more, sent=sent: taken(worker.ask()) >= sent + more,
                        rate=rate,
                    ).packets
                path.unlink()
            stats, memory = worker.ask(), processor.memory(worker.pid).resident
        events, lost = stats["events"], dropped(stats)
        kept = stats["connections"].get("stripped", 0)
        forgotten = stats["connections"].get("midstream", 0) + events.get("evicted", 0)
        self.say(f"A flood of {many:,} SYNs over {len(own):,} established connections:")
        self.say(
            f"  {kept:,} stripped, {forgotten:,} forgotten, {lost:,} packets dropped,"
            f" {events.get('evicted_half_open', 0):,} half-open ones made room"
        )
        self.say(f"  resident: {memory / MIB - ring:,.0f} MiB beside the ring of {ring} MiB")
        self.say()
        self.report.figures["flood"] = {"resident_bytes": memory, "forgotten": forgotten}
        text = f"a flood of {many:,} SYNs loses no established connection"
        self.report.targets.append(
            Target(text, f"{forgotten:,} lost", forgotten == 0 and kept == len(own) and not lost)
        )

    # --- the headline --------------------------------------------------------------------------

    def headline(self) -> None:
        """N Suricatas, one behind each gateway, beside one Suricata with peeltap."""
        self.say("N Suricatas, one behind each gateway, beside one and peeltap:")
        self.say(
            f"  {'':>22} {'PSS, MiB':>9} {'idle CPU, %':>12} {'PSS after':>10}"
            f" {'CPU a packet, ns':>17}"
        )
        found = {}
        for count in (1, 4, 8):
            if count <= self.scale.idle:
                found[f"{count} Suricatas"] = self._many(count)
        found["one, and a worker"] = self._one()
        found["peeltap run, whole"] = self._whole()
        for name, (before, idle, after, cost) in found.items():
            self.say(
                f"  {name:>22} {before / MIB:>9,.0f} {idle:>12.2f} {after / MIB:>10,.0f}"
                f" {cost:>17,.0f}"
            )
        self.say()
        self.report.figures["headline"] = {
            name: dict(zip(("pss", "idle_percent", "pss_after", "cpu_ns"), row, strict=True))
            for name, row in found.items()
        }

    def _traffic(self, header: bytes, count: int, at: int) -> Path:
        """The share of decoy number `at` of `count`."""
        packets = self.scale.packets // count
        numbers = range(at, 1 << 30, count)
        return self.capture(f"share-{at}", frames.http(packets, header, numbers))

    def _many(self, count: int) -> tuple[float, float, float, float]:
        wire = self.wire
        with ExitStack() as stack:
            ids, senders = [], []
            for number in range(count):
                near, behind = f"leg{number}", f"vm{number}"
                wire.pair(near, behind)
                stack.callback(wire.unpair, near)
                place = wire.lab.directory / f"many-{count}-{number}"
                one = Suricata(wire.host, behind, place, ring=DEFAULT_RING, cluster=100 + number)
                ids.append(stack.enter_context(one))
                path = self._traffic(b"", count, number)
                senders.append(stack.enter_context(Program(wire.near, "sender", [path, near])))
                path.unlink()
            for one in ids:
                one.wait_ready()
            return self._weigh([one.pid for one in ids], senders, ids)

    def _one(self) -> tuple[float, float, float, float]:
        wire = self.wire
        path = self._traffic(frames.HEADER, 1, 0)
        with wire.worker() as worker, self.ids("one") as suricata, wire.sender(path) as sender:
            path.unlink()
            return self._weigh([worker.pid, suricata.pid], [sender], [suricata])

    def _whole(self) -> tuple[float, float, float, float]:
        path = self._traffic(frames.HEADER, 1, 0)
        with Service(self.wire, "whole") as service, self.wire.sender(path) as sender:
            path.unlink()
            service.wait_ready()
            return self._weigh(service.pids, [sender], [service])

    def _weigh(
        self, pids: list[int], senders: list[Program], ids: Sequence[Suricata | Service]
    ) -> tuple[float, float, float, float]:
        """Memory, percent of a processor when idle, memory after the traffic, CPU a packet."""
        time.sleep(1)
        memory = sum(processor.memory(pid).proportional for pid in pids)
        before = processor.used(pids)
        time.sleep(self.scale.seconds)
        idle = sum(processor.used(pids).values()) - sum(before.values())
        packets = total = 0
        for sender, one in zip(senders, ids, strict=True):
            spent = self.wire.spend(
                sender, pids, until=lambda _, one=one: bool(one.settle()), rate=RATE / 3
            )
            packets += spent.packets
            total += spent.total
        after = sum(processor.memory(pid).proportional for pid in pids)
        return memory, idle / self.scale.seconds / 1e7, after, total / packets


def taken(stats: dict[str, Any]) -> int:
    """Packets that a worker's ring gave or dropped."""
    return int(stats["capture"]["packets"] + stats["capture"]["kernel_drops"])


def dropped(stats: dict[str, Any]) -> int:
    """Packets that a worker lost, wherever."""
    at_the_tap = sum(stats["output"]["dropped"].values())
    return int(stats["capture"]["kernel_drops"] + stats["packets"]["dropped"] + at_the_tap)


def lossless(worker: Program, sent: int) -> None:
    """Nobody wins by not doing the work."""
    stats = worker.ask()
    if dropped(stats) or stats["packets"]["in"] != sent:
        raise MeasureError(
            f"of {sent:,} packets the worker saw {stats['packets']['in']:,} and dropped"
            f" {dropped(stats):,}: the machine is too busy"
        )
