"""One laboratory for the faults of a worker, and a service in it for each test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest

from fixtures.netns import Lab
from fixtures.topology import Plan
from tests.netns.trial import Trial, sweep
from tests.support.live import System


@pytest.fixture(scope="session")
def system() -> Iterator[System]:
    """Attacker, gateways, decoy and br1."""
    with Lab() as lab:
        yield System(lab, Plan())


@pytest.fixture
def service(system: System) -> Iterator[Callable[..., Trial]]:
    """Starts a service with sections of its configuration over the usual ones, and awaits it."""
    with ExitStack() as stack:

        def begin(**sections: Any) -> Trial:
            return stack.enter_context(started(system, **sections))

        yield begin


@contextmanager
def started(system: System, **sections: Any) -> Iterator[Trial]:
    with ExitStack() as stack:
        # A killed service leaves its Suricata to the next one, and after the last there is none.
        stack.callback(sweep, system.directory)
        peeltap = stack.enter_context(system.peeltap(**sections))
        trial = Trial(system, peeltap)
        peeltap.wait_ready()
        trial.sees()
        yield trial
