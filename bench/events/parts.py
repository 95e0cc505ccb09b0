"""What is measured: side by side, memory, lag; each leaves figures, lines and targets."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from bench.events import peers
from bench.events.material import Feed, Material, moment
from bench.events.service import Service, Told
from bench.measure import MeasureError
from bench.report import MIB, Spread, Target, at_least, at_most
from tests.support.kafka_mock import MockCluster
from tests.support.programs import Program, answers, free_port

FASTER_THAN_FEVER = 2.0
RATE = 20_000
LAG_SECONDS = 1.0
# What `make soak` allows.
GROWTH, GROWTH_BYTES = 1.05, 8 * MIB
# Of the events, until caches and pools are as large as they get.
WARM = 0.2
SAMPLES = 200
STREAM_EVENTS = 10_000
TAIL_BYTES = 1 << 20


@dataclass(frozen=True)
class Sizes:
    """How much is measured."""

    events: int
    rounds: int
    memory: int
    lag_seconds: float


FULL = Sizes(300_000, 5, 1_000_000, 20.0)
QUICK = Sizes(60_000, 3, 200_000, 5.0)


@dataclass
class Report:
    """What was found so far."""

    say: Callable[[str], None]
    figures: dict[str, Any] = field(default_factory=dict)
    targets: list[Target] = field(default_factory=list)


@dataclass
class Run:
    """One contender: microseconds of CPU an event, and events a second by the clock, by round."""

    what: str
    cpu: list[float] = field(default_factory=list)
    rate: list[float] = field(default_factory=list)

    def add(self, events: int, cpu: float, wall: float) -> None:
        self.cpu.append(cpu / events * 1e6)
        self.rate.append(events / wall)


class Bench:
    """All parts, over one directory."""

    def __init__(self, place: Path, sizes: Sizes, say: Callable[[str], None]) -> None:
        self._place = place
        self._sizes = sizes
        self._made = 0
        self.report = Report(say)

    def _new(self, name: str) -> Path:
        self._made += 1
        return self._place / f"{name}{self._made}"

    # Side by side.

    def side_by_side(self) -> None:
        """jq, fever and ours, one after the other in each round, on the same file."""
        sizes, say = self._sizes, self.report.say
        material = Material(self._new("material"), sizes.events)
        runs = {
            "jq": Run(f"{peers.version(['jq', '--version'])}: four fields rewritten, file to file"),
            "fever": Run(
                f"{peers.version(['fever', 'version'])}: two fields added; sockets, its part alone"
            ),
            "file": Run("peeltap: read, corrected, spooled, written, committed"),
            "redis": Run("peeltap into a stream of Redis"),
            "kafka": Run("peeltap into Kafka (the mock cluster of librdkafka)"),
        }
        with ExitStack() as stack:
            port, directory = free_port(), self._new("redis")
            directory.mkdir()
            stack.enter_context(_redis(directory, port))
            cluster = stack.enter_context(MockCluster())
            stream = {"url": f"redis://127.0.0.1:{port}", "maxlen": STREAM_EVENTS}
            sinks = {
                "redis": {"redis": stream},
                "kafka": {"kafka": {"brokers": cluster.brokers, "topic": "peeltap"}},
            }
            for _ in range(sizes.rounds):
                self._peers(material, runs)
                out = self._new("out")
                self._ours(material, runs["file"], {"file": str(out)})
                _all_there(out, sizes.events)
                for name, sink in sinks.items():
                    self._ours(material, runs[name], sink)
        say(
            f"Side by side: {sizes.events:,} events of {material.size:.0f} bytes,"
            f" {sizes.rounds} rounds"
        )
        say(f"  {'':8}{'us CPU/event':>13}{'min-max':>15}{'x fever':>9}{'events/s':>10}  what")
        for name, one in runs.items():
            spread = Spread.of(one.cpu)
            say(
                f"  {name:8}{spread.mid:13.1f}{f'{spread.low:.1f}-{spread.high:.1f}':>15}"
                f"{times(runs['fever'], one):9.2f}{median(one.rate):10,.0f}  {one.what}"
            )
        self.report.figures["side_by_side"] = {
            "events": sizes.events,
            "bytes_per_event": material.size,
            **{name: asdict(one) for name, one in runs.items()},
        }
        self.report.targets.append(
            at_least(
                f"file to file at least {FASTER_THAN_FEVER:g} x fever's events per CPU second",
                times(runs["fever"], runs["file"]),
                FASTER_THAN_FEVER,
                "x",
            )
        )

    def _peers(self, material: Material, runs: dict[str, Run]) -> None:
        out, place = self._new("out"), self._new("fever")
        place.mkdir()
        cost = peers.jq(material.eve, out)
        runs["jq"].add(material.events, cost.cpu, cost.wall)
        _all_there(out, material.events)
        runs["fever"].add(material.events, *peers.fever(place, material.eve, out))
        _all_there(out, material.events)

    def _ours(self, material: Material, run: Run, sink: dict[str, Any]) -> None:
        directory = material.place(self._new("service"), link=True)
        with Service(directory, [sink]) as service:
            begin = time.monotonic()
            service.begin()
            told = service.until(material.events)
            wall = time.monotonic() - begin
        _all_corrected(told, material.events)
        run.add(material.events, told.cpu - service.before.cpu, wall)

    # Memory.

    def memory(self) -> None:
        """A file that grows and is turned over, into one that is: what the process holds."""
        count, say = self._sizes.memory, self.report.say
        material = Material(self._new("material"), min(count, 60_000))
        directory = material.place(self._new("service"))
        out = {"path": str(self._new("out")), "rotate": {"mb": 64, "keep": 1, "compress": False}}
        feed = Feed(directory, material)
        samples: list[tuple[int, int]] = []

        def each(told: Told) -> None:
            feed.up_to(count, told.events)
            if told.events >= len(samples) * count // SAMPLES:
                samples.append((told.events, told.memory))

        with Service(directory, [{"file": out}]) as service:
            feed.up_to(count, 0)
            service.begin()
            each(service.until(count, each))
        feed.close()
        holds, early, late = flat([size for at, size in samples if at >= count * WARM])
        figure = f"{early / MIB:.0f} MiB, at the end {late / MIB:.0f} MiB"
        say(f"Memory over {count:,} events: {figure}")
        self.report.figures["memory"] = {"events": count, "samples": samples}
        self.report.targets.append(Target(f"memory is flat over {count:,} events", figure, holds))

    # Lag.

    def lag(self) -> None:
        """RATE events a second: from when one is written to when it is in the sink's file."""
        seconds, say = self._sizes.lag_seconds, self.report.say
        material = Material(self._new("material"), 60_000)
        material.open_ended()
        directory, out = material.place(self._new("service")), self._new("out")
        feed = Feed(directory, material)
        late, lags = [], []
        with Service(directory, [{"file": str(out)}]) as service:
            service.begin()
            for behind in feed.pace(RATE, 1.0):
                late.append(behind)
            service.until(feed.written)
            # The first second is a start's, not the service's.
            before, warm, begin = service.tell(), feed.written, time.monotonic()
            tail = Tail(out)
            tail.look()
            late.clear()
            for behind in feed.pace(RATE, seconds):
                late.append(behind)
                lags += tail.look()
            wall = time.monotonic() - begin
            told = service.until(feed.written)
            lags += tail.look()
        feed.close()
        _all_corrected(told, feed.written)
        if not lags:
            raise MeasureError("nothing arrived while events were written")
        events = feed.written - warm
        spread, writer = Spread.of(lags), max(late)
        cores = (told.cpu - before.cpu) / wall
        say(
            f"Lag at {events / wall:,.0f} events/s for {seconds:g} s: median {spread.mid * 1e3:.0f}"
            f" ms, most {spread.high * 1e3:.0f} ms; {cores:.2f} of a core; the writer was itself up"
            f" to {writer * 1e3:.0f} ms late"
        )
        self.report.figures["lag"] = {
            "rate": events / wall,
            "seconds": asdict(spread),
            "cores": cores,
            "writer_late_seconds": writer,
        }
        text = f"lag at {RATE:,} events/s under {LAG_SECONDS:g} s"
        self.report.targets.append(at_most(text, spread.high, LAG_SECONDS, "s"))


class Tail:
    """Reads what is appended to a file, and tells how old its events are."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_RDONLY)
        self._rest = b""

    def look(self) -> list[float]:
        """The age of the oldest event of each new piece, in seconds."""
        ages = []
        while data := os.read(self._fd, TAIL_BYTES):
            lines = self._rest + data
            end = lines.rfind(b"\n") + 1
            self._rest = lines[end:]
            if end:
                ages.append(time.time() - moment(lines))
        return ages


def times(one: Run, other: Run) -> float:
    """How many times `other` costs less than `one`: the median of the rounds' own ratios."""
    return median(a / b for a, b in zip(one.cpu, other.cpu, strict=True))


def flat(sizes: list[int]) -> tuple[bool, float, float]:
    """Whether memory at the end is what it was in the beginning; both, medians of a quarter."""
    part = max(1, len(sizes) // 4)
    early, late = median(sizes[:part]), median(sizes[-part:])
    return late <= max(early * GROWTH, early + GROWTH_BYTES), early, late


def _all_there(path: Path, events: int) -> None:
    with path.open("rb") as lines:
        found = sum(1 for _ in lines)
    path.unlink()
    if found != events:
        raise MeasureError(f"{path.name} has {found:,} of {events:,} events")


def _all_corrected(told: Told, events: int) -> None:
    lacking = told.outcomes.get("none", 0) + told.waiting
    if told.events != events or lacking:
        raise MeasureError(f"of {told.events:,} of {events:,} events {lacking:,} not corrected")


def _redis(directory: Path, port: int) -> Program:
    """Redis, in memory alone: its disk is not the question."""
    command = ["redis-server", "--bind", "127.0.0.1", "--port", str(port), "--save", ""]
    command += ["--appendonly", "no", "--dir", str(directory)]
    return Program(command, lambda: answers(port), directory / "redis.log")
