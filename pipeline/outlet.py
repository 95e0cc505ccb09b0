"""The output that all workers share, opened anew when it has gone.

Somebody may delete the tap while packets flow. The first worker that sees it opens it again, the
others take what that one got: `generation` tells them apart.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Final, Literal, NamedTuple, Protocol

RETRY_SECONDS: Final = 1.0

Kind = Literal["tap", "packet"]


class Opened(Protocol):
    """What `tap.open_output` gives."""

    @property
    def name(self) -> str:
        """The interface's name."""

    @property
    def kind(self) -> Kind:
        """A tap's descriptor, or a packet socket's."""

    @property
    def fds(self) -> Sequence[int]:
        """One for each worker."""

    @property
    def adopted(self) -> bool:
        """Whether it was there before: who listens on it still does."""

    def check(self) -> list[str]:
        """What of its quarantine no longer holds."""

    def close(self) -> None:
        """Close the descriptors."""

    def remove(self) -> None:
        """Close, and leave nothing that is not to stay."""


class Place(NamedTuple):
    """One worker's end of it."""

    generation: int
    fd: int
    kind: Kind


class Outlet:
    """What `opened` gives, for as long as the service lives.

    `opened` is called with what there was before, not yet closed, and raises `failure` when it
    cannot be; `on_renewed` is told when a new device took the place of one that had gone, with
    which whoever listened has gone deaf.
    """

    def __init__(
        self,
        opened: Callable[[Opened | None], Opened],
        failure: type[Exception],
        on_renewed: Callable[[Opened], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._open = opened
        self._failure = failure
        self._on_renewed = on_renewed
        self._clock = clock
        self._lock = threading.Lock()
        self._output = opened(None)
        self._generation = 1
        self._tried = 0.0
        self.renewed = 0
        self.error: str | None = None

    @property
    def name(self) -> str:
        """The interface that receives the packets."""
        return self._output.name

    def place(self, worker: int) -> Place:
        """Where this worker writes to now."""
        with self._lock:
            return Place(self._generation, self._output.fds[worker], self._output.kind)

    def renew(self, worker: int, generation: int) -> Place | None:
        """A place newer than `generation`, opened if need be; None if that does not succeed yet."""
        with self._lock:
            if self._generation == generation and not self._reopen():
                return None
            return Place(self._generation, self._output.fds[worker], self._output.kind)

    def _reopen(self) -> bool:
        now = self._clock()
        if now - self._tried < RETRY_SECONDS:
            return False
        self._tried = now
        try:
            output = self._open(self._output)
        except self._failure as error:
            self.error = str(error)
            return False
        # The old descriptors lead to a device that is no more; the workers have copies of them.
        self._output.close()
        self._output = output
        self._generation += 1
        self.renewed += 1
        self.error = None
        if not output.adopted:
            self._on_renewed(output)
        return True

    def check(self) -> list[str]:
        """What of the quarantine no longer holds, or why it cannot be opened."""
        with self._lock:
            if self.error is not None:
                return [self.error]
            return self._output.check()

    def status(self) -> dict[str, Any]:
        """Name, kind, and how often it was opened anew."""
        return {"name": self._output.name, "kind": self._output.kind, "renewed": self.renewed}

    def remove(self) -> None:
        """End it; a device that is not persistent goes."""
        with self._lock:
            self._output.remove()
