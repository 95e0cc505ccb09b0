"""Suricatas: on the tap, or one for each decoy behind its gateway."""

from __future__ import annotations

import json
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from bench.measure import MeasureError
from fixtures.netns import LabError, Namespace, wait_until

RULES = Path(__file__).resolve().parents[2] / "fixtures" / "rules" / "peeltap.rules"

# What of the service's configuration matters here.
CONFIG = """\
%YAML 1.1
---
include: /etc/suricata/suricata.yaml
default-log-dir: {directory}
outputs:
  - eve-log: {{enabled: yes, filetype: regular, filename: eve.json, types: [alert, http, flow]}}
logging: {{default-log-level: warning, outputs: [{{console: {{enabled: no}}}},
          {{file: {{enabled: yes, filename: engine.log}}}}]}}
unix-command: {{enabled: yes, filename: {directory}/command}}
stats: {{enabled: no}}
default-packet-size: 1514
af-packet:
  - interface: {interface}
    threads: 1
    cluster-id: {cluster}
    cluster-type: cluster_flow
    defrag: yes
    tpacket-v3: yes
    use-mmap: yes
    ring-size: {ring}
    block-size: 131072
    checksum-checks: kernel
vars.address-groups.HOME_NET: "[172.16.0.0/16,192.168.110.0/24]"
"""


# Packets, of which 81 go into a block: 64 MiB; and what Suricata takes if it is told nothing.
RING, DEFAULT_RING = 41_000, 2048


class Suricata:
    """One Suricata with one worker thread."""

    def __init__(
        self,
        namespace: Namespace,
        interface: str,
        directory: Path,
        *,
        ring: int = RING,
        cluster: int = 99,
    ) -> None:
        directory.mkdir()
        self.interface, self.directory = interface, directory
        config = directory / "suricata.yaml"
        values = {"directory": directory, "interface": interface, "ring": ring, "cluster": cluster}
        config.write_text(CONFIG.format(**values))
        words = ["suricata", "-c", config, "--af-packet", "-S", RULES, "--runmode", "workers"]
        try:
            self.process = subprocess.Popen(
                namespace.command(words, contained=False),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        except OSError as error:
            raise MeasureError(f"Suricata did not start: {error.strerror}") from error

    @property
    def pid(self) -> int:
        return self.process.pid

    def wait_ready(self) -> Self:
        try:
            wait_until(self._is_ready, f"Suricata on {self.interface}", seconds=60)
        except LabError as error:
            log = self.directory / "engine.log"
            said = log.read_text()[-500:] if log.exists() else "nothing"
            raise MeasureError(f"{error}; its log says: {said}") from error
        return self

    def _is_ready(self) -> bool:
        try:
            return "pkts" in self.counters()
        except (OSError, ValueError):
            return False

    def command(self, **what: Any) -> dict[str, Any]:
        with socket.socket(socket.AF_UNIX) as plug:
            plug.settimeout(10)
            plug.connect(str(self.directory / "command"))
            file = plug.makefile("rw")
            for words in ({"version": "0.2"}, what):
                file.write(json.dumps(words) + "\n")
                file.flush()
                answer: dict[str, Any] = json.loads(file.readline())
        return answer

    def counters(self) -> dict[str, int]:
        """``pkts`` and ``drop``, as its capture counts them."""
        said = self.command(command="iface-stat", arguments={"iface": self.interface})
        if said.get("return") != "OK":
            return {}
        counts: dict[str, int] = said["message"]
        return counts

    def settle(self) -> dict[str, int]:
        """Its counters once they stand still."""
        return settled(self.counters)

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


def settled(
    look: Callable[[], Any], *, still: float = 0.5, pause: float = 0.1, seconds: float = 20
) -> Any:
    """What `look` gives, once it gives the same for so long."""
    deadline = time.monotonic() + seconds
    last, since = look(), time.monotonic()
    while time.monotonic() - since < still and time.monotonic() < deadline:
        time.sleep(pause)
        now = look()
        if now != last:
            last, since = now, time.monotonic()
    return last
