"""The whole examination: the looks, and what is made of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline import config
from pipeline.doctor import canary, look, machine, network, sensor, service
from pipeline.doctor.finding import Finding
from reassembly.engine_config import engine_config

if TYPE_CHECKING:
    from pipeline.config_check import Whole


def examine(whole: Whole, *, test_rules: bool = True, control: Path | None = None) -> list[Finding]:
    """Look at everything that the live service of this configuration needs.

    `test_rules`: Suricata reads them, unless the service runs. `control` comes before the
    configuration's own socket.
    """
    capture = whole.capture
    if capture is None:
        raise ValueError("a configuration for the live service has a capture section")
    tap = whole.tap
    superframes = tap.engine_superframes(whole.superframes)
    answer = look.service(control or whole.control.socket)
    runs = answer.runs
    found = list(service.findings(answer))
    found += machine.findings(
        look.machine(directories(whole), whole.run_as),
        makes_tap=tap.interface is None,
        service_runs=runs,
    )
    found += network.findings(
        look.network(capture.interface, capture.promiscuous, tap, superframes, whole.workers),
        service_runs=runs,
    )
    found += sensor.findings(
        look.sensor(whole.suricata, tap.device, superframes, test_rules=test_rules and not runs)
    )
    return found


def fly(
    whole: Whole, *, seconds: float, say: Callable[[str], None] = lambda text: None
) -> list[Finding]:
    """Let the canary fly, and tell how far it came."""
    capture = whole.capture
    if capture is None:
        raise ValueError("a configuration for the live service has a capture section")
    flight = canary.fly(
        json.loads(engine_config(whole.engine())),
        capture.interface,
        whole.tap.device,
        [sink.file.path for sink in whole.sinks if sink.file is not None],
        seconds=seconds,
        say=say,
    )
    return list(canary.findings(flight, capture.interface))


def directories(whole: Whole) -> dict[str, Path]:
    """The directories that the service writes to, by their use."""
    found = {"state": whole.state.directory, "control socket": whole.control.socket.parent}
    for sink in whole.sinks:
        if sink.file is not None:
            found[f"events: {sink.file.path.name}"] = sink.file.path.parent
    return found


def load(path: str) -> Whole:
    """Read the configuration; raises ConfigError."""
    return config.load_live(path)[1]
