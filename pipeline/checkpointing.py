"""The connection table on its way to disk, in pieces that hold no packet up.

    worker's thread    a walk over its table every few seconds, some pieces a turn
    writer's thread    flow records first, then the walk's pieces as one checkpoint

Packets never wait for a disk: while the writer has not come to a worker's last checkpoint, that
worker begins no other. What could not be written is said once; the next checkpoint is then a whole
one, which makes up for it.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple, Protocol

from pipeline.logs import Logger
from reassembly.checkpoint import LastRun

SLOTS: Final = 16_384
"""Of the table a piece; with a million connections in it about two milliseconds."""

TURN_SECONDS: Final = 0.003
"""Pieces are taken for so long at a time."""


class Table(Protocol):
    """The part of `peeltap_core.Live` that is asked here."""

    def checkpoint_begin(self, *, full: bool) -> None:
        """Begin a walk over all connections, or over those that changed."""

    def checkpoint_some(self, slots: int) -> bytes | None:
        """The next piece; None at the end."""

    def resume(self, checkpoint: bytes, *, shared: bool) -> int:
        """Take over an earlier run's connections."""


class Store(Protocol):
    """The part of `reassembly.checkpoint.CheckpointStore` that is asked here."""

    @property
    def is_shared(self) -> bool:
        """Whether other workers than these wrote what is there."""

    @property
    def left(self) -> LastRun | None:
        """How the run before this one ended."""

    def load(self, worker: int) -> Iterator[bytes]:
        """What a worker resumes from, the newest first."""

    def wants_full(self, worker: int) -> bool:
        """Whether the next one should be whole."""

    def save(self, worker: int, blob: bytes, *, full: bool, now: int) -> None:
        """Keep one."""

    def close(self, *, clean_at: int | None = None) -> None:
        """Close the file, for a clean stop with its time."""


class _Walked(NamedTuple):
    """A checkpoint on its way to the writer."""

    keeper: Keeper
    blob: bytes
    full: bool


class Checkpoints:
    """All workers' checkpoints, and the thread that writes them.

    `flush` puts flow records on disk that were made before; `failure` is what the store raises.
    """

    def __init__(
        self,
        store: Store,
        failure: type[Exception],
        *,
        seconds: float,
        flush: Callable[[], object],
        log: Logger,
    ) -> None:
        self._store = store
        self._failure = failure
        self._seconds = seconds
        self._flush = flush
        self._log = log
        # One for each worker at most, and the word to end.
        self._waiting: queue.SimpleQueue[_Walked | None] = queue.SimpleQueue()
        self._trouble: str | None = None
        self._saved = self._bytes = self._failed = 0
        self._saved_at: float | None = None
        self.resumed = 0
        self._thread = threading.Thread(target=self._write, name="checkpoints", daemon=True)
        self._thread.start()

    def keeper(self, worker: int) -> Keeper:
        """What worker number `worker` turns."""
        return Keeper(worker, self, self._seconds)

    def load(self, worker: int) -> tuple[Iterator[bytes], bool]:
        """What an earlier run knew, the newest first, and whether it is other workers' as well."""
        return self._loaded(worker), self._store.is_shared

    def _loaded(self, worker: int) -> Iterator[bytes]:
        try:
            yield from self._store.load(worker)
        except self._failure as error:
            # Packets matter more than what an earlier run knew of some of them.
            self.warn("connections of an earlier run cannot be read", reason=str(error))

    def wants_full(self, worker: int) -> bool:
        """Whether the next one should be whole."""
        return self._store.wants_full(worker)

    def submit(self, keeper: Keeper, blob: bytes, *, full: bool) -> None:
        """Hand a checkpoint to the writer; `keeper.written` tells of its end."""
        self._waiting.put(_Walked(keeper, blob, full))

    def tell(self, text: str, **more: Any) -> None:
        """Say what a worker's restart came to."""
        self._log.info(text, **more)

    def warn(self, text: str, **more: Any) -> None:
        """Say what a worker could not resume from."""
        self._log.warning(text, **more)

    def status(self) -> dict[str, Any]:
        """Counters, and what is wrong."""
        return {
            "saved": self._saved,
            "saved_bytes": self._bytes,
            "failed": self._failed,
            "resumed": self.resumed,
            "age_seconds": None
            if self._saved_at is None
            else round(time.monotonic() - self._saved_at, 1),
            "trouble": self._trouble,
        }

    @property
    def alive(self) -> bool:
        """Whether the writer's thread runs."""
        return self._thread.is_alive()

    def close(self, *, clean: bool) -> None:
        """End the writer and the store; `clean`: all workers' last checkpoints were taken."""
        self._waiting.put(None)
        self._thread.join(30.0)
        if self._thread.is_alive():
            return
        clean = clean and self._trouble is None
        try:
            self._store.close(clean_at=time.time_ns() if clean else None)
        except self._failure as error:
            self._log.warning(str(error))

    def abandon(self) -> None:
        """End before any worker has begun: what the last run left is as it was."""
        left = self._store.left
        self.close(clean=left is None or left.clean)

    def _write(self) -> None:
        while (one := self._waiting.get()) is not None:
            # A connection without its record would wait for its end to be known.
            self._flush()
            try:
                self._store.save(one.keeper.worker, one.blob, full=one.full, now=time.time_ns())
            except self._failure as error:
                if self._trouble is None:
                    self._log.error(f"the connection table is not kept: {error}")
                self._trouble = str(error)
                self._failed += 1
                one.keeper.written(ok=False)
                continue
            if self._trouble is not None:
                self._trouble = None
                self._log.info("the connection table is kept again")
            self._saved += 1
            self._bytes += len(one.blob)
            self._saved_at = time.monotonic()
            one.keeper.written(ok=True)


class Keeper:
    """One worker's walks; all but `written` is called by the worker's thread."""

    def __init__(self, worker: int, checkpoints: Checkpoints, seconds: float) -> None:
        self.worker = worker
        self._checkpoints = checkpoints
        self._seconds = seconds
        self._pieces: list[bytes] | None = None
        self._full = True
        self._due = 0.0
        self._idle = threading.Event()
        self._idle.set()
        self._whole_needed = True

    def restore(self, way: Table) -> None:
        """Give the worker's engine what an earlier run knew, before its first packet."""
        blobs, shared = self._checkpoints.load(self.worker)
        taken = 0
        for blob in blobs:
            try:
                taken += way.resume(blob, shared=shared)
            except ValueError as error:
                self._checkpoints.warn(
                    "connections of an earlier run cannot be resumed", reason=str(error)
                )
        if taken:
            self._checkpoints.resumed += taken
            self._checkpoints.tell(
                "connections of an earlier run go on", count=taken, worker=self.worker
            )

    def turn(self, way: Table, now: float) -> None:
        """Begin a walk if it is time, or go on with it for some milliseconds."""
        if self._pieces is None:
            if now < self._due or not self._idle.is_set():
                return
            self._due = now + self._seconds
            self._begin(way)
        if self._walk(way, TURN_SECONDS):
            self._submit()

    def finish(self, way: Table, give_up: threading.Event) -> None:
        """Take what is still to be known, to the end, and wait until it is written."""
        while not self._idle.wait(0.05):
            if give_up.is_set():
                return
        self._begin(way)
        while not self._walk(way, 0.05):
            if give_up.is_set():
                return
        self._submit()
        while not self._idle.wait(0.05) and not give_up.is_set():
            pass

    def written(self, *, ok: bool) -> None:
        """The writer has come to it; without success the next one has to be whole."""
        self._whole_needed = not ok
        self._idle.set()

    def _begin(self, way: Table) -> None:
        self._full = self._whole_needed or self._checkpoints.wants_full(self.worker)
        way.checkpoint_begin(full=self._full)
        self._pieces = []

    def _walk(self, way: Table, seconds: float) -> bool:
        assert self._pieces is not None  # noqa: S101 - for the type checker; both callers see to it
        until = time.monotonic() + seconds
        while (piece := way.checkpoint_some(SLOTS)) is not None:
            if piece:
                self._pieces.append(piece)
            if time.monotonic() >= until:
                return False
        return True

    def _submit(self) -> None:
        blob, self._pieces = b"".join(self._pieces or ()), None
        self._idle.clear()
        self._checkpoints.submit(self, blob, full=self._full)
