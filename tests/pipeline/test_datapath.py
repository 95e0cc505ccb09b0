"""A worker's turns on a way that does what a script says; tests/netns has the real one."""

import errno
import io
import json
import threading
from collections.abc import Callable
from typing import Any

import pytest

from fixtures.netns import wait_until
from pipeline import datapath
from pipeline.datapath import Datapath, Way
from pipeline.logs import Logs
from pipeline.notify import Pulse
from pipeline.outlet import Kind, Opened, Outlet
from tests.support.ways import NotedTable, ScriptedOutput, ScriptedWay


class Stage:
    """One worker and everything around it."""

    def __init__(self, *ways: Way | OSError | Exception, outputs: int = 1) -> None:
        self.ways = list(ways)
        self.opened: list[tuple[int, Kind]] = []
        self.records: list[bytes] = []
        self.table = NotedTable()
        self.pulse = Pulse()
        self.give_up = threading.Event()
        self.stream = io.StringIO()
        self.logs = Logs(stream=self.stream)
        fds = iter(range(7, 7 + outputs))

        def opened(before: Opened | None) -> ScriptedOutput:
            for fd in fds:
                return ScriptedOutput([fd])
            raise OSError("no more")

        self.outlet = Outlet(opened, OSError, lambda new: None)
        self.worker = Datapath(
            0,
            "br1",
            open_way=self._open,
            outlet=self.outlet,
            records=self.records.append,
            keeper=self.table,
            pulse=self.pulse,
            log=self.logs.log,
            give_up=self.give_up,
        )

    def _open(self, fd: int, kind: Kind) -> Way:
        self.opened.append((fd, kind))
        way = self.ways.pop(0) if len(self.ways) > 1 else self.ways[0]
        if isinstance(way, Exception):
            raise way
        return way

    def play(self, until: Callable[[], bool]) -> list[dict[str, Any]]:
        """Run until the condition holds, stop, and give what was logged."""
        self.worker.start()
        wait_until(until, "the scene")
        self.worker.stop()
        assert self.worker.join(60)
        self.logs.close()
        return [json.loads(line) for line in self.stream.getvalue().splitlines()]


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datapath, "RETRY_SECONDS", 0.01)


def test_packets_move_and_records_leave() -> None:
    way = ScriptedWay(records=[b"one\n", b"", b"two\n"])
    stage = Stage(way)
    said = stage.play(lambda: len(stage.records) == 2 and stage.table.turns > 3)
    assert stage.opened == [(7, "tap")]
    assert stage.records == [b"one\n", b"two\n", b"last\n"]
    assert stage.table.restored
    assert way.finished
    assert stage.table.finished
    assert stage.worker.moved.is_set()
    assert stage.worker.failure is None
    assert stage.pulse.silent(1e12) == []
    assert [line["event"] for line in said] == ["capturing from br1"]


def test_one_that_was_never_started_has_ended() -> None:
    stage = Stage(ScriptedWay())
    stage.worker.stop()
    assert stage.worker.join(60)
    stage.logs.close()


def test_an_absent_interface_is_said_once_and_waited_for() -> None:
    absent = OSError(errno.ENODEV, "No such device")
    stage = Stage(absent, absent, absent, ScriptedWay())
    assert stage.worker.status()["capture_state"] == "gone"
    said = stage.play(lambda: stage.table.turns > 1)
    assert len(stage.opened) == 4
    assert [(line["event"], line.get("reason")) for line in said] == [
        ("br1 is not there; waiting for it", "No such device"),
        ("capturing from br1", None),
    ]
    assert stage.worker.status()["capture_state"] == "up"


def test_an_absent_interface_does_not_keep_the_service_from_ending() -> None:
    stage = Stage(OSError(errno.ENODEV, "No such device"))
    stage.play(lambda: len(stage.opened) > 2)
    assert stage.worker.moved.is_set()
    assert not stage.table.finished


def test_an_interface_that_goes_and_comes_back() -> None:
    way = ScriptedWay(
        [("up", "up"), ("gone", "up"), ("gone", "up"), ("gone", "up"), ("up", "up")],
        reopens=[False, True],
    )
    stage = Stage(way)
    said = stage.play(lambda: len(way.conditions) == 1 and stage.table.turns > 6)
    events = [line["event"] for line in said]
    assert events == ["capturing from br1", "br1 is gone; waiting for it", "br1 is back"]


def test_an_interface_that_is_down_is_said() -> None:
    way = ScriptedWay([("up", "up"), ("down", "up"), ("down", "up"), ("up", "up")])
    stage = Stage(way)
    said = stage.play(lambda: len(way.conditions) == 1 and stage.table.turns > 6)
    assert [line["event"] for line in said][1:] == ["br1 is down; waiting for it", "br1 is back"]


def test_an_output_that_goes_is_opened_again() -> None:
    way = ScriptedWay([("up", "up"), ("up", "gone"), ("up", "up")])
    stage = Stage(way, outputs=2)
    said = stage.play(lambda: stage.table.turns > 4)
    assert way.outputs == [(8, "tap")]
    events = [line["event"] for line in said]
    assert events[1:] == ["vtap0 is gone; opening it again", "vtap0 is up again"]


def test_an_output_that_goes_while_the_interface_is_waited_for_is_opened_again() -> None:
    absent = OSError(errno.ENODEV, "No such device", "br1")
    dead = OSError(errno.EBADFD, "File descriptor in bad state", "output")
    stage = Stage(absent, dead, ScriptedWay(), outputs=2)
    said = stage.play(lambda: stage.table.turns > 1)
    assert stage.worker.failure is None
    assert stage.opened == [(7, "tap"), (7, "tap"), (8, "tap")]
    assert [line["event"] for line in said] == [
        "br1 is not there; waiting for it",
        "vtap0 is gone; opening it again",
        "capturing from br1",
        "vtap0 is up again",
    ]


def test_an_output_that_cannot_be_opened_is_tried_and_said_seldom() -> None:
    way = ScriptedWay([("up", "up"), ("up", "gone")])
    stage = Stage(way)
    said = stage.play(lambda: stage.table.turns > 20)
    assert stage.worker.status()["output_state"] == "gone"
    events = [line["event"] for line in said]
    assert events[1:] == [
        "vtap0 is gone; opening it again",
        "vtap0 cannot be opened; packets are dropped",
    ]


def test_a_worker_that_fails_says_so() -> None:
    broken = ScriptedWay()
    broken.records.append(None)  # type: ignore[arg-type]

    def step(timeout_ms: int) -> None:
        raise RuntimeError("out of order")

    broken.step = step  # type: ignore[method-assign]
    stage = Stage(broken)
    said = stage.play(lambda: not stage.worker.alive)
    assert isinstance(stage.worker.failure, RuntimeError)
    assert stage.worker.moved.is_set()
    assert said[-1]["event"] == "the worker has failed"
    assert "out of order" in said[-1]["exception"]


@pytest.mark.parametrize(
    "error", [OSError(errno.EPERM, "Operation not permitted"), ValueError("x")]
)
def test_what_waiting_does_not_mend_is_a_failure(error: Exception) -> None:
    stage = Stage(error)
    stage.play(lambda: not stage.worker.alive)
    assert stage.worker.failure is error


def test_a_hurried_end_does_not_wait_for_packets() -> None:
    way = ScriptedWay()
    stage = Stage(way)
    stage.give_up.set()
    stage.play(lambda: stage.table.turns > 1)
    assert way.finished
