"""The setup stage inside the network and mount namespace that a test made; one process, many runs.

    python -m tests.support.setup_inside up FILE STATE        stores what was before, brings it up
    python -m tests.support.setup_inside down FILE STATE      up again, status, down, and compares
    python -m tests.support.setup_inside status FILE STATE    what status says
    python -m tests.support.setup_inside again FILE STATE     up once more
    python -m tests.support.setup_inside trouble FILE STATE N M  fails at every Nth step in turn,
                                                                 is killed at every Mth
    python -m tests.support.setup_inside failures FILE STATE     at each of them
    python -m tests.support.setup_inside kills FILE STATE

Prints one JSON object.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from diversion.setup import SetupError, apply, journal
from diversion.setup.apply import StepError
from diversion.setup.machine import NAMED, Machine
from diversion.setup.observed import Observed, look
from diversion.setup.steps import Set, Step
from diversion.setup.things import LinkSetting
from pipeline import setup, topology_file
from pipeline.topology_file import TopologyFile
from tests.support import network_state


def up(file: TopologyFile, directory: Path) -> dict[str, Any]:
    directory.mkdir(parents=True, exist_ok=True)
    network_state.save(directory.with_suffix(".before"))
    planned = setup.examine(file, directory)
    outcome = setup.up(file, directory)
    return {
        "planned": planned.steps,
        "done": outcome.steps,
        "state": setup.status(file, directory).state,
    }


def again(file: TopologyFile, directory: Path) -> dict[str, Any]:
    return setup.up(file, directory).as_dict()


def status(file: TopologyFile, directory: Path) -> dict[str, Any]:
    return setup.status(file, directory).as_dict()


def down(file: TopologyFile, directory: Path) -> dict[str, Any]:
    again = setup.up(file, directory)
    state = setup.status(file, directory)
    setup.down(file, directory)
    after = setup.status(file, directory)
    before = network_state.load(directory.with_suffix(".before"))
    return {
        "again": again.steps,
        "state": state.state,
        "after": after.state,
        "trace": network_state.differences(before, network_state.state()),
        "files": sorted(path.name for path in directory.iterdir()),
    }


class _InjectedError(SetupError):
    """A failure that the kernel did not think of."""


class _Runs:
    """One plan, carried out again and again and each time brought to nothing.

    After each run a short look has to show what it showed before: everything that netlink lists,
    namespaces, firewalls, sets, and the settings that the plan changes. All of it is compared at
    the end.
    """

    def __init__(self, file: TopologyFile, directory: Path) -> None:
        self.name = file.settings.name
        self.directory = directory
        self.plan = setup.planned(file, directory)
        self.before = network_state.state()
        self.settings = [
            action.step.setting
            for action in self.plan.actions
            if isinstance(action.step, Set) and not isinstance(action.step.setting, LinkSetting)
        ]
        self.rules = {action.step.key[0] for action in self.plan.actions} & {"firewall"}
        self.glance = self._look()
        self.traces: list[str] = []

    @property
    def steps(self) -> int:
        return len(self.plan.actions)

    def up(self) -> None:
        with Machine(self.name) as machine:
            apply.up(machine, self.plan, journal.load(self.directory, self.name))

    def down(self) -> None:
        with Machine(self.name) as machine:
            self.traces += apply.down(machine, journal.load(self.directory, self.name))

    def failures(self, steps: Iterable[int]) -> None:
        for turn, at in enumerate(steps):
            self.fail(at, late=turn % 2 == 0)
            self.compare(f"failed at step {at}")

    def kills(self, steps: Iterable[int]) -> None:
        for turn, at in enumerate(steps):
            self.kill(at, late=turn % 2 == 1)
            self.compare(f"killed at step {at}")

    def fail(self, at: int, late: bool) -> None:
        real = Machine.apply
        Machine.apply = _interrupted(real, at, late, _fail)  # type: ignore[method-assign]
        try:
            self.up()
            self.traces.append(f"step {at} did not fail")
        except StepError as error:
            self.traces += error.left
        finally:
            Machine.apply = real  # type: ignore[method-assign]

    def kill(self, at: int, late: bool) -> None:
        child = os.fork()
        if child == 0:
            Machine.apply = _interrupted(Machine.apply, at, late, _die)  # type: ignore[method-assign]
            self.up()
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if os.waitstatus_to_exitcode(status) != -signal.SIGKILL:
            self.traces.append(f"step {at} did not die")
        self.down()

    def compare(self, where: str) -> None:
        seen = self._look()
        for key, one in seen.items():
            if one != self.glance[key]:
                self.traces.append(f"{where}: {key}: {self.glance[key]} became {one}")

    def told(self) -> dict[str, Any]:
        rest = network_state.differences(self.before, network_state.state())
        return {"steps": self.steps, "trace": self.traces + rest}

    def _look(self) -> dict[str, str]:
        found = Observed()
        with Machine(self.name) as machine:
            look(machine, "", found)
            values = {repr(one): str(machine.read(one)) for one in self.settings}
        links = {str(key): repr(one) for key, one in found.things.items()}
        seen = {"things": str(sorted(links.values())), "marks": str(sorted(found.marks.items()))}
        attributes = (repr(one) for one in found.settings.items() if one[0][2] != "lo")
        seen["links"] = str(sorted(attributes))
        seen["namespaces"] = str(sorted(path.name for path in NAMED.glob("*")))
        for argv in (("nft", "list", "ruleset"), ("ipset", "list", "-n")) if self.rules else ():
            done = subprocess.run(argv, capture_output=True, text=True)
            seen[argv[0]] = done.stdout + done.stderr
        return seen | values


def trouble(
    file: TopologyFile, directory: Path, fail_every: int, kill_every: int
) -> dict[str, Any]:
    """Fail at every so manieth step, alternately before and after it was done; be killed so, too.

    After a kill `down` takes back what the journal has.
    """
    runs = _Runs(file, directory)
    runs.failures(range(0, runs.steps, fail_every))
    runs.kills(range(0, runs.steps, kill_every))
    return runs.told()


def failures(
    file: TopologyFile, directory: Path, chosen: Sequence[int] | None = None
) -> dict[str, Any]:
    """Fail at each step, or at those chosen."""
    runs = _Runs(file, directory)
    runs.failures(range(runs.steps) if chosen is None else chosen)
    return runs.told()


def kills(
    file: TopologyFile, directory: Path, chosen: Sequence[int] | None = None
) -> dict[str, Any]:
    """Be killed at each step, or at those chosen; then take it all back."""
    runs = _Runs(file, directory)
    runs.kills(range(runs.steps) if chosen is None else chosen)
    return runs.told()


def _fail() -> None:
    raise _InjectedError("injected")


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _interrupted(
    real: Callable[..., None], at: int, late: bool, end: Callable[[], None]
) -> Callable[..., None]:
    """Machine.apply that ends the run at its call number `at`, before or after the work."""
    calls = 0

    def apply_step(machine: Machine, step: Step, *, strict: bool = True) -> None:
        nonlocal calls
        now, calls = calls, calls + 1
        if now == at and not late:
            end()
        real(machine, step, strict=strict)
        if now == at and late:
            end()

    return apply_step


def main() -> None:
    """Run the command."""
    name, path, directory, *rest = sys.argv[1:]
    work: dict[str, Callable[..., dict[str, Any]]] = {
        "up": up,
        "again": again,
        "status": status,
        "down": down,
        "trouble": trouble,
        "failures": failures,
        "kills": kills,
    }
    told = work[name](topology_file.load(path), Path(directory), *map(int, rest))
    sys.stdout.write(json.dumps(told))


if __name__ == "__main__":
    main()
