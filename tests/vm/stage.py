"""The setup stage on a host of the virtual machine, in this one process."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diversion.setup.machine import Machine
from diversion.setup.steps import Step
from fixtures.netns import Lab, Namespace
from pipeline import setup, topology_file
from pipeline.topology_file import TopologyFile
from tests.support import setup_inside
from tests.support.plumbing import ROOT, with_backend


def example(name: str, backend: str) -> TopologyFile:
    """A file of fixtures/topologies with the firewall's back end named."""
    path = ROOT / "fixtures/topologies" / f"{name}.yaml"
    return topology_file.parse(with_backend(path, backend), path.name)


@dataclass
class Host:
    """A host of a lab, and who is behind its cards."""

    lab: Lab
    host: Namespace
    behind: list[Namespace]

    @property
    def state(self) -> Path:
        """Where the journals are."""
        return self.lab.directory / "state"

    def up(self, file: TopologyFile) -> dict[str, Any]:
        """Bring it up."""
        with self.host.entered():
            told = setup_inside.up(file, self.state)
        return {"planned as done": told["planned"] == told["done"], "state": told["state"]}

    def down(self, file: TopologyFile) -> dict[str, Any]:
        """Bring it up again, which does nothing, and down; what differs from before."""
        with self.host.entered():
            return setup_inside.down(file, self.state)

    @contextmanager
    def within(self, name: str) -> Iterator[None]:
        """This thread inside a namespace that the setup stage made on the host."""
        with Machine("") as machine, machine.entered(name):
            yield

    def disturbed(
        self, file: TopologyFile, kinds: Sequence[Callable[[Step], bool]]
    ) -> dict[str, Any]:
        """Fail at the first step of each kind in turn, then be killed at that of the last one."""
        with self.host.entered():
            steps = [one.step for one in setup.planned(file, self.state).actions]
            chosen = [next(at for at, step in enumerate(steps) if kind(step)) for kind in kinds]
            failed = setup_inside.failures(file, self.state, chosen)
            killed = setup_inside.kills(file, self.state, chosen[-1:])
        return {"failed at": len(set(chosen)), "trace": failed["trace"] + killed["trace"]}


@contextmanager
def host(*behind: Sequence[str]) -> Iterator[Host]:
    """A host with nothing on it, and for each of its cards a machine with these addresses."""
    with Lab() as lab:
        middle = lab.namespace("host")
        machines = []
        for at, addresses in enumerate(behind):
            machines.append(lab.namespace(f"behind{at}"))
            lab.connect((middle, f"eth{at}", ()), (machines[at], "eth0", addresses))
        yield Host(lab, middle, machines)
