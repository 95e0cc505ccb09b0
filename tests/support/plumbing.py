"""A host, an attacker and VMs in namespaces, for the setup stage to join.

attacker eth0 ── eth0 host vm0 ── eth0 vm0
                      host vm1 ── eth0 vm1
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fixtures.netns import Lab, Namespace, wait_until

ROOT = Path(__file__).parents[2]
ATTACKER = "203.0.113.200"
VMS = ("172.16.23.2", "172.16.23.3")


@dataclass
class Host:
    """The namespaces, and the setup stage inside the host's."""

    lab: Lab
    host: Namespace
    attacker: Namespace
    vms: list[Namespace]

    def setup(
        self, command: str, topology: Path, where: Namespace | None = None, *rest: int
    ) -> dict[str, Any]:
        """Run a command of `tests.support.setup_inside`, on the host or elsewhere; its answer."""
        argv = [
            "env",
            f"--chdir={ROOT}",
            sys.executable,
            "-m",
            "tests.support.setup_inside",
            command,
            str(topology),
            str(self.lab.directory / topology.stem),
            *map(str, rest),
        ]
        told: dict[str, Any] = json.loads((where or self.host).run(argv, timeout=600))
        return told

    def python(self, script: str) -> bytes:
        """Run a script with this checkout's Python on the host; what it printed."""
        argv = ["env", f"--chdir={ROOT}", sys.executable, "-c", script]
        return self.host.run(argv, timeout=300)

    def written(self, name: str, text: str) -> Path:
        """A topology file of the test's own."""
        path = self.lab.directory / name
        path.write_text(text)
        return path

    def serve_inside(self, name: str, port: int) -> None:
        """Start an agent's listener in a namespace that the setup stage made on the host."""
        argv = [sys.executable, "-m", "tests.support.peer_server", "--destination", str(port)]
        self.host.spawn(
            ["env", f"--chdir={ROOT}", "ip", "netns", "exec", name, *argv], log="agent.log"
        )
        listening = ["ip", "netns", "exec", name, "ss", "-Hltn", f"sport = :{port}"]
        wait_until(lambda: self.host.run(listening) != b"", f"a listener in {name}")

    def serve(self, namespace: Namespace, *ports: int) -> None:
        """Start a service that answers with its peer's address."""
        argv = ["env", f"--chdir={ROOT}", sys.executable, "-m", "tests.support.peer_server"]
        namespace.spawn([*argv, *map(str, ports)], log="peers.log")
        namespace.wait_listening(*ports)

    def ask(
        self, client: Namespace, address: str, port: int, *options: str, answers: bool = True
    ) -> str:
        """What a service says when it is connected to; empty where nobody answers.

        Where that is expected it is not waited for long.
        """
        argv = ["nc", "-w", "60" if answers else "3", *options, address, str(port)]
        return client.run(argv, ok=(0, 1)).decode().strip()


class Enclosed(Namespace):
    """A namespace in which all that is run, and all that it leaves running, ends with it."""

    def command(self, argv: Sequence[str | Path], *, contained: bool) -> list[str]:
        """As of every namespace, and always contained."""
        del contained
        return super().command(argv, contained=True)


def enclosed(namespace: Namespace) -> Namespace:
    """Let daemons be started by what is run in a namespace, and be seen in its /proc."""
    closed = Enclosed(namespace.name, namespace.holder, namespace.directory, namespace.programs)
    closed.run(["mount", "-t", "proc", "proc", "/proc"])
    closed.run(["mount", "-t", "tmpfs", "tmpfs", "/var/tmp"])
    return closed


@contextmanager
def plumbed(vms: int = 1) -> Iterator[Host]:
    """A host with nothing on it, joined to an attacker and to VMs."""
    with Lab() as lab:
        host, attacker = lab.namespace("host"), lab.namespace("attacker")
        # The machine's own directories of logs are not for tests.
        host.run(["mount", "-t", "tmpfs", "tmpfs", "/var/log"])
        lab.connect((host, "eth0", ()), (attacker, "eth0", [f"{ATTACKER}/24"]))
        machines = []
        for at in range(vms):
            machines.append(lab.namespace(f"vm{at}"))
            lab.connect((host, f"vm{at}", ()), (machines[at], "eth0", [f"{VMS[at]}/24"]))
            lab.route(machines[at], "0.0.0.0/0", interface="eth0", via="172.16.23.1")
        yield Host(lab, host, attacker, machines)


def with_backend(topology: Path, backend: str) -> str:
    """The text of an example, with the firewall's back end named."""
    text = re.sub(r"^firewall: .*\n", "", topology.read_text(), flags=re.MULTILINE)
    return f"firewall: {backend}\n{text}"


def flat(steps: Sequence[Sequence[str]]) -> list[str]:
    """The commands of all steps in one list."""
    return [line for lines in steps for line in lines]
