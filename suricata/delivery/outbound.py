"""All sinks together, as the relay sees them: put lines, commit what arrived, stop.

A commit is one transaction (`positions`): what is forgotten in the source is safe in every sink, or
on the spool's disk for those that lack it.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from ..event_settings import SinkSettings
from ..notices import Notices
from ..sinks.client import Client, LineClient
from .dead_letters import DeadLetters
from .delivery import FLUSH_SECONDS, BatchLimits, Delivery
from .positions import DeliveryState
from .route import Route
from .spool import Limit, Spool
from .treatment import Shape, Treatment

SPOOL: Final = "spool"
DEAD_LETTERS: Final = "dead-letters"

_ABORT_SECONDS: Final = 1.0

_log = logging.getLogger("peeltap.events")


@dataclass(slots=True)
class Way:
    """One sink: what it is called, its client, what is done to events, and its bounds."""

    name: str
    client: Client
    treatment: Treatment | None = None
    batch: BatchLimits = field(default_factory=BatchLimits)
    backlog: Limit = field(default_factory=lambda: Limit(1 << 30))


def way(settings: SinkSettings, client: Client, shape: Shape | None) -> Way:
    """The way to the sink of `settings`; `shape` None leaves events in their own."""
    route = Route(settings.when, settings.sample)
    gather = settings.aggregate
    plain = route.is_open and gather is None and shape is None and isinstance(client, LineClient)
    batch, backlog = settings.batch, settings.backlog
    return Way(
        settings.label,
        client,
        None
        if plain
        else Treatment(
            route=route,
            aggregate_seconds=None if gather is None else gather.seconds,
            shape=shape,
        ),
        BatchLimits(batch.events, batch.kb << 10, batch.seconds),
        Limit(backlog.mb << 20, backlog.full == "drop-oldest"),
    )


class Outbound:
    """Brings lines to every sink of `ways`; spool and dead letters lie in `directory`.

    `rereads`: whether the source gives again what was not committed. `flush_seconds`: how often a
    client makes safe what it took. `say` takes a level of `logging` and a sentence; the rest is the
    Spool's. Raises OSError.
    """

    def __init__(
        self,
        ways: Sequence[Way],
        directory: Path,
        state: DeliveryState,
        *,
        rereads: bool = True,
        say: Callable[[int, str], None] = _log.log,
        flush_seconds: float = FLUSH_SECONDS,
        **spool: Any,
    ) -> None:
        self._state = state
        self._notices = Notices(say)
        if state.warning is not None:
            say(logging.WARNING, state.warning)
        gone = state.keep_only(one.name for one in ways)
        if gone:
            say(
                logging.WARNING,
                f"no longer a sink: {', '.join(gone)}; what waited for it is forgotten",
            )
        self.spool = Spool(
            directory / SPOOL,
            {one.name: one.backlog for one in ways},
            state.sinks(),
            counts=state.counts(),
            forgotten=state.forgotten(),
            rereads=rereads,
            notice=lambda text: say(logging.WARNING, text),
            **spool,
        )
        # Before anything is put: a crash must not make new again what is new now.
        self._saved, counts = self.spool.kept()
        state.save_sinks(self._saved, counts)
        self._safe = self.spool.safe
        self._deliveries = [
            Delivery(
                one.name,
                one.client,
                self.spool,
                dead_letters=DeadLetters(directory / DEAD_LETTERS, one.name),
                treatment=one.treatment,
                limits=one.batch,
                say=say,
                flush_seconds=flush_seconds,
            )
            for one in ways
        ]

    def start(self) -> None:
        """Each sink in a thread of its own."""
        for delivery in self._deliveries:
            delivery.start()

    def reopen(self) -> None:
        """SIGHUP."""
        for delivery in self._deliveries:
            delivery.reopen()

    # The relay's thread.

    def put(self, lines: bytes, now: float) -> int:
        """Take over whole lines for all sinks; the number of their last block."""
        return self.spool.put(lines, now)

    def tidy(self, now: float) -> None:
        """Time has passed."""
        self.spool.tidy(now)
        if self.spool.trouble is not None:
            self._notices.say("spool", self.spool.trouble)
        else:
            self._notices.ended("spool", "the spool's disk takes events again")

    @property
    def has_room(self) -> bool:
        """Whether more may be put."""
        return self.spool.has_room

    @property
    def last(self) -> int:
        """The number of the last block."""
        return self.spool.last

    def sync(self) -> int:
        """Up to this number nothing is needed of the source any more. Raises OSError."""
        self.spool.sync()
        self._safe = self.spool.safe
        return self._safe

    @property
    def has_moved(self) -> bool:
        """Whether any sink got further than what is saved."""
        return self.spool.acked() != self._saved

    def commit(self, source: Callable[[], None]) -> None:
        """Save how far the sinks got, and what `source` saves, together. Raises OSError."""
        acked, counts = self.spool.kept()
        with self._state.transaction():
            source()
            self._state.save_sinks(acked, counts, self._safe)
        self._saved = acked
        self.spool.forget(acked)

    def finish(self, deadline: float) -> bool:
        """Nothing more is put: let the sinks have what is there until `deadline`; whether all do.

        What one has not goes to disk, for the next start.
        """
        for delivery in self._deliveries:
            delivery.finish(deadline)
        ended = [one.join(deadline - time.monotonic()) for one in self._deliveries]
        if not all(ended):
            for one in self._deliveries:
                one.abort()
            until = time.monotonic() + _ABORT_SECONDS
            ended = [one.join(until - time.monotonic()) for one in self._deliveries]
        if min(self.spool.acked().values()) < self.spool.last:
            self.spool.spill(time.monotonic())
        return all(ended)

    def close(self) -> None:
        """After `finish`, or without a start: let go of everything. Raises OSError."""
        for delivery in self._deliveries:
            if not delivery.was_started:
                delivery.client.close()
        with contextlib.ExitStack() as last:
            last.callback(self._state.close)
            self.spool.close()

    # Any thread.

    def status(self) -> dict[str, dict[str, Any]]:
        """Each sink's counters, by its name."""
        return {one.name: one.status() for one in self._deliveries}
