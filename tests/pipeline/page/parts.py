"""Alerts and connections as the relay writes them, and a page to serve them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson

from pipeline.page.settings import PageSettings
from tests.support.programs import free_port

TOKEN = "not-to-be-guessed-0123456789"


def line(
    kind: str = "alert",
    *,
    attacker: str = "203.0.113.7",
    port: int = 40000,
    decoy: str = "192.168.110.2",
    back: bool = False,
    alert: dict[str, Any] | None = None,
    peeltap: dict[str, Any] | None = None,
    **more: Any,
) -> bytes:
    """One corrected event; `back`: its packet runs from the decoy to the attacker."""
    ends = (attacker, port, decoy, 80) if not back else (decoy, 80, attacker, port)
    leg = ("172.16.23.1", 40001, "172.16.23.2", 9000)
    leg = leg if not back else (*leg[2:], *leg[:2])
    keys = ("src_ip", "src_port", "dest_ip", "dest_port")
    event: dict[str, Any] = {
        "timestamp": "2026-01-01T00:00:00.005000+0000",
        "event_type": kind,
        **dict(zip(keys, ends, strict=True)),
        "proto": "TCP",
        "app_proto": "http",
    }
    if kind == "alert":
        event["alert"] = {
            "signature_id": 1000001,
            "signature": "HTTP path traversal",
            "category": "Web attack",
            "severity": 1,
            **(alert or {}),
        }
    event["peeltap"] = {
        "observed": dict(zip(keys, leg, strict=True)),
        "direction": "to_client" if back else "to_server",
        "confidence": "exact",
        "id": f"e-{port}",
        **(peeltap or {}),
    }
    return orjson.dumps({**event, **more}) + b"\n"


def settings(directory: Path, **more: Any) -> PageSettings:
    """A page on a free port, its token in a file."""
    token = directory / "token"
    token.write_text(TOKEN + "\n")
    return PageSettings.model_validate(
        {"listen": f"127.0.0.1:{free_port()}", "token": {"file": str(token)}, **more}
    )
