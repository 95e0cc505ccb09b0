"""What the correction of events asks of flow records and of their store.

These are shapes, not classes to inherit from: `pipeline` hands in a store of `reassembly`, which
this package does not import.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol

from peeltap_core import FlowIndex

Confidence = Literal["exact", "time", "late"]


class Ends(Protocol):
    """Addresses and ports from the client's side; addresses in canonical text."""

    @property
    def src_ip(self) -> str: ...  # noqa: D102
    @property
    def src_port(self) -> int: ...  # noqa: D102
    @property
    def dest_ip(self) -> str: ...  # noqa: D102
    @property
    def dest_port(self) -> int: ...  # noqa: D102


class Record(Protocol):
    """The part of a flow record that an event takes over."""

    @property
    def id(self) -> str: ...  # noqa: D102
    @property
    def observed(self) -> Ends: ...  # noqa: D102
    @property
    def true(self) -> Ends | None: ...  # noqa: D102
    @property
    def codecs(self) -> Sequence[str]: ...  # noqa: D102
    @property
    def verdict(self) -> str: ...  # noqa: D102


class Match(Protocol):
    """A record, and how the event's tuple lies in it."""

    @property
    def record(self) -> Record: ...  # noqa: D102
    @property
    def reversed(self) -> bool: ...  # noqa: D102
    @property
    def by(self) -> Literal["observed", "true"]: ...  # noqa: D102
    @property
    def confidence(self) -> Confidence: ...  # noqa: D102
    @property
    def since(self) -> int:
        """From this moment (ns) to `until` the store's answer is the same, until it changes."""
        ...

    @property
    def until(self) -> int:
        """The last such moment; before `since` where no other moment is sure."""
        ...


class FlowStore(Protocol):
    """Finds the connection of an event."""

    @property
    def version(self) -> int:
        """Changes whenever a lookup may answer differently than before."""
        ...

    @property
    def index(self) -> FlowIndex | None:
        """Records that the core has, too, as a part of the store; None if it has none.

        Whatever it finds of an event, `lookup` finds the same, at any time and `version`.
        """
        ...

    def lookup(
        self,
        proto: str,
        src_ip: str,
        src_port: int,
        dest_ip: str,
        dest_port: int,
        at: int,
        *,
        started: int | None = None,
        vlan: Sequence[int] | None = None,
    ) -> Match | None:
        """The connection of an event seen `at` (ns), whose flow `started` (ns) if known."""
        ...
