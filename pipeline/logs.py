"""What the service says: structured lines on standard error.

    log.warning("br1 is gone; waiting for it", interface="br1")
    log.warning("packets dropped", limit="output", reason="full", count=17)

A line with `limit` is one of a kind that the network's traffic brings about: of each kind one line
is written in `LIMIT_SECONDS`, and the next one says how many were `suppressed` since.

Whoever writes to a full pipe waits for its reader. Packets must not wait for a reader of logs:
lines go through a bounded queue to a thread of their own, and what it cannot hold is counted.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, MutableMapping
from typing import Any, Final, Literal, TextIO

import structlog

LIMIT_SECONDS: Final = 10.0
MAX_KINDS: Final = 256
MAX_LINES: Final = 2000
MAX_LINE: Final = 16_384

_LEVELS: Final = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}

Logger = structlog.typing.FilteringBoundLogger


class Limit:
    """Lets one line of a kind through in a time; a processor of structlog."""

    def __init__(
        self, seconds: float = LIMIT_SECONDS, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._seconds = seconds
        self._clock = clock
        self._lock = threading.Lock()
        # When the last line of the kind was written, and how many were not since.
        self._kinds: OrderedDict[str, tuple[float, int]] = OrderedDict()

    def __call__(
        self, logger: object, method: str, event: MutableMapping[str, Any]
    ) -> MutableMapping[str, Any]:
        """Pass a line on, or drop it."""
        kind = event.pop("limit", None)
        if kind is None:
            return event
        now = self._clock()
        with self._lock:
            last, suppressed = self._kinds.pop(kind, (None, 0))
            if last is not None and now - last < self._seconds:
                self._kinds[kind] = (last, suppressed + 1)
                raise structlog.DropEvent
            self._kinds[kind] = (now, 0)
            if len(self._kinds) > MAX_KINDS:
                self._kinds.popitem(last=False)
        if suppressed:
            event["suppressed"] = suppressed
        return event

    def take_overdue(self) -> list[tuple[str, int]]:
        """Kinds of which lines were suppressed and none came since, and how many; told once."""
        now = self._clock()
        with self._lock:
            overdue = [
                (kind, suppressed)
                for kind, (last, suppressed) in self._kinds.items()
                if suppressed and now - last >= self._seconds
            ]
            for kind, _ in overdue:
                del self._kinds[kind]
        return overdue


class Writer:
    """Lines on their way to `stream`, at most `MAX_LINES`; a thread of its own writes them."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lines: deque[str] = deque()
        self._wake = threading.Condition()
        self._ended = False
        self.lost = 0
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)
        self._thread.start()

    def put(self, line: str) -> None:
        """Hand over one line, without its end; never waits."""
        with self._wake:
            if len(self._lines) >= MAX_LINES:
                self.lost += 1
                return
            self._lines.append(line[:MAX_LINE])
            self._wake.notify()

    def close(self, seconds: float = 1.0) -> None:
        """Write what is there, for at most `seconds`."""
        with self._wake:
            self._ended = True
            self._wake.notify()
        self._thread.join(seconds)

    def _run(self) -> None:
        while True:
            with self._wake:
                while not self._lines and not self._ended:
                    self._wake.wait()
                if not self._lines:
                    return
                text = "\n".join(self._lines) + "\n"
                self._lines.clear()
            try:
                self._stream.write(text)
                self._stream.flush()
            except (OSError, ValueError):
                # Whoever read our log has gone. That is no reason to stop.
                self.lost += text.count("\n")


class _Lines:
    """What structlog hands finished lines to."""

    def __init__(self, writer: Writer) -> None:
        self._put = writer.put

    def msg(self, message: str) -> None:
        self._put(message)

    debug = info = warning = error = critical = fatal = exception = msg


class _Bridge(logging.Handler):
    """Leads what libraries say through `logging` into the same lines."""

    def __init__(self, log: Logger) -> None:
        super().__init__(logging.WARNING)
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        say = self._log.error if record.levelno >= logging.ERROR else self._log.warning
        say(record.getMessage(), logger=record.name, limit=f"library {record.name}")


class Logs:
    """The service's log, from `__init__` to `close`."""

    def __init__(
        self,
        level: Literal["debug", "info", "warning", "error"] = "info",
        form: Literal["json", "text"] = "json",
        stream: TextIO | None = None,
    ) -> None:
        stream = sys.stderr if stream is None else stream
        self._writer = Writer(stream)
        self._limit = Limit()
        render: Any
        if form == "json":
            render = structlog.processors.JSONRenderer(ensure_ascii=False)
        else:
            render = structlog.dev.ConsoleRenderer(
                colors=stream.isatty(), exception_formatter=structlog.dev.plain_traceback
            )
        self.log: Logger = structlog.wrap_logger(
            _Lines(self._writer),
            processors=[
                self._limit,
                structlog.processors.add_log_level,
                structlog.processors.TimeStamper(fmt="iso", utc=True),
                *([structlog.processors.format_exc_info] if form == "json" else []),
                render,
            ],
            wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
            cache_logger_on_first_use=True,
        )
        self._bridge = _Bridge(self.log)
        logging.getLogger().addHandler(self._bridge)
        self._hook_before, threading.excepthook = threading.excepthook, self._thread_failed

    @property
    def lost(self) -> int:
        """Lines that nobody took."""
        return self._writer.lost

    def tick(self) -> None:
        """Say what was suppressed and not followed by another line of its kind."""
        for kind, count in self._limit.take_overdue():
            self.log.warning("more lines of this kind were suppressed", kind=kind, suppressed=count)

    def _thread_failed(self, failure: threading.ExceptHookArgs) -> None:
        name = failure.thread.name if failure.thread is not None else None
        self.log.error("a thread has failed", thread=name, exc_info=failure.exc_value)

    def close(self) -> None:
        """Write what is still to be written."""
        threading.excepthook = self._hook_before
        logging.getLogger().removeHandler(self._bridge)
        self._writer.close()
