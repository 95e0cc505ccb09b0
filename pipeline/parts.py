"""The parts of the live service, opened in the order in which they need one another.

    tap <── workers ──> flow records ──> relay ──> sinks
     │         └──────> connection table   ^
     └──> Suricata ──────── events ────────┘

`open_outlet` and `open_parts` open all of them and start none; what cannot be opened raises its
package's own error, one sentence, and what was opened before is closed again. The outlet comes
first, with all privileges: not everybody may open /dev/net/tun.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from peeltap_core import Live

from pipeline import stages
from pipeline.checkpointing import Checkpoints
from pipeline.config import Config
from pipeline.config_check import Whole
from pipeline.datapath import Datapath, Way
from pipeline.errors import UsageError
from pipeline.flow_settings import FlowPublisher, open_publisher
from pipeline.live_stats import Remembered
from pipeline.logs import Logger
from pipeline.notify import Pulse
from pipeline.outbound import open_outbound, open_state, preload_sinks
from pipeline.outlet import Kind, Opened, Outlet
from pipeline.page.decoys import Decoys
from pipeline.page.watch import Watch
from pipeline.service_settings import Capture
from pipeline.stages import open_enrichment, placed
from reassembly.capture_filter import FilterError, Instruction, compile_filter
from reassembly.checkpoint import CheckpointStore
from reassembly.engine_config import engine_config
from reassembly.live_store import LiveStore
from reassembly.store import StoreError
from suricata import stats
from suricata.enrich import Enricher
from suricata.external import External
from suricata.messages import SupervisorEvent
from suricata.process import SuricataError
from suricata.relay import Relay
from suricata.sources import Source
from suricata.sources.elsewhere import Elsewhere
from suricata.sources.file import FileSource
from suricata.sources.position import Keeper
from suricata.sources.sockets import UnixDgramSource, UnixStreamSource
from suricata.supervisor import Supervisor
from tap import Output, TapError, open_output

FLOWS_FILE: Final = "flows.sqlite"
TABLE_FILE: Final = "connections.db"
SURICATA_DIRECTORY: Final = "suricata"

FAILURES: Final = (*stages.FAILURES, TapError, SuricataError, FilterError)
"""What keeps the service from starting, each with one sentence."""


class Parts:
    """Everything that the service is made of; see `open_parts`."""

    def __init__(
        self,
        whole: Whole,
        outlet: Outlet,
        workers: list[Datapath],
        suricata: Supervisor | External,
        relay: Relay,
        store: LiveStore,
        checkpoints: Checkpoints,
        suricata_stats: dict[str, int | float],
        watch: Watch | None = None,
        publisher: FlowPublisher | None = None,
    ) -> None:
        self.whole = whole
        self.watch = watch
        self.outlet = outlet
        self.workers = workers
        self.suricata = suricata
        self.relay = relay
        self.store = store
        self.checkpoints = checkpoints
        self.publisher = publisher
        self._suricata_stats = suricata_stats
        self._suricata_status: Callable[[], dict[str, Any]] = suricata.status
        if isinstance(suricata, External):
            # It is asked over a socket, and may be slow to answer.
            self._suricata_status = Remembered(suricata.status, {"state": "external"})

    @property
    def interface(self) -> str:
        """The interface that is captured."""
        return _capture(self.whole).interface

    def reports(self) -> dict[str, Callable[[], dict[str, Any]]]:
        """What there is to report of, besides packets."""
        return {
            "suricata": lambda: {**self._suricata_status(), "stats": self._suricata_stats.copy()},
            "events": self.relay.status,
            "store": self.store.stats,
            "checkpoint": self.checkpoints.status,
            **({} if self.publisher is None else {"flows": self.publisher.status}),
        }

    def ended(self) -> list[str]:
        """Names of the writers' threads that have ended though nobody asked them to."""
        writers = {"flow-records": self.store.alive, "checkpoints": self.checkpoints.alive}
        if self.publisher is not None:
            writers["flow-publisher"] = self.publisher.alive
        return [name for name, alive in writers.items() if not alive]

    def abandon(self) -> None:
        """Close what was never started."""
        self.relay.close()
        self.checkpoints.abandon()
        if self.publisher is not None:
            self.publisher.close()
        self.store.close()
        self.outlet.remove()

    def close(self, *, clean: bool) -> None:
        """After all threads have ended: files whole, the tap gone if it may not stay."""
        with contextlib.ExitStack() as last:
            # Each of them, whatever comes of the others.
            last.callback(self.outlet.remove)
            last.callback(self.store.close)
            if self.publisher is not None:
                last.callback(self.publisher.close)
            self.checkpoints.close(clean=clean)


def directories(whole: Whole) -> list[Path]:
    """Every directory in which the service makes files."""
    files = [sink.file.path for sink in whole.sinks if sink.file is not None]
    wanted = [whole.state.directory, whole.control.socket.parent, *(path.parent for path in files)]
    return list(dict.fromkeys(path.absolute() for path in wanted))


def preload(whole: Whole) -> None:
    """Import what only some configurations need: later our own files may be out of reach."""
    preload_sinks(whole.sinks)
    if whole.flows is not None:
        import suricata.redis_link  # noqa: F401
    if whole.enrichment.topology is not None:
        from pipeline import places, topology_file  # noqa: F401
    if whole.page is not None:
        from pipeline.page import server

        server.preload()


def open_outlet(whole: Whole, log: Logger) -> Outlet:
    """Open the tap, or what takes its place; raises one of FAILURES."""

    def opened(before: Opened | None) -> Opened:
        lost = before if isinstance(before, Output) else None
        return open_output(whole.tap, _capture(whole).interface, whole.workers, before=lost)

    return Outlet(opened, TapError, lambda output: log.info(f"{output.name} was made anew"))


def open_parts(
    config: Config,
    whole: Whole,
    outlet: Outlet,
    *,
    log: Logger,
    pulse: Pulse,
    give_up: threading.Event,
) -> Parts:
    """Open everything else; raises one of FAILURES, and has then closed the outlet, too."""
    capture = _capture(whole)
    with contextlib.ExitStack() as undo:
        undo.callback(outlet.remove)
        program = None if capture.filter is None else compile_filter(capture.filter)
        store = _store(whole, log)
        undo.callback(store.close)
        checkpoints = _checkpoints(whole, store, log)
        undo.callback(checkpoints.abandon)
        publisher = _publisher(whole, log)
        if publisher is not None:
            undo.callback(publisher.close)
        workers = [
            Datapath(
                number,
                capture.interface,
                open_way=_way(config, whole, program),
                outlet=outlet,
                records=_records(store, publisher),
                keeper=checkpoints.keeper(number),
                pulse=pulse,
                log=log,
                give_up=give_up,
            )
            for number in range(whole.workers)
        ]
        suricata = _suricata(config, whole, log)
        suricata_stats: dict[str, int | float] = {}
        say, state = _say(log, "events"), open_state(whole.state.directory)
        undo.callback(state.close)
        source = _source(config, whole, suricata, state, log)
        stage = open_enrichment(whole, say)
        watch = None if whole.page is None else Watch()
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
                whole.sinks, whole.state.directory, state, rereads=source.rereads, say=say
            ),
            stage=stage,
            on_stats=lambda event: suricata_stats.update(stats.fold(event)),
            on_lines=None if watch is None else watch.put,
            forward_stats=whole.events.forward_stats,
            say=say,
        )
        undo.pop_all()
    return Parts(
        whole,
        outlet,
        workers,
        suricata,
        relay,
        store,
        checkpoints,
        suricata_stats,
        watch=watch,
        publisher=publisher,
    )


def engine_json(config: Config, whole: Whole) -> bytes:
    """The engine's configuration, as the live service needs it."""
    return engine_config(
        config.engine,
        superframes=whole.tap.engine_superframes(config.engine["superframes"]),
        announce=True,
    )


def _way(
    config: Config, whole: Whole, program: list[Instruction] | None
) -> Callable[[int, Kind], Way]:
    capture = _capture(whole)
    # Of all groups in this network namespace ours must be the only one with this number: small ones
    # are what others choose, Suricata 99. `Live` adds the interface's number.
    fanout = (0x8000 | os.getpid() & 0x3FFF, whole.workers) if whole.workers > 1 else None
    text = engine_json(config, whole)

    def opened(fd: int, kind: Kind) -> Way:
        return Live(
            text,
            capture.interface,
            output_fd=fd,
            output=kind,
            ring_bytes=capture.ring_mb << 20,
            block_timeout_ms=capture.block_timeout_ms,
            promiscuous=capture.promiscuous,
            filter=program,
            fanout=fanout,
        )

    return opened


def _capture(whole: Whole) -> Capture:
    assert whole.capture is not None  # noqa: S101 - for the type checker; load_live sees to it
    return whole.capture


def _store(whole: Whole, log: Logger) -> LiveStore:
    return LiveStore(
        whole.state.directory / FLOWS_FILE,
        max_records=whole.state.records,
        retention_seconds=whole.state.retention_days * 86_400,
        say=_say(log, "store"),
    )


def _publisher(whole: Whole, log: Logger) -> FlowPublisher | None:
    if whole.flows is None:
        return None
    try:
        return open_publisher(
            whole.flows.redis,
            whole.state.directory / FLOWS_FILE,
            block_timeout_ms=_capture(whole).block_timeout_ms,
            say=_say(log, "flows"),
        )
    except ValueError as error:
        raise UsageError(f"flows: {error}") from None


def _records(store: LiveStore, publisher: FlowPublisher | None) -> Callable[[bytes], None]:
    """Where the datapath's records go."""
    if publisher is None:
        return store.add_lines

    def both(lines: bytes) -> None:
        # What is in the file was in the queue before.
        publisher.add_lines(lines)
        store.add_lines(lines)

    return both


def _checkpoints(whole: Whole, store: LiveStore, log: Logger) -> Checkpoints:
    now = time.time_ns()
    table = CheckpointStore(whole.state.directory / TABLE_FILE, workers=whole.workers, now=now)
    if table.set_aside is not None:
        log.warning(table.set_aside)
    if table.left is not None and not table.left.clean:
        log.warning(
            "the last run did not stop in order: connections of its last seconds are not known",
            seconds=round(table.left.lost_seconds(now), 1),
        )
    return Checkpoints(
        table, StoreError, seconds=whole.state.checkpoint_seconds, flush=store.flush, log=log
    )


def _suricata(config: Config, whole: Whole, log: Logger) -> Supervisor | External:
    def told(event: SupervisorEvent) -> None:
        _LEVELS[event.level](log)(event.text, part="suricata", kind=event.kind)

    settings = config.suricata
    if settings.external is not None:
        return External(settings.external, on_event=told)
    return Supervisor(
        settings,
        interface=whole.tap.device,
        directory=whole.state.directory / SURICATA_DIRECTORY,
        on_event=told,
    )


def _source(
    config: Config,
    whole: Whole,
    suricata: Supervisor | External,
    state: Keeper,
    log: Logger,
) -> Source:
    events = whole.events
    if events.unix_stream is not None:
        return UnixStreamSource(events.unix_stream)
    if events.unix_dgram is not None:
        return UnixDgramSource(events.unix_dgram)
    if events.redis is not None:
        return Elsewhere(f"{events.redis.url}/{events.redis.inbox}")
    if events.file is None and config.suricata.external is None:
        match config.suricata.eve_output:
            case "unix_stream":
                return UnixStreamSource(suricata.eve)
            case "unix_dgram":
                return UnixDgramSource(suricata.eve)
    say = _say(log, "events")
    return FileSource(
        events.file or suricata.eve,
        state,
        threaded=events.threaded,
        from_end=events.start == "end",
        notice=lambda text: say(logging.WARNING, text),
    )


def decoys(whole: Whole) -> Decoys:
    """The map of the page, nothing of it touched yet."""
    known = whole.enrichment
    return Decoys(known.decoys, [*known.segments, *placed(whole)])


_LEVELS: Final[dict[str, Callable[[Logger], Callable[..., Any]]]] = {
    "info": lambda log: log.info,
    "warning": lambda log: log.warning,
    "error": lambda log: log.error,
}


def _say(log: Logger, part: str) -> Callable[[int, str], None]:
    def say(level: int, text: str) -> None:
        log.log(level, text, part=part)

    return say
