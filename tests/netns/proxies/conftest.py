"""What the tests of the chain share."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator

import pytest

from fixtures.chain import Chain, stop
from fixtures.netns import Lab

Started = Callable[..., None]

RESET = r"reset by peer|Couldn't connect|Empty reply"
"""curl's words for an RST, by when it came."""


@pytest.fixture(scope="module")
def chain() -> Iterator[Chain]:
    """The namespaces, with nginx on the decoy."""
    with Lab() as lab:
        chain = Chain(lab)
        chain.serve_http()
        yield chain


@pytest.fixture
def started(chain: Chain) -> Iterator[Started]:
    """Takes programs that end with the test."""
    programs: list[subprocess.Popen[bytes]] = []

    def take(*some: subprocess.Popen[bytes]) -> None:
        programs.extend(some)

    yield take
    stop(*reversed(programs))
    # With its rules the agent would begin where the last test ended.
    (chain.directory / "agent-rules.json").unlink(missing_ok=True)
    chain.forget("agent", "gateway1", "gateway2")
