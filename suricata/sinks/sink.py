"""What every sink of events does.

The relay numbers the blocks of lines that it writes. A sink that cannot deliver a block at once
keeps it, and says with `acknowledged` how far it has got: only then does the source forget the
events. So a sink may deliver asynchronously, and what it had not acknowledged when the process died
comes again.
"""

from __future__ import annotations

from typing import Any, Protocol


class SinkError(Exception):
    """A sink takes nothing just now; the text is one sentence with the remedy. Tried again."""


class Sink(Protocol):
    """Takes blocks of whole lines. One thread calls all but `status`."""

    @property
    def name(self) -> str:
        """What an operator calls it."""
        ...

    @property
    def acknowledged(self) -> int:
        """All blocks up to this number are delivered; 0 before the first."""
        ...

    @property
    def has_room(self) -> bool:
        """Whether another block may be written; what is kept is bounded by that."""
        ...

    def write(self, number: int, lines: bytes) -> None:
        """Take over the block `number`, whole lines. Never raises: it is kept if need be."""
        ...

    def pump(self) -> None:
        """Go on with what is kept. Raises SinkError if there is still no way."""
        ...

    def flush(self) -> None:
        """Make what is acknowledged safe from a power cut. Raises SinkError."""
        ...

    def reopen(self) -> None:
        """The file was rotated: go on in a new one. Raises SinkError; what is kept stays kept."""
        ...

    def status(self) -> dict[str, Any]:
        """Counters; `held` are bytes that are kept, `trouble` the sentence while there is one."""
        ...

    def close(self) -> None:
        """Let go; what is kept and not acknowledged is dropped, without a torn line."""
        ...
