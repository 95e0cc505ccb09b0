"""One worker of `peeltap enrich --workers`: events from Redis, corrected, into the sinks.

The same relay, correction and sinks as on one machine; the source, the store of flow records and
where events wait are others: Redis has all three, so that any worker can go on where this one
stopped. What lies on this machine's disk, under `worker-N` of the state directory, are dead letters
and what the sinks' clients keep.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import select
import signal
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from pipeline.config import Config, load_worker
from pipeline.config_check import Whole
from pipeline.errors import PeeltapError, RunError, UsageError
from pipeline.flow_settings import open_store
from pipeline.logs import Logger, Logs
from pipeline.outbound import open_outbound, open_state
from pipeline.stages import FAILURES, open_enrichment
from pipeline.worker_link import Report, Sender
from reassembly.redis_store import RedisStore
from suricata.enrich import Enricher
from suricata.event_settings import SinkSettings
from suricata.relay import Relay
from suricata.sources.redis import RedisSource
from suricata.sources.source import Batch

# A round trip for each batch: it should carry something.
READ_BYTES: Final = 1 << 19

DRAIN_SECONDS: Final = 3.0
_TICK_SECONDS: Final = 1.0
_SAY_SECONDS: Final = 60.0


class Prefetching(RedisSource):
    """A RedisSource whose batches come when `store` knows their connections."""

    store: RedisStore

    def read(self, max_bytes: int, timeout: float) -> Batch | None:
        """See Source."""
        batch = super().read(max_bytes, timeout)
        if batch is not None:
            self.store.prefetch(batch.lines)
        return batch


def run(path: str, number: int) -> int:
    """Be worker `number` until told to stop, or standard input ends; give the exit code.

    Raises ConfigError, UsageError, RunError.
    """
    config, whole = load_worker(path)
    parent = Sender()
    logs = Logs(whole.log.level, whole.log.format)
    try:
        with _locked(whole.state.directory / f"worker-{number}") as directory:
            relay, store = open_worker(config, whole, number, directory, logs.log)
            return _live(relay, store, number, logs, parent)
    except (*FAILURES, PeeltapError) as error:
        parent.send({"error": str(error)})
        if isinstance(error, PeeltapError):
            raise
        raise RunError(str(error)) from error
    finally:
        parent.close()
        logs.close()


@contextlib.contextmanager
def _locked(directory: Path) -> Iterator[Path]:
    """The worker's own directory, for one process at a time. Raises RunError, OSError."""
    directory.mkdir(parents=True, exist_ok=True)
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RunError(
                f"{directory} is another running worker's: name another directory under state, or"
                " raise --workers of the one that runs"
            ) from None
        yield directory
    finally:
        os.close(fd)


def open_worker(
    config: Config, whole: Whole, number: int, directory: Path, log: Logger
) -> tuple[Relay, RedisStore]:
    """Everything, not started. Raises one of FAILURES, UsageError."""

    def say(level: int, text: str) -> None:
        log.log(level, text, worker=number)

    assert whole.events.redis is not None  # noqa: S101 - for the type checker; load_worker
    assert whole.flows is not None  # noqa: S101 - sees to both
    with contextlib.ExitStack() as undo:
        state = open_state(directory)
        undo.callback(state.close)
        try:
            store = open_store(whole.flows.redis, say=say)
            source = Prefetching(
                whole.events.redis,
                from_end=whole.events.start == "end",
                notice=lambda text: say(logging.WARNING, text),
            )
        except ValueError as error:
            raise UsageError(str(error)) from None
        source.store = store
        relay = Relay(
            source,
            Enricher(
                store,
                community_id_seed=config.suricata.community_id_seed,
                wait_events=whole.events.wait_events,
                wait_seconds=whole.events.wait_seconds,
                summarize=False,
            ),
            open_outbound(
                own_files(whole.sinks, number),
                directory,
                state,
                rereads=True,
                say=say,
                spills=False,
            ),
            stage=open_enrichment(whole, say),
            forward_stats=whole.events.forward_stats,
            say=say,
            read_bytes=READ_BYTES,
        )
        undo.pop_all()
    return relay, store


def own_files(sinks: Sequence[SinkSettings], number: int) -> list[SinkSettings]:
    """`sinks` with files of this worker alone: events.json becomes events.1.json."""
    own = []
    for sink in sinks:
        if sink.file is not None:
            path = sink.file.path
            path = path.with_name(f"{path.stem}.{number}{path.suffix}")
            sink = sink.model_copy(update={"file": sink.file.model_copy(update={"path": path})})
        own.append(sink)
    return own


def _live(relay: Relay, store: RedisStore, number: int, logs: Logs, parent: Sender) -> int:
    log = logs.log.bind(worker=number)
    with _signals() as (woken, asked):
        relay.start()
        log.info("worker runs")
        say_at = time.monotonic() + _SAY_SECONDS
        while not asked & {signal.SIGTERM, signal.SIGINT}:
            parent.send(_report(relay.status(), store.stats(), logs.lost))
            # Standard input is the parent's: it ends with it, however that ends.
            ready, _, _ = select.select([woken, 0], [], [], _TICK_SECONDS)
            if 0 in ready and not os.read(0, 4096):
                break
            if woken in ready:
                with contextlib.suppress(BlockingIOError):
                    os.read(woken, 4096)
            if signal.SIGHUP in asked:
                asked.discard(signal.SIGHUP)
                relay.reopen()
            logs.tick()
            now = time.monotonic()
            if now >= say_at:
                say_at = now + _SAY_SECONDS
                log.info("worker", **_words(relay.status(), store.stats()))
        ended = relay.stop(DRAIN_SECONDS)
        if not ended:
            # It waits for flow records. What it has is nobody's yet, so it comes again.
            store.abort()
            log.warning("stopped while Redis gave no flow records; other workers go on with these")
            logs.close()
            os._exit(0)
        store.close()
        log.info("worker stopped", **_words(relay.status(), store.stats()))
    return 0


def _report(status: dict[str, Any], stats: dict[str, Any], log_lines_lost: int) -> Report:
    """What the parent is told every second; see `worker_process`."""
    state = "waiting" if stats["trouble"] else status["state"]
    return {"state": state, "log_lines_lost": log_lines_lost, "events": status, "store": stats}


def _words(status: dict[str, Any], stats: dict[str, Any]) -> dict[str, Any]:
    source, enricher = status["source"], status["enricher"]
    return {
        "state": status["state"],
        "events": enricher["events"],
        "held": enricher["waiting"],
        "partitions": len(source["partitions"]),
        "workers": source["workers"],
        "waiting": source["waiting"],
        "lag_seconds": status["lag_seconds"],
        "flows_asked": stats["asked"],
    }


@contextlib.contextmanager
def _signals() -> Iterator[tuple[int, set[int]]]:
    """A descriptor that signals wake, and which came."""
    asked: set[int] = set()
    reader, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    for one in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(one, lambda number, _: asked.add(number))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP, signal.SIGTERM})
    try:
        yield reader, asked
    finally:
        signal.set_wakeup_fd(-1)
        os.close(reader)
        os.close(writer)
