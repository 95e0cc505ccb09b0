"""Metrics: what Prometheus is told, of the gateway and of its agents."""

from __future__ import annotations

import socket
import urllib.request

from diversion.gateway import metrics
from diversion.gateway.agents import Report
from diversion.gateway.metrics import Proxies
from diversion.proxy.counters import Counters


def scrape(reports: dict[str, Report], present: set[str]) -> str:
    counters = Counters()
    counters.accepted, counters.open, counters.to_decoy = 7, 2, 100
    counters.ends["refused"] = 3
    proxies = Proxies(
        counters, port_changed=lambda: 5, reports=lambda: reports, present=lambda: present
    )
    with socket.create_server(("127.0.0.1", 0)) as free:
        at = free.getsockname()
    stop = metrics.serve(at, proxies)
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{at[1]}/metrics", timeout=60) as answer:
            return str(answer.read().decode())
    finally:
        stop()


def test_numbers() -> None:
    text = scrape({"edge": Report(up=2, failed=1, accepted=9), "gone": Report()}, {"edge"})
    for line in (
        "peeltap_gateway_connections_total 7.0",
        "peeltap_gateway_connections_open 2.0",
        'peeltap_gateway_bytes_total{to="decoy"} 100.0',
        'peeltap_gateway_ends_total{end="refused"} 3.0',
        'peeltap_gateway_ends_total{end="closed"} 0.0',
        "peeltap_gateway_source_port_changed_total 5.0",
        'peeltap_agent_present{agent="edge"} 1.0',
        'peeltap_agent_listeners{agent="edge",state="up"} 2.0',
        'peeltap_agent_listeners{agent="edge",state="failed"} 1.0',
        'peeltap_agent_connections_total{agent="edge"} 9.0',
        'peeltap_agent_present{agent="gone"} 0.0',
    ):
        assert f"\n{line}\n" in text
