"""What `peeltap enrich --workers` says of itself: one object for control socket and metrics.

service    version, process, state, configuration
rates      events a second, of all workers
group      as Redis knows it: workers everywhere, what waits, what was read and not acknowledged
events     the workers' relays, added up; store: their lookups of flow records, likewise
workers    each of them: process, restarts, how it ended last, and its own events and store
complaints what a person should look at, beside the troubles that the parts tell themselves

Counters of a worker that is begun again begin at 0, and so the sums drop: whoever wants them over
longer adds up what each worker has (Prometheus does).
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, Protocol

from peeltap_core import VERSION

from pipeline.live_stats import Rates, combine

Status = Mapping[str, Any]

SILENT_SECONDS: Final = 30.0
LATELY_SECONDS: Final = 600.0
"""For so long it is told that a worker was begun again."""

# The worse, the later; of several workers the worst is told.
_STATES: Final = ("running", "waiting", "blocked")

OF_GROUP: Final = ("workers", "waiting", "pending")
"""What a source tells of the group, not of its worker."""


class Reports(Protocol):
    """A worker that can be asked."""

    def status(self, now: float) -> dict[str, Any]:
        """A snapshot; does not wait."""


class WorkersReporter:
    """Puts the workers' words together; `report` may be called from any thread."""

    def __init__(
        self,
        *,
        config: str,
        partitions: int,
        workers: Sequence[Reports],
        log_lines_lost: Callable[[], int] = lambda: 0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._config = config
        self._partitions = partitions
        self._workers = workers
        self._lost = log_lines_lost
        self._clock = clock
        self._began = clock()
        self._rates = Rates()
        self.version = VERSION
        self.state = "starting"

    def tick(self, now: float) -> None:
        """Note the counters, for the rates."""
        told = [worker.status(now) for worker in self._workers]
        # By worker: one that begins anew must not look like thousands of events a second.
        self._rates.add(now, {str(one["worker"]): _events(one) for one in told if one["events"]})

    def report(self) -> dict[str, Any]:
        """Everything, as it is now."""
        now = self._clock()
        workers = [worker.status(now) for worker in self._workers]
        lost = self._lost() + sum(one.get("log_lines_lost", 0) for one in workers)
        return {
            "service": {
                "version": self.version,
                "pid": os.getpid(),
                "state": self.state,
                "uptime_seconds": round(now - self._began, 1),
                "config": self._config,
                "mode": "workers",
                "log_lines_lost": lost,
            },
            "rates": {"events": round(sum(self._rates.per_second().values()), 1)},
            "group": _group(workers, self._partitions),
            "events": _together([one["events"] for one in workers]),
            "store": combine(one["store"] for one in workers),
            "workers": workers,
            "complaints": list(_complaints(workers)),
        }


def _events(worker: Status) -> int:
    total = sum((worker["events"].get("enricher") or {}).get("types", {}).values())
    return int(total)


def _sources(workers: Sequence[Status]) -> list[Status]:
    return [one["events"]["source"] for one in workers if one["events"].get("source")]


def _group(workers: Sequence[Status], partitions: int) -> dict[str, Any]:
    """What Redis told of the whole: whoever was told last counts, and while nobody can be told
    nothing does."""
    told = [
        one
        for one in workers
        if (one["events"].get("source") or {}).get("waiting") is not None
        and not one["events"].get("trouble")
    ]
    latest = min(told, key=lambda one: one.get("silent_seconds") or 0.0, default=None)
    source = {} if latest is None else latest["events"]["source"]
    held = {number for one in _sources(workers) for number in one.get("partitions") or ()}
    return {
        "inbox": source.get("inbox"),
        **{name: source.get(name) for name in OF_GROUP},
        "partitions": partitions,
        "held": len(held),
    }


def _together(relays: Sequence[Status]) -> dict[str, Any]:
    """The workers' relays as one: added up, or the worst of them."""
    known = [one for one in relays if one]
    if not known:
        return {}
    total = combine(known)
    lags = [one["lag_seconds"] for one in known if one.get("lag_seconds") is not None]
    states = {str(one.get("state")) for one in known}
    total["state"] = next((state for state in reversed(_STATES) if state in states), "running")
    total["lag_seconds"] = max(lags, default=None)
    total["source"] = {
        name: value
        for name, value in total.get("source", {}).items()
        if name not in (*OF_GROUP, "worker", "partitions")
    }
    total.pop("beat", None)
    return total


def _complaints(workers: Sequence[Status]) -> Iterator[str]:
    for one in workers:
        name, end = f"worker {one['worker']}", one.get("last_end")
        silent = one.get("silent_seconds") or 0.0
        if one["state"] == "ended":
            yield f"{name} has ended ({end}); it is begun again in {one['again_seconds']:g} s"
        elif one["state"] == "mute":
            age = one["report_age_seconds"]
            yield f"{name} (pid {one['pid']}) has said nothing for {age:.0f} s"
        elif silent > SILENT_SECONDS and not one["store"].get("trouble"):
            yield f"{name} (pid {one['pid']}): its events have stood still for {silent:.0f} s"
        elif one["restarts"] and one.get("uptime_seconds", 0.0) < LATELY_SECONDS:
            yield f"{name} was begun again (restarts: {one['restarts']}); the last time {end}"
