"""What every sink does with a batch of events: one call, which ends when the other side has them.

A client runs in a thread of its own (`delivery.Delivery`), so it may wait, as long as each wait is
bounded. What it did not acknowledge comes again, with the same `id`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from ..glance import Glance, glance_at
from ..oddities import read_event


class Outgoing:
    """One event on its way out.

    `id` is the same when it comes again: 1 to 64 of `[A-Za-z0-9._-]`. `line` is the shaped event,
    one JSON object without a newline, of the corrected EVE `event`; without it `line` is that event
    itself.
    """

    __slots__ = ("_event", "_glance", "id", "line")

    def __init__(
        self,
        id: str,  # noqa: A002 - what it is called everywhere
        line: bytes,
        event: dict[str, Any] | None = None,
        glance: Glance | None = None,
    ) -> None:
        self.id = id
        self.line = line
        self._event = event
        self._glance = glance

    @property
    def event(self) -> dict[str, Any]:
        """The corrected EVE event, to be read only; parsed when it is first asked for."""
        if self._event is None:
            self._event = read_event(self.line) or {}
        return self._event

    @property
    def glance(self) -> Glance:
        """Of the corrected EVE event what costs little to know."""
        if self._glance is None:
            self._glance = glance_at(self.event)
        return self._glance


class Unavailable(Exception):  # noqa: N818 - a state of the other side, no fault
    """Nothing of the batch is known to be taken: it is tried again as it is, later.

    The text is one sentence that names sink, address, cause and remedy, and no secret.
    `retry_after` (seconds) is the other side's own wish.
    """

    def __init__(self, sentence: str, *, retry_after: float | None = None) -> None:
        super().__init__(sentence)
        self.retry_after = retry_after


@dataclass(frozen=True, slots=True)
class Rejected:
    """The event at `index` of the batch will never be taken: it goes to the dead letters."""

    index: int
    reason: str


class Partly(Exception):  # noqa: N818
    """Some events of the batch were `taken` (indexes), some `rejected`; the rest is tried again."""

    def __init__(
        self,
        sentence: str,
        *,
        taken: set[int],
        rejected: Sequence[Rejected] = (),
        retry_after: float | None = None,
    ) -> None:
        super().__init__(sentence)
        self.taken = taken
        self.rejected = list(rejected)
        self.retry_after = retry_after


class Client(Protocol):
    """One sink's other side. One thread calls all but `abort` and `status`."""

    @property
    def kind(self) -> str:
        """The key that it has in `sinks:`."""
        ...

    def deliver(self, batch: Sequence[Outgoing]) -> list[Rejected]:
        """Hand over `batch`; returns when it is acknowledged, with what never will be.

        Bounded by a timeout of its own. Raises Unavailable, Partly.
        """
        ...

    def check(self) -> str:
        """Connect and authenticate; one sentence of what was found. Raises Unavailable."""
        ...

    def abort(self) -> None:
        """Have a `deliver` that runs return soon: the service stops."""
        ...

    def reopen(self) -> None:
        """SIGHUP: files were rotated, secrets may be new. Raises nothing; `deliver` tells."""
        ...

    def status(self) -> dict[str, Any]:
        """Counters of its own."""
        ...

    def close(self) -> None:
        """Let go of everything."""
        ...


@runtime_checkable
class LineClient(Protocol):
    """A client that takes the lines as they are, without an id or a look into them."""

    def deliver_lines(self, lines: bytes) -> None:
        """As `deliver`, of whole lines with their newlines. Raises Unavailable.

        Called again with the same lines after Unavailable: what of them was taken is not taken
        twice.
        """
        ...


@runtime_checkable
class DurableClient(Protocol):
    """A client that acknowledges before what it took is safe from a power cut."""

    def flush(self) -> None:
        """Make all that was acknowledged safe. Raises Unavailable."""
        ...
