"""What Prometheus reads of workers: the service's names, with the worker's number."""

from __future__ import annotations

from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from pipeline.metrics import StatusCollector
from pipeline.worker_metrics import of_workers
from pipeline.workers_report import WorkersReporter
from tests.pipeline.samples import REPORT, Asked, ended, worker


def exposed(status: dict[str, Any]) -> dict[str, float]:
    registry = CollectorRegistry(auto_describe=False)
    registry.register(StatusCollector(lambda: status, of_workers))
    lines = generate_latest(registry).decode().splitlines()
    pairs = [line.rsplit(" ", 1) for line in lines if not line.startswith("#")]
    assert len(dict(pairs)) == len(pairs)
    return {name: float(value) for name, value in pairs}


def report(*workers: dict[str, Any]) -> dict[str, Any]:
    told = [Asked(one) for one in workers]
    return WorkersReporter(config="w.yaml", partitions=16, workers=told).report()


def test_each_worker_by_its_number_and_the_group_by_itself() -> None:
    samples = exposed(report(worker(1), worker(2, restarts=4), ended(3)))
    wanted = {
        "peeltap_group_workers": 3,
        "peeltap_group_waiting": 70,
        "peeltap_group_pending": 40,
        "peeltap_group_partitions": 16,
        "peeltap_group_held": 4,
        'peeltap_worker_up{worker="1"}': 1,
        'peeltap_worker_up{worker="3"}': 0,
        'peeltap_worker_restarts_total{worker="2"}': 4,
        'peeltap_worker_restarts_total{worker="3"}': 3,
        'peeltap_worker_silent_seconds{worker="2"}': 0.2,
        'peeltap_events_total{type="alert",worker="1"}': 2,
        'peeltap_events_corrected_total{confidence="exact",worker="2"}': 6,
        'peeltap_events_lag_seconds{worker="1"}': 0.4,
        'peeltap_events_source_up{worker="1"}': 1,
        'peeltap_events_source_up{worker="3"}': 0,
        'peeltap_events_source_claimed_total{worker="1"}': 12,
        'peeltap_events_source_open{worker="1"}': 20,
        'peeltap_events_source_partitions{worker="1"}': 2,
        'peeltap_sink_backlog{sink="/var/log/peeltap/events.json",worker="2"}': 2048,
        'peeltap_store_up{worker="2"}': 1,
        'peeltap_store_asked_total{worker="1"}': 8,
        'peeltap_store_cached{worker="1"}': 7,
    }
    assert {name: samples.get(name) for name in wanted} == wanted
    assert any(name.startswith('peeltap_info{mode="workers"') for name in samples)
    # What is Redis' is nobody's, and what only a sensor has is not here.
    for word in ("source_waiting", "source_pending", "source_workers", "suricata_", "packets"):
        assert not any(word in name for name in samples), word
    assert not any("backlog_bytes" in name for name in samples)


def test_trouble_of_redis() -> None:
    poor = worker(1)
    poor["events"]["trouble"] = "redis: no answer"
    poor["store"]["trouble"] = "redis: no answer"
    samples = exposed(report(poor))
    assert samples['peeltap_events_source_up{worker="1"}'] == 0
    assert samples['peeltap_store_up{worker="1"}'] == 0
    # What was last known of the group is not what is.
    assert "peeltap_group_pending" not in samples


def test_names_mean_the_same_as_those_of_the_service() -> None:
    def kinds(status: dict[str, Any], families: Any) -> dict[str, str]:
        return {one.name: one.type for one in StatusCollector(lambda: status, families).collect()}

    service, workers = kinds(REPORT, None), kinds(report(worker(1)), of_workers)
    both = service.keys() & workers.keys()
    assert len(both) > 15
    assert {name: service[name] for name in both} == {name: workers[name] for name in both}


@pytest.mark.parametrize("odd", [{}, {"workers": None}, {"workers": [None, {}]}, {"group": 5}])
def test_anything_can_be_exposed(odd: dict[str, Any]) -> None:
    assert "peeltap_uptime_seconds" in exposed(odd)
