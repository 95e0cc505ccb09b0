"""The relay as a process: killed again and again under a sink that fails, too; on a full disk."""

from __future__ import annotations

import contextlib
import gzip
import json
import random
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from suricata.sinks.rotate import rotated

from .delivery.parts import until

ROOT = Path(__file__).parents[2]
TOTAL = 10_000

COMMON = """
import os, socket, sys, threading
from pathlib import Path
import orjson
from reassembly.store import MemoryStore
from suricata.delivery.delivery import BatchLimits
from suricata.delivery.outbound import Outbound, Way
from suricata.delivery.positions import FILE, DeliveryState
from suricata.delivery.treatment import Treatment
from suricata.enrich import Enricher
from suricata.relay import Relay
from suricata.sinks.client import Unavailable
from suricata.sinks.file import FileClient
from suricata.sinks.rotate import Rotation
from suricata.sources.file import FileSource

def relay(place, *ways, eve, **more):
    say = lambda level, text: print(text, flush=True)
    state = DeliveryState(place / FILE)
    source = FileSource(eve, state, notice=lambda text: say(0, text))
    out = Outbound(ways, place, state, say=say, flush_seconds=0.02, **more)
    return Relay(source, Enricher(MemoryStore(), wait_events=0), out, read_bytes=20_000,
                 commit_seconds=0.02, say=say)

class Siem:
    kind = "siem"
    def __init__(self, path):
        self.path, self.link = path, None
    def deliver(self, batch):
        try:
            if self.link is None:
                self.link = socket.socket(socket.AF_UNIX)
                self.link.settimeout(60)
                self.link.connect(self.path)
            self.link.sendall(b"".join(one.line + b"\\n" for one in batch) + b"\\n")
            if self.link.recv(3) != b"ok\\n":
                raise OSError("no answer")
        except OSError as error:
            self.close()
            raise Unavailable(f"siem takes nothing ({error}): start it")
        return []
    def abort(self): pass
    def reopen(self): pass
    def status(self): return {}
    def close(self):
        if self.link is not None:
            self.link.close()
            self.link = None
"""

CHILD = (
    COMMON
    + """
place = Path(sys.argv[1])
rotation = Rotation(max_bytes=50_000, keep=1000)
ways = (Way("out", FileClient(place / "out.json", rotation)),
        Way("siem", Siem(str(place / "siem")), Treatment(), BatchLimits(200, 1 << 20, 0.05)))
carrier = relay(place, *ways, eve=place / "eve.json", spill_seconds=0.1)
stop = threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), stop.set()), daemon=True).start()
carrier.run(stop)
"""
)


class Server:
    """The other side of Siem: takes batches, ended by an empty line, and says so, or does not."""

    def __init__(self, path: Path) -> None:
        self.lines: list[bytes] = []
        self.trouble = random.Random(5)
        self.well = False
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(str(path))
        self._listening.listen()
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            link, _ = self._listening.accept()
            # Whoever sent it may be killed before it hears of it.
            with contextlib.suppress(OSError), link, link.makefile("rb") as batches:
                self._take(link, batches)

    def _take(self, link: socket.socket, batches: Iterator[bytes]) -> None:
        batch: list[bytes] = []
        for line in batches:
            if line != b"\n":
                batch.append(line)
                continue
            fate = 1.0 if self.well else self.trouble.random()
            if fate < 0.1:
                return  # refused, nothing kept
            self.lines += batch[: len(batch) // 2] if fate < 0.2 else batch
            if fate < 0.3:
                return  # kept, some or all of it, and never acknowledged
            batch = []
            link.sendall(b"garbage"[:3] if fate < 0.35 else b"ok\n")


EVENT = (
    '{"timestamp":"2026-01-01T00:00:00.%06d+0000","event_type":"dns","src_ip":"192.0.2.1",'
    '"proto":"UDP","n":%d}\n'
)


def ids(lines: list[bytes]) -> dict[int, set[str]]:
    found: dict[int, set[str]] = {}
    for line in lines:
        event = json.loads(line)
        found.setdefault(event["n"], set()).add(event["peeltap"]["id"])
    return found


def test_killed_four_times_under_a_bad_sink_every_id_arrives_everywhere(tmp_path: Path) -> None:
    rng = random.Random(3)
    server = Server(tmp_path / "siem")
    out = tmp_path / "out.json"
    command = [sys.executable, "-c", CHILD, str(tmp_path)]
    with (tmp_path / "eve.json").open("w") as eve:
        for kill in range(4):
            eve.writelines(
                EVENT % (n, n) for n in range(kill * TOTAL // 4, (kill + 1) * TOTAL // 4)
            )
            eve.flush()
            before = len(server.lines)
            child = subprocess.Popen(
                command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL
            )
            until(lambda before=before: len(server.lines) > before)  # type: ignore[misc]
            time.sleep(rng.random() / 4)
            child.send_signal(signal.SIGKILL)
            child.wait()
            assert child.stdin is not None
            child.stdin.close()
    server.well = True
    child = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    until(lambda: len(ids(server.lines.copy())) == TOTAL)
    until(lambda: len(ids(_whole(out))) == TOTAL)
    child.communicate(b"", timeout=300)
    assert child.returncode == 0
    at_siem, in_file = ids(server.lines), ids(_whole(out))
    assert rotated(out)
    assert at_siem == in_file
    assert set(at_siem) == set(range(TOTAL))
    # One id each, however often it came.
    assert len(set().union(*at_siem.values())) == TOTAL


def _whole(path: Path) -> list[bytes]:
    """The lines of a file and of all that was turned over, compressed or being so."""
    while True:
        parts = {one.name.removesuffix(".gz"): one for one in rotated(path)}
        found = b""
        try:
            for one in (*parts.values(), path):
                data = one.read_bytes()
                found += gzip.decompress(data) if one.suffix == ".gz" else data
        except FileNotFoundError:
            continue  # turned over, or compressed, meanwhile
        return found.split(b"\n")[:-1]


# In a mount namespace of its own: state, spool and the file of one sink on 2 MiB of disk, the other
# sink dead. Reading stops, nothing is lost; then there is room, and the sink comes back.
FULL = (
    COMMON
    + """
import subprocess, time
place, eve = Path(sys.argv[1]), Path(sys.argv[2])
total = eve.read_bytes().count(b"\\n")
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", place], check=True)

class Dead:
    kind, down, got = "dead", True, []
    def deliver(self, batch):
        if self.down:
            raise Unavailable("siem is dead: start it")
        self.got += [one.event["n"] for one in batch]
        return []
    def abort(self): pass
    def reopen(self): pass
    def status(self): return {}
    def close(self): pass

def until(condition):
    end = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < end, carrier.status()
        time.sleep(0.02)

dead = Dead()
carrier = relay(place, Way("out", FileClient(place / "out.json")), Way("siem", dead, Treatment()),
                eve=eve, spill_seconds=0.1, memory_bytes=100_000)
carrier.start()
until(lambda: carrier.status()["spool"]["trouble"])
until(lambda: carrier.status()["state"] == "blocked")
assert carrier.status()["spool"]["memory_bytes"] < 400_000
assert "No space left" in carrier.status()["spool"]["trouble"]
subprocess.run(["mount", "-o", "remount,size=64m", place], check=True)
until(lambda: (place / "out.json").read_bytes().count(b"\\n") == total)
dead.down = False
until(lambda: len(dead.got) == total)
assert dead.got == list(range(total))
numbers = [orjson.loads(line)["n"] for line in (place / "out.json").read_bytes().splitlines()]
assert numbers == list(range(total))
assert carrier.stop(60)
print("whole")
"""
)


@pytest.mark.netns
def test_a_full_disk_under_spool_and_file_loses_nothing(tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    with (tmp_path / "eve.json").open("w") as eve:
        eve.writelines(EVENT % (n, n) for n in range(TOTAL))
    done = subprocess.run(
        [
            *("unshare", "-m", sys.executable, "-c", FULL),
            *(str(tmp_path / "full"), str(tmp_path / "eve.json")),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert (done.returncode, done.stderr) == (0, "")
    said = done.stdout.splitlines()
    assert said[-1] == "whole"
    assert any(
        re.search(r"spool takes nothing \(No space left.*reading stops", text) for text in said
    )
