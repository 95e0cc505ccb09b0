"""The setup stage inside the network and mount namespace that a test made; one process, many runs.

    python -m tests.support.setup_inside up FILE STATE        stores what was before, brings it up
    python -m tests.support.setup_inside down FILE STATE      up again, status, down, and compares
    python -m tests.support.setup_inside failures FILE STATE  fails at each step in turn
    python -m tests.support.setup_inside kills FILE STATE     is killed at each step in turn

Prints one JSON object.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from diversion.setup import SetupError
from diversion.setup.machine import Machine
from diversion.setup.steps import Step
from pipeline import setup, topology_file
from pipeline.errors import RunError
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


def failures(
    file: TopologyFile, directory: Path, chosen: Sequence[int] | None = None
) -> dict[str, Any]:
    """Fail at each step, or at those chosen, alternately before and after it was done."""
    steps = len(setup.examine(file, directory).steps)
    before = network_state.state()
    real = Machine.apply
    traces = []
    for at in range(steps) if chosen is None else chosen:
        Machine.apply = _interrupted(real, at, at % 2 == 0, _fail)  # type: ignore[method-assign]
        try:
            setup.up(file, directory)
            traces.append(f"step {at} did not fail")
        except RunError:
            pass
        finally:
            Machine.apply = real  # type: ignore[method-assign]
        traces += _trace(before, f"failed at step {at}")
    return {"steps": steps, "trace": traces}


def kills(
    file: TopologyFile, directory: Path, chosen: Sequence[int] | None = None
) -> dict[str, Any]:
    """Be killed at each step, or at those chosen, before or after it; then take it all back."""
    steps = len(setup.examine(file, directory).steps)
    before = network_state.state()
    traces = []
    for at in range(steps) if chosen is None else chosen:
        child = os.fork()
        if child == 0:
            Machine.apply = _interrupted(Machine.apply, at, at % 2 == 1, _die)  # type: ignore[method-assign]
            setup.up(file, directory)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if os.waitstatus_to_exitcode(status) != -signal.SIGKILL:
            traces.append(f"step {at} did not die")
        setup.down(file, directory)
        traces += _trace(before, f"killed at step {at}")
    return {"steps": steps, "trace": traces}


def _trace(before: dict[str, str], where: str) -> list[str]:
    return [f"{where}: {one}" for one in network_state.differences(before, network_state.state())]


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
    name, path, directory = sys.argv[1:]
    work = {"up": up, "down": down, "failures": failures, "kills": kills}[name]
    sys.stdout.write(json.dumps(work(topology_file.load(path), Path(directory))))


if __name__ == "__main__":
    main()
