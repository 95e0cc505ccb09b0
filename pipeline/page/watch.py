"""What the relay has just written, kept for whoever looks: blocks of lines, unparsed and bounded.

The relay's thread puts and never waits; the page's takes. While nobody looks only blocks with an
alert in them are kept, so that the page begins with something to see; of a flood only some blocks
are searched, as that costs a quarter of a microsecond an event.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Final

KEPT_BYTES: Final = 1 << 20

SEARCHES: Final = 100
"""Blocks that are searched in a second while nobody looks."""

# As Suricata and Peeltap write them; inside of a text the quotes would be escaped.
ALERT: Final = b'"event_type":"alert"'


class Watch:
    """Keeps the last blocks, `kept_bytes` of them at most."""

    def __init__(
        self, kept_bytes: int = KEPT_BYTES, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._most = kept_bytes
        self._clock = clock
        self._searched = 0
        self._second = 0.0
        self._lock = threading.Lock()
        self._blocks: deque[bytes] = deque()
        self._bytes = 0
        self._passed = 0
        self.is_looked_at = False

    def put(self, lines: bytes) -> None:
        """Whole lines, from the relay's thread; older ones make room."""
        if not self.is_looked_at and not self._is_worth_it(lines):
            return
        if len(lines) > self._most:
            # The last of them; memory is not lent to one large block for long.
            lines = lines[lines.find(b"\n", len(lines) - self._most) + 1 :]
        with self._lock:
            self._blocks.append(lines)
            self._bytes += len(lines)
            while self._bytes > self._most:
                gone = self._blocks.popleft()
                self._bytes -= len(gone)
                if self.is_looked_at:
                    self._passed += gone.count(ALERT)

    def _is_worth_it(self, lines: bytes) -> bool:
        now = self._clock()
        if now >= self._second:
            self._second, self._searched = now + 1.0, 0
        self._searched += 1
        return self._searched <= SEARCHES and ALERT in lines

    def take(self) -> list[bytes]:
        """All that is kept, the oldest first; it is kept no longer."""
        with self._lock:
            blocks, self._blocks, self._bytes = self._blocks, deque(), 0
        return list(blocks)

    @property
    def passed(self) -> int:
        """Alerts that went by unseen though somebody looked."""
        return self._passed
