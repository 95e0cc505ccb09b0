"""jq and fever on the same file, passing every event on with something put into it.

jq rewrites four fields, as `bench.eve` has it. fever cannot rewrite, but adds fields: two here, as
text. It reads and writes sockets, so we hand it the file's bytes and write down what comes; only
its own CPU time counts. Its queues drop what they have no room for, so no more than WINDOW events
are on their way through it at once.
"""

from __future__ import annotations

import os
import select
import shutil
import socket
import subprocess
import time
from pathlib import Path
from typing import BinaryIO

from bench.eve import JQ
from bench.measure import Cost, MeasureError, run

WINDOW = 5_000
READ_BYTES = 1 << 16
STALL_SECONDS = 10.0
READY_SECONDS = 30.0

FEVER = """\
database: {{enable: false}}
input: {{socket: {place}/in.sock, buffer: 500000, buffer-drop: false}}
multi-forward: {{out: {{socket: {place}/out.sock, all: true, types: [], buffer-length: 100000}}}}
add-fields: {{true_ip: 203.0.113.7, decoy_ip: 192.168.110.2}}
flowreport: {{interval: 0s}}
metrics: {{enable: false}}
pdns: {{enable: false}}
mgmt: {{socket: {place}/mgmt.sock}}
"""


def version(command: list[str]) -> str:
    """What a program says of its version. Raises MeasureError where it is not installed."""
    if shutil.which(command[0]) is None:
        raise MeasureError(f"{command[0]} is not installed: run make setup")
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    said = done.stdout.strip()
    return said if said.startswith(command[0]) else f"{command[0]} {said}"


def jq(eve: Path, out: Path) -> Cost:
    """Rewrite the file `eve` into `out`."""
    return run(["jq", "-c", JQ, str(eve)], output=out)


def fever(place: Path, eve: Path, out: Path) -> tuple[float, float]:
    """Pass `eve` through fever into `out`; its CPU seconds, and seconds by the clock.

    From when it listens; `place` takes its sockets. Raises MeasureError if it loses events.
    """
    (place / "fever.yaml").write_text(FEVER.format(place=place))
    log = place / "fever.log"
    with (
        socket.socket(socket.AF_UNIX) as listening,
        log.open("wb") as said,
        eve.open("rb") as source,
        out.open("wb") as target,
    ):
        listening.bind(str(place / "out.sock"))
        listening.listen()
        listening.settimeout(READY_SECONDS)
        command = ["fever", "run", "--config", str(place / "fever.yaml")]
        with subprocess.Popen(command, stdout=said, stderr=said) as process:
            try:
                theirs, _ = listening.accept()
                with theirs, socket.socket(socket.AF_UNIX) as ours:
                    _connect(ours, place / "in.sock")
                    before, begin = _cpu(process.pid), time.monotonic()
                    _pump(source, ours, theirs, target)
                    return _cpu(process.pid) - before, time.monotonic() - begin
            except OSError as error:
                raise MeasureError(f"fever: {error}: {log.read_text()[-400:]}") from error
            finally:
                process.terminate()


def _connect(sock: socket.socket, path: Path) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while True:
        try:
            sock.connect(str(path))
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return


def _pump(source: BinaryIO, ours: socket.socket, theirs: socket.socket, target: BinaryIO) -> None:
    """Give `ours` what is in `source`, and `target` what comes from `theirs`, until all came."""
    ours.setblocking(False)
    sent = came = 0
    waiting = memoryview(b"")
    at_end = False
    heard_at = time.monotonic()
    while not (at_end and not waiting and came >= sent):
        if not waiting and not at_end and sent - came < WINDOW:
            data = source.read(READ_BYTES)
            at_end = not data
            waiting = memoryview(data)
            sent += data.count(b"\n")
        readable, writable, _ = select.select([theirs], [ours] if waiting else [], [], 0.5)
        if writable:
            waiting = waiting[ours.send(waiting) :]
        if readable:
            data = theirs.recv(READ_BYTES * 4)
            if not data:
                raise MeasureError("fever went away")
            target.write(data)
            came += data.count(b"\n")
            heard_at = time.monotonic()
        elif time.monotonic() - heard_at > STALL_SECONDS:
            raise MeasureError(f"fever lost {sent - came:,} of {sent:,} events")


def _cpu(pid: int) -> float:
    """CPU seconds of a process and all its threads, user and system."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
