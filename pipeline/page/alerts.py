"""What the page shows of events: an alert as one row, any other as a touch of a decoy.

Texts are cut, and characters that would change the look of what stands beside them are written as
escapes. Who attacked whom is told by role, as the shapes do.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import orjson

from pipeline.page.watch import ALERT
from pipeline.summary import printable
from suricata.shapes.ends import End, ends
from suricata.shapes.values import child, number, text

FLOW: Final = b'"event_type":"flow"'

LINES: Final = 400
"""Parsed at a time at most: the newest; what is beyond is counted."""

MAX_LINE: Final = 1 << 18
MAX_TEXT: Final = 160

Shown = dict[str, Any]


class Touch(NamedTuple):
    """A connection that reached a decoy, or an alert of one."""

    decoy: str
    attacker: str | None
    at: str
    alert: bool


class Digest(NamedTuple):
    """The alerts and touches of some blocks, the oldest first; `passed`: alerts not looked at."""

    alerts: list[Shown]
    touches: list[Touch]
    passed: int


def digest(blocks: Sequence[bytes], lines: int = LINES) -> Digest:
    """Look at `blocks` of lines, the oldest first; at most at `lines` of them. Raises nothing."""
    alerts: list[Shown] = []
    touches: list[Touch] = []
    passed = 0
    for block in reversed(blocks):
        if lines <= 0:
            passed += block.count(ALERT)
            continue
        for line in reversed(block.split(b"\n")):
            is_alert = ALERT in line
            if not is_alert and FLOW not in line:
                continue
            if lines <= 0 or len(line) > MAX_LINE:
                passed += is_alert
                continue
            lines -= 1
            _look(line, alerts, touches)
    return Digest(alerts[::-1], touches[::-1], passed)


def _look(line: bytes, alerts: list[Shown], touches: list[Touch]) -> None:
    try:
        event = orjson.loads(line)
    except orjson.JSONDecodeError:
        return
    if type(event) is not dict:
        return
    kind = event.get("event_type")
    if kind == "alert":
        alerts.append(shown(event))
    if kind in ("alert", "flow"):
        roles = ends(event)
        if roles.decoy.ip is not None:
            at = _cut(event.get("timestamp")) or ""
            touches.append(Touch(roles.decoy.ip, roles.attacker.ip, at, kind == "alert"))


def shown(event: dict[str, Any]) -> Shown:
    """The row of an alert; what is missing or of another type is None."""
    roles = ends(event)
    alert, peeltap = child(event, "alert"), child(event, "peeltap")
    attacker = child(peeltap, "attacker")
    return {
        "id": _cut(peeltap.get("id")),
        "at": _cut(event.get("timestamp")),
        "severity": number(alert.get("severity")),
        "signature": _cut(alert.get("signature")),
        "category": _cut(alert.get("category")),
        "sid": number(alert.get("signature_id")),
        "attacker": {
            **_end(roles.attacker),
            "name": _cut(attacker.get("domain")),
            "country": _cut(child(attacker, "geo").get("country_iso_code")),
            "owner": _cut(child(child(attacker, "as"), "organization").get("name")),
        },
        "decoy": {**_end(roles.decoy), "name": _cut(child(peeltap, "decoy").get("name"))},
        "via": _end(roles.leg_attacker)["ip"],
        "proto": _cut(event.get("proto")),
        "app": _cut(event.get("app_proto")),
        "confidence": _cut(peeltap.get("confidence")),
        "session": _cut(peeltap.get("session")),
    }


def _end(end: End) -> dict[str, Any]:
    return {"ip": end.ip, "port": end.port}


def _cut(value: object) -> str | None:
    found = text(value)
    if found is None:
        return None
    found = found if len(found) <= MAX_TEXT else f"{found[:MAX_TEXT]}…"
    return printable(found)
