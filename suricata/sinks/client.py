"""What a client of another machine does: a batch in, and an answer when the other side has it.

A Delivery routes, shapes and batches events, calls `deliver` in a thread of its own, and moves on
when that returns. A client keeps nothing between batches that an event's safety depends on; what
it cannot bring to the other side comes again with the same ids.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol


@dataclass(slots=True)
class Outgoing:
    """One event on its way out."""

    id: str
    """Stable: a repeat has the same one. 1 to 64 of `A-Z a-z 0-9 . _ -`."""
    line: bytes
    """The shaped event: one JSON object without a newline."""
    event: dict[str, Any]
    """The corrected EVE event of which `line` is a shape. Read, never changed."""


class Rejected(NamedTuple):
    """An event that the other side will never take; it belongs to the dead letters."""

    index: int
    """Its place in the batch."""
    reason: str


class Unavailable(Exception):
    """Nothing of the batch is known to be taken: the same batch is tried again.

    The text is one sentence that names sink, address, cause and remedy, and never a secret.
    `retry_after`: seconds that the other side asked for.
    """

    def __init__(self, sentence: str, *, retry_after: float | None = None) -> None:
        super().__init__(sentence)
        self.retry_after = retry_after


class Partly(Exception):
    """A part of the batch is done: `taken` and `rejected` are; all else is tried again."""

    def __init__(
        self,
        sentence: str,
        *,
        taken: Iterable[int] = (),
        rejected: Iterable[Rejected] = (),
        retry_after: float | None = None,
    ) -> None:
        super().__init__(sentence)
        self.taken = frozenset(taken)
        self.rejected = list(rejected)
        self.retry_after = retry_after


class Client(Protocol):
    """One sink's way to the other side. One thread calls all but `abort` and `status`."""

    @property
    def kind(self) -> str:
        """The sink's key in the configuration."""
        ...

    def deliver(self, batch: Sequence[Outgoing]) -> list[Rejected]:
        """Return when the other side has acknowledged all but what is returned.

        Bounded by timeouts of its own. Raises Unavailable, Partly.
        """
        ...

    def check(self) -> str:
        """Connect, prove who we are, and say in one sentence what was found. Raises Unavailable."""
        ...

    def abort(self) -> None:
        """Make a running `deliver` return soon; it and all later ones raise Unavailable."""
        ...

    def reopen(self) -> None:
        """SIGHUP: connections, certificates and secrets are taken anew with the next batch."""
        ...

    def status(self) -> dict[str, Any]:
        """`kind`, `address`, and counters of the client's own."""
        ...

    def close(self) -> None:
        """Let go; nothing is waited for."""
        ...
