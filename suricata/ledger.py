"""Which batches may be forgotten: those of which every event has left and arrived. Sans-IO.

    fed ──> through ──────────────────> settled
            no line of it waits in      all sinks have the blocks
            the enricher any more       that were written until then

Batches are settled in the order in which they were fed: a position in a file has no holes.
"""

from __future__ import annotations

from collections import deque


class Ledger:
    """Batches on their way, oldest first; each is a line number and a token."""

    def __init__(self) -> None:
        self._fed: deque[tuple[int, object]] = deque()
        self._through: deque[tuple[int, object]] = deque()

    def fed(self, last_line: int, token: object) -> None:
        """A batch went in; `last_line` is the number of its last line."""
        self._fed.append((last_line, token))

    def left(self, oldest_waiting: int | None, block: int) -> None:
        """All lines before `oldest_waiting` (None: all) are in the blocks up to `block`."""
        fed = self._fed
        while fed and (oldest_waiting is None or fed[0][0] < oldest_waiting):
            self._through.append((block, fed.popleft()[1]))

    def has_settled(self, acknowledged: int) -> bool:
        """Whether `settled` would give any."""
        return bool(self._through) and self._through[0][0] <= acknowledged

    def settled(self, acknowledged: int) -> list[object]:
        """Tokens, in order, of the batches that need no block beyond `acknowledged`; once each."""
        tokens = []
        while self._through and self._through[0][0] <= acknowledged:
            tokens.append(self._through.popleft()[1])
        return tokens

    def __len__(self) -> int:
        return len(self._fed) + len(self._through)
