"""What a machine lacks: skipped on a developer's, with the reason; a failure in the CI.

@pytest.mark.suricata               runs the installed Suricata
@pytest.mark.tool("tshark")         runs the programs named; with a slash, needs that file
@pytest.mark.netns                  makes network namespaces, as root
@pytest.mark.vm                     boots a virtual machine

Hypothesis has two profiles. `ci`, the default, draws the same bounded set of examples every time,
so that a change is judged by its own effect. `PEELTAP_HYPOTHESIS=thorough` draws many new ones; it
is the one to run before a release and after a change to the engine.
"""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.support.programs import Program, free_port, redis_server

# A shell starts what it puts in the background with Ctrl-C ignored, and every child inherits
# that: the tests of Ctrl-C would wait for ever.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Neither judges time: a busy machine is no failure. Here, before any test is imported: settings of
# a test's own take the rest from the profile that is loaded then.
settings.register_profile(
    "ci",
    max_examples=50,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile(
    "thorough",
    max_examples=2_000,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile(os.environ.get("PEELTAP_HYPOTHESIS", "ci"))


def _lacks(item: pytest.Item) -> str | None:
    """The first thing that a test needs and that is not here, as one clause."""
    wanted = ["suricata"] if item.get_closest_marker("suricata") else []
    for marker in item.iter_markers("tool"):
        wanted += marker.args
    for program in wanted:
        if program.startswith("/"):
            if not Path(program).exists():
                return f"{program} is not installed; run make setup"
            continue
        # Servers and sniffers live in sbin, which is not on everybody's path.
        if shutil.which(program) is None and shutil.which(program, path="/usr/sbin:/sbin") is None:
            return f"the program {program} is not installed; run make setup"
    if item.get_closest_marker("netns"):
        from fixtures import netns, programs

        return netns.may_build() or programs.missing()
    if item.get_closest_marker("vm"):
        from tests.vm import machine

        return machine.missing()
    return None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes longest begins first: the virtual machine, then what builds networks."""
    items.sort(key=_turn)


def _turn(item: pytest.Item) -> int:
    if item.get_closest_marker("vm"):
        return 0
    return 1 if item.get_closest_marker("netns") else 2


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Ends a test before it begins where something that it needs is missing."""
    reason = _lacks(item)
    if reason is None:
        return
    if os.environ.get("CI") == "true":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


@pytest.fixture
def port() -> int:
    """A port that nobody has."""
    return free_port()


@pytest.fixture
def server(tmp_path: Path, port: int) -> Iterator[Program]:
    """A real Redis on `port`; its files are in `tmp_path`."""
    with redis_server(tmp_path, port) as program:
        yield program
