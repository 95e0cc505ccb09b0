"""One sink's thread: takes blocks from the spool, hands batches to the client, insists.

    running ──Unavailable──> waiting ──acknowledged──> running
                  again, with growing, jittered waits, the same batch

What the client refuses for good goes to the dead letters. The sink's place moves on with what is
acknowledged and safe; whatever an event waits for (a batch, a window, a dead sink) holds it back,
and nobody else.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

import orjson
from tenacity import RetryCallState, Retrying, retry_if_exception_type, wait_random_exponential

from ..ids import of_content
from ..notices import Notices
from ..sinks.client import Client, DurableClient, LineClient, Partly, Unavailable
from .dead_letters import DeadLetters, Letter
from .outstanding import Cell, Outstanding
from .segments import Block
from .spool import Gap, Spool
from .treatment import Pending, Treatment

TAKE_BYTES: Final = 1 << 20
FLUSH_SECONDS: Final = 1.0

_RETRY_FIRST_SECONDS: Final = 0.1
_RETRY_MOST_SECONDS: Final = 15.0
_RETRY_AFTER_MOST_SECONDS: Final = 300.0
_IDLE_SECONDS: Final = 1.0
_GATHER_SECONDS: Final = 0.01
_STOPPING_SECONDS: Final = 0.1

_log = logging.getLogger("peeltap.events")


class BatchLimits(NamedTuple):
    """A batch goes when it has so many events or bytes, or its first has waited so long."""

    events: int = 1000
    bytes: int = 1 << 20
    seconds: float = 1.0


@dataclass(slots=True)
class _Counts:
    lines: int = 0
    bytes: int = 0
    batches: int = 0
    retries: int = 0
    waits: int = 0
    rejected: int = 0
    failures: int = 0


class Delivery:
    """Brings what is in `spool` for the sink `name` to `client`.

    Without `treatment` whole blocks go to a client that takes lines. `say` takes a level of
    `logging` and a sentence.
    """

    def __init__(
        self,
        name: str,
        client: Client,
        spool: Spool,
        *,
        dead_letters: DeadLetters,
        treatment: Treatment | None = None,
        limits: BatchLimits = BatchLimits(),  # noqa: B008 - an immutable value
        say: Callable[[int, str], None] = _log.log,
        flush_seconds: float = FLUSH_SECONDS,
    ) -> None:
        self.name = name
        self.client = client
        self._spool = spool
        self._dead = dead_letters
        self._treatment = treatment
        self._limits = limits
        self._notices = Notices(say)
        # Asked once: such a question of a protocol costs as much as a block.
        self._takes_lines = client if isinstance(client, LineClient) else None
        self._flushes = client if isinstance(client, DurableClient) else None
        self._outstanding = Outstanding(spool.acked()[name])
        self._queue: list[Pending] = []
        self._queue_bytes = 0
        self._queue_since = 0.0
        self._delivered = self._flushed = spool.acked()[name]
        self._flush_at = 0.0
        self._flush_seconds = flush_seconds
        self._counts = _Counts()
        self._trouble: str | None = None
        self._deadline: float | None = None
        self._woken = threading.Event()
        self._reopen = threading.Event()
        self._aborted = False
        self._backoff = wait_random_exponential(
            multiplier=_RETRY_FIRST_SECONDS, max=_RETRY_MOST_SECONDS, min=_RETRY_FIRST_SECONDS / 2
        )
        self._retrying = Retrying(
            retry=retry_if_exception_type((Unavailable, OSError)),
            wait=self._wait,
            sleep=self._sleep,
            stop=lambda _: self._is_over(),
            before_sleep=self._again,
            reraise=True,
        )
        self._thread = threading.Thread(target=self._run, name=f"sink {name}"[:32], daemon=True)

    # From other threads.

    def start(self) -> None:
        """Run in a thread of its own."""
        self._thread.start()

    @property
    def was_started(self) -> bool:
        """Whether its thread has ever run; then it has closed its client, or will."""
        return self._thread.ident is not None

    def reopen(self) -> None:
        """SIGHUP: the client is told soon."""
        self._reopen.set()

    def finish(self, deadline: float) -> None:
        """Nothing more is put: deliver what is there until `deadline` (time.monotonic), and end."""
        self._deadline = deadline
        self._woken.set()
        self._spool.wake()

    def abort(self) -> None:
        """End now."""
        self._aborted = True
        self._woken.set()
        self._spool.wake()
        self.client.abort()

    def join(self, seconds: float) -> bool:
        """Whether the thread has ended within `seconds`."""
        if self.was_started:
            self._thread.join(max(0.0, seconds))
        return not self._thread.is_alive()

    def status(self) -> dict[str, Any]:
        """Counters, and `trouble`, the sentence while there is one."""
        counts = self._counts
        treatment = self._treatment
        return {
            **self.client.status(),
            "kind": self.client.kind,
            "lines": counts.lines,
            "bytes": counts.bytes,
            "batches": counts.batches,
            "retries": counts.retries,
            "waits": counts.waits,
            "rejected": counts.rejected,
            "failures": counts.failures,
            "held": len(self._queue),
            **({} if treatment is None else treatment.status()),
            **self._spool.status(self.name),
            "trouble": self._trouble,
        }

    # The thread.

    def _run(self) -> None:
        while not self._is_over():
            try:
                if not self._step():
                    break
            except Exception as error:  # a fault of ours must not end the sink for good
                self._counts.failures += 1
                _log.debug("sink %s", self.name, exc_info=True)
                self._notices.say(
                    "fault", f"{self.name}: {type(error).__name__}: {error}", logging.ERROR
                )
                self._sleep(_RETRY_FIRST_SECONDS)
        try:
            self._flush(time.monotonic(), at_once=True)
        finally:
            self.client.close()

    def _step(self) -> bool:
        """Go on with what there is; False when it is to end and nothing is left."""
        self._heed()
        now = time.monotonic()
        taken = self._spool.take(self.name, TAKE_BYTES, self._patience(now))
        now = time.monotonic()
        if self._treatment is None:
            self._carry(taken.blocks, taken.gap)
        else:
            gap = taken.gap
            for block in taken.blocks:
                self._treat(self._treatment, block, gap, now)
                gap = None
            self._enqueue(self._treatment.ended(now), now)
            if self._queue and now >= self._queue_since + self._limits.seconds:
                self._send()
            if self._bury(self._treatment):
                self._settle()
        if not taken.blocks and self._deadline is not None:
            if self._treatment is not None:
                self._enqueue(self._treatment.flush(), now)
                self._send()
                if self._bury(self._treatment):
                    self._settle()
            return False
        self._flush(now)
        return True

    def _heed(self) -> None:
        if self._reopen.is_set():
            self._reopen.clear()
            self.client.reopen()

    def _patience(self, now: float) -> float:
        """How long the next block may be waited for."""
        ends = [now + _IDLE_SECONDS]
        if self._queue:
            ends.append(self._queue_since + self._limits.seconds)
        if self._treatment is not None and self._treatment.next_end is not None:
            ends.append(self._treatment.next_end)
        if self._flushed < self._delivered:
            ends.append(self._flush_at)
        return max(0.0, min(ends) - now)

    # Lines as they are.

    def _carry(self, blocks: list[Block], gap: Gap | None) -> None:
        client = self._takes_lines
        if not blocks or client is None:
            return
        lines = b"".join([block.lines for block in blocks])
        if gap is not None:
            lines = announcement(self.name, gap, blocks[0].number)[1] + b"\n" + lines
        if self._insist(lambda: client.deliver_lines(lines)):
            self._count(sum(block.events for block in blocks) + (gap is not None), len(lines))
            self._delivered = blocks[-1].number
            self._spool.delivered(self.name, self._delivered)
        # A turn costs as much as a hundred events: blocks are let gather.
        self._woken.wait(_GATHER_SECONDS)

    # Event by event.

    def _treat(self, treatment: Treatment, block: Block, gap: Gap | None, now: float) -> None:
        cell = self._outstanding.begin(block.number)
        if gap is not None:
            event, line = announcement(self.name, gap, block.number)
            self._enqueue(treatment.shaped(event, line, cell), now)
        self._enqueue(treatment.take(block.lines.split(b"\n")[:-1], cell, now), now)
        cell.open = False

    def _enqueue(self, pending: Iterable[Pending], now: float) -> None:
        for one in pending:
            if not self._queue:
                self._queue_since = now
            self._queue.append(one)
            self._queue_bytes += len(one.line)
            if len(self._queue) >= self._limits.events or self._queue_bytes >= self._limits.bytes:
                # If it ends before, the events' blocks are not settled.
                self._send()

    def _send(self) -> bool:
        """Hand over all that is queued; False if it ended before."""
        rest, self._queue, self._queue_bytes = self._queue, [], 0
        letters: list[tuple[Letter, Cell]] = []
        return self._insist(lambda: self._attempt(rest, letters))

    def _attempt(self, rest: list[Pending], letters: list[tuple[Letter, Cell]]) -> None:
        """Call the client with `rest`, which becomes what it did not decide on. Raises Unavailable.

        `letters` are what it refused and what is not kept yet.
        """
        # 1. Handed over.
        again: Partly | None = None
        if rest:
            taken = rest
            try:
                refused = {one.index: one.reason for one in self.client.deliver(rest)}
                if refused:
                    taken = [one for index, one in enumerate(rest) if index not in refused]
            except Partly as partly:
                again = partly
                refused = {one.index: one.reason for one in partly.rejected}
                taken = [rest[index] for index in partly.taken]
            size = len(taken)
            for one in taken:
                one.cell.waiting -= 1
                size += len(one.line)
            self._count(len(taken), size)
            for index, reason in refused.items():
                one = rest[index]
                letters.append((Letter(one.id, reason, one.line), one.cell))
            done = range(len(rest)) if again is None else again.taken | refused.keys()
            rest[:] = [one for index, one in enumerate(rest) if index not in done]
        # 2. What it refused is kept before it counts as done.
        if letters:
            self._keep([letter for letter, _ in letters])
            for _, cell in letters:
                cell.waiting -= 1
            letters.clear()
        if again is not None and rest:
            raise Unavailable(str(again), retry_after=again.retry_after) from again

    def _bury(self, treatment: Treatment) -> bool:
        """Keep what cannot even be sent; False if it ended before."""
        letters = treatment.letters
        if letters:
            if not self._insist(lambda: self._keep(letters)):
                return False
            treatment.letters = []
        return True

    def _keep(self, letters: list[Letter]) -> None:
        self._dead.add(letters)
        self._counts.rejected += len(letters)
        self._notices.say(
            "rejected",
            f"{self.name}: an event cannot be delivered ({letters[0].reason[:200]}); it is kept in"
            f" {self._dead.path}",
        )

    def _settle(self) -> None:
        settled = self._outstanding.settled()
        if settled > self._delivered:
            self._delivered = settled
            self._spool.delivered(self.name, settled)

    def _count(self, events: int, size: int) -> None:
        self._counts.lines += events
        self._counts.bytes += size
        self._counts.batches += 1

    # What is acknowledged, and safe.

    def _flush(self, now: float, *, at_once: bool = False) -> None:
        if self._flushed >= self._delivered or (now < self._flush_at and not at_once):
            return
        number = self._delivered
        if self._flushes is not None:
            self._flush_at = now + self._flush_seconds
            try:
                self._flushes.flush()
            except Unavailable as error:
                self._tell(error)
                return
        self._flushed = number
        self._spool.ack(self.name, number)

    # Insisting.

    def _insist(self, part: Callable[[], None]) -> bool:
        """Do `part` until it succeeds; False if the service stopped before."""
        if self._is_over():
            return False

        def attempt() -> None:
            self._heed()
            try:
                part()
            except (Unavailable, OSError):
                raise
            except Exception as error:
                # No words of an exception that nobody foresaw: they may hold a secret.
                self._counts.failures += 1
                _log.debug("sink %s", self.name, exc_info=True)
                raise Unavailable(
                    f"{self.name}: the client failed ({type(error).__name__}), a fault of Peeltap"
                ) from error

        try:
            self._retrying(attempt)
        except (Unavailable, OSError) as error:
            self._tell(error)
            return False
        if self._trouble is not None:
            self._trouble = None
            self._notices.ended("sink", f"{self.name} takes events again")
        return True

    def _wait(self, state: RetryCallState) -> float:
        if self._deadline is not None:
            return _STOPPING_SECONDS
        error = None if state.outcome is None else state.outcome.exception()
        asked = error.retry_after if isinstance(error, Unavailable) else None
        return max(self._backoff(state), min(asked or 0.0, _RETRY_AFTER_MOST_SECONDS))

    def _again(self, state: RetryCallState) -> None:
        self._counts.retries += 1
        if state.outcome is not None and (error := state.outcome.exception()) is not None:
            self._tell(error)

    def _tell(self, error: BaseException) -> None:
        sentence = str(error)
        if isinstance(error, OSError):
            sentence = f"{self._dead.path} cannot be written to ({error.strerror}): make room"
        if self._trouble is None:
            self._counts.waits += 1
        self._trouble = sentence
        self._notices.say("sink", sentence)

    def _sleep(self, seconds: float) -> None:
        if self._deadline is not None:
            seconds = min(seconds, max(0.0, self._deadline - time.monotonic()), _STOPPING_SECONDS)
            time.sleep(seconds)
            return
        self._woken.wait(seconds)

    def _is_over(self) -> bool:
        return self._aborted or (self._deadline is not None and time.monotonic() >= self._deadline)


def announcement(name: str, gap: Gap, number: int) -> tuple[dict[str, Any], bytes]:
    """The event that tells sink `name` what it will not get, before block `number`."""
    event = {
        "timestamp": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f%z"),
        "event_type": "peeltap",
        "peeltap": {
            "kind": "backlog_dropped",
            "sink": name,
            "events": gap.events,
            "bytes": gap.bytes,
            "id": of_content(f"{name} {number} {gap.events}".encode()),
        },
    }
    return event, orjson.dumps(event)
