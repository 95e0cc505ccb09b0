"""Corrected lines in, lines with more in their `peeltap` out; and summaries of sessions.

    Enricher ──lines──> Stage ──lines──> sinks
                          ├─ enrichment: adds, or leaves the event out
                          └─ sessions: an id, and a summary from time to time

Only `peeltap` is written anew: every other byte of a line stays. A line that cannot be read here
passes as it is.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final

import orjson

from ..notices import Notices
from ..oddities import read_event
from ..session_store import SessionStore, SessionStoreError
from ..sessions import SessionTable
from ..shapes.ends import ends
from ..shapes.values import Event, nanoseconds
from ..splice import splice
from .enrichment import Enrichment
from .settings import EnrichmentSettings, Named, SessionSettings

SESSIONS_FILE: Final = "sessions.sqlite"

SAVE_SECONDS: Final = 5.0
TICK_SECONDS: Final = 1.0

_log = logging.getLogger("peeltap.events")


class Stage:
    """What lies between the correction and the sinks; used by one thread.

    `now` is in seconds of a clock that does not run backwards. `say` takes a level of `logging` and
    a sentence.
    """

    def __init__(
        self,
        enrichment: Enrichment | None = None,
        sessions: SessionTable | None = None,
        store: SessionStore | None = None,
        *,
        say: Callable[[int, str], None] = _log.log,
        save_seconds: float = SAVE_SECONDS,
    ) -> None:
        self._enrichment = enrichment
        self._sessions = sessions
        self._store = store
        self._notices = Notices(say)
        self._save_seconds = save_seconds
        self._save_at = 0.0
        self._tick_at = 0.0
        self._failures = 0
        if sessions is not None and store is not None:
            sessions.restore(store.load())

    def process(self, lines: bytes, now: float) -> bytes:
        """Whole lines, as they come out of the correction, each with its newline."""
        out: list[bytes] = []
        for line in lines.split(b"\n"):
            if not line:
                continue
            try:
                written = self._line(line, now)
            except Exception as error:  # a fault of ours must not cost an event
                self._failures += 1
                self._notices.say(
                    "enrichment", f"enrichment: {type(error).__name__}: {error}", logging.ERROR
                )
                written = line
            if written is not None:
                out.append(written)
        out.append(b"")
        return b"\n".join(out)

    def tick(self, now: float) -> bytes:
        """Time has passed: summaries come back, files are looked after, sessions are saved."""
        if now < self._tick_at:
            return b""
        self._tick_at = now + TICK_SECONDS
        if self._enrichment is not None:
            self._enrichment.refresh(now)
            for trouble in self._enrichment.status()["troubles"]:
                self._notices.say(f"trouble {trouble}", trouble)
        if self._sessions is None:
            return b""
        summaries = self._sessions.due(now)
        if now >= self._save_at:
            self._save_at = now + self._save_seconds
            self._save()
        return b"".join(orjson.dumps(one) + b"\n" for one in summaries)

    def start(self) -> None:
        """Begin the threads that there are."""
        if self._enrichment is not None:
            self._enrichment.start()

    def close(self) -> None:
        """Save the sessions, end the threads, close the file."""
        if self._enrichment is not None:
            self._enrichment.stop()
        self._save()
        if self._store is not None:
            self._store.close()

    def status(self) -> dict[str, Any]:
        """What both parts tell, and lines that met a fault of ours."""
        return {
            "enrichment": None if self._enrichment is None else self._enrichment.status(),
            "sessions": None if self._sessions is None else self._sessions.status(),
            "failures": self._failures,
        }

    def _line(self, line: bytes, now: float) -> bytes | None:
        event = read_event(line)
        known = None if event is None else event.get("peeltap")
        if event is None or type(known) is not dict:
            return line
        roles = ends(event)
        # The event's id stays the last member, where those who look for it find it.
        added = {name: value for name, value in known.items() if name != "id"}
        if self._enrichment is not None and not self._enrichment.add(added, roles):
            return None
        if self._sessions is not None:
            seen = {**event, "peeltap": added}
            session = self._sessions.note(seen, roles, nanoseconds(event.get("timestamp")), now)
            if session is not None:
                added["session"] = session
        if "id" in known:
            added["id"] = known["id"]
        return line if added == known else _rewritten(line, known, added)

    def _save(self) -> None:
        if self._sessions is None or self._store is None:
            return
        changed, gone = self._sessions.changes()
        if not changed and not gone:
            return
        try:
            self._store.save(changed, gone)
        except SessionStoreError as error:
            self._notices.say("sessions", str(error))
        else:
            self._sessions.saved()
            self._notices.ended("sessions", "sessions are kept again")


def open_stage(
    enrichment: EnrichmentSettings,
    sessions: SessionSettings | None,
    directory: Path,
    *,
    decoys: Iterable[Named] = (),
    segments: Iterable[Named] = (),
    say: Callable[[int, str], None] = _log.log,
) -> Stage | None:
    """The stage that the settings ask for, None if they ask for nothing.

    `directory`: the service's own, where sessions are kept. `decoys`, `segments`: what a topology
    names. Raises EnrichmentError and SessionStoreError.
    """
    decoys, segments = list(decoys), list(segments)
    wanted = enrichment.asks_for_anything or decoys or segments
    adds = Enrichment(enrichment, decoys=decoys, segments=segments) if wanted else None
    if sessions is None:
        return None if adds is None else Stage(adds, say=say)
    table = SessionTable(**sessions.model_dump())
    return Stage(adds, table, SessionStore(directory / SESSIONS_FILE), say=say)


def _rewritten(line: bytes, known: Event, added: Event) -> bytes:
    member = orjson.dumps(added)
    # As the correction wrote it: the last member, in these very bytes. No string can end like this.
    tail = b',"peeltap":' + orjson.dumps(known) + b"}"
    if line.endswith(tail):
        return line[: len(line) - len(tail)] + b',"peeltap":' + member + b"}"
    return splice(line, {("peeltap",): member}, {})
