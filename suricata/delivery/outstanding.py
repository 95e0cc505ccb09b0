"""Which blocks a sink is through with: those before the first that has an event on its way.

    block      1   2   3   4
    on its way 0   3   0   1        settled: 1

An event is on its way while it waits in a batch or in an aggregation's window.
"""

from __future__ import annotations

from collections import deque


class Cell:
    """One block: events of it that are on their way."""

    __slots__ = ("number", "open", "waiting")

    def __init__(self, number: int) -> None:
        self.number = number
        self.open = True
        self.waiting = 0


class Outstanding:
    """The blocks that one sink is not through with, the oldest first; begins behind `number`."""

    def __init__(self, number: int) -> None:
        self._cells: deque[Cell] = deque()
        self._settled = number

    def begin(self, number: int) -> Cell:
        """A block comes; each of its events is added to `waiting` and taken from it when done."""
        cell = Cell(number)
        self._cells.append(cell)
        return cell

    def settled(self) -> int:
        """All blocks up to this number are done."""
        cells = self._cells
        while cells and not cells[0].open and not cells[0].waiting:
            self._settled = cells.popleft().number
        return self._settled

    def __len__(self) -> int:
        return len(self._cells)
