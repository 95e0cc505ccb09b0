"""What Prometheus reads: every counter under a name, over HTTP, bounded."""

import contextlib
import copy
import re
import socket
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from pipeline.metrics import DROPPED, ENGINE_EVENTS, MERGED, MetricsServer, StatusCollector
from reassembly.records import VERDICTS
from tests.pipeline.samples import REPORT

STATS = Path(__file__).parents[2] / "core/src/engine/stats.rs"


def exposed(report: dict[str, Any]) -> dict[str, float]:
    """Every sample of a report, by its name and labels."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(StatusCollector(lambda: report))
    lines = generate_latest(registry).decode().splitlines()
    pairs = [line.rsplit(" ", 1) for line in lines if not line.startswith("#")]
    assert len(dict(pairs)) == len(pairs)
    return {name: float(value) for name, value in pairs}


def test_the_names_are_those_of_the_engine() -> None:
    for kind, known in (("Merged", MERGED), ("Dropped", DROPPED), ("Event", ENGINE_EVENTS)):
        body = re.search(rf"    {kind} {{\n(.*?)\n    }}\n", STATS.read_text(), re.DOTALL)
        assert body is not None
        assert tuple(re.findall(r'= "(\w+)"', body[1])) == known


def test_every_counter_of_the_engine_is_there_before_it_counts() -> None:
    samples = exposed({})
    for label, known in (
        ("packets_merged_total{reason=", MERGED),
        ("packets_dropped_total{reason=", DROPPED),
        ("connections_total{verdict=", VERDICTS),
        ("engine_events_total{event=", ENGINE_EVENTS),
    ):
        for name in known:
            assert samples[f'peeltap_{label}"{name}"}}'] == 0


def test_a_report_as_prometheus_sees_it() -> None:
    samples = exposed(REPORT)
    wanted = {
        'peeltap_info{mode="strip",version="0.1.0"}': 1,
        "peeltap_packets_total": 10,
        "peeltap_packets_emitted_total": 6,
        "peeltap_packets_held": 1,
        "peeltap_frames_emitted_total": 6,
        "peeltap_header_bytes_total": 84,
        'peeltap_packets_merged_total{reason="header_ack"}': 1,
        'peeltap_packets_dropped_total{reason="other"}': 1,
        'peeltap_connections_total{verdict="stripped"}': 3,
        'peeltap_connections_total{verdict="untrusted"}': 0,
        'peeltap_headers_total{codec="proxy-v2"}': 3,
        'peeltap_engine_events_total{event="forged_header"}': 2,
        "peeltap_table_tracked": 4,
        'peeltap_capture_up{worker="0"}': 1,
        'peeltap_capture_kernel_drops_total{worker="0"}': 5,
        'peeltap_capture_ring_bytes{worker="0"}': 67108864,
        'peeltap_output_frames_total{worker="0"}': 6,
        'peeltap_output_dropped_total{reason="full",worker="0"}': 2,
        'peeltap_suricata_state{state="ready"}': 1,
        'peeltap_suricata_state{state="failed"}': 0,
        "peeltap_suricata_restarts_total": 1,
        "peeltap_suricata_rules_loaded": 41,
        'peeltap_suricata_stats{counter="capture.kernel_packets"}': 6,
        'peeltap_events_total{type="alert"}': 2,
        'peeltap_events_corrected_total{confidence="exact"}': 6,
        "peeltap_events_lag_seconds": 0.4,
        "peeltap_events_source_backlog": 120,
        'peeltap_sink_lines_total{sink="/var/log/peeltap/events.json"}': 7,
        'peeltap_sink_backlog{sink="/var/log/peeltap/events.json"}': 2048,
        'peeltap_sink_dropped_total{sink="/var/log/peeltap/events.json"}': 3,
        "peeltap_events_spool_disk_bytes": 4096,
        "peeltap_store_records_total": 4,
        "peeltap_store_recent": 4,
        "peeltap_checkpoint_saved_total": 9,
        "peeltap_page_viewers": 1,
        "peeltap_page_alerts_total": 2,
    }
    assert {name: samples.get(name) for name in wanted} == wanted


def test_workers_are_told_apart() -> None:
    report = copy.deepcopy(REPORT)
    report["workers"].append({"worker": 1, "capture_state": "gone", "output_state": "up"})
    samples = exposed(report)
    assert samples['peeltap_capture_up{worker="1"}'] == 0
    assert samples['peeltap_capture_packets_total{worker="0"}'] == 10


ODD: dict[str, dict[str, Any]] = {
    "nothing": {},
    "parts that are none": {"suricata": None, "events": None, "workers": None, "store": 7},
    "words for numbers": {
        "packets": {"in": "ten"},
        "events": {"enricher": {"types": {"alert": "two"}}},
    },
    "names an attacker chose": {"events": {"enricher": {"types": {'a"b\n# c\\': 1}}}},
    "too many names": {"suricata": {"stats": {f"c{n}": n for n in range(10_000)}}},
}


@pytest.mark.parametrize("report", ODD.values(), ids=ODD)
def test_anything_can_be_exposed(report: dict[str, Any]) -> None:
    assert len(exposed(report)) < 3000


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])
def test_it_is_read_over_http(host: str) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.bind((host.strip("[]"), 0))
        port = probe.getsockname()[1]
    server = MetricsServer(f"{host}:{port}", lambda: REPORT)
    server.start()
    try:
        with urllib.request.urlopen(f"http://{host}:{port}/metrics", timeout=60) as answer:
            assert b"\npeeltap_packets_total 10.0\n" in answer.read()
        # One that says nothing holds nobody up for long, and nonsense ends its sender only.
        # Before it has said, or read, all it may be hung up on.
        with (
            contextlib.suppress(ConnectionError),
            socket.create_connection((host.strip("[]"), port), timeout=60) as odd,
        ):
            odd.sendall(b"\xff" * 70_000 + b"\r\n\r\n")
            odd.recv(1000)
        with urllib.request.urlopen(f"http://{host}:{port}/metrics", timeout=60) as answer:
            assert answer.status == 200
    finally:
        server.close()
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(f"http://{host}:{port}/metrics", timeout=60)


def test_an_address_that_is_taken_is_an_error() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(OSError, match="in use"):
            MetricsServer(f"127.0.0.1:{taken.getsockname()[1]}", dict)
