"""The event side of ``peeltap run`` in a process of its own: source, correction, spool, sinks.

    python -m bench.events.service DIRECTORY

`DIRECTORY` holds `peeltap.yaml`, `flows.jsonl` and, sooner or later, `eve.json`; its state goes
there, too. The parts and their order are those of `pipeline.parts`, without packets and Suricata.
It prints one JSON object a line, `Told`, when it is ready and then `PAUSE_SECONDS` apart, begins
when its input says `go`, and stops at the end of its input.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from bench.legs import CONFIG
from bench.measure import MeasureError

ROOT = Path(__file__).resolve().parents[2]
PAUSE_SECONDS = 0.05
SEED = 7
PAGE = 4096


@dataclass(frozen=True, slots=True)
class Told:
    """What the service says of itself: events that every sink acknowledged, its CPU seconds since
    its start, its resident memory in bytes, and how many events wait for their flow record."""

    events: int
    cpu: float
    memory: int
    waiting: int
    outcomes: dict[str, int]


class Service:
    """One service in `directory`, with `sinks` as in the configuration."""

    def __init__(self, directory: Path, sinks: list[dict[str, Any]]) -> None:
        config = directory / "peeltap.yaml"
        # JSON is YAML.
        config.write_text(f"{CONFIG}capture: {{interface: br1}}\nsinks: {json.dumps(sinks)}\n")
        self._log = directory / "service.log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "bench.events.service", str(directory)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd=ROOT,
            )
        self.before = self.tell()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is not None:
            self._process.kill()
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        for _ in self._process.stdout:
            pass
        self._process.stdout.close()
        code = self._process.wait()
        if kind is None and code:
            raise MeasureError(f"the service ended with {code}: {self._said()}")

    def _said(self) -> str:
        return self._log.read_text(errors="replace")[-800:].strip()

    def begin(self) -> None:
        """Let it read."""
        assert self._process.stdin is not None
        self._process.stdin.write(b"go\n")
        self._process.stdin.flush()

    def tell(self) -> Told:
        """What it says next. Raises MeasureError if it has ended."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise MeasureError(f"the service ended: {self._said()}")
        return Told(**json.loads(line))

    def until(self, events: int, each: Callable[[Told], None] = lambda _: None) -> Told:
        """What it says once `events` were acknowledged; `each` sees everything before."""
        last, moved_at = -1, time.monotonic()
        while (told := self.tell()).events < events:
            each(told)
            if told.events != last:
                last, moved_at = told.events, time.monotonic()
            elif time.monotonic() - moved_at > 60:
                raise MeasureError(f"the service stands at {last:,} events: {self._said()}")
        return told


def run(directory: Path) -> None:
    """The process. Imports come late, so that whoever only starts it does not pay for them."""
    from pipeline.config import load_live
    from pipeline.outbound import open_outbound, open_state, preload_sinks
    from reassembly.live_store import LiveStore
    from suricata.enrich import Enricher
    from suricata.relay import Relay
    from suricata.sources.file import FileSource

    def say(_: int, text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    _, whole = load_live(directory / "peeltap.yaml")
    preload_sinks(whole.sinks)
    store = LiveStore(directory / "flows.sqlite", say=say)
    store.add_lines((directory / "flows.jsonl").read_bytes())
    if not store.flush(120):
        raise SystemExit("the flow records were not taken")
    state = open_state(directory)
    source = FileSource(directory / "eve.json", state, notice=lambda text: say(0, text))
    outbound = open_outbound(whole.sinks, directory, state, rereads=True, say=say)
    enricher = Enricher(store, community_id_seed=SEED, summarize=False)
    relay = Relay(source, enricher, outbound, say=say)
    ending = threading.Event()

    def tell() -> None:
        stats = enricher.stats()
        told = {
            "events": min(one["lines"] for one in outbound.status().values()),
            "cpu": time.process_time(),
            "memory": int(Path("/proc/self/statm").read_text().split()[1]) * PAGE,
            "waiting": stats["waiting"],
            "outcomes": stats["outcomes"],
        }
        print(json.dumps(told), flush=True)

    tell()
    sys.stdin.readline()
    threading.Thread(target=lambda: (sys.stdin.read(), ending.set()), daemon=True).start()
    relay.start()
    while not ending.wait(PAUSE_SECONDS):
        tell()
    if not relay.stop():
        raise SystemExit("the relay did not stop")
    store.close()


if __name__ == "__main__":
    run(Path(sys.argv[1]))
