"""The whole relay as a process that is killed, and the troubles of what is behind it.

What has to arrive is told by the file of events alone: an id is the file and the place of a line.
Whether all has arrived is asked of the relay's own state, which costs nothing; then each receiver
is asked, once, what it has.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import orjson

from suricata.delivery.dead_letters import DeadLetters
from suricata.delivery.outbound import DEAD_LETTERS
from suricata.delivery.positions import FILE
from suricata.ids import Places, file_identity

ROOT = Path(__file__).parents[2]
TOTAL = 100_000
KILLS = 4
PART = TOTAL // (KILLS + 1)
# More than there are occasions for one event more.
_SPARE = 50
SECONDS = 250.0

_EVENT = (
    b'{"timestamp":"2026-01-01T00:00:00.%06d+0000","event_type":"dns","src_ip":"203.0.113.%d",'
    b'"proto":"UDP","n":%d}\n'
)

_CHILD = """
import sys, threading
from pathlib import Path
from pipeline.config import load_live
from pipeline.outbound import open_outbound, open_state
from reassembly.store import MemoryStore
from suricata.enrich import Enricher
from suricata.relay import Relay
from suricata.sources.file import FileSource
place, state = Path(sys.argv[1]), Path(sys.argv[2])
_, whole = load_live(place / "peeltap.yaml")
say = lambda level, text: print(text, file=sys.stderr, flush=True)
kept = open_state(state)
source = FileSource(place / "eve.json", kept, notice=lambda text: say(0, text))
outbound = open_outbound(whole.sinks, state, kept, rereads=True, say=say)
# The seconds that these take are longer than a life here: each kill would begin anew.
outbound.spool._spill_seconds = 0.1
for one in outbound._deliveries:
    one._flush_seconds = 0.1
relay = Relay(source, Enricher(MemoryStore(), wait_events=0), outbound, commit_seconds=0.1, say=say)
stop = threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), stop.set()), daemon=True).start()
relay.run(stop)
"""


@dataclass
class Receiver:
    """One sink's other side: how many events it has, cheaply told, and what befalls it.

    Each of `troubles` comes when it has a further part of all. Those `in_the_end` come when the
    relay is not killed any more.
    """

    count: Callable[[], int]
    troubles: list[Callable[[], object]] = field(default_factory=list)
    in_the_end: list[Callable[[], object]] = field(default_factory=list)

    def plan(self) -> list[tuple[int, Callable[[], object]]]:
        """Each trouble with the count at which it comes."""
        plan = []
        end = TOTAL - PART if self.in_the_end else TOTAL
        for low, high, what in ((0, end, self.troubles), (end, TOTAL, self.in_the_end)):
            step = (high - low) // (len(what) + 1)
            plan += [(low + step * (at + 1), one) for at, one in enumerate(what)]
        return plan


class KilledRelay:
    """The relay of `sinks`, as in the configuration, in `place`.

    Its state is in `state`, which we `see` elsewhere if it lives among other mounts; `around` is
    what brings it there.
    """

    def __init__(
        self,
        place: Path,
        sinks: Sequence[dict[str, Any]],
        *,
        state: Path | None = None,
        see: Path | None = None,
        around: Sequence[str] = (),
    ) -> None:
        gateway = {"from": "172.16.23.1", "to": "172.16.23.2:9000", "headers": ["proxy-v2"]}
        config = {"gateways": [gateway], "capture": {"interface": "br1"}, "sinks": list(sinks)}
        # JSON is YAML.
        (place / "peeltap.yaml").write_text(json.dumps(config))
        state = state or place
        self.state = see or state
        self._log = place / "relay.log"
        self._command = [*around, sys.executable, "-c", _CHILD, str(place), str(state)]
        self._lines = [_EVENT % (n, n % 250 + 1, n) for n in range(TOTAL + _SPARE)]
        self._eve = place / "eve.json"
        names = Places(file_identity(self._lines[0]), 0).each(line[:-1] for line in self._lines)
        self._ids = [name.decode() for name in names]
        self._fed = 0
        self._receivers: Sequence[Receiver] = ()
        self._plans: list[list[tuple[int, Callable[[], object]]]] = []
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> KilledRelay:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            assert self._process.stdin is not None
            self._process.stdin.close()

    def before(self, *receivers: Receiver) -> None:
        """Who is behind it."""
        self._receivers = receivers
        self._plans = [one.plan() for one in receivers]

    @property
    def ids(self) -> list[str]:
        """Of the events, in order; of the last not all may be needed."""
        return self._ids

    @property
    def fed(self) -> list[str]:
        """The ids of all that were written."""
        return self._ids[: self._fed]

    def feed(self, count: int = PART) -> None:
        """Suricata writes so many more."""
        with self._eve.open("ab") as eve:
            eve.writelines(self._lines[self._fed : self._fed + count])
        self._fed += count

    def poke(self) -> None:
        """It writes one more."""
        self.feed(1)

    def start(self, stdout: int = subprocess.DEVNULL) -> subprocess.Popen[bytes]:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=stdout,
                stderr=log,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
            )
        return self._process

    def kill(self) -> None:
        """SIGKILL, amid its work."""
        process, self._process = self._process, None
        assert process is not None
        assert process.poll() is None, self.said()
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert process.stdin is not None
        process.stdin.close()

    def stop(self) -> None:
        """It has nothing left to do, and ends by itself."""
        process, self._process = self._process, None
        assert process is not None
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(60) == 0, self.said()

    def until_amid(self) -> None:
        """The receivers have, on average, half of what was fed last."""
        self.until(lambda: sum(self._counts()) >= (self._fed - PART // 2) * len(self._receivers))

    def until_all(self) -> None:
        """Every trouble was had, and every sink has everything."""
        self.until(lambda: not any(self._plans) and self._is_done())

    def until(self, condition: Callable[[], object]) -> None:
        """`condition` holds; troubles come meanwhile."""
        deadline = time.monotonic() + SECONDS
        while not condition():
            assert self._process is None or self._process.poll() is None, self.said()
            assert time.monotonic() < deadline, (self._counts(), self._plans, self.said())
            for one, plan in zip(self._receivers, self._plans, strict=True):
                while plan and one.count() >= plan[0][0]:
                    plan.pop(0)[1]()
            time.sleep(0.05)

    def said(self) -> str:
        """All that it told its operator."""
        return self._log.read_text()

    def letters(self, name: str) -> set[str]:
        """The ids of what the sink `name` will never take."""
        path = DeadLetters(self.state / DEAD_LETTERS, name).path
        return {orjson.loads(line)["id"] for line in path.read_bytes().splitlines()}

    def assert_all(self, found: Iterable[str], but: Iterable[str] = ()) -> None:
        """Every id is among `found` `but` these, and nothing else is."""
        assert set(found) == set(self.fed) - set(but)

    def assert_right(self, lines: Mapping[str, bytes]) -> None:
        """Under its id is the event that stood there."""
        numbers = {name: number for number, name in enumerate(self._ids)}
        for name, line in lines.items():
            event = orjson.loads(line)
            assert (event["n"], event["peeltap"]["id"]) == (numbers[name], name)

    def _counts(self) -> list[int]:
        return [one.count() for one in self._receivers]

    def _is_done(self) -> bool:
        """Whether the source may forget all, and all sinks have the same."""
        # A copy: SQLite would look for the file of another mount namespace in ours.
        copy = self._log.with_name("copied.sqlite")
        try:
            for suffix in ("", "-wal"):
                data = (self.state / f"{FILE}{suffix}").read_bytes()
                copy.with_name(f"{copy.name}{suffix}").write_bytes(data)
            with contextlib.closing(sqlite3.connect(copy)) as kept:
                [places] = kept.execute("SELECT places FROM source").fetchone() or ("{}",)
                numbers = {row[0] for row in kept.execute("SELECT number FROM sinks")}
        except (FileNotFoundError, sqlite3.DatabaseError):
            return False
        files = orjson.loads(places).get("files", {}).get("eve.json", [])
        return len(numbers) == 1 and [one["offset"] for one in files] == [self._eve.stat().st_size]


class Growing:
    """A file that somebody appends to: how often each id is in it; only what is new is read."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._at = 0
        self.ids: Counter[str] = Counter()

    def __call__(self) -> int:
        with contextlib.suppress(FileNotFoundError), self._path.open("rb") as file:
            file.seek(self._at)
            new = file.read()
            new = new[: new.rfind(b"\n") + 1]
            self._at += len(new)
            self.ids.update(idents(new))
        return len(self.ids)


class Piped:
    """Reads a relay's standard output: slowly when asked to, or not at all any more."""

    def __init__(self) -> None:
        self.ids: Counter[str] = Counter()
        self._is_slow = False
        self._thread: threading.Thread | None = None
        self._hangs_up = threading.Event()

    def __call__(self) -> int:
        return len(self.ids)

    def begin(self, process: subprocess.Popen[bytes]) -> None:
        """Read what `process` writes until it has ended, or `hang_up`."""
        assert process.stdout is not None
        self.join()
        self._hangs_up.clear()
        self._thread = threading.Thread(target=self._read, args=(process.stdout,))
        self._thread.start()

    def slow(self) -> None:
        self._is_slow = True

    def fast(self) -> None:
        self._is_slow = False

    def hang_up(self) -> None:
        self._hangs_up.set()

    def join(self) -> None:
        if self._thread is not None:
            self._thread.join()

    def _read(self, pipe: IO[bytes]) -> None:
        rest = b""
        with pipe:
            while not self._hangs_up.is_set() and (data := os.read(pipe.fileno(), 1 << 16)):
                *whole, rest = (rest + data).split(b"\n")
                self.ids.update(idents(b"\n".join([*whole, b""])))
                if self._is_slow:
                    self._hangs_up.wait(0.02)


def idents(lines: bytes) -> list[str]:
    """The ids in corrected lines: the last member of `peeltap`, which is the last itself."""
    return [one.decode() for one in re.findall(rb'"id":"([0-9a-f-]+)"\}\}\n', lines)]
