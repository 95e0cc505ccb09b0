"""Who waits for what: descriptors, deadlines, calls from elsewhere. One thread, one epoll.

Not asyncio: its streams cost several times what a whole connection may cost here, and they know
neither splice nor RST.

A number may be closed and given to another socket within a round: what the round still holds for
it is not for the new one. A handler must bear an event that is out of date all the same: a file
that a child still has open goes on reporting under its old number.
"""

from __future__ import annotations

import heapq
import os
import select
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress

Handler = Callable[[int], None]

TICK = 0.5
"""Seconds; deadlines are kept in slots of this width, so that they cost nothing to move."""

_EVENTS = 1024
_SPARE = 64


class Deadline:
    """Something that is asked, now and then, whether its time has come.

    `due(now)` returns when it wants to be asked again, or None for never more.
    """

    __slots__ = ("due", "slot")

    def __init__(self, due: Callable[[float], float | None]) -> None:
        self.due = due
        self.slot = -1

    @property
    def is_set(self) -> bool:
        """Whether it is going to be asked."""
        return self.slot >= 0


class Loop:
    """Runs handlers until `stop`. Everything but `call` and `stop` belongs to the loop's thread."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._handlers: dict[int, Handler] = {}
        self._fresh: set[int] = set()
        self._soon: deque[Callable[[], None]] = deque()
        self._called: deque[Callable[[], None]] = deque()
        self._slots: dict[int, set[Deadline]] = {}
        """Deadlines by the tick at which they are asked; no slot is empty."""
        self._order: list[int] = []
        """A heap of the slots; some of its numbers may be of slots that are gone."""
        self._running = False
        self.now = time.monotonic()
        """The time at which the round began, on the monotonic clock, in seconds."""
        self.failed: Callable[[Exception], None] = _raise
        """What is done about an exception of a handler; by default it ends `run`."""
        self._wake_read, self._wake_write = os.pipe()
        for end in (self._wake_read, self._wake_write):
            os.set_blocking(end, False)
        self.register(self._wake_read, self._wakened, select.EPOLLIN)

    def register(self, fd: int, handler: Handler, events: int) -> None:
        """Call `handler` when one of `events` (select.EPOLL*) happens on the descriptor."""
        self._handlers[fd] = handler
        self._fresh.add(fd)
        self._epoll.register(fd, events)

    def forget(self, fd: int) -> None:
        """Before a descriptor is closed; the kernel forgets it by itself then."""
        self._handlers.pop(fd, None)

    def unregister(self, fd: int) -> None:
        """Wait no longer for a descriptor that stays open."""
        if self._handlers.pop(fd, None) is not None:
            self._epoll.unregister(fd)

    def soon(self, what: Callable[[], None]) -> None:
        """Call `what` at the end of this round."""
        self._soon.append(what)

    def call(self, what: Callable[[], None]) -> None:
        """Call `what` on the loop's thread; from any thread."""
        self._called.append(what)
        # A full pipe wakes it as well.
        with suppress(BlockingIOError):
            os.write(self._wake_write, b"\0")

    def stop(self) -> None:
        """End `run` after this round; from any thread."""
        self._running = False
        self.call(lambda: None)

    # --- Deadlines ---

    def at(self, when: float, deadline: Deadline) -> None:
        """Ask `deadline` at `when` or up to a tick later, instead of when it was to be asked."""
        slot = int(when / TICK) + 1
        if slot != deadline.slot:
            self.cancel(deadline)
            deadline.slot = slot
            there = self._slots.get(slot)
            if there is not None:
                there.add(deadline)
                return
            self._slots[slot] = {deadline}
            if len(self._order) > 2 * len(self._slots) + _SPARE:
                self._order = sorted(self._slots)
            else:
                heapq.heappush(self._order, slot)

    def cancel(self, deadline: Deadline) -> None:
        """Ask it no more."""
        if deadline.slot >= 0:
            there = self._slots.get(deadline.slot)
            # Its slot may be the one that is just being asked.
            if there is not None:
                there.discard(deadline)
                if not there:
                    del self._slots[deadline.slot]
            deadline.slot = -1

    def _expire(self) -> None:
        current = int(self.now / TICK)
        while self._order and self._order[0] <= current:
            slot = heapq.heappop(self._order)
            for deadline in self._slots.pop(slot, ()):
                # Asking one may have cancelled or moved another of the same slot.
                if deadline.slot == slot:
                    deadline.slot = -1
                    try:
                        again = deadline.due(self.now)
                    except Exception as error:
                        self.failed(error)
                        continue
                    if again is not None:
                        self.at(max(again, self.now), deadline)

    def _timeout(self) -> float:
        """Seconds until the next slot that has something in it; -1 if there is none."""
        order, slots = self._order, self._slots
        while order and order[0] not in slots:
            heapq.heappop(order)
        return max(0.0, order[0] * TICK - time.monotonic()) if order else -1

    # --- Running ---

    def run(self) -> None:
        """Serve until `stop`."""
        self._running = True
        poll, handlers, soon, called = self._epoll.poll, self._handlers, self._soon, self._called
        fresh = self._fresh
        next_expiry = 0.0
        timeout = 0.0
        while self._running:
            events = poll(timeout, _EVENTS)
            self.now = now = time.monotonic()
            # Registered from here on, a descriptor has its first event in the next round.
            fresh.clear()
            for fd, happened in events:
                handler = handlers.get(fd)
                if handler is not None and fd not in fresh:
                    try:
                        handler(happened)
                    except Exception as error:
                        self.failed(error)
            # Only what waited before the round: what is put there meanwhile is for the next one,
            # so that a busy connection cannot keep the others from theirs.
            for _ in range(len(soon)):
                self._do(soon.popleft())
            while called:
                self._do(called.popleft())
            if now >= next_expiry:
                self._expire()
                next_expiry = (int(now / TICK) + 1) * TICK
            timeout = 0.0 if soon else self._timeout()

    def _do(self, what: Callable[[], None]) -> None:
        try:
            what()
        except Exception as error:
            self.failed(error)

    def _wakened(self, _: int) -> None:
        with suppress(BlockingIOError):
            while len(os.read(self._wake_read, 4096)) == 4096:
                pass

    def close(self) -> None:
        """Give up the loop's own descriptors."""
        self._epoll.close()
        os.close(self._wake_read)
        os.close(self._wake_write)


def _raise(error: Exception) -> None:
    raise error
