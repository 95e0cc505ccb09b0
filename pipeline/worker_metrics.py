"""The families of a report of `peeltap enrich --workers` (`workers_report`).

What a worker counts has its number as the label `worker`: of a sum, one that begins anew would look
like a loss, and then like a burst. What Redis knows of all workers of the group, here and
elsewhere, has none: each machine tells the same.
"""

from __future__ import annotations

from collections.abc import Mapping

from pipeline.metric_families import Families, Status, part
from pipeline.metrics import add_events, add_service
from pipeline.workers_report import OF_GROUP


def of_workers(status: Status) -> Families:
    """Names are those of `peeltap run` where they mean the same."""
    found = Families()
    add_service(found, status)
    group = part(status, "group")
    for name, about in (
        ("workers", "Workers of the group, on all machines"),
        ("waiting", "Events that wait in Redis: not yet delivered by whatever worker"),
        ("pending", "Of these, events that a worker has read and not acknowledged"),
        ("partitions", "Parts that flows are divided into"),
        ("held", "Of these, parts that workers of this machine read"),
    ):
        if group.get(name) is not None:
            found.gauge(f"group_{name}", about, group[name])
    for told in status.get("workers") or []:
        if isinstance(told, Mapping):
            _worker(found.of(worker=str(told.get("worker", ""))), told)
    return found


def _worker(found: Families, told: Status) -> None:
    found.gauge("worker_up", "Whether it runs, and says so", told.get("up"))
    found.counter("worker_restarts", "How often it was begun again", told.get("restarts"))
    found.gauge("worker_uptime_seconds", "Since it was begun", told.get("uptime_seconds"))
    found.gauge(
        "worker_silent_seconds", "Since its events last moved on", told.get("silent_seconds")
    )
    events, store = part(told, "events"), part(told, "store")
    # One that is not there gives no answers: what it had counted is not 0 for that.
    if not events:
        found.gauge("events_source_up", "Whether events can be read from Redis", 0)
        found.gauge("store_up", "Whether flow records can be had from Redis", 0)
        return
    source = part(events, "source")
    found.gauge(
        "events_source_up", "Whether events can be read from Redis", not events.get("trouble")
    )
    found.gauge(
        "events_source_partitions", "Parts that it reads", len(source.get("partitions") or ())
    )
    own = {name: value for name, value in source.items() if name not in OF_GROUP}
    add_events(found, {**events, "source": own})
    found.gauge("store_up", "Whether flow records can be had from Redis", not store.get("trouble"))
    found.numbers("store", "Flow records in Redis", store)
