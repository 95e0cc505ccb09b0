"""What every source of EVE does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

from ..ids import Ids


class SourceError(Exception):
    """A source gives nothing just now; the text is one sentence with the remedy. Tried again."""


class Batch(NamedTuple):
    """Whole lines, each with its newline, the token by which they are committed, and their ids.

    Without `ids` they are numbered by whoever reads them: what comes again has another id then.
    """

    lines: bytes
    token: object
    ids: Ids | None = None


class Source(Protocol):
    """Gives whole lines, and remembers how far they were dealt with.

    One thread calls all but `status`.
    """

    @property
    def name(self) -> str:
        """What an operator calls it."""
        ...

    @property
    def rereads(self) -> bool:
        """Whether what was read and not committed comes again after a crash."""
        ...

    def read(self, max_bytes: int, timeout: float) -> Batch | None:
        """The next lines, about `max_bytes` of them; None if none come within `timeout` seconds.

        Raises SourceError; nothing is lost by that.
        """
        ...

    def look(self) -> None:
        """Keep in reach what comes while nothing is read, since a sink takes nothing.

        Raises SourceError, OSError.
        """
        ...

    def commit(self, tokens: Sequence[object]) -> None:
        """The batches of `tokens`, in the order of reading, are never wanted again.

        Durable when it returns. Raises OSError; the tokens count as committed with the next call
        that succeeds.
        """
        ...

    def status(self) -> dict[str, Any]:
        """Counters and the place in the source; `backlog` is in bytes, None if not known."""
        ...

    def close(self) -> None:
        """Let go of everything; what was not committed comes again where it can."""
        ...
