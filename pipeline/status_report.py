"""What the running service says of itself: one object for the control socket and for the metrics.

service    version, process, state, configuration
rates      packets, connections, events a second
packets, merged, dropped, connections, codecs, bytes_removed, oddities, table
           of the engine, all workers added up, under the names of `replay --json`
capture    the ring: interface, state, counters      output   the tap: the same, and complaints
workers    the same, worker by worker
suricata   its supervisor's word, and its own counters
events, store, checkpoint, and page if it is served
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol

from peeltap_core import VERSION

from pipeline.live_stats import Rates, combine

_ENGINE: Final = ("packets", "merged", "dropped", "connections", "codecs")
_TABLE: Final = ("tracked", "tracked_peak", "half_open", "held_bytes")


class Reports(Protocol):
    """Whatever has a `status`."""

    def status(self) -> dict[str, Any]:
        """A snapshot; does not wait."""


class Reporter:
    """Puts the parts' words together; `report` may be called from any thread.

    `parts` are asked under their names: suricata, events, store, checkpoint.
    """

    def __init__(
        self,
        *,
        config: str,
        mode: str,
        interface: str,
        workers: Sequence[Reports],
        outlet: Reports,
        parts: Mapping[str, Callable[[], dict[str, Any]]],
        log_lines_lost: Callable[[], int] = lambda: 0,
    ) -> None:
        self._config = config
        self._mode = mode
        self._interface = interface
        self._workers = workers
        self._outlet = outlet
        self._parts = dict(parts)
        self._lost = log_lines_lost
        self._began = time.monotonic()
        self._rates = Rates()
        self.version = VERSION
        self.state = "starting"
        self.complaints: list[str] = []

    def add(self, name: str, status: Callable[[], dict[str, Any]]) -> None:
        """One more part is asked under its name; before there are other threads."""
        self._parts[name] = status

    def tick(self, now: float) -> None:
        """Note the counters, for the rates."""
        self._rates.add(now, _counters(self.report()))

    def report(self) -> dict[str, Any]:
        """Everything, as it is now."""
        workers = [worker.status() for worker in self._workers]
        total = combine(workers)
        report: dict[str, Any] = {
            "service": {
                "version": self.version,
                "pid": os.getpid(),
                "state": self.state,
                "uptime_seconds": round(time.monotonic() - self._began, 1),
                "config": self._config,
                "mode": self._mode,
                "log_lines_lost": self._lost(),
            },
            "rates": self._rates.per_second(),
        }
        for key in _ENGINE:
            report[key] = total.get(key, {})
        report["table"] = {key: total[key] for key in _TABLE if key in total}
        report["bytes_removed"] = total.get("bytes_removed", 0)
        report["oddities"] = total.get("events", {})
        report["capture"] = {
            "interface": self._interface,
            "state": _worst(worker["capture_state"] for worker in workers),
            **total.get("capture", {}),
        }
        report["output"] = {
            **self._outlet.status(),
            "state": _worst(worker["output_state"] for worker in workers),
            "complaints": self.complaints,
            **total.get("output", {}),
        }
        report["workers"] = workers
        for name, status in self._parts.items():
            report[name] = status()
        return report

    def line(self) -> str:
        """The whole in one line, for `systemctl status`."""
        report = self.report()
        capture, output, suricata = report["capture"], report["output"], report.get("suricata", {})
        packets = report["rates"].get("packets_in", 0)
        return (
            f"{capture['interface']} {capture['state']}, {output['name']} {output['state']},"
            f" Suricata {suricata.get('state', 'unknown')}, {packets:,.0f} packets/s"
        )


def _worst(states: Any) -> str:
    """The state of several that a person should know of."""
    found = set(states)
    return next((state for state in ("gone", "down") if state in found), "up")


def _counters(report: Mapping[str, Any]) -> dict[str, int]:
    """The counters of a report that are worth a rate."""
    packets = report["packets"]
    capture, output = report["capture"], report["output"]
    return {
        "packets_in": packets.get("in", 0),
        "bytes_in": capture.get("bytes", 0),
        "frames_out": packets.get("frames_out", 0),
        "packets_dropped": packets.get("dropped", 0)
        + capture.get("kernel_drops", 0)
        + sum((output.get("dropped") or {}).values()),
        "connections": sum(report["connections"].values()),
        "events": sum((report.get("events") or {}).get("enricher", {}).get("types", {}).values()),
    }
