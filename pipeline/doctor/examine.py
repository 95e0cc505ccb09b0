"""The whole examination: the looks, and what is made of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline import config
from pipeline.doctor import (
    canary,
    look,
    machine,
    network,
    redis_server,
    sensor,
    served,
    service,
)
from pipeline.doctor.finding import Finding
from reassembly.engine_config import engine_config

if TYPE_CHECKING:
    from pipeline.config_check import Whole


def examine(whole: Whole, *, test_rules: bool = True, control: Path | None = None) -> list[Finding]:
    """Look at everything that the live service of this configuration needs, or its workers.

    `test_rules`: Suricata reads them, unless the service runs. `control` comes before the
    configuration's own socket.
    """
    capture = whole.capture
    if capture is None:
        return _workers(whole, control)
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
    found += _redis(whole)
    found += _served(whole, service_runs=runs)
    return found


def _workers(whole: Whole, control: Path | None) -> list[Finding]:
    """Of a configuration that captures nothing."""
    answer = look.service(control or whole.workers_socket)
    found = list(service.findings(answer))
    found += machine.of_workers(look.machine(directories(whole), None))
    found += _redis(whole)
    found += _served(whole, service_runs=answer.runs)
    return found


def _redis(whole: Whole) -> list[Finding]:
    """Redis, if events or flow records pass through it."""
    events, flows = whole.events.redis, None if whole.flows is None else whole.flows.redis
    if events is None and flows is None:
        return []
    # Its library is no part of what others wait for.
    from pipeline.doctor import redis_look

    found: list[Finding] = []
    known = redis_look.servers({"events.redis": events, "flows.redis": flows})
    for server in known:
        found += redis_server.findings(server)
    read = known[0]
    if events is None or read.error is not None:
        return found
    found += redis_server.inbox(redis_look.inbox(events))
    own = whole.suricata.eve_redis
    written = None if own is None else redis_look.suricatas(own)
    if written is not None:
        found += redis_server.written(written, read)
    return found


def _served(whole: Whole, *, service_runs: bool) -> list[Finding]:
    """The page, and the metrics."""
    wanted, page = [], None
    metrics = whole.metrics
    if whole.capture is None:
        if metrics is not None and whole.workers_metrics is not None:
            key = "metrics.listen" if metrics.workers is None else "metrics.workers"
            wanted.append(("metrics", key, whole.workers_metrics))
    else:
        page = whole.page
        if page is not None:
            wanted.append(("page", "page.listen", page.listen))
        if metrics is not None:
            wanted.append(("metrics", "metrics.listen", metrics.listen))
    if not wanted:
        return []
    from pipeline.doctor import served_look

    token = None if page is None else served_look.token(page, whole.run_as)
    addresses = [served_look.address(*one, service_runs=service_runs) for one in wanted]
    return list(served.findings(addresses, token, service_runs=service_runs))


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
    control = whole.workers_socket if whole.capture is None else whole.control.socket
    found = {"state": whole.state.directory, "control socket": control.parent}
    for sink in whole.sinks:
        if sink.file is not None:
            found[f"events: {sink.file.path.name}"] = sink.file.path.parent
    return found


def load(path: str) -> Whole:
    """Read the configuration, of a sensor or of workers; raises ConfigError."""
    return (config.load_worker if config.is_of_workers(path) else config.load_live)(path)[1]
