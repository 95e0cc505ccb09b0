"""CPU per record published, and per event through a worker; memory of what waits in Redis.

A Redis of its own (append-only file, fsync every second) and real workers, on loopback. The events
are those of `bench/eve.py`: a busy leg's, ten to a connection. They are put into Redis
beforehand and appear to idle workers at once, so that start-up is no part of it. CPU is user +
system time by the kernel's account, of Redis by its own; figures are medians of the runs.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import redis
import yaml

from bench import eve
from reassembly.records import Garbage, read_records
from reassembly.redis_flows import Site, put
from suricata.redis_link import RedisLink
from suricata.sinks.settings import RedisServer

ROOT = Path(__file__).resolve().parents[2]
INBOX, FILLED = "suricata", "{suricata}:filled"
TICK = os.sysconf("SC_CLK_TCK")


def until(condition: Callable[[], object]) -> None:
    while not condition():
        time.sleep(0.01)


@contextmanager
def server(place: Path) -> Iterator[redis.Redis]:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", ""]
    command += ["--appendonly", "yes", "--dir", str(place)]
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    client = redis.Redis("127.0.0.1", port)

    def up() -> bool:
        try:
            return bool(client.ping())
        except redis.RedisError:
            return False

    try:
        until(up)
        yield client
    finally:
        child.terminate()
        child.wait()


def redis_cpu(client: redis.Redis) -> float:
    told = client.info("cpu")
    return float(told["used_cpu_user"]) + float(told["used_cpu_sys"])


def memory(client: redis.Redis) -> int:
    return int(client.info("memory")["used_memory"])


def cpu(pid: int) -> float:
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / TICK


@contextmanager
def workers(place: Path, port: int, count: int, partitions: int) -> Iterator[list[int]]:
    url = f"redis://127.0.0.1:{port}"
    path = place / "workers.yaml"
    sections = {
        "events": {"redis": {"url": url, "partitions": partitions}},
        "flows": {"redis": {"url": url}},
        "sinks": [{"file": str(place / "events.json")}],
        "state": {"directory": str(place / "state")},
        "suricata": {"community_id_seed": eve.SEED},
    }
    path.write_text(yaml.safe_dump(sections))
    argv = [sys.executable, "-m", "pipeline", "enrich", "-c", str(path), "--worker"]
    with ExitStack() as stack:
        children = []
        for number in range(1, count + 1):
            child = subprocess.Popen([*argv, str(number)], cwd=ROOT, stdin=subprocess.PIPE)
            stack.callback(child.wait)
            stack.callback(child.kill)
            children.append(child)
        yield [child.pid for child in children]


def one_run(place: Path, file: Path, flows: Path, count: int, parts: int) -> dict[str, float]:
    lines = file.read_bytes().splitlines()
    with flows.open("rb") as stream:
        records = list(read_records(stream, Garbage()))
    figures: dict[str, float] = {}
    with server(place) as client:
        port = client.connection_pool.connection_kwargs["port"]
        link = RedisLink(RedisServer(url=f"redis://127.0.0.1:{port}"))
        # 1. A sensor's records.
        mine, its, held = time.process_time(), redis_cpu(client), memory(client)
        put(link, Site(), records, "sensor")
        client.set(Site().sensor_key("sensor"), 1 << 62)
        figures["sensor, us of CPU a record"] = (time.process_time() - mine) / len(records) * 1e6
        figures["Redis, us of CPU a record"] = (redis_cpu(client) - its) / len(records) * 1e6
        figures["Redis, bytes a record"] = (memory(client) - held) / len(records)
        # 2. Suricata's events.
        its, held = redis_cpu(client), memory(client)
        for at in range(0, len(lines), 10):
            client.lpush(FILLED, *lines[at : at + 10])
        figures["Redis, us of CPU an event, written"] = (redis_cpu(client) - its) / len(lines) * 1e6
        figures["Redis, bytes an event that waits"] = (memory(client) - held) / len(lines)
        figures["bytes of an event"] = len(file.read_bytes()) / len(lines)
        # 3. Workers.
        with workers(place, port, count, parts) as pids:
            leases = [f"{{{INBOX}}}:peeltap:lease:{number}" for number in range(parts)]
            until(lambda: len(set(client.mget(leases)) - {None}) == count)
            before, its, began = sum(map(cpu, pids)), redis_cpu(client), time.monotonic()
            client.rename(FILLED, INBOX)
            streams = [f"{{{INBOX}}}:peeltap:{number}" for number in range(parts)]

            def left() -> int:
                time.sleep(0.05)
                return client.llen(INBOX) + sum(client.xlen(name) for name in streams)

            until(lambda: left() == 0)
            figures["seconds"] = time.monotonic() - began
            spent = sum(map(cpu, pids)) - before
            figures["worker, us of CPU an event"] = spent / len(lines) * 1e6
            figures["Redis, us of CPU an event, taken"] = (
                (redis_cpu(client) - its) / len(lines) * 1e6
            )
        written = sum(one.read_bytes().count(b"\n") for one in place.glob("events.*.json"))
        assert written == len(lines), f"{written} of {len(lines)} events"
    return figures


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.scale", description=__doc__)
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--partitions", type=int, default=16)
    asked = parser.parse_args()
    place = Path(tempfile.mkdtemp(prefix="peeltap-scale-"))
    try:
        eve.CONNECTIONS = asked.events // 10
        file, flows = eve.generate(place, asked.events)
        rounds = []
        for number in range(asked.runs):
            inner = place / str(number)
            inner.mkdir()
            rounds.append(one_run(inner, file, flows, asked.workers, asked.partitions))
            shutil.rmtree(inner)
    finally:
        shutil.rmtree(place)
    print(f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f};", end=" ")
    print(f"{asked.events:,} events, {asked.workers} workers, medians of {asked.runs} runs")
    for name in rounds[0]:
        values = [one[name] for one in rounds]
        print(
            f"{name:40} {statistics.median(values):10.1f}   ({min(values):.1f}-{max(values):.1f})"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
