"""The whole living system for a test: real proxies and decoys, and `peeltap run` beside them.

    with Lab() as lab:
        system = System(lab, Plan())
        with system.peeltap() as peeltap:
            peeltap.wait_ready()
            curl(47001, "/cgi-bin/.%2e/etc/passwd").play(system.attacker)
            [alert] = peeltap.wait_events("alert")

`peeltap run` is a child in the namespace of br1, started as root, so with root's manners; its files
lie in a directory of their own within the laboratory's.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import yaml

from fixtures import programs, topology
from fixtures.netns import Lab, LabError, Namespace, wait_until
from fixtures.topology import Plan
from pipeline.control import Client

FIXTURES = Path(__file__).parents[2] / "fixtures"
RULES = FIXTURES / "rules" / "peeltap.rules"
READY_SECONDS = 120.0


class Peeltap:
    """One service: its configuration, its process, what it says."""

    def __init__(self, host: Namespace, directory: Path, sections: dict[str, Any]) -> None:
        self.host = host
        self.directory = directory
        self.config = directory / "peeltap.yaml"
        self.events_file = directory / "events.json"
        self.socket = directory / "run" / "control.sock"
        self.rules = directory / "peeltap.rules"
        # Not every user may read where this checkout lies.
        shutil.copyfile(RULES, self.rules)
        settings = yaml.safe_load((FIXTURES / "peeltap.yaml").read_text())
        settings |= {
            "capture": {"interface": "br1", "ring_mb": 8},
            "tap": {"persistent": False},
            "sinks": [{"file": str(self.events_file)}],
            "state": {"directory": str(directory / "state"), "checkpoint_seconds": 1},
            "control": {"socket": str(self.socket)},
            "limits": {"connections": 20_000},
        }
        settings["suricata"] |= {
            "rules": [str(self.rules)],
            "ring_mb": 8,
            "stats_interval_seconds": 1,
        }
        for name, section in sections.items():
            old = settings.get(name)
            both = isinstance(section, dict) and isinstance(old, dict)
            settings[name] = {**old, **section} if both else section
        self.config.write_text(yaml.safe_dump(settings))
        self.process: subprocess.Popen[bytes] | None = None
        self._manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._manager.bind(str(directory / "notify"))
        # Whoever the service becomes may speak to its manager.
        (directory / "notify").chmod(0o666)
        self.notified: list[str] = []
        """What the service told its manager."""
        threading.Thread(target=self._hear, daemon=True).start()

    def _hear(self) -> None:
        # A manager takes every word at once; few of them fit into the socket.
        with suppress(OSError):
            while True:
                self.notified += self._manager.recv(4096).decode().split("\n")

    def start(self) -> None:
        """Begin; it is not up yet."""
        argv: list[str | Path] = ["env", f"NOTIFY_SOCKET={self.directory}/notify"]
        argv += ["WATCHDOG_USEC=60000000", f"PYTHONPATH={FIXTURES.parent}"]
        argv += [sys.executable, "-m", "tests.support.patient_run", "run", "--config", self.config]
        log = str((self.directory / "peeltap.log").relative_to(self.host.directory))
        self.process = self.host.spawn(argv, log=log, contained=False)

    def wait_notified(self, word: str) -> None:
        """Returns when the service has told its manager this word, such as READY=1."""
        try:
            wait_until(lambda: word in self.notified, f"{word} of peeltap", READY_SECONDS)
        except LabError as error:
            raise LabError(f"{error}: {self.log_text()}") from None

    def wait_ready(self, suricata: str = "ready") -> None:
        """Returns when packets are taken and Suricata sees them."""
        self.wait_notified("READY=1")
        self.wait(lambda status: status["suricata"]["state"] == suricata, f"Suricata {suricata}")

    def status(self) -> dict[str, Any]:
        """What the control socket answers."""
        with Client(self.socket, 60) as client:
            return client.ask("status")

    def ask(self, command: str) -> dict[str, Any]:
        """Any command's answer."""
        with Client(self.socket, 60) as client:
            return client.ask(command)

    def wait(
        self, condition: Callable[[dict[str, Any]], bool], what: str, seconds: float = READY_SECONDS
    ) -> dict[str, Any]:
        """The first status for which the condition holds."""
        found: dict[str, Any] = {}

        def holds() -> bool:
            nonlocal found
            found = self.status()
            return condition(found)

        try:
            wait_until(holds, what, seconds)
        except LabError as error:
            raise LabError(f"{error}: {json.dumps(found)[:4000]}\n{self.log_text()}") from None
        return found

    def events(self, kind: str | None = None) -> list[dict[str, Any]]:
        """The corrected events so far."""
        data = self.events_file.read_bytes() if self.events_file.exists() else b""
        # Of the last a part may be there.
        found = [json.loads(line) for line in data.split(b"\n")[:-1]]
        return [event for event in found if kind in (None, event["event_type"])]

    def wait_events(self, kind: str, count: int = 1, seconds: float = 90.0) -> list[dict[str, Any]]:
        """The events of a kind, when there are so many."""
        try:
            wait_until(lambda: len(self.events(kind)) >= count, f"{count} {kind} events", seconds)
        except LabError as error:
            raise LabError(f"{error}\n{self.log_text()}") from None
        return self.events(kind)

    def log(self) -> list[dict[str, Any]]:
        """The lines of its log."""
        lines = self.log_text().splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]

    def log_text(self) -> str:
        """Its log as it is."""
        path = self.directory / "peeltap.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        if self.process is not None:
            self.process.send_signal(number)

    def stop(self, number: signal.Signals = signal.SIGTERM, seconds: float = 120.0) -> int:
        """End it; its exit code."""
        if self.process is None:
            raise LabError("peeltap was not started")
        self.process.send_signal(number)
        return self.process.wait(timeout=seconds)

    def close(self) -> None:
        """End whatever is left."""
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(timeout=15)
            self.process.kill()
            self.process.wait()
        # A Suricata that was to go on, or whose peeltap was killed.
        for orphan in processes(f"{self.directory}/state/suricata"):
            with suppress(ProcessLookupError):
                os.kill(orphan, signal.SIGKILL)
        self._manager.shutdown(socket.SHUT_RDWR)
        self._manager.close()


class System:
    """Attacker, gateways and decoy (`topology.proxied`), and the host in between."""

    def __init__(self, lab: Lab, plan: Plan) -> None:
        site = lab.directory / "site"
        site.mkdir()
        programs.site(site)
        self.network = topology.proxied(lab, plan, site)
        self.attacker = self.network.attacker
        self.host = self.network.bridge.namespace
        self.directory = lab.directory
        self._count = 0

    @contextmanager
    def peeltap(self, **sections: Any) -> Iterator[Peeltap]:
        """A started service with these sections of its configuration over the usual ones."""
        self._count += 1
        directory = self.directory / f"peeltap{self._count}"
        directory.mkdir()
        service = Peeltap(self.host, directory, sections)
        service.start()
        try:
            yield service
        finally:
            service.close()

    def links(self) -> set[str]:
        """The names of the host's interfaces."""
        with self.host.netlink() as netlink:
            return {link.get_attr("IFLA_IFNAME") for link in netlink.get_links()}


def processes(word: str) -> list[int]:
    """Processes with this word in their command line."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            with suppress(OSError):
                if word.encode() in (entry / "cmdline").read_bytes():
                    found.append(int(entry.name))
    return found
