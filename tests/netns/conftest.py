"""One laboratory for the faults of a worker, and a service in it for each test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from fixtures.netns import Lab
from fixtures.topology import Plan
from tests.netns.trial import Trial, sweep
from tests.support.live import System


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """Where all of it stands."""
    with Lab() as lab:
        yield lab


@pytest.fixture(scope="module")
def system(lab: Lab) -> System:
    """Attacker, gateways, decoy and br1."""
    return System(lab, Plan())


@pytest.fixture
def service(system: System) -> Iterator[Callable[..., Trial]]:
    """Starts a service with sections of its configuration over the usual ones, and awaits it."""
    with ExitStack() as stack:

        def begin(**sections: Any) -> Trial:
            return stack.enter_context(started(system, sections))

        yield begin


@contextmanager
def started(system: System, sections: dict[str, Any]) -> Iterator[Trial]:
    state = sections.get("state", {}).get("directory", system.directory / "state")
    with ExitStack() as stack:
        # A killed service leaves its Suricata to the next one, and after the last there is none.
        stack.callback(sweep, Path(state))
        peeltap = stack.enter_context(system.peeltap(**sections))
        trial = Trial(system, peeltap)
        peeltap.wait_ready()
        trial.sees()
        yield trial


@pytest.fixture
def small_disk(system: System) -> Iterator[Path]:
    """A disk of 8 MiB, which only the host has."""
    place = system.directory / "small"
    place.mkdir()
    system.host.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", place])
    yield place
    system.host.run(["umount", place])
    place.rmdir()
