"""``make soak``: the whole service for ten minutes at half of what Suricata bears.

HTTP conversations, new ones all the time. In the end the sums have to be equal, from the wire to
Suricata; nothing may have been dropped; memory has to be flat once closed connections begin to be
forgotten. SOAK_SECONDS is another time, SOAK_RATE another rate (packets a second).
"""

from __future__ import annotations

import os
import platform
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from bench.live import frames, processor
from bench.live.service import Service, dropped, seen
from bench.live.wire import Program, Wire
from bench.measure import MeasureError
from bench.report import MIB, Target
from fixtures.netns import LabError, may_build

PACKETS = 40_000
# More than the capture has connections: a pass has ports of its own.
STEP = 2003
# Rates that are tried for what Suricata bears, in parts of what its CPU time allows.
TRIED = (1.0, 0.75, 0.5, 0.35, 0.25)
# Closed connections are forgotten after a minute; until then a table fills.
WARM_SECONDS = 90.0
GROWTH, GROWTH_BYTES = 1.05, 8 * MIB


@dataclass(frozen=True)
class Sample:
    at: float
    packets: int
    memory: list[int]


def say(text: str) -> None:
    print(text, flush=True)


def bears(service: Service, sender: Program) -> float:
    """Packets a second that Suricata takes here without a drop."""
    [_, suricata] = service.pids
    before = processor.used([suricata])[suricata]
    sent = sender.ask(rate=5000)["sent"]
    settle(service, sent)
    cost = (processor.used([suricata])[suricata] - before) / sent
    for part in TRIED:
        lost = dropped(service.status())
        said = sender.ask(rate=part * 1e9 / cost, moved=True, step=STEP, passes=3)
        sent += said["sent"]
        if dropped(settle(service, sent)) == lost:
            return float(said["sent"] / said["seconds"])
    raise MeasureError(
        "Suricata drops packets at every rate that was tried: the machine is too busy"
    )


def settle(service: Service, sent: int) -> dict[str, Any]:
    """The status once all that was sent has reached Suricata's counters, or does no more."""

    def done(status: dict[str, Any]) -> bool:
        return seen(status) >= sent and received(status) >= status["output"]["frames"]

    return service.wait(done, 20)


def received(status: dict[str, Any]) -> int:
    return int(status["suricata"].get("stats", {}).get("capture.kernel_packets", 0))


def flat(samples: list[Sample], which: int) -> tuple[bool | None, str]:
    """Whether memory is at the end what it was once warm; None if that was too short a time."""
    warm = [one for one in samples if one.at >= max(WARM_SECONDS, samples[-1].at / 3)]
    if samples[-1].at < 2 * WARM_SECONDS:
        return None, f"{samples[-1].memory[which] / MIB:.0f} MiB; too short to tell"
    part = max(1, len(warm) // 4)
    early = median(one.memory[which] for one in warm[:part])
    late = median(one.memory[which] for one in warm[-part:])
    holds = late <= max(early * GROWTH, early + GROWTH_BYTES)
    return holds, f"{early / MIB:.0f} MiB, at the end {late / MIB:.0f} MiB"


def judge(
    status: dict[str, Any], before: dict[str, int], sent: int, samples: list[Sample]
) -> list[Target]:
    """What has to hold."""
    packets, capture, output = status["packets"], status["capture"], status["output"]
    ways = packets["emitted"] + packets["merged"] + packets["dropped"] + packets["held"]
    its = received(status)
    lost = {place: count - before.get(place, 0) for place, count in dropped(status).items()}
    lost = {place: count for place, count in lost.items() if count}
    events = status["events"]
    targets = [
        Target(
            "packets sent = captured",
            f"{sent:,} = {capture['packets']:,}",
            sent == capture["packets"],
        ),
        Target(
            "in = emitted + merged + dropped + held",
            f"{packets['in']:,} = {ways:,}",
            packets["in"] == ways,
        ),
        Target(
            "frames out = written to the tap = taken by Suricata",
            f"{packets['frames_out']:,} = {output['frames']:,} = {its:,}",
            packets["frames_out"] == output["frames"] == its,
        ),
        Target("nothing dropped", str(lost or "nothing"), not lost),
        Target("events were corrected", f"{sum(events['enricher']['types'].values()):,}", None),
    ]
    for which, name in enumerate(("peeltap", "Suricata")):
        holds, figure = flat(samples, which)
        targets.append(Target(f"memory of {name} is flat", figure, holds))
    return targets


def soak(wire: Wire, scratch: Path, seconds: float, wanted: float | None) -> list[Target]:
    """The whole of it."""
    path = scratch / "soak.pcap"
    frames.write(path, frames.http(PACKETS))
    with Service(wire, "soak") as service, wire.sender(path) as sender:
        service.wait_ready()
        most = wanted * 2 if wanted else bears(service, sender)
        rate = most / 2
        before = dropped(service.status())
        say(f"Suricata bears {most:,.0f} packets/s here; {rate:,.0f} for {seconds:.0f} s:")
        begin = time.monotonic()
        sent = seen(service.status())
        samples: list[Sample] = []
        while (at := time.monotonic() - begin) < seconds:
            sent += sender.ask(rate=rate, moved=True, step=STEP)["sent"]
            status = service.status()
            samples.append(Sample(at, seen(status), service.memory()))
            if len(samples) == 1 or at // 30 != samples[-2].at // 30:
                mine, its = samples[-1].memory
                say(
                    f"  {at:>5.0f} s  {seen(status):>12,} packets  {status['table']['tracked']:>8,}"
                    f" connections  {mine / MIB:>5.0f} MiB  Suricata {its / MIB:>5.0f} MiB"
                )
        return judge(settle(service, sent), before, sent, samples)


def main() -> int:
    """0 if all holds, 1 if not, or if it could not be run."""
    if (why := may_build()) is not None:
        print(f"soak: {why}", file=sys.stderr)
        return 1
    seconds = float(os.environ.get("SOAK_SECONDS", "600"))
    rate = float(os.environ["SOAK_RATE"]) if os.environ.get("SOAK_RATE") else None
    try:
        with tempfile.TemporaryDirectory(dir="/dev/shm") as scratch, Wire() as wire:
            targets = soak(wire, Path(scratch), seconds, rate)
    except (MeasureError, LabError, OSError) as error:
        print(f"soak: {error}", file=sys.stderr)
        return 1
    for target in targets:
        print(
            target.line()
            if target.holds is not None
            else f"  {'':<14} {target.text:<58} {target.figure}"
        )
    good = all(target.holds is not False for target in targets)
    print(f"{'The soak holds' if good else 'THE SOAK DOES NOT HOLD'} ({platform.release()})")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
