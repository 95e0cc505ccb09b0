"""The attacker's host name, asked for by threads of its own and remembered.

Whoever asks gets what is known by now, and never waits: the first events of an attacker have no
name. An attacker may own the zone that is asked: an answer is a host's name or nothing, and a
server that never answers holds one thread for `timeout` seconds, and nothing else.
"""

from __future__ import annotations

import queue
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any, Final

import dns.exception
import dns.resolver

from ..shapes.values import host
from .watched import EnrichmentError

MAX_NAMES: Final = 1 << 16
MAX_WAITING: Final = 1024
THREADS: Final = 4

# A resolver keeps to the records' own lifetimes; this is how long *we* believe them.
KNOWN_SECONDS: Final = 3600.0
UNKNOWN_SECONDS: Final = 600.0
TIMEOUT_SECONDS: Final = 3.0


class ReverseNames:
    """Names by address. `clock`: seconds that do not run backwards."""

    def __init__(
        self,
        nameservers: Sequence[str] = (),
        *,
        port: int = 53,
        timeout: float = TIMEOUT_SECONDS,
        max_names: int = MAX_NAMES,
        max_waiting: int = MAX_WAITING,
        threads: int = THREADS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._resolver = _resolver(nameservers, port)
        self._timeout = timeout
        self._max_names = max_names
        self._clock = clock
        # None in the place of a name: there is none, or it has been asked for.
        self._names: OrderedDict[str, tuple[str | None, float]] = OrderedDict()
        self._lock = threading.Lock()
        self._waiting: queue.Queue[str | None] = queue.Queue(max_waiting)
        self._counts = {"asked": 0, "found": 0, "failed": 0, "skipped": 0}
        self._threads = [
            threading.Thread(target=self._run, name=f"reverse-dns-{number}", daemon=True)
            for number in range(threads)
        ]
        self._stopping = threading.Event()

    def start(self) -> None:
        """Begin to ask."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Ask nothing more; a question under way is not waited for."""
        self._stopping.set()
        for _ in self._threads:
            try:
                self._waiting.put_nowait(None)
            except queue.Full:
                break  # those who take from it see that we stop

    def name(self, ip: str) -> str | None:
        """The host name of `ip` if it is known; if not, it will be asked for."""
        with self._lock:
            known = self._names.get(ip)
            if known is not None and self._clock() < known[1]:
                return known[0]
            try:
                self._waiting.put_nowait(ip)
            except queue.Full:
                self._counts["skipped"] += 1
                return None if known is None else known[0]
            # What was known serves until there is an answer.
            name = None if known is None else known[0]
            self._remember(ip, name, UNKNOWN_SECONDS)
            return name

    def status(self) -> dict[str, Any]:
        """Counters, names remembered, and questions that wait."""
        with self._lock:
            return {**self._counts, "names": len(self._names), "waiting": self._waiting.qsize()}

    def _remember(self, ip: str, name: str | None, seconds: float) -> None:
        self._names[ip] = name, self._clock() + seconds
        self._names.move_to_end(ip)
        if len(self._names) > self._max_names:
            self._names.popitem(last=False)

    def _run(self) -> None:
        while not self._stopping.is_set():
            ip = self._waiting.get()
            if ip is None:
                return
            name, count = self._ask(ip)
            with self._lock:
                self._counts["asked"] += 1
                self._counts[count] += 1
                self._remember(ip, name, UNKNOWN_SECONDS if name is None else KNOWN_SECONDS)

    def _ask(self, ip: str) -> tuple[str | None, str]:
        try:
            answer = self._resolver.resolve_address(ip, lifetime=self._timeout)
            told = host(next(iter(answer)).target.to_text(omit_final_dot=True))
        except (dns.exception.DNSException, OSError, ValueError, StopIteration):
            # No name, no answer, or one that is broken: all the same to us.
            return None, "failed"
        return (None, "failed") if told is None else (told.lower(), "found")


def _resolver(nameservers: Sequence[str], port: int) -> dns.resolver.Resolver:
    try:
        resolver = dns.resolver.Resolver(configure=not nameservers)
    except (dns.resolver.NoResolverConfiguration, OSError):
        raise EnrichmentError(
            "reverse_dns: the system names no resolver (/etc/resolv.conf); give nameservers"
        ) from None
    if nameservers:
        resolver.nameservers = list(nameservers)
        resolver.port = port
    return resolver
