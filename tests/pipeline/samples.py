"""A report of a running service, as the control socket gives it."""

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
}
