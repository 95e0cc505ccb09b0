"""A sensor, Redis and a worker with one file: the attack arrives with the true attacker in it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from fixtures.netns import Lab, wait_until
from fixtures.scenarios import TRAVERSAL, curl
from fixtures.topology import ATTACKER, DECOY, Plan
from tests.support.live import Peeltap, System

pytestmark = [
    pytest.mark.netns,
    pytest.mark.suricata,
    pytest.mark.tool("redis-server"),
    pytest.mark.xdist_group("live"),
]

PORT = 6390
URL = f"redis://127.0.0.1:{PORT}"
SECTIONS: dict[str, Any] = {
    "events": {"redis": {"url": URL, "partitions": 2, "lease_seconds": 1}},
    "flows": {"redis": {"url": URL, "sensor": "s-1"}},
    "suricata": {"eve_redis": {"port": PORT}},
}


def start_redis(system: System) -> Any:
    words = ["redis-server", "--port", str(PORT), "--bind", "127.0.0.1", "--save", ""]
    child = system.host.spawn([*words, "--dir", str(system.directory)], log="redis.log")
    ask = ["redis-cli", "-p", str(PORT), "ping"]

    def up() -> bool:
        try:
            return b"PONG" in system.host.run(ask)
        except Exception:
            return False

    wait_until(up, "Redis")
    return child


def arrived(peeltap: Peeltap, kind: str) -> list[dict[str, Any]]:
    path = Path(peeltap.directory) / "events.1.json"
    text = path.read_text() if path.exists() else ""
    whole = [json.loads(line) for line in text.split("\n")[:-1]]
    return [event for event in whole if event["event_type"] == kind]


def test_an_attack_on_a_sensor_is_delivered_by_a_worker() -> None:
    with Lab() as lab:
        system = System(lab, Plan())
        start_redis(system)
        with system.peeltap(**SECTIONS) as peeltap:
            peeltap.wait_ready()
            words = [sys.executable, "-m", "pipeline", "enrich", "--config", str(peeltap.config)]
            workers = system.host.spawn(
                [*words, "--workers", "1"], log="workers.log", contained=False
            )
            curl(47001, "/cgi-bin/.%2e/etc/passwd").play(system.attacker)
            wait_until(lambda: bool(arrived(peeltap, "alert")), "the alert", 60)
            [alert] = arrived(peeltap, "alert")
            ends = alert["src_ip"], alert["src_port"], alert["dest_ip"], alert["dest_port"]
            assert ends == (ATTACKER[4], 47001, DECOY[4], 80)
            assert alert["alert"]["signature_id"] == TRAVERSAL
            assert alert["peeltap"]["confidence"] == "exact"
            status = peeltap.status()
            assert status["flows"]["published"] >= 1
            assert status["events"]["source"]["kind"] == "elsewhere"
            # The service's own sinks get nothing: they are the worker's.
            assert peeltap.events() == []
            assert peeltap.stop() == 0
            # What a Suricata that stops says last reaches the worker as well.
            wait_until(lambda: bool(arrived(peeltap, "flow")), "the flow's end", 60)
            assert [one["src_ip"] for one in arrived(peeltap, "flow")] == [ATTACKER[4]]
            workers.terminate()
            assert workers.wait(60) == 0
