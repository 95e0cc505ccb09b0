"""One worker as its parent sees it: begun, heard, ended, begun again after a rest."""

from __future__ import annotations

import selectors
import signal
import sys
import time
from collections.abc import Iterator

import pytest

from pipeline.worker_process import MUTE_SECONDS, WELL_SECONDS, WorkerProcess, command
from tests.support.programs import until

SAYS = """
import sys
from pipeline.worker_link import Sender
sender = Sender()
sender.send({words})
{then}
"""
WAIT = "sys.stdin.buffer.raw.read(1)"


@pytest.fixture
def selector() -> Iterator[selectors.BaseSelector]:
    with selectors.DefaultSelector() as one:
        yield one


def worker(selector: selectors.BaseSelector, words: str, then: str = WAIT) -> WorkerProcess:
    text = SAYS.format(words=words, then=then)
    return WorkerProcess(7, [sys.executable, "-c", text], selector)


def turn(one: WorkerProcess, selector: selectors.BaseSelector, now: float) -> int | None:
    for key, events in selector.select(0.01):
        key.data(events)
    return one.tend(now)


def test_what_is_run() -> None:
    assert command("w.yaml", 3)[1:] == [
        *("-m", "pipeline", "enrich", "--config", "w.yaml", "--worker", "3")
    ]


def test_it_is_heard_and_ends_with_its_parent(selector: selectors.BaseSelector) -> None:
    words = "{'state': 'waiting', 'log_lines_lost': 2, 'store': {'asked': 1},"
    words += f" 'events': {{'beat': {time.monotonic()} }}}}"
    one = worker(selector, words)
    assert (one.status(0.0)["state"], one.status(0.0)["up"]) == ("starting", False)
    one.tend(100.0)
    assert (one.status(100.0)["state"], one.is_there) == ("starting", True)
    until(lambda: turn(one, selector, 101.0) is None and one.status(101.0)["up"], "its report")
    told = one.status(105.0)
    assert (told["worker"], told["state"], told["restarts"]) == (7, "waiting", 0)
    assert (told["uptime_seconds"], told["report_age_seconds"]) == (5.0, 4.0)
    assert (told["store"], told["log_lines_lost"]) == ({"asked": 1}, 2)
    assert told["silent_seconds"] == 0.0
    # Its process is there, and that is all.
    mute = one.status(101.0 + MUTE_SECONDS)
    assert (mute["up"], mute["state"]) == (False, "mute")
    process = one._process
    assert process is not None
    one.let_go()
    assert process.wait(60) == 0


def test_it_is_begun_again_after_rests_that_grow(selector: selectors.BaseSelector) -> None:
    one, now, rests = worker(selector, "{'error': 'no room'}", "sys.exit(1)"), 0.0, []
    for _ in range(4):
        one.tend(now)
        assert one.is_there
        until(lambda now=now: turn(one, selector, now) == 1, "its end")
        rest = one.status(now)["again_seconds"]
        assert one.tend(now + rest - 0.1) is None
        assert not one.is_there
        rests.append(rest)
        now += rest
    assert rests == [0.5, 1.0, 2.0, 4.0]
    told = one.status(now)
    # What it said last is why.
    assert (told["last_end"], told["restarts"], told["state"]) == ("no room", 3, "ended")
    # Whoever stayed does not wait for long.
    one.tend(now)
    now += WELL_SECONDS
    until(lambda: turn(one, selector, now) == 1, "its end")
    assert one.status(now)["again_seconds"] == 0.5


def test_how_it_ended_is_told(selector: selectors.BaseSelector) -> None:
    one = worker(selector, "{'state': 'running'}")
    one.tend(0.0)
    until(lambda: turn(one, selector, 0.0) is None and one.status(0.0)["up"], "its report")
    one.signal(signal.SIGKILL)
    until(lambda: turn(one, selector, 1.0) == -signal.SIGKILL, "its end")
    assert one.status(1.0)["last_end"] == "it was killed by SIGKILL"
    assert (one.status(1.0)["events"], one.status(1.0)["pid"]) == ({}, None)
    assert not selector.get_map()
    other = worker(selector, "{}", "sys.exit(3)")
    other.tend(0.0)
    until(lambda: turn(other, selector, 0.0) == 3, "its end")
    assert other.last_end == "it ended with code 3; its log says why"
    assert other.has_ended()


def test_one_that_cannot_be_begun_is_tried_again(selector: selectors.BaseSelector) -> None:
    one = WorkerProcess(1, ["/no/such/program"], selector)
    assert one.tend(0.0) is None
    assert one.last_end == "it cannot be begun: No such file or directory"
    assert (one.has_ended(), one.status(0.0)["again_seconds"]) == (True, 0.5)
    one.signal(signal.SIGTERM)
    one.wait()
