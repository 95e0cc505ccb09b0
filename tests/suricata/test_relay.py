"""The relay as a whole, with real files: what arrives, what is committed, and what comes twice."""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from reassembly.store import MemoryStore
from suricata.delivery.positions import FILE
from suricata.enrich import Enricher
from suricata.ids import Places, file_identity
from suricata.relay import Relay
from suricata.sinks.file import FileClient
from suricata.sources import SourceError
from suricata.sources.file import FileSource
from suricata.sources.position import load

from .delivery.parts import Limit, outbound, until, way
from .samples import SEED, lines, record, store

ROOT = Path(__file__).parents[2]
STATS = (
    b'{"timestamp":"2026-01-01T00:00:00.000000+0000","event_type":"stats","stats":{"uptime":1}}\n'
)
# Suricata's own `stats` have a way of their own.
ALL = [line for line in lines() if b'"event_type":"stats"' not in line]
EVENTS = b"\n".join(ALL) + b"\n"
# Of the samples' first connection, and of one that nobody knows.
HTTP = next(line for line in ALL if b'"event_type":"http"' in line and b":40000," in line)


def relay(place: Path, flows: MemoryStore, *, wait: int = 0, **more: Any) -> Relay:
    source = FileSource(place / "eve.json", place)
    enricher = Enricher(flows, community_id_seed=SEED, wait_events=wait, wait_seconds=30)
    return Relay(source, enricher, outbound(place), **more)


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().splitlines()] if path.exists() else []


def arrived(path: Path) -> int:
    """How many whole events there are: of the one after them a reader may see a part."""
    if not path.exists():
        return 0
    *whole, _ = path.read_bytes().split(b"\n")
    return sum(type(json.loads(line)) is dict for line in whole)


def test_events_are_corrected_and_their_place_is_committed(tmp_path: Path) -> None:
    (tmp_path / "eve.json").write_bytes(EVENTS)
    carrier = relay(tmp_path, store())
    carrier.start()
    until(lambda: arrived(tmp_path / "out.json") == len(ALL))
    assert carrier.stop(60)
    enricher = Enricher(store(), community_id_seed=SEED, wait_events=0)
    ids = Places(file_identity(EVENTS), 0)
    assert (tmp_path / "out.json").read_bytes() == enricher.feed(EVENTS, ids=ids)
    positions, _ = load(tmp_path / "events-position.json")
    assert [one.offset for one in positions["eve.json"]] == [len(EVENTS)]
    status = carrier.status()
    assert status["state"] == "running"
    assert status["backlog_bytes"] == 0
    assert status["enricher"]["events"] == len(ALL)
    assert status["lag_seconds"] > 0


@pytest.mark.parametrize("forward", [False, True])
def test_stats_are_handed_over(tmp_path: Path, forward: bool) -> None:
    seen: list[dict[str, Any]] = []
    # One that only looks like it: an event that tells of such a text.
    quoting = b'{"event_type":"x","inner":{"event_type":"stats"}}\n'
    (tmp_path / "eve.json").write_bytes(STATS + quoting + STATS)
    carrier = relay(tmp_path, store(), on_stats=seen.append, forward_stats=forward)
    carrier.start()
    assert carrier.stop(60)
    assert [event["stats"]["uptime"] for event in seen] == [1, 1]
    kinds = [event["event_type"] for event in read(tmp_path / "out.json")]
    assert kinds == (["stats", "x", "stats"] if forward else ["x"])


def test_an_event_that_waits_is_not_committed_and_not_lost(tmp_path: Path) -> None:
    flows = MemoryStore()
    other = STATS.replace(b"stats", b"other")
    (tmp_path / "eve.json").write_bytes(other * 3 + HTTP + b"\n" + other * 3)
    carrier = relay(tmp_path, flows, wait=100, commit_seconds=0.01, read_bytes=100)
    carrier.start()
    until(lambda: arrived(tmp_path / "out.json") == 6)
    until(lambda: carrier.status()["in_flight_batches"] > 0 and carrier.status()["commits"] > 0)
    positions, _ = load(tmp_path / "events-position.json")
    assert positions["eve.json"][0].offset <= 3 * len(other)
    flows.add(record("http"))
    until(lambda: arrived(tmp_path / "out.json") == 7)
    assert carrier.stop(60)
    assert read(tmp_path / "out.json")[6]["peeltap"]["confidence"] == "time"
    positions, _ = load(tmp_path / "events-position.json")
    assert positions["eve.json"][0].offset == 6 * len(other) + len(HTTP) + 1


def test_a_stop_gives_out_what_waits_and_repeats_nothing(tmp_path: Path) -> None:
    (tmp_path / "eve.json").write_bytes(HTTP + b"\n")
    for run in range(2):
        carrier = relay(tmp_path, MemoryStore(), wait=100)
        carrier.start()
        # The first waits for its connection, and the second finds nothing.
        until(lambda carrier=carrier, run=run: carrier.status()["in_flight_batches"] > 0 or run)  # type: ignore[misc]
        until(lambda carrier=carrier: carrier.stop(0.2))  # type: ignore[misc]
    events = read(tmp_path / "out.json")
    assert [event["peeltap"]["confidence"] for event in events] == ["none"]


def test_a_sink_whose_backlog_is_full_stops_the_reading_and_is_told_once(tmp_path: Path) -> None:
    said: list[str] = []
    place = tmp_path / "gone"
    sink = way("out", FileClient(place / "out"), backlog=Limit(50_000))
    carrier = Relay(
        FileSource(tmp_path / "eve.json", tmp_path),
        Enricher(store(), community_id_seed=SEED, wait_events=0),
        outbound(tmp_path, sink, say=lambda _, text: said.append(text)),
        read_bytes=1000,
    )
    (tmp_path / "eve.json").write_bytes(EVENTS)
    carrier.start()
    until(lambda: carrier.status()["state"] == "blocked")
    status = carrier.status()
    assert status["backlog_bytes"] > 0
    assert 50_000 <= status["sinks"]["out"]["backlog"] < 100_000
    assert "cannot be written to" in status["sinks"]["out"]["trouble"]
    place.mkdir()
    until(lambda: arrived(place / "out") == len(ALL))
    assert carrier.stop(60)
    assert len(said) == 2
    assert "cannot be written to" in said[0]
    assert "takes events again" in said[1]


def test_a_rotated_sink_is_reopened(tmp_path: Path) -> None:
    (tmp_path / "eve.json").write_bytes(EVENTS)
    carrier = relay(tmp_path, store())
    carrier.start()
    until(lambda: arrived(tmp_path / "out.json") == len(ALL))
    (tmp_path / "out.json").rename(tmp_path / "out.json.1")
    carrier.reopen()
    until((tmp_path / "out.json").exists)
    with (tmp_path / "eve.json").open("ab") as eve:
        eve.write(EVENTS)
    until(lambda: arrived(tmp_path / "out.json") == len(ALL))
    assert carrier.stop(60)
    assert len(read(tmp_path / "out.json.1")) == len(ALL)


def test_what_is_rotated_away_while_a_sink_takes_nothing_is_held(tmp_path: Path) -> None:
    eve, place = tmp_path / "eve.json", tmp_path / "gone"
    enricher = Enricher(store(), community_id_seed=SEED, wait_events=0)
    sink = way("out", FileClient(place / "out"), backlog=Limit(1000))
    carrier = Relay(FileSource(eve, tmp_path), enricher, outbound(tmp_path, sink))
    for number in range(4):
        # Of a file that is deleted nobody has read anything but the first.
        eve.unlink(missing_ok=True)
        eve.write_bytes(STATS.replace(b"stats", b"number%d" % number) + EVENTS)
        if number == 0:
            carrier.start()
        until(lambda: carrier.status()["state"] == "blocked")
        until(lambda number=number: carrier.status()["source"]["rotations"] == number)  # type: ignore[misc]
    place.mkdir()
    until(lambda: arrived(place / "out") == 4 * (len(ALL) + 1))
    kinds = [event["event_type"] for event in read(place / "out")]
    assert [kind for kind in kinds if kind[:6] == "number"] == [f"number{n}" for n in range(4)]
    assert carrier.stop(60)
    assert carrier.status()["source"]["gaps"] == 0


class Broken:
    """A source that fails in each way in turn, then gives a line."""

    name = "broken"
    rereads = True

    def __init__(self) -> None:
        self._turn = 0

    def read(self, max_bytes: int, timeout: float) -> Any:
        self._turn += 1
        if self._turn == 1:
            raise SourceError("broken cannot be read: mend it")
        if self._turn == 2:
            raise RuntimeError("unforeseen")
        from suricata.sources import Batch

        return Batch(STATS.replace(b"stats", b"other"), None) if self._turn == 3 else None

    def look(self) -> None: ...

    def commit(self, tokens: Sequence[object]) -> None: ...

    def status(self) -> dict[str, Any]:
        return {"backlog": None}

    def close(self) -> None: ...


def test_no_fault_ends_the_thread(tmp_path: Path) -> None:
    said: list[str] = []
    carrier = Relay(
        Broken(),
        Enricher(store()),
        outbound(tmp_path),
        say=lambda _, text: said.append(text),
    )
    carrier.start()
    until(lambda: arrived(tmp_path / "out.json") == 1)
    assert carrier.stop(60)
    assert said == [
        "broken cannot be read: mend it",
        "events: RuntimeError: unforeseen",
        "broken is read again",
    ]
    assert carrier.status()["failures"] == 1


NOT_SAVED = {
    # the error -> what is said of it
    "a file of ours": (
        OSError(28, "database or disk is full", "/var/lib/peeltap/events.sqlite"),
        "(database or disk is full: /var/lib/peeltap/events.sqlite; see whether its disk has room)",
    ),
    "a source elsewhere, in its own words": (
        OSError(5, "redis redis://siem:6379: Connection refused; see whether it runs"),
        "(redis redis://siem:6379: Connection refused; see whether it runs)",
    ),
}


@pytest.mark.parametrize(("error", "words"), NOT_SAVED.values(), ids=NOT_SAVED)
def test_a_place_that_cannot_be_saved_is_told_with_its_own_remedy(
    tmp_path: Path, error: OSError, words: str
) -> None:
    said: list[str] = []

    class Unsaved(Broken):
        def commit(self, tokens: Sequence[object]) -> None:
            if not said:
                raise error

    source = Unsaved()
    source._turn = 2
    carrier = Relay(
        source,
        Enricher(store()),
        outbound(tmp_path, flush_seconds=0.01),
        commit_seconds=0.01,
        say=lambda _, text: said.append(text),
    )
    carrier.start()
    until(lambda: len(said) == 2)
    assert carrier.stop()
    assert said == [
        f"the place in broken cannot be saved {words}: after a crash more events would come twice",
        "the place in broken is saved again",
    ]


def test_a_correction_that_fails_loses_no_event(tmp_path: Path) -> None:
    class Failing(MemoryStore):
        def lookup(self, *_: Any, **__: Any) -> None:  # type: ignore[override]
            raise RuntimeError("unforeseen")

    (tmp_path / "eve.json").write_bytes(EVENTS)
    carrier = relay(tmp_path, Failing(), say=lambda *_: None)
    carrier.start()
    assert carrier.stop(60)
    assert len(read(tmp_path / "out.json")) == len(ALL)


def saved(place: Path) -> bool:
    """Whether a service that may still run has kept its places."""
    try:
        with contextlib.closing(sqlite3.connect(f"file:{place / FILE}?mode=ro", uri=True)) as file:
            return bool(file.execute("SELECT 1 FROM source").fetchone())
    except sqlite3.OperationalError:
        return False


CHILD = """
import sys, threading
from pathlib import Path
from reassembly.store import MemoryStore
from suricata.enrich import Enricher
from suricata.relay import Relay
from suricata.delivery.outbound import Outbound, Way
from suricata.delivery.positions import FILE, DeliveryState
from suricata.delivery.positions import FILE
from suricata.sinks.file import FileClient
from suricata.sources.file import FileSource
place = Path(sys.argv[1])
say = lambda *text: print(*text, flush=True)
state = DeliveryState(place / FILE)
source = FileSource(place / "eve.json", state, notice=say)
out = Outbound([Way("out", FileClient(place / "out.json"))], place, state, say=say,
               flush_seconds=0.02)
relay = Relay(source, Enricher(MemoryStore(), wait_events=0), out, read_bytes=20_000,
              commit_seconds=0.02)
stop = threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), stop.set()), daemon=True).start()
relay.run(stop)
"""


@pytest.mark.parametrize("kind", ["rename", "copytruncate"])
def test_killed_at_any_moment_amid_rotations_it_loses_nothing(tmp_path: Path, kind: str) -> None:
    """20 rotations in a burst of a writer whose writes split lines; the relay killed 8 times."""
    rng = random.Random(kind)
    path = tmp_path / "eve.json"
    event = (
        b'{"timestamp":"2026-01-01T00:00:00.%06d+0000","event_type":"x","src_ip":"192.0.2.1",'
        b'"proto":"UDP","n":%d}\n'
    )
    total = 30_000
    done = threading.Event()

    def rotate(number: int, writer: int) -> int:
        for n in range(number, 0, -1):
            (tmp_path / f"eve.json.{n}").replace(tmp_path / f"eve.json.{n + 1}")
        if kind == "rename":
            path.rename(tmp_path / "eve.json.1")
            os.close(writer)
            return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        (tmp_path / "eve.json.1").write_bytes(path.read_bytes())
        os.ftruncate(writer, 0)
        return writer

    def write() -> None:
        writer = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        number = rotations = 0
        while number < total:
            count = rng.randrange(1, 400)
            text = b"".join(
                event % (n % 1_000_000, n) for n in range(number, min(total, number + count))
            )
            number += count
            cut = rng.randrange(len(text))
            os.write(writer, text[:cut])
            time.sleep(rng.random() / 25)
            os.write(writer, text[cut:])
            if number > (rotations + 1) * total / 21:
                writer = rotate(rotations, writer)
                rotations += 1
        os.close(writer)
        done.set()

    path.touch()
    out_path = tmp_path / "out.json"
    thread = threading.Thread(target=write)
    command = [sys.executable, "-c", CHILD, str(tmp_path)]
    kills = 0
    while not done.is_set() or kills < 8:
        before = out_path.stat().st_size if out_path.exists() else 0
        child = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE)
        if kills == 0:
            # What was there before the first start is history; after that all counts.
            until(lambda: saved(tmp_path))
            thread.start()
        until(
            lambda size=before: (  # type: ignore[misc]
                done.is_set() or (out_path.exists() and out_path.stat().st_size > size)
            )
        )
        time.sleep(rng.random() / 3)
        child.send_signal(signal.SIGKILL)
        child.wait()
        kills += 1
        assert child.stdin is not None
        child.stdin.close()
    thread.join()
    # A stop drains for a bounded time; what a slow machine leaves then comes with the next start.
    size = -1
    while size < (size := out_path.stat().st_size):
        ended = subprocess.run(command, cwd=ROOT, input=b"", capture_output=True, timeout=180)
        assert (ended.stdout, ended.stderr) == (b"", b"")
    out = out_path.read_bytes()
    assert out.endswith(b"\n")
    found = re.findall(rb'"n":(\d+),"peeltap":\{"confidence":"none","id":"(.*?)"\}\}\n', out)
    numbers = Counter(int(n) for n, _ in found)
    assert len(numbers) == total
    # Each has one id, however often it came, and out of whichever copy.
    assert len(set(found)) == len({id_ for _, id_ in found}) == total
    # Each kill repeats at most what was on its way then.
    assert max(numbers.values()) <= 1 + kills
    assert sum(numbers.values()) - total < total


def test_whoever_watches_gets_what_the_sinks_get(tmp_path: Path) -> None:
    (tmp_path / "eve.json").write_bytes(EVENTS + STATS)
    seen: list[bytes] = []
    carrier = relay(tmp_path, store(), on_lines=seen.append)
    carrier.start()
    until(lambda: arrived(tmp_path / "out.json") == len(ALL))
    assert carrier.stop(60)
    assert b"".join(seen) == (tmp_path / "out.json").read_bytes()
