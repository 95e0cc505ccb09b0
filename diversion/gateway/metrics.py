"""What happened, for Prometheus: this process's counters, and what its agents have reported."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from diversion.gateway.agents import Report
from diversion.proxy.addresses import Ends
from diversion.proxy.counters import ENDS, Counters

MAX_LABEL = 64


class Proxies(Collector):
    """Reads numbers that the loop's thread writes; each is right by itself."""

    def __init__(
        self,
        counters: Counters,
        *,
        port_changed: Callable[[], int],
        reports: Callable[[], dict[str, Report]],
        present: Callable[[], set[str]],
    ) -> None:
        self._counters = counters
        self._port_changed = port_changed
        self._reports = reports
        self._present = present

    def collect(self) -> Iterator[Metric]:
        """All metrics, as prometheus_client asks for them."""
        counters = self._counters
        yield CounterMetricFamily(
            "peeltap_gateway_connections", "Connections accepted", value=counters.accepted
        )
        yield GaugeMetricFamily(
            "peeltap_gateway_connections_open", "Connections now", value=counters.open
        )
        moved = CounterMetricFamily(
            "peeltap_gateway_bytes", "Payload of connections that are over", labels=["to"]
        )
        moved.add_metric(["decoy"], counters.to_decoy)
        moved.add_metric(["peer"], counters.to_peer)
        yield moved
        ends = CounterMetricFamily(
            "peeltap_gateway_ends", "Connections by how they ended", labels=["end"]
        )
        for name in ENDS:
            ends.add_metric([name], counters.ends[name])
        yield ends
        yield CounterMetricFamily(
            "peeltap_gateway_log_lines_lost",
            "Lines that nobody read in time",
            value=counters.lines_lost,
        )
        yield CounterMetricFamily(
            "peeltap_gateway_mistakes", "Mistakes of the program itself", value=counters.mistakes
        )
        yield CounterMetricFamily(
            "peeltap_gateway_source_port_changed",
            "Connections with the peer's address but another port",
            value=self._port_changed(),
        )
        yield from self._agents()

    def _agents(self) -> Iterator[Metric]:
        present = self._present()
        here = GaugeMetricFamily(
            "peeltap_agent_present", "Whether the agent is in conversation", labels=["agent"]
        )
        listeners = GaugeMetricFamily(
            "peeltap_agent_listeners", "Listeners by state", labels=["agent", "state"]
        )
        accepted = CounterMetricFamily(
            "peeltap_agent_connections", "Connections accepted by the agent", labels=["agent"]
        )
        for name, report in list(self._reports().items()):
            label = name[:MAX_LABEL]
            here.add_metric([label], name in present)
            listeners.add_metric([label, "up"], report.up)
            listeners.add_metric([label, "failed"], report.failed)
            accepted.add_metric([label], report.accepted)
        yield from (here, listeners, accepted)


def serve(listen: Ends, proxies: Proxies) -> Callable[[], None]:
    """Answer Prometheus on an address; gives what ends it. OSError if it is taken."""
    registry = CollectorRegistry()
    registry.register(proxies)
    server, _ = start_http_server(listen[1], listen[0], registry)

    def stop() -> None:
        server.shutdown()
        server.server_close()

    return stop
