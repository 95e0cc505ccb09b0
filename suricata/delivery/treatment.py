"""What becomes of an event on its way to one sink: routed, sampled, gathered, shaped. Sans-IO.

line ──> event ──> route ──> aggregate ──> shape ──> Pending
                     │no         │ waits      │ none, or it fails
                     └ done      └ the block  └ done / a dead letter
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

import orjson

from ..glance import Glance, glance
from ..ids import of_content
from ..oddities import read_event
from ..sinks.client import Outgoing
from .aggregate import Aggregate, Window
from .dead_letters import Letter
from .outstanding import Cell
from .route import Route

Event = dict[str, Any]

Shape = Callable[[Event], "bytes | None"]
"""From a corrected EVE event, which it must not change, to the line that the sink gets: one JSON
object without a newline; None: nothing."""

_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)


class Pending(Outgoing):
    """An event on its way, and the block that it holds back."""

    __slots__ = ("cell",)

    def __init__(
        self,
        id: str,  # noqa: A002 - as in Outgoing
        line: bytes,
        cell: Cell,
        event: dict[str, Any] | None = None,
        glance: Glance | None = None,
    ) -> None:
        # Not by super(): a call for each event.
        self.id = id
        self.line = line
        self.cell = cell
        self._event = event
        self._glance = glance


class Treatment:
    """One sink's; without `shape` lines stay as they are."""

    def __init__(
        self,
        *,
        route: Route | None = None,
        aggregate_seconds: float | None = None,
        shape: Shape | None = None,
    ) -> None:
        self._route = route or Route()
        self._aggregate: Aggregate[tuple[bytes, Cell]] | None = (
            None if aggregate_seconds is None else Aggregate(aggregate_seconds)
        )
        self._shape = shape
        # Nothing is asked of an event but its id.
        self._is_plain = self._route.is_open and aggregate_seconds is None and shape is None
        self.left_out = 0
        self.letters: list[Letter] = []

    def take(self, lines: Iterable[bytes], cell: Cell, now: float) -> Iterable[Pending]:
        """What goes out of `lines`, without newlines, of the block of `cell`."""
        return self._plain(lines, cell) if self._is_plain else self._read(lines, cell, now)

    def _plain(self, lines: Iterable[bytes], cell: Cell) -> list[Pending]:
        """As they are, each after a glance; what needs a longer look gets one."""
        found: list[Pending] = []
        known = _ID.fullmatch
        for line in lines:
            seen = glance(line)
            if seen is None:
                found += self._read([line], cell, 0)
                continue
            id_ = seen.id
            if id_ is None or not known(id_):
                id_ = of_content(line)
            cell.waiting += 1
            found.append(Pending(id_, line, cell, None, seen))
        return found

    def _read(self, lines: Iterable[bytes], cell: Cell, now: float) -> Iterator[Pending]:
        for line in lines:
            event = read_event(line)
            if event is None:
                self.letters.append(Letter(of_content(line), "not a JSON object", line))
                continue
            try:
                goes = self._goes(event, line, cell, now)
            except Exception as error:  # a fault of ours costs the one event its way
                self._fault(line, error)
                continue
            if goes:
                yield from self.shaped(event, line, cell)
        if self._aggregate is not None:
            yield from self.ended(now)

    def _goes(self, event: Event, line: bytes, cell: Cell, now: float) -> bool:
        """Whether it goes out by itself, now."""
        if not self._route.takes(event):
            self.left_out += 1
            return False
        if self._aggregate is None:
            return True
        opened = self._aggregate.add(event, (line, cell), now)
        cell.waiting += opened is True
        return opened is None

    def _fault(self, line: bytes, error: Exception) -> None:
        self.letters.append(Letter(of_content(line), f"a fault: {type(error).__name__}", line))

    def ended(self, now: float) -> Iterator[Pending]:
        """What was gathered for long enough."""
        if self._aggregate is not None:
            yield from self._windows(self._aggregate.ended(now))

    def flush(self) -> Iterator[Pending]:
        """All that was gathered: the service stops."""
        if self._aggregate is not None:
            yield from self._windows(self._aggregate.flush())

    def _windows(self, windows: list[Window[tuple[bytes, Cell]]]) -> Iterator[Pending]:
        for window in windows:
            line, cell = window.tag
            event = window.merged()
            cell.waiting -= 1
            try:
                text = line if window.count == 1 else orjson.dumps(event)
            except TypeError as error:  # what only a lenient parser reads
                self._fault(line, error)
                continue
            yield from self.shaped(event, text, cell)

    def shaped(self, event: Event, line: bytes, cell: Cell) -> Iterator[Pending]:
        """`event` in the sink's shape; `line` is its text."""
        id_ = _id(event, line)
        if self._shape is None:
            cell.waiting += 1
            yield Pending(id_, line, cell, event)
            return
        try:
            text = self._shape(event)
        except Exception as error:  # a fault of the shape's costs the one event its way
            self.letters.append(Letter(id_, f"its shape failed: {type(error).__name__}", line))
            return
        if text is None:
            self.left_out += 1
            return
        cell.waiting += 1
        yield Pending(id_, text, cell, event)

    @property
    def next_end(self) -> float | None:
        """When something gathered has to go out."""
        return None if self._aggregate is None else self._aggregate.next_end

    def status(self) -> dict[str, int]:
        """Counters."""
        aggregate = self._aggregate
        return {
            "left_out": self.left_out,
            "merged": 0 if aggregate is None else aggregate.merged,
            "gathering": 0 if aggregate is None else len(aggregate),
        }


def _id(event: Event, line: bytes) -> str:
    peeltap = event.get("peeltap")
    id_ = peeltap.get("id") if type(peeltap) is dict else None
    return id_ if type(id_) is str and _ID.fullmatch(id_) else of_content(line)
