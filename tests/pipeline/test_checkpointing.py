"""Walks over a worker's table, and what the writer makes of them; the file is a real one."""

import io
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fixtures.netns import wait_until
from pipeline.checkpointing import Checkpoints, Keeper
from pipeline.logs import Logs
from reassembly.checkpoint import CheckpointStore
from reassembly.store import StoreError


class ScriptedTable:
    """A table that gives `pieces` for every walk."""

    def __init__(self, *pieces: bytes) -> None:
        self.pieces = pieces
        self.walks: list[bool] = []
        self.resumed: list[tuple[bytes, bool]] = []
        self._left: list[bytes] = []

    def checkpoint_begin(self, *, full: bool) -> None:
        self.walks.append(full)
        self._left = list(self.pieces)

    def checkpoint_some(self, slots: int) -> bytes | None:
        return self._left.pop(0) if self._left else None

    def resume(self, checkpoint: bytes, *, shared: bool) -> int:
        if checkpoint == b"broken":
            raise ValueError("not a checkpoint")
        self.resumed.append((checkpoint, shared))
        return 2


class Desk:
    """Checkpoints of one service over a file, and what was logged."""

    def __init__(self, path: Path, workers: int = 1, seconds: float = 5.0) -> None:
        self.path = path
        self.stream = io.StringIO()
        self.logs = Logs(stream=self.stream)
        self.order: list[str] = []
        self.store = CheckpointStore(path, workers=workers, now=1)
        self.checkpoints = Checkpoints(
            self.store,
            StoreError,
            seconds=seconds,
            flush=lambda: self.order.append("records"),
            log=self.logs.log,
        )

    def close(self, *, clean: bool = True) -> list[dict[str, Any]]:
        self.checkpoints.close(clean=clean)
        self.logs.close()
        return [json.loads(line) for line in self.stream.getvalue().splitlines()]


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Callable[..., Desk]]:
    desks = []

    def make(**more: Any) -> Desk:
        desk = Desk(tmp_path / "connections.sqlite", **more)
        desks.append(desk)
        return desk

    yield make
    for desk in desks:
        desk.store.close()


def saved(desk: Desk, keeper: Keeper, count: int) -> None:
    wait_until(lambda: desk.checkpoints.status()["saved"] == count, f"{count} checkpoints")
    # Counted first, then told to the worker.
    wait_until(keeper._idle.is_set, "the writer")


def test_a_life_over_a_restart(opened: Callable[..., Desk]) -> None:
    first = opened()
    keeper, table = first.checkpoints.keeper(0), ScriptedTable(b"one", b"", b"two")
    keeper.restore(table)
    assert table.resumed == []
    keeper.turn(table, 100.0)
    saved(first, keeper, 1)
    # Records first, always.
    assert first.order == ["records"]
    # Not before it is time again.
    keeper.turn(table, 104.9)
    assert table.walks == [True]
    table.pieces = (b"three",)
    keeper.turn(table, 105.0)
    saved(first, keeper, 2)
    keeper.finish(table, threading.Event())
    assert table.walks == [True, False, False]
    assert first.close() == []

    second = opened()
    assert second.store.left is not None
    assert second.store.left.clean
    table = ScriptedTable()
    second.checkpoints.keeper(0).restore(table)
    # The newest first.
    assert table.resumed == [(b"three", False), (b"three", False), (b"onetwo", False)]
    assert second.checkpoints.status()["resumed"] == 6
    assert [line["event"] for line in second.close()] == ["connections of an earlier run go on"]


def test_what_was_killed_is_not_clean(opened: Callable[..., Desk]) -> None:
    first = opened()
    first.close(clean=False)
    second = opened()
    assert second.store.left is not None
    assert not second.store.left.clean
    second.close()


@pytest.mark.parametrize("clean", [True, False])
def test_a_start_that_failed_leaves_the_last_run_s_end(
    opened: Callable[..., Desk], clean: bool
) -> None:
    opened().close(clean=clean)
    opened().checkpoints.abandon()
    left = opened().store.left
    assert left is not None
    assert left.clean == clean


def test_what_cannot_be_resumed_is_said_and_left(opened: Callable[..., Desk]) -> None:
    first = opened()
    first.store.save(0, b"good", full=True, now=2)
    first.store.save(0, b"broken", full=False, now=3)
    first.close()
    second, table = opened(), ScriptedTable()
    second.checkpoints.keeper(0).restore(table)
    assert table.resumed == [(b"good", False)]
    assert [line["event"] for line in second.close()] == [
        "connections of an earlier run cannot be resumed",
        "connections of an earlier run go on",
    ]


def test_what_cannot_be_read_is_said_and_left(
    opened: Callable[..., Desk], monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(worker: int) -> Iterator[bytes]:
        yield b"good"
        raise StoreError("the disk does not answer")

    desk, table = opened(), ScriptedTable()
    monkeypatch.setattr(desk.store, "load", load)
    desk.checkpoints.keeper(0).restore(table)
    assert table.resumed == [(b"good", False)]
    said = [(line["event"], line.get("reason")) for line in desk.close()]
    assert said[0] == ("connections of an earlier run cannot be read", "the disk does not answer")


def test_other_workers_than_before_are_offered_everything(opened: Callable[..., Desk]) -> None:
    first = opened()
    first.store.save(0, b"all", full=True, now=2)
    first.close()
    second = opened(workers=2)
    for worker in (0, 1):
        table = ScriptedTable()
        second.checkpoints.keeper(worker).restore(table)
        assert table.resumed == [(b"all", True)]
    second.close()


class FullDisk:
    """A store that refuses while it is `full`."""

    is_shared = False

    def __init__(self) -> None:
        self.full = False
        self.saves: list[tuple[bytes, bool]] = []
        self.clean_at: int | None = None

    def load(self, worker: int) -> Iterator[bytes]:
        return iter(())

    def wants_full(self, worker: int) -> bool:
        return False

    def save(self, worker: int, blob: bytes, *, full: bool, now: int) -> None:
        if self.full:
            raise StoreError("the disk is full")
        self.saves.append((blob, full))

    def close(self, *, clean_at: int | None = None) -> None:
        self.clean_at = clean_at


@pytest.fixture
def disk() -> Iterator[tuple[FullDisk, Checkpoints, io.StringIO, Logs]]:
    store, stream = FullDisk(), io.StringIO()
    logs = Logs(stream=stream)
    yield (
        store,
        Checkpoints(store, StoreError, seconds=1, flush=lambda: None, log=logs.log),
        stream,
        logs,
    )
    logs.close()


def played(keeper: Keeper, table: ScriptedTable, now: float) -> None:
    keeper.turn(table, now)
    wait_until(keeper._idle.is_set, "the writer")


def test_what_could_not_be_written_is_made_up_for(disk: Any) -> None:
    store, checkpoints, stream, logs = disk
    keeper, table = checkpoints.keeper(0), ScriptedTable(b"x")
    played(keeper, table, 10.0)
    store.full = True
    played(keeper, table, 20.0)
    played(keeper, table, 30.0)
    assert checkpoints.status()["trouble"] == "the disk is full"
    store.full = False
    played(keeper, table, 40.0)
    played(keeper, table, 50.0)
    assert table.walks == [True, False, True, True, False]
    assert store.saves == [(b"x", True), (b"x", True), (b"x", False)]
    assert checkpoints.status()["failed"] == 2
    assert checkpoints.status()["trouble"] is None
    checkpoints.close(clean=True)
    assert store.clean_at is not None
    logs.close()
    assert [json.loads(line)["event"] for line in stream.getvalue().splitlines()] == [
        "the connection table is not kept: the disk is full",
        "the connection table is kept again",
    ]


def test_a_stop_without_its_last_checkpoint_is_not_clean(disk: Any) -> None:
    store, checkpoints, _, _ = disk
    keeper, table = checkpoints.keeper(0), ScriptedTable(b"x")
    store.full = True
    keeper.finish(table, threading.Event())
    checkpoints.close(clean=True)
    assert store.clean_at is None


def test_whoever_is_in_a_hurry_does_not_wait(disk: Any) -> None:
    _, checkpoints, _, _ = disk
    keeper, table = checkpoints.keeper(0), ScriptedTable(*[b"x"] * 3)
    hurry = threading.Event()
    hurry.set()
    keeper.finish(table, hurry)
    checkpoints.close(clean=False)


def test_no_walk_begins_before_the_writer_is_done(disk: Any) -> None:
    _, checkpoints, _, _ = disk
    keeper, table = checkpoints.keeper(0), ScriptedTable(b"x")
    keeper._idle.clear()
    keeper.turn(table, 100.0)
    assert table.walks == []
    checkpoints.close(clean=False)
