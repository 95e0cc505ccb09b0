"""Reports of running services, as their control sockets give them."""

import copy
from typing import Any

REPORT: dict[str, Any] = {
    "service": {
        "version": "0.1.0",
        "pid": 4711,
        "state": "running",
        "uptime_seconds": 93784.2,
        "config": "/etc/peeltap/peeltap.yaml",
        "mode": "strip",
        "log_lines_lost": 0,
    },
    "rates": {"packets_in": 1234.5, "bytes_in": 987654.0, "frames_out": 1200.0, "events": 2.5},
    "packets": {"in": 10, "emitted": 6, "merged": 2, "dropped": 1, "held": 1, "frames_out": 6},
    "merged": {"header": 1, "header_ack": 1},
    "dropped": {"other": 1},
    "connections": {"stripped": 3, "plain": 1},
    "codecs": {"proxy-v2": 3},
    "bytes_removed": 84,
    "oddities": {"forged_header": 2},
    "table": {"tracked": 4, "tracked_peak": 4, "half_open": 0, "held_bytes": 0},
    "capture": {
        "interface": "br1",
        "state": "up",
        "packets": 10,
        "kernel_drops": 5,
        "ring_bytes": 67108864,
    },
    "output": {
        "name": "vtap0",
        "kind": "tap",
        "renewed": 0,
        "state": "up",
        "complaints": [],
        "frames": 6,
        "dropped": {"full": 2},
    },
    "workers": [
        {
            "worker": 0,
            "capture_state": "up",
            "output_state": "up",
            "capture": {"packets": 10, "kernel_drops": 5, "ring_bytes": 67108864},
            "output": {"frames": 6, "dropped": {"full": 2}},
        }
    ],
    "suricata": {
        "state": "ready",
        "pid": 4712,
        "version": "7.0.10",
        "restarts": 1,
        "last_error": None,
        "rules": {"loaded": 41, "failed": 0},
        "stats": {"capture.kernel_packets": 6, "capture.kernel_drops": 0},
    },
    "events": {
        "beat": 2403.3,
        "state": "running",
        "trouble": None,
        "lag_seconds": 0.4,
        "backlog_bytes": 120,
        "commits": 3,
        "failures": 0,
        "enricher": {
            "lines": 7,
            "events": 7,
            "rejected": 0,
            "waiting": 1,
            "types": {"alert": 2, "flow": 5},
            "outcomes": {"exact": 6, "none": 1},
            "oddities": {},
        },
        "source": {"kind": "file", "path": "eve.json", "files": 1, "backlog": 120, "gaps": 0},
        "spool": {"on_disk": True, "disk_bytes": 4096, "memory_bytes": 0, "trouble": None},
        "sinks": {
            "/var/log/peeltap/events.json": {
                "kind": "file",
                "lines": 7,
                "held": 0,
                "backlog": 2048,
                "dropped": 3,
                "rejected": 1,
                "trouble": None,
            }
        },
    },
    "store": {"records": 4, "recent": 4, "overflowed": 0, "trouble": None},
    "checkpoint": {"saved": 9, "age_seconds": 2.0, "trouble": None},
    "page": {"viewers": 1, "alerts": 2, "passed": 0, "missed": 0, "trouble": None},
}


def worker(number: int, **more: Any) -> dict[str, Any]:
    """What the parent of workers knows of one that is well."""
    events = copy.deepcopy(REPORT["events"])
    events["backlog_bytes"] = None
    events["source"] = {
        "kind": "redis",
        "inbox": "suricata",
        "worker": f"host-{number}",
        "backlog": None,
        "waiting": 70,
        "pending": 40,
        "open": 20,
        "workers": 3,
        "partitions": [2 * number - 2, 2 * number - 1],
        "divided": 500,
        "events": 600,
        "claimed": 12,
        "taken_over": 2,
        "lost": 0,
    }
    store = {"lookups": 9, "asked": 8, "waits": 0, "cached": 7, "sensors": 2, "trouble": None}
    return {
        "worker": number,
        "up": True,
        "state": "running",
        "pid": 4800 + number,
        "uptime_seconds": 93.0,
        "restarts": 0,
        "last_end": None,
        "report_age_seconds": 0.4,
        "silent_seconds": 0.1 * number,
        "log_lines_lost": 0,
        "events": events,
        "store": store,
        **more,
    }


def ended(number: int) -> dict[str, Any]:
    """Of one that has been killed."""
    return {
        "worker": number,
        "up": False,
        "state": "ended",
        "pid": None,
        "restarts": 3,
        "last_end": "it was killed by SIGKILL",
        "again_seconds": 4.0,
        "events": {},
        "store": {},
    }


class Asked:
    """A worker that answers `told`."""

    def __init__(self, told: dict[str, Any]) -> None:
        self.told = told

    def status(self, now: float) -> dict[str, Any]:
        return self.told
