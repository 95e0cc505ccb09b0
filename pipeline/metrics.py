"""The counters for Prometheus, on a loopback address.

Every number of `peeltap status --json` that is worth a graph is here under a name by Prometheus'
conventions; docs/run.md lists them. Names that the engine knows and has not counted yet are there
with 0: an alert on a series that does not exist never fires.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from socketserver import TCPServer
from typing import Any, Final
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import make_wsgi_app
from prometheus_client.registry import Collector

from pipeline.service_settings import Address
from reassembly.records import VERDICTS

MERGED: Final = ("header", "header_ack", "fragment")
DROPPED: Final = ("midstream", "other")
ENGINE_EVENTS: Final = (
    "forged_header",
    "untrusted_header",
    "header_missing",
    "header_malformed",
    "header_overlap_differs",
    "late_header",
    "hold_timeout",
    "hold_limit",
    "not_restored",
    "port_reused",
    "earlier_epoch",
    "evicted_half_open",
    "evicted",
    "tcp_md5_blanked",
    "tcp_ao_blanked",
    "sack_block_removed",
    "checksum_completed",
    "checksum_cut",
    "malformed_packet",
    "fragments_released",
    "fragment_overlap",
    "icmp_mapped",
    "superframe_segmented",
    "true_tuple_collided",
    "resumed",
    "not_resumed",
)
"""The names of `core/src/engine/stats.rs`; a test compares."""

MAX_LABELS: Final = 2000
"""Of counters that Suricata names; a broken event must not grow the answer without bound."""

REQUEST_SECONDS: Final = 5.0

Status = Mapping[str, Any]


class StatusCollector(Collector):
    """Makes metrics of what `status` gives at the moment of the question."""

    def __init__(self, status: Callable[[], Status]) -> None:
        self._status = status

    def collect(self) -> Iterator[Metric]:
        """Give all families."""
        status = self._status()
        yield from _service(status)
        yield from _engine(status)
        yield from _ways(status)
        yield from _suricata(status.get("suricata") or {})
        yield from _events(status.get("events") or {})
        yield from _numbers("store", "Flow record store", status.get("store"))
        yield from _numbers("flows", "Flow records on their way to Redis", status.get("flows"))
        yield from _numbers("checkpoint", "Connection table on disk", status.get("checkpoint"))
        yield from _numbers("page", "The page to look at", status.get("page"))


def _service(status: Status) -> Iterator[Metric]:
    service = status.get("service") or {}
    info = GaugeMetricFamily("peeltap_info", "The running version", labels=["version", "mode"])
    info.add_metric([str(service.get("version", "")), str(service.get("mode", ""))], 1)
    yield info
    yield _gauge("uptime_seconds", "Since the start", service.get("uptime_seconds"))
    yield _counter("log_lines_lost", "Log lines that nobody took", service.get("log_lines_lost"))


def _engine(status: Status) -> Iterator[Metric]:
    packets = status.get("packets") or {}
    yield _counter("packets", "Packets captured and handed to the engine", packets.get("in"))
    yield _counter(
        "packets_emitted", "Packets that left, as one frame or more", packets.get("emitted")
    )
    yield _labelled(
        "packets_merged", "Packets that went into others", "reason", status.get("merged"), MERGED
    )
    yield _labelled("packets_dropped", "Packets dropped", "reason", status.get("dropped"), DROPPED)
    yield _gauge("packets_held", "Packets that wait for a header", packets.get("held"))
    yield _counter("frames_emitted", "Frames that left the engine", packets.get("frames_out"))
    yield _counter("header_bytes", "Header bytes taken out of streams", status.get("bytes_removed"))
    yield _labelled(
        "connections",
        "Connections by what became of them",
        "verdict",
        status.get("connections"),
        VERDICTS,
    )
    yield _labelled("headers", "Connections by their header's codec", "codec", status.get("codecs"))
    yield _labelled(
        "engine_events", "What else the engine saw", "event", status.get("oddities"), ENGINE_EVENTS
    )
    yield from _numbers("table", "The connection table", status.get("table"), gauges=True)


def _ways(status: Status) -> Iterator[Metric]:
    """What each worker's ring and output say, with the worker's number."""
    workers = [one for one in status.get("workers") or [] if isinstance(one, Mapping)]
    for part, about in (("capture", "Capture ring"), ("output", "Output")):
        up = GaugeMetricFamily(
            f"peeltap_{part}_up", f"{about}: whether it is up", labels=["worker"]
        )
        families: dict[str, Metric] = {}
        for worker in workers:
            number = str(worker.get("worker", ""))
            up.add_metric([number], float(worker.get(f"{part}_state") == "up"))
            for name, value in sorted((worker.get(part) or {}).items()):
                if isinstance(value, Mapping):
                    _add_labelled(families, f"{part}_{name}", about, number, value)
                elif _is_number(value):
                    _add(families, f"{part}_{name}", f"{about}: {name}", number, value)
        yield up
        yield from families.values()


# What is a state and not a count, among the numbers of ring, output, store and the rest.
_GAUGES: Final = frozenset(
    {
        "age_seconds",
        "backlog",
        "before",
        "disk_bytes",
        "files",
        "gathering",
        "held",
        "memory_bytes",
        "queued_bytes",
        "until",
        "recent",
        "ring_bytes",
        "unsaved",
        "viewers",
        "waiting",
    }
)


def _add(families: dict[str, Metric], name: str, about: str, worker: str, value: float) -> None:
    kind = GaugeMetricFamily if name.split("_", 1)[1] in _GAUGES else CounterMetricFamily
    family = families.get(name)
    if family is None:
        family = families[name] = kind(f"peeltap_{name}", about, labels=["worker"])
    family.add_metric([worker], value)  # type: ignore[attr-defined]


def _add_labelled(
    families: dict[str, Metric], name: str, about: str, worker: str, values: Mapping[str, Any]
) -> None:
    family = families.get(name)
    if family is None:
        family = families[name] = CounterMetricFamily(
            f"peeltap_{name}", f"{about}: {name}, by reason", labels=["worker", "reason"]
        )
    for reason, value in values.items():
        if _is_number(value):
            family.add_metric([worker, str(reason)], value)  # type: ignore[attr-defined]


def _suricata(suricata: Status) -> Iterator[Metric]:
    state = GaugeMetricFamily("peeltap_suricata_state", "1 for what it is now", labels=["state"])
    for name in sorted({"starting", "ready", "backoff", "stopped", "failed", "external"}):
        state.add_metric([name], float(suricata.get("state") == name))
    yield state
    yield _counter(
        "suricata_restarts", "How often Suricata was started anew", suricata.get("restarts")
    )
    rules = _part(suricata, "rules")
    yield _gauge("suricata_rules_loaded", "Rules in use", rules.get("loaded"))
    yield _gauge("suricata_rules_failed", "Rules that Suricata refused", rules.get("failed"))
    counters = suricata.get("stats")
    if isinstance(counters, Mapping):
        # Suricata does not say which of its numbers only grow.
        family = GaugeMetricFamily(
            "peeltap_suricata_stats", "Suricata's own counters, by its names", labels=["counter"]
        )
        for name, value in list(counters.items())[:MAX_LABELS]:
            if _is_number(value):
                family.add_metric([str(name)], value)
        yield family


def _events(events: Status) -> Iterator[Metric]:
    enricher = _part(events, "enricher")
    yield _labelled("events", "Events by Suricata's type", "type", enricher.get("types"))
    yield _labelled(
        "events_corrected",
        "Events by how sure their correction is",
        "confidence",
        enricher.get("outcomes"),
    )
    yield _labelled(
        "events_odd", "Lines of events that were mended or odd", "kind", enricher.get("oddities")
    )
    yield _counter("events_rejected", "Lines that are no events", enricher.get("rejected"))
    yield _gauge("events_waiting", "Events that wait for their record", enricher.get("waiting"))
    yield _gauge("events_lag_seconds", "Age of the event written last", events.get("lag_seconds"))
    yield _gauge(
        "events_backlog_bytes", "Bytes of events not read yet", events.get("backlog_bytes")
    )
    yield _counter("events_commits", "Places in the source kept", events.get("commits"))
    yield _counter("events_failures", "Faults of the relay's own", events.get("failures"))
    yield from _numbers("events_source", "Source of events", events.get("source"))
    yield from _numbers("events_spool", "What not every sink has", events.get("spool"))
    families: dict[str, GaugeMetricFamily | CounterMetricFamily] = {}
    for sink, told in _part(events, "sinks").items():
        for name, value in sorted(told.items() if isinstance(told, Mapping) else ()):
            if _is_number(value):
                kind = GaugeMetricFamily if name in _GAUGES else CounterMetricFamily
                new = kind(f"peeltap_sink_{name}", f"Sink: {name}", labels=["sink"])
                families.setdefault(name, new).add_metric([str(sink)], value)
    yield from families.values()


def _part(status: Status, name: str) -> Status:
    part = status.get(name)
    return part if isinstance(part, Mapping) else {}


def _numbers(part: str, about: str, values: object, *, gauges: bool = False) -> Iterator[Metric]:
    """Every plain number of a part; what its name does not tell to be a state is a counter."""
    for name, value in sorted(values.items() if isinstance(values, Mapping) else ()):
        if _is_number(value):
            make = _gauge if gauges or name in _GAUGES else _counter
            yield make(f"{part}_{name}", f"{about}: {name}", value)


def _counter(name: str, about: str, value: object) -> Metric:
    return CounterMetricFamily(f"peeltap_{name}", about, value=_number(value))


def _gauge(name: str, about: str, value: object) -> Metric:
    return GaugeMetricFamily(f"peeltap_{name}", about, value=_number(value))


def _labelled(
    name: str, about: str, label: str, values: object, known: tuple[str, ...] = ()
) -> Metric:
    family = CounterMetricFamily(f"peeltap_{name}", about, labels=[label])
    counted = {**dict.fromkeys(known, 0), **(values if isinstance(values, Mapping) else {})}
    for word, value in list(counted.items())[:MAX_LABELS]:
        family.add_metric([str(word)], _number(value))
    return family


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else 0.0


class _Handler(WSGIRequestHandler):
    """Quiet, and not to be kept waiting: there is one thread."""

    timeout = REQUEST_SECONDS

    def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002 - the library's name
        pass


class _Server(WSGIServer):
    # HTTPServer asks a name server for our own name.
    def server_bind(self) -> None:
        TCPServer.server_bind(self)
        self.server_name, self.server_port = self.server_address[:2]  # type: ignore[assignment]
        self.setup_environ()

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass


class MetricsServer:
    """Answers GET /metrics with what `status` gives; raises OSError if it cannot listen."""

    def __init__(self, listen: str, status: Callable[[], Status]) -> None:
        registry = CollectorRegistry(auto_describe=False)
        registry.register(StatusCollector(status))
        host, port = Address.parse(listen)
        kind = _Server6 if ":" in host else _Server
        self._server = make_server(host, port, make_wsgi_app(registry), kind, _Handler)
        self._thread = threading.Thread(
            target=self._server.serve_forever,
            kwargs={"poll_interval": 1.0},
            name="metrics",
            daemon=True,
        )

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def close(self) -> None:
        """Stop answering."""
        if self._thread.is_alive():
            self._server.shutdown()
        self._server.server_close()


class _Server6(_Server):
    import socket as _socket

    address_family = _socket.AF_INET6
