"""Processes of FRR: which are a topology's, and which are not; a start that fails says why."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator

import pytest

from diversion.setup import frr_daemons
from diversion.setup.frr_daemons import Process
from fixtures.netns import wait_until
from tests.support.plumbing import Host, enclosed, plumbed

# What watchfrr runs, held before it does anything.
JOB = [
    sys.executable,
    "-c",
    "input()",
    "-m",
    "diversion.setup.frr_daemons",
    "start",
    "nosuch",
    "zebra",
]


@pytest.fixture
def job() -> Iterator[subprocess.Popen[bytes]]:
    started = subprocess.Popen(JOB, stdin=subprocess.PIPE)
    yield started
    started.kill()
    started.communicate()


def test_a_job_of_the_watcher_is_the_topologys_and_is_ended(job: subprocess.Popen[bytes]) -> None:
    wait_until(lambda: bool(frr_daemons.of("nosuch")), "the job")
    assert frr_daemons.of("nosuch") == [Process(job.pid, "job", "peeltap-nosuch")]
    assert frr_daemons.of("nosuc") == []
    frr_daemons.end("nosuch", ("bgpd", "zebra"))
    assert job.poll() is None
    frr_daemons.end("nosuch")
    assert job.wait(60) != 0
    assert frr_daemons.of("nosuch") == []


def test_a_process_with_the_words_of_a_daemon_is_none() -> None:
    argv = [sys.executable, "-c", "input()", "-N", "peeltap-nobody"]
    with subprocess.Popen(argv, stdin=subprocess.PIPE) as other:
        assert frr_daemons.of("nobody") == []
        frr_daemons.end("nobody")
        assert other.poll() is None
        other.kill()


@pytest.mark.parametrize(
    "words", [["start", "nosuch", "ospfd"], ["run", "nosuch", "zebra"], ["start", "nosuch", "../x"]]
)
def test_what_the_watcher_does_not_ask_for_is_refused(words: list[str]) -> None:
    assert frr_daemons.main(words) == 2


FAILING = """
import json
from diversion.setup import SetupError, frr, frr_daemons
from diversion.setup.things import Routing

real = frr_daemons.launch
running = []

def launch(name, program):
    if program == "bgpd":
        running.extend(one.program for one in frr_daemons.of(name))
        raise SetupError("bgpd: no")
    real(name, program)

frr_daemons.launch = launch
try:
    frr.start(Routing("", "wrong", "router bgp 1\\n"))
    told = "started"
except SetupError as error:
    told = str(error)
print(json.dumps([told, running, len(frr_daemons.of("wrong")), frr.left("wrong")]))
"""


@pytest.mark.netns
@pytest.mark.tool("vtysh")
def test_a_daemon_that_does_not_start_takes_the_others_with_it() -> None:
    with plumbed(vms=0) as made:
        host = Host(made.lab, enclosed(made.host), made.attacker, [])
        assert json.loads(host.python(FAILING)) == ["bgpd: no", ["zebra"], 0, False]
