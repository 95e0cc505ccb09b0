"""The workers of a machine as one: added up, the worst of them, and what Redis says of all."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.workers_report import LATELY_SECONDS, SILENT_SECONDS, WorkersReporter
from tests.pipeline.samples import Asked, ended, worker

ALERTS = 7
"""Events that each sample worker has corrected."""


def reporter(*workers: dict[str, Any], now: float = 0.0) -> WorkersReporter:
    return WorkersReporter(
        config="/etc/peeltap/workers.yaml",
        partitions=16,
        workers=[Asked(one) for one in workers],
        log_lines_lost=lambda: 1,
        clock=lambda: now,
    )


def test_workers_are_added_up() -> None:
    report = reporter(worker(1, log_lines_lost=2), worker(2)).report()
    service = report["service"]
    assert (service["mode"], service["state"], service["log_lines_lost"]) == (
        *("workers", "starting"),
        3,
    )
    events = report["events"]
    assert events["enricher"]["types"] == {"alert": 4, "flow": 10}
    assert (events["lag_seconds"], events["state"]) == (0.4, "running")
    sink = events["sinks"]["/var/log/peeltap/events.json"]
    assert (sink["backlog"], sink["dropped"]) == (4096, 6)
    assert events["source"] == {
        "kind": "redis",
        "inbox": "suricata",
        "backlog": None,
        "open": 40,
        "divided": 1000,
        "events": 1200,
        "claimed": 24,
        "taken_over": 4,
        "lost": 0,
    }
    assert report["store"]["asked"] == 16
    assert [one["worker"] for one in report["workers"]] == [1, 2]
    assert report["complaints"] == []


def test_what_redis_says_of_all_is_said_once_by_whoever_asked_last() -> None:
    late = worker(2)
    late["events"]["source"]["waiting"] = 9000
    assert reporter(worker(1), late).report()["group"] == {
        "inbox": "suricata",
        "workers": 3,
        "waiting": 70,
        "pending": 40,
        "partitions": 16,
        "held": 4,
    }
    # One that has just begun has not been told yet.
    new = worker(1, silent_seconds=0.0)
    new["events"]["source"] |= {"waiting": None, "pending": None, "workers": 0}
    assert reporter(new, late).report()["group"]["waiting"] == 9000
    # Nobody knows while Redis does not answer.
    late["events"]["trouble"] = "redis: no answer"
    assert reporter(late).report()["group"]["waiting"] is None
    assert reporter(ended(1)).report()["group"]["pending"] is None


def test_the_worst_is_told() -> None:
    blocked, waiting = worker(1), worker(2)
    blocked["events"] |= {"state": "blocked", "lag_seconds": 70.0}
    waiting["events"] |= {"state": "waiting", "trouble": "redis: no answer", "lag_seconds": None}
    events = reporter(waiting, blocked, ended(3)).report()["events"]
    assert (events["state"], events["trouble"]) == ("blocked", "redis: no answer")
    assert events["lag_seconds"] == 70.0
    assert reporter(ended(1)).report()["events"] == {}


COMPLAINTS: list[tuple[dict[str, Any], list[str]]] = [
    (worker(1), []),
    (
        ended(1),
        ["worker 1 has ended (it was killed by SIGKILL); it is begun again in 4 s"],
    ),
    (
        worker(1, up=False, state="mute", report_age_seconds=12.3),
        ["worker 1 (pid 4801) has said nothing for 12 s"],
    ),
    (
        worker(1, silent_seconds=SILENT_SECONDS + 1),
        ["worker 1 (pid 4801): its events have stood still for 31 s"],
    ),
    (worker(1, silent_seconds=99.0, store={"trouble": "no answer"}), []),
    (
        worker(1, restarts=2, last_end="it was killed by SIGSEGV"),
        ["worker 1 was begun again (restarts: 2); the last time it was killed by SIGSEGV"],
    ),
    (worker(1, restarts=2, last_end="x", uptime_seconds=LATELY_SECONDS), []),
    (worker(1, state="starting", up=False, events={}, store={}), []),
]


@pytest.mark.parametrize(("told", "complaints"), COMPLAINTS)
def test_what_a_person_should_look_at(told: dict[str, Any], complaints: list[str]) -> None:
    assert reporter(told).report()["complaints"] == complaints


def test_one_that_begins_anew_makes_no_burst() -> None:
    well, dies = Asked(worker(1)), Asked(worker(2))
    dies.told["events"]["enricher"]["types"] = {"alert": 1_000_000}
    reports = WorkersReporter(config="", partitions=1, workers=[well, dies])
    reports.tick(0.0)
    dies.told = ended(2)
    reports.tick(1.0)
    assert reports.report()["rates"] == {"events": 0.0}
    # Begun again: what it has counted since is its growth.
    dies.told = worker(2)
    well.told["events"]["enricher"]["types"] = {"alert": ALERTS + 10}
    reports.tick(2.0)
    assert reports.report()["rates"] == {"events": (10 + ALERTS) / 2}
