"""The whole service on the benchmark's wire: `peeltap run`, with its Suricata."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from bench.legs import CONFIG
from bench.live import processor
from bench.live.ids import RULES, settled
from bench.live.wire import BRIDGE, Wire
from bench.measure import MeasureError
from pipeline.control import Client, ControlError

START_SECONDS = 90.0


class Service:
    """`peeltap run` between the bridge and a tap of its own."""

    def __init__(self, wire: Wire, name: str) -> None:
        self.directory = wire.lab.directory / name
        self.directory.mkdir()
        self.log = self.directory / "peeltap.log"
        self.socket = self.directory / "control.sock"
        self.events = self.directory / "events.json"
        rules = self.directory / "peeltap.rules"
        rules.write_text(RULES.read_text())
        config = self.directory / "peeltap.yaml"
        # JSON is YAML.
        sections = {
            "capture": {"interface": BRIDGE},
            "tap": {"name": "vtap1", "persistent": False},
            "suricata": {"rules": [str(rules)], "stats_interval_seconds": 1},
            "sinks": [{"file": str(self.events)}],
            "state": {"directory": str(self.directory / "state")},
            "control": {"socket": str(self.socket)},
        }
        lines = [f"{key}: {json.dumps(value)}" for key, value in sections.items()]
        config.write_text(CONFIG + "\n".join(lines) + "\n")
        words = [sys.executable, "-m", "pipeline", "run", "--config", config]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                wire.host.command(words, contained=False),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=Path(__file__).resolve().parents[2],
            )

    def wait_ready(self) -> Self:
        self.wait(lambda status: status["suricata"]["state"] == "ready", START_SECONDS)
        return self

    def status(self) -> dict[str, Any]:
        try:
            with Client(self.socket) as client:
                return client.ask("status")
        except (ControlError, OSError) as error:
            if self.process.poll() is not None:
                said = self.log.read_text()[-800:]
                raise MeasureError(
                    f"peeltap run ended with {self.process.poll()}: {said}"
                ) from error
            return {}

    def wait(self, condition: Callable[[dict[str, Any]], bool], seconds: float) -> dict[str, Any]:
        """The first status for which the condition holds, or the last one."""
        deadline = time.monotonic() + seconds
        while True:
            status = self.status()
            if (status and condition(status)) or time.monotonic() > deadline:
                if not status:
                    raise MeasureError(
                        f"peeltap run does not answer: {self.log.read_text()[-800:]}"
                    )
                return status
            time.sleep(0.2)

    def settle(self) -> dict[str, Any]:
        """Its counters, once Suricata's stand still. Asked rarely: an answer is work, too."""

        def received() -> Any:
            return self.status().get("suricata", {}).get("stats", {}).get("capture.kernel_packets")

        return {"received": settled(received, still=1.5, pause=1.0)}

    @property
    def pids(self) -> list[int]:
        """The service and its Suricata."""
        suricata = self.status().get("suricata", {}).get("pid")
        return [self.process.pid, *([suricata] if suricata else [])]

    def memory(self) -> list[int]:
        """Proportional resident bytes of each."""
        return [processor.memory(pid).proportional for pid in self.pids]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.process.terminate()
        try:
            self.process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def seen(status: dict[str, Any]) -> int:
    """Packets that the ring gave or dropped."""
    return int(status["capture"].get("packets", 0) + status["capture"].get("kernel_drops", 0))


def dropped(status: dict[str, Any]) -> dict[str, int]:
    """What was lost, and where; empty if nothing was."""
    its = status["suricata"].get("stats", {})
    places = {
        "ring": status["capture"].get("kernel_drops", 0),
        "engine": sum(status["dropped"].values()),
        "tap": sum(status["output"].get("dropped", {}).values()),
        "suricata": its.get("capture.kernel_drops", 0),
    }
    return {place: int(count) for place, count in places.items() if count}
