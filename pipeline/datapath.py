"""A worker: the thread that moves packets from the capture ring through the engine to the output.

                     opened                     gone
    waiting ───────────────────────> moving <──────────> deaf          the interface
       absent at the start: tried again        back: opened again

All work on packets is in `peeltap_core.Live`, with the GIL released; what remains here is done some
ten times a second: records to their store, pieces of the connection table to theirs, and looking
whether interface and output are still there. An interface that is not there is said once and waited
for. Nothing that happens to Suricata, events or disks comes this way.
"""

from __future__ import annotations

import errno
import threading
import time
from collections.abc import Callable
from typing import Any, Final, Literal, Protocol

from pipeline.logs import Logger
from pipeline.notify import Pulse
from pipeline.outlet import Kind, Outlet

STEP_MS: Final = 100
RETRY_SECONDS: Final = 0.5

# What an interface that is not there, or is just going, answers.
_ABSENT: Final = (errno.ENODEV, errno.ENXIO, errno.ENETDOWN)

# What `Live` calls the descriptor that it is given, where an error names it.
_OUTPUT: Final = "output"

Condition = Literal["up", "down", "gone"]


class Way(Protocol):
    """What a worker steps: `peeltap_core.Live`."""

    def step(self, timeout_ms: int) -> None:
        """Move packets for at most so long."""

    def state(self) -> tuple[Condition, Condition]:
        """Of the interface and of the output."""

    def reopen(self) -> bool:
        """Try to open the ring again; False while the interface is absent."""

    def set_output(self, output_fd: int, output: Kind) -> None:
        """Write to another descriptor from now on."""

    def take_records(self) -> bytes:
        """Flow records made since the last call, as JSON lines."""

    def finish(self) -> None:
        """Let go what is held."""

    def wake(self) -> None:
        """End the step that runs now."""

    def stats(self) -> dict[str, Any]:
        """The counters."""


class Keeper(Protocol):
    """What keeps the connection table on disk: `pipeline.checkpointing.Checkpoints`."""

    def restore(self, way: Any) -> None:
        """Give the way what an earlier run knew, before its first step."""

    def turn(self, way: Any, now: float) -> None:
        """Take a piece of the table if it is time."""

    def finish(self, way: Any, give_up: threading.Event) -> None:
        """Take the whole table for a clean end."""


class Datapath:
    """Worker `number`, on `interface`; `open_way` makes its way and raises OSError while absent."""

    def __init__(
        self,
        number: int,
        interface: str,
        *,
        open_way: Callable[[int, Kind], Way],
        outlet: Outlet,
        records: Callable[[bytes], None],
        keeper: Keeper,
        pulse: Pulse,
        log: Logger,
        give_up: threading.Event,
    ) -> None:
        self.number = number
        self.name = f"datapath-{number}"
        self._interface = interface
        self._open_way = open_way
        self._outlet = outlet
        self._records = records
        self._keeper = keeper
        self._pulse = pulse
        self._log = log.bind(worker=number)
        self._give_up = give_up
        self._stop = threading.Event()
        self._way: Way | None = None
        self._generation = 0
        self._capture: Condition = "up"
        self._output: Condition = "up"
        self._absent_since: float | None = None
        self._tried = 0.0
        self.moved = threading.Event()
        """Set when the last packet has left."""
        self.failure: BaseException | None = None
        # Not waited for by the interpreter: who owns it does, and for no longer than it wants.
        self._thread = threading.Thread(target=self._run, name=self.name, daemon=True)

    def start(self) -> None:
        """Begin; returns at once."""
        self._pulse.beat(self.name, time.monotonic())
        self._thread.start()

    def stop(self) -> None:
        """Ask it to end: what is captured is moved, what is held is let go, the table is kept."""
        self._stop.set()
        if self._way is not None:
            self._way.wake()

    def join(self, seconds: float) -> bool:
        """Wait for its end; False if it has not come."""
        if self._thread.is_alive():
            self._thread.join(seconds)
        return not self._thread.is_alive()

    @property
    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    def status(self) -> dict[str, Any]:
        """What this worker says of itself, its counters included."""
        way = self._way
        return {
            "worker": self.number,
            "capture_state": "gone" if way is None else self._capture,
            "output_state": self._output,
            **({} if way is None else way.stats()),
        }

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                now = time.monotonic()
                self._pulse.beat(self.name, now)
                if self._way is None:
                    self._begin(now)
                else:
                    self._turn(self._way, now)
            if self._way is not None:
                self._finish(self._way)
        except Exception as error:
            self.failure = error
            self._log.exception("the worker has failed")
        finally:
            self.moved.set()
            self._pulse.end(self.name)

    def _begin(self, now: float) -> None:
        """Open the ring; while there is no interface, wait."""
        place = self._outlet.place(self.number)
        try:
            way = self._open_way(place.fd, place.kind)
        except OSError as error:
            if error.filename == _OUTPUT != self._interface:
                self._lose_output(place.generation, error)
                return
            if error.errno not in _ABSENT:
                raise
            if self._absent_since is None:
                self._absent_since = now
                self._log.warning(
                    f"{self._interface} is not there; waiting for it",
                    interface=self._interface,
                    reason=error.strerror or str(error),
                )
            self._stop.wait(RETRY_SECONDS)
            return
        self._generation = place.generation
        self._keeper.restore(way)
        self._way = way
        self._log.info(f"capturing from {self._interface}", interface=self._interface)
        self._absent_since = None

    def _lose_output(self, generation: int, error: OSError) -> None:
        """The output went before there was a way to it."""
        if self._output != "gone":
            self._output = "gone"
            self._log.warning(f"{self._outlet.name} is gone; opening it again")
        if self._outlet.renew(self.number, generation) is None:
            self._log.warning(
                f"{self._outlet.name} cannot be opened",
                limit="output",
                reason=self._outlet.error or error.strerror,
            )
        self._stop.wait(RETRY_SECONDS)

    def _turn(self, way: Way, now: float) -> None:
        way.step(STEP_MS)
        self._take(way)
        capture, output = way.state()
        self._see_capture(way, capture, now)
        self._see_output(way, output)
        self._keeper.turn(way, time.monotonic())

    def _take(self, way: Way) -> None:
        records = way.take_records()
        if records:
            self._records(records)

    def _see_capture(self, way: Way, seen: Condition, now: float) -> None:
        if seen == "gone" and now - self._tried >= RETRY_SECONDS:
            self._tried = now
            try:
                if way.reopen():
                    seen, _ = way.state()
            except OSError as error:
                # It was captured from before, so it can be again; ending would lose what we know.
                self._log.warning(
                    f"{self._interface} cannot be opened again yet",
                    limit="capture",
                    reason=error.strerror or str(error),
                )
        if seen != self._capture:
            self._capture = seen
            if seen == "up":
                away = 0.0 if self._absent_since is None else now - self._absent_since
                self._absent_since = None
                self._log.info(
                    f"{self._interface} is back", interface=self._interface, seconds=round(away, 1)
                )
            else:
                self._absent_since = self._absent_since or now
                self._log.warning(
                    f"{self._interface} is {seen}; waiting for it", interface=self._interface
                )

    def _see_output(self, way: Way, seen: Condition) -> None:
        name = self._outlet.name
        if seen != self._output:
            if seen == "up":
                self._log.info(f"{name} is up again")
            elif seen == "down":
                self._log.warning(f"{name} is down; packets are dropped: ip link set {name} up")
            else:
                self._log.warning(f"{name} is gone; opening it again")
        self._output = seen
        if seen != "gone":
            return
        place = self._outlet.renew(self.number, self._generation)
        if place is None:
            self._log.warning(
                f"{name} cannot be opened; packets are dropped",
                limit="output",
                reason=self._outlet.error,
            )
            return
        self._generation = place.generation
        try:
            way.set_output(place.fd, place.kind)
        except OSError as error:
            # Gone again already; the next turn opens the next one.
            self._log.warning(
                f"{name} cannot be used yet", limit="output", reason=error.strerror or str(error)
            )

    def _finish(self, way: Way) -> None:
        # A block of the ring that is not full yet comes with its timeout.
        if not self._give_up.is_set():
            way.step(STEP_MS)
        way.finish()
        self._take(way)
        self.moved.set()
        self._keeper.finish(way, self._give_up)
