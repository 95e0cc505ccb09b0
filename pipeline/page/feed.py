"""What every viewer gets, and how far each of them is.

One turn for all in half a second while somebody looks: blocks are taken from the watch, looked at
once, and put into each viewer's own queue. A viewer whose browser is slow loses the oldest of what
waits for it, and is told how many. While nobody looks there is no turn.

    event: alerts   a list, the oldest first        event: map      the whole of it, when it changed
    event: missed   how many this viewer lost       event: figures  once a second
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

import orjson

from pipeline.page.alerts import Shown, digest
from pipeline.page.decoys import Decoys
from pipeline.page.figures import figures
from pipeline.page.watch import Watch
from suricata.notices import Notices

TURN_SECONDS: Final = 0.5
TURNS_A_FIGURE: Final = 2
RECENT: Final = 100
QUEUE: Final = 200


class Viewer:
    """One browser's place in what there is to see."""

    def __init__(self, recent: list[Shown], queue: int = QUEUE) -> None:
        self._alerts: deque[Shown] = deque(recent, maxlen=queue)
        self._missed = 0
        self._latest: dict[str, bytes] = {}
        self._woken = asyncio.Event()
        self.missed = 0

    def show(self, alerts: list[Shown]) -> None:
        """More alerts, the oldest first."""
        assert self._alerts.maxlen is not None  # noqa: S101 - for the type checker
        over = len(self._alerts) + len(alerts) - self._alerts.maxlen
        if over > 0:
            self._missed += over
            self.missed += over
        self._alerts.extend(alerts)
        if alerts:
            self._woken.set()

    def tell(self, event: str, data: bytes) -> None:
        """The latest of a kind; an earlier one that was not taken is of no use any more."""
        self._latest[event] = message(event, data)
        self._woken.set()

    async def next(self) -> bytes:
        """What is to be sent next; waits until there is something."""
        await self._woken.wait()
        self._woken.clear()
        out = list(self._latest.values())
        self._latest.clear()
        if self._missed:
            out.append(message("missed", orjson.dumps(self._missed)))
            self._missed = 0
        if self._alerts:
            out.append(message("alerts", orjson.dumps(list(self._alerts))))
            self._alerts.clear()
        return b"".join(out)


class Feed:
    """Looks for all viewers; used by the page's thread, `status` by any."""

    def __init__(
        self,
        watch: Watch,
        decoys: Decoys,
        report: Callable[[], Mapping[str, Any]],
        *,
        say: Callable[[int, str], None],
        turn_seconds: float = TURN_SECONDS,
    ) -> None:
        self._watch = watch
        self._decoys = decoys
        self._report = report
        self._notices = Notices(say)
        self._turn_seconds = turn_seconds
        self._viewers: set[Viewer] = set()
        self._recent: deque[Shown] = deque(maxlen=RECENT)
        self._task: asyncio.Task[None] | None = None
        self._since = ""
        self._alerts = self._passed = self._missed = self._failures = 0

    def join(self) -> Viewer:
        """One more looks; the turns begin with the first."""
        if not self._viewers:
            self._watch.is_looked_at = True
            self._since = self._since or datetime.now(UTC).isoformat(timespec="seconds")
        viewer = Viewer(list(self._recent))
        self._viewers.add(viewer)
        viewer.tell("map", self._map())
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._turns())
        return viewer

    def part(self, viewer: Viewer) -> None:
        """One looks no longer; the turns end with the last."""
        self._viewers.discard(viewer)
        self._missed += viewer.missed
        if not self._viewers:
            self._watch.is_looked_at = False
            if self._task is not None:
                self._task.cancel()
                self._task = None

    def status(self) -> dict[str, Any]:
        """Counters."""
        viewers = list(self._viewers)
        return {
            "viewers": len(viewers),
            "alerts": self._alerts,
            "passed": self._passed + self._watch.passed,
            "missed": self._missed + sum(viewer.missed for viewer in viewers),
            "failures": self._failures,
        }

    async def _turns(self) -> None:
        turn = 0
        while True:
            try:
                self._turn(figures_too=turn % TURNS_A_FIGURE == 0)
            except Exception as error:  # a fault of ours must not leave the page without a pulse
                self._failures += 1
                self._notices.say("fault", f"page: {type(error).__name__}: {error}", logging.ERROR)
            turn += 1
            await asyncio.sleep(self._turn_seconds)

    def _turn(self, *, figures_too: bool) -> None:
        found = digest(self._watch.take())
        self._alerts += len(found.alerts)
        self._passed += found.passed
        self._recent.extend(found.alerts)
        before = self._decoys.version
        self._decoys.touch(found.touches)
        news: dict[str, bytes] = {}
        if self._decoys.version != before:
            news["map"] = self._map()
        if figures_too:
            told = {**figures(self._report()), "passed": self._passed + self._watch.passed}
            news["figures"] = orjson.dumps(told, default=str)
        for viewer in self._viewers:
            for event, data in news.items():
                viewer.tell(event, data)
            viewer.show(found.alerts)

    def _map(self) -> bytes:
        return orjson.dumps({**self._decoys.as_dict(), "since": self._since})


def message(event: str, data: bytes) -> bytes:
    """One server-sent event (HTML standard, section 9.2); `data` is JSON, so without line ends."""
    return b"event: %b\ndata: %b\n\n" % (event.encode(), data)
