"""The counters for Prometheus, on a loopback address.

Every number of `peeltap status --json` that is worth a graph is here under a name by Prometheus'
conventions; docs/run.md lists them. Names that the engine knows and has not counted yet are there
with 0: an alert on a series that does not exist never fires.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from socketserver import TCPServer
from typing import Any, Final
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric
from prometheus_client.exposition import make_wsgi_app
from prometheus_client.registry import Collector

from pipeline.metric_families import MAX_LABELS, Families, Status, is_number, part
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

REQUEST_SECONDS: Final = 5.0


class StatusCollector(Collector):
    """Makes metrics of what `status` gives at the moment of the question."""

    def __init__(
        self,
        status: Callable[[], Status],
        families: Callable[[Status], Iterable[Metric]] | None = None,
    ) -> None:
        self._status = status
        self._families = families or of_service

    def collect(self) -> Iterator[Metric]:
        """Give all families."""
        yield from self._families(self._status())


def of_service(status: Status) -> Families:
    """The families of a report of `peeltap run`."""
    found = Families()
    add_service(found, status)
    _engine(found, status)
    _ways(found, status)
    _suricata(found, part(status, "suricata"))
    add_events(found, part(status, "events"))
    backlog = part(status, "events").get("backlog_bytes")
    found.gauge("events_backlog_bytes", "Bytes of events not read yet", backlog)
    found.numbers("store", "Flow record store", status.get("store"))
    found.numbers("flows", "Flow records on their way to Redis", status.get("flows"))
    found.numbers("checkpoint", "Connection table on disk", status.get("checkpoint"))
    found.numbers("page", "The page to look at", status.get("page"))
    return found


def add_service(found: Families, status: Status) -> None:
    """What every service of ours says of itself."""
    service = part(status, "service")
    found.gauge(
        "info",
        "The running version",
        1,
        version=str(service.get("version", "")),
        mode=str(service.get("mode", "")),
    )
    found.gauge("uptime_seconds", "Since the start", service.get("uptime_seconds"))
    found.counter("log_lines_lost", "Log lines that nobody took", service.get("log_lines_lost"))


def _engine(found: Families, status: Status) -> None:
    packets = part(status, "packets")
    found.counter("packets", "Packets captured and handed to the engine", packets.get("in"))
    found.counter(
        "packets_emitted", "Packets that left, as one frame or more", packets.get("emitted")
    )
    found.counters(
        "packets_merged", "Packets that went into others", "reason", status.get("merged"), MERGED
    )
    found.counters("packets_dropped", "Packets dropped", "reason", status.get("dropped"), DROPPED)
    found.gauge("packets_held", "Packets that wait for a header", packets.get("held"))
    found.counter("frames_emitted", "Frames that left the engine", packets.get("frames_out"))
    found.counter("header_bytes", "Header bytes taken out of streams", status.get("bytes_removed"))
    found.counters(
        "connections",
        "Connections by what became of them",
        "verdict",
        status.get("connections"),
        VERDICTS,
    )
    found.counters("headers", "Connections by their header's codec", "codec", status.get("codecs"))
    found.counters(
        "engine_events", "What else the engine saw", "event", status.get("oddities"), ENGINE_EVENTS
    )
    found.numbers("table", "The connection table", status.get("table"), gauges=True)


def _ways(found: Families, status: Status) -> None:
    """What each worker's ring and output say, with the worker's number."""
    workers = [one for one in status.get("workers") or [] if isinstance(one, Mapping)]
    for way, about in (("capture", "Capture ring"), ("output", "Output")):
        for told in workers:
            of_worker = found.of(worker=str(told.get("worker", "")))
            is_up = told.get(f"{way}_state") == "up"
            of_worker.gauge(f"{way}_up", f"{about}: whether it is up", is_up)
            of_worker.numbers(way, about, told.get(way))
            for name, values in sorted(part(told, way).items()):
                if isinstance(values, Mapping):
                    by_reason = f"{about}: {name}, by reason"
                    of_worker.counters(f"{way}_{name}", by_reason, "reason", values)


def _suricata(found: Families, suricata: Status) -> None:
    for name in sorted({"starting", "ready", "backoff", "stopped", "failed", "external"}):
        is_it = suricata.get("state") == name
        found.gauge("suricata_state", "1 for what it is now", is_it, state=name)
    found.counter(
        "suricata_restarts", "How often Suricata was started anew", suricata.get("restarts")
    )
    rules = part(suricata, "rules")
    found.gauge("suricata_rules_loaded", "Rules in use", rules.get("loaded"))
    found.gauge("suricata_rules_failed", "Rules that Suricata refused", rules.get("failed"))
    # Suricata does not say which of its numbers only grow.
    for name, value in list(part(suricata, "stats").items())[:MAX_LABELS]:
        if is_number(value):
            about = "Suricata's own counters, by its names"
            found.gauge("suricata_stats", about, value, counter=str(name))


def add_events(found: Families, events: Status) -> None:
    """What a relay says: `suricata.relay.Relay.status`."""
    enricher = part(events, "enricher")
    for name, about, label, values in (
        ("events", "Events by Suricata's type", "type", "types"),
        ("events_corrected", "Events by how sure their correction is", "confidence", "outcomes"),
        ("events_odd", "Lines of events that were mended or odd", "kind", "oddities"),
    ):
        found.counters(name, about, label, enricher.get(values))
    found.counter("events_rejected", "Lines that are no events", enricher.get("rejected"))
    found.gauge("events_waiting", "Events that wait for their record", enricher.get("waiting"))
    found.gauge("events_lag_seconds", "Age of the event written last", events.get("lag_seconds"))
    found.counter("events_commits", "Places in the source kept", events.get("commits"))
    found.counter("events_failures", "Faults of the relay's own", events.get("failures"))
    found.numbers("events_source", "Source of events", events.get("source"))
    found.numbers("events_spool", "What not every sink has", events.get("spool"))
    for sink, told in part(events, "sinks").items():
        found.of(sink=str(sink)).numbers("sink", "Sink", told)


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
    """Answers GET /metrics with what `status` gives; raises OSError if it cannot listen.

    `families` makes metrics of it; unless given, those of `peeltap run`.
    """

    def __init__(
        self,
        listen: str,
        status: Callable[[], Status],
        families: Callable[[Status], Iterable[Metric]] | None = None,
    ) -> None:
        registry = CollectorRegistry(auto_describe=False)
        registry.register(StatusCollector(status, families))
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
