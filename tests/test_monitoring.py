"""What is shipped for Prometheus and Grafana: right by their own tools, and of metrics that exist.

There is no Grafana here. Its dashboard is checked against what Grafana's own types ask of one
(packages/grafana-schema, dashboard_types.gen.ts); its expressions by promtool, as rules.
"""

from __future__ import annotations

import itertools
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import CollectorRegistry, generate_latest

from pipeline.metrics import StatusCollector
from pipeline.worker_metrics import of_workers
from pipeline.workers_report import WorkersReporter
from tests.pipeline.samples import REPORT, Asked, worker

ROOT = Path(__file__).parents[1]
RULES = ROOT / "packaging" / "prometheus" / "peeltap.rules.yml"
RULE_TESTS = ROOT / "tests" / "monitoring" / "peeltap.rules.test.yml"
DASHBOARD = json.loads((ROOT / "packaging" / "grafana" / "peeltap.json").read_text())
PANELS = DASHBOARD["panels"]


def rules() -> list[dict[str, Any]]:
    [group] = yaml.safe_load(RULES.read_text())["groups"]
    found: list[dict[str, Any]] = group["rules"]
    return found


def expressions() -> list[str]:
    """Every expression of the dashboard, with what Grafana puts into it."""
    found = [target["expr"] for panel in PANELS for target in panel.get("targets", [])]
    return [one.replace("$__rate_interval", "5m").replace("$instance", "sensor-1") for one in found]


def _names(texts: list[str]) -> set[str]:
    return set(re.findall(r"\bpeeltap_\w+", " ".join(texts)))


def names_of_rules() -> set[str]:
    """The metrics that the rules ask for."""
    return _names([rule["expr"] for rule in rules()])


def names_of_dashboard() -> set[str]:
    """The metrics that the dashboard asks for."""
    queries = [one["query"]["query"] for one in DASHBOARD["templating"]["list"][1:]]
    return _names([*expressions(), *queries])


def exposed_names(text: str) -> set[str]:
    """The metrics of an answer of /metrics, whether they have a sample yet or only a type."""
    samples = re.findall(r"^(\w+)[{ ]", text, re.MULTILINE)
    typed = re.findall(r"^# TYPE (\w+) (\w+)$", text, re.MULTILINE)
    return {*samples, *(name for name, _ in typed)}


def promtool(*argv: str | Path) -> str:
    done = subprocess.run(
        ["promtool", *argv], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def _exposed_by(collector: StatusCollector) -> set[str]:
    registry = CollectorRegistry(auto_describe=False)
    registry.register(collector)
    return exposed_names(generate_latest(registry).decode())


def _of_service() -> set[str]:
    return _exposed_by(StatusCollector(lambda: REPORT))


def _of_workers() -> set[str]:
    told = WorkersReporter(config="w.yaml", partitions=16, workers=[Asked(worker(1))]).report()
    return _exposed_by(StatusCollector(lambda: told, of_workers))


def wanted_of_service() -> set[str]:
    """What rules and dashboard ask of `peeltap run`: all but what workers alone have."""
    return (names_of_rules() | names_of_dashboard()) - (_of_workers() - _of_service())


def wanted_of_workers() -> set[str]:
    """What rules and dashboard ask of `peeltap enrich --workers` alone."""
    return (names_of_rules() | names_of_dashboard()) & (_of_workers() - _of_service())


def test_every_metric_exists() -> None:
    assert names_of_rules() | names_of_dashboard() <= _of_service() | _of_workers()
    assert len(wanted_of_service()) > 20
    assert len(wanted_of_workers()) > 5


@pytest.mark.tool("promtool")
def test_prometheus_takes_the_rules(tmp_path: Path) -> None:
    assert f"{len(rules())} rules found" in promtool("check", "rules", RULES)
    # Prometheus finds the rules beside their tests.
    for path in (RULES, RULE_TESTS):
        shutil.copy(path, tmp_path)
    assert "SUCCESS" in promtool("test", "rules", tmp_path / RULE_TESTS.name)


def test_every_rule_is_told_of_and_tested() -> None:
    tests = RULE_TESTS.read_text()
    for rule in rules():
        assert tests.count(f'alertname="{rule["alert"]}"') == 1, "it fires"
        assert tests.count(f"alertname: {rule['alert']}}}") == 1, "it does not fire"
        assert rule["labels"]["severity"] in ("critical", "warning", "info")
        assert set(rule["annotations"]) == {"summary", "description"}
        assert f"`{rule['alert']}`" in (ROOT / "docs" / "page.md").read_text()


@pytest.mark.tool("promtool")
def test_prometheus_takes_the_dashboards_expressions(tmp_path: Path) -> None:
    recorded = [{"record": f"r:{n}", "expr": one} for n, one in enumerate(expressions())]
    path = tmp_path / "dashboard.yml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": recorded}]}))
    assert f"{len(recorded)} rules found" in promtool("check", "rules", path)


def test_the_dashboard_is_what_grafana_asks_for() -> None:
    assert DASHBOARD["schemaVersion"] >= 36
    assert (DASHBOARD["id"], DASHBOARD["uid"], DASHBOARD["title"]) == (None, "peeltap", "Peeltap")
    assert set(DASHBOARD["time"]) == {"from", "to"}
    ids = [panel["id"] for panel in PANELS]
    assert len(set(ids)) == len(ids)
    variables = {one["name"]: one["type"] for one in DASHBOARD["templating"]["list"]}
    assert variables == {"datasource": "datasource", "instance": "query"}
    for panel in PANELS:
        assert panel["title"]
        if panel["type"] == "row":
            assert panel["panels"] == []
            continue
        assert panel["type"] in ("stat", "timeseries")
        # Whatever the data source is called where the dashboard is imported.
        for part in (panel, *panel["targets"]):
            assert part["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        refs = [target["refId"] for target in panel["targets"]]
        assert len(set(refs)) == len(refs) > 0
        assert all(target["instant"] != target["range"] for target in panel["targets"])
        assert all('instance=~"$instance"' in target["expr"] for target in panel["targets"])
        assert {"defaults", "overrides"} <= set(panel["fieldConfig"])
        steps = panel["fieldConfig"]["defaults"]["thresholds"]["steps"]
        assert steps[0]["value"] is None
        values = [step["value"] for step in steps[1:]]
        assert values == sorted(values)


def test_no_panel_lies_on_another() -> None:
    taken: dict[tuple[int, int], str] = {}
    for panel in PANELS:
        at = panel["gridPos"]
        assert 0 <= at["x"] < at["x"] + at["w"] <= 24
        cells = itertools.product(
            range(at["x"], at["x"] + at["w"]), range(at["y"], at["y"] + at["h"])
        )
        for cell in cells:
            assert taken.setdefault(cell, panel["title"]) == panel["title"]
