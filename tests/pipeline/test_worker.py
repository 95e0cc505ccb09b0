"""Workers as processes, with a real Redis between them and a real Suricata: killed, and late."""

from __future__ import annotations

import contextlib
import copy
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
import yaml

from pipeline import config, replay
from pipeline.errors import RunError
from pipeline.progress import progress
from pipeline.worker import _locked, own_files
from reassembly.records import Garbage, read_records
from reassembly.redis_flows import Site, put
from reassembly.store import MemoryStore
from suricata import process
from suricata.config import _eve_log
from suricata.enrich import Enricher
from suricata.event_settings import SinkSettings
from suricata.redis_link import RedisLink
from suricata.settings import SuricataSettings
from suricata.sinks.settings import RedisServer
from tests.support.programs import Program, until
from tests.support.redis_load import by_flow, event, flow, push, sequences, up

ROOT = Path(__file__).parents[2]
CAPTURES = ROOT / "fixtures" / "captures"
needs_redis = pytest.mark.tool("redis-server")


def link(port: int) -> RedisLink:
    return RedisLink(RedisServer(url=f"redis://127.0.0.1:{port}", timeout_seconds=60))


def write_config(place: Path, port: int, **events: Any) -> Path:
    url = f"redis://127.0.0.1:{port}"
    # A lease that runs out while its worker is only slow has events come twice.
    more = {"partitions": 4, "lease_seconds": 4, "timeout_seconds": 60}
    path = place / "workers.yaml"
    path.write_text(
        yaml.safe_dump(
            {
                "events": {"redis": {"url": url, **more, **events}, "wait_seconds": 60},
                "flows": {"redis": {"url": url, "timeout_seconds": 60}},
                "sinks": [{"file": str(place / "events.json")}],
                "state": {"directory": str(place / "state")},
            }
        )
    )
    return path


@contextlib.contextmanager
def worker(path: Path, number: int) -> Iterator[subprocess.Popen[bytes]]:
    """One process; its standard input is ours, so it does not outlive us."""
    argv = [sys.executable, "-m", "pipeline", "enrich", "-c", str(path), "--worker", str(number)]
    with (path.parent / f"worker-{number}.log").open("wb") as log:
        child = subprocess.Popen(argv, stdin=subprocess.PIPE, stderr=log, cwd=ROOT)
    try:
        yield child
    finally:
        child.kill()
        child.wait()
        assert child.stdin is not None
        child.stdin.close()


def arrived(place: Path, number: int) -> list[dict[str, Any]]:
    path = place / f"events.{number}.json"
    if not path.exists():
        return []
    *whole, _ = path.read_bytes().split(b"\n")
    return [json.loads(one) for one in whole]


def ids(place: Path, *numbers: int) -> set[str]:
    return {one["peeltap"]["id"] for number in numbers for one in arrived(place, number)}


@needs_redis
@pytest.mark.suricata
@pytest.mark.usefixtures("server")
@pytest.mark.parametrize("mode", ["list", "stream"])
def test_what_suricata_wrote_to_redis_is_corrected_as_on_one_machine(
    tmp_path: Path, port: int, mode: str
) -> None:
    # 1. A capture in which ports are used again; its flow records, as a sensor publishes them.
    capture = CAPTURES / "port-reuse-proxy-v2.pcap"
    clean, flows = tmp_path / "clean.pcap", tmp_path / "flows.jsonl"
    settings = config.load(ROOT / "fixtures" / "peeltap.yaml")
    request = replay.Request(inputs=[str(capture)], out=str(clean), flows=str(flows))
    with progress(quiet=True) as shown:
        replay.replay(request, settings, shown)
    with flows.open("rb") as stream:
        records = list(read_records(stream, Garbage()))
    put(link(port), Site(), records, "")
    # 2. Suricata's events, into Redis and beside it into a file. To a stream it writes from
    # version 8 on; what it wrote to the list is put there as that does it.
    own = SuricataSettings(eve_types=["http", "flow", "files"])
    eve = _eve_log(own)
    out = {"server": "127.0.0.1", "port": port, "key": "suricata"}
    out["mode"] = "rpush" if mode == "stream" else mode
    # Suricata's parser knows no aliases, so nothing is shared.
    eve_of_redis = {**copy.deepcopy(eve), "filetype": "redis", "redis": out}
    outputs = [{"eve-log": eve}, {"eve-log": eve_of_redis}]
    own = own.model_copy(update={"extra": {"outputs": outputs}})
    ran = process.run(clean, own, tmp_path / "suricata")
    server = redis.Redis("127.0.0.1", port)
    if mode == "stream":
        written = server.lrange("suricata", 0, -1)
        server.delete("suricata")
        push(port, written, mode="stream")
    expected = ran.eve.read_bytes()
    assert expected.count(b"\n") > 10
    # 3. A worker.
    with worker(write_config(tmp_path, port, mode=mode), 1) as child:
        until(lambda: len(ids(tmp_path, 1)) == expected.count(b"\n"), "all events")
        until(lambda: not waiting(server), "all to be acknowledged")
        child.terminate()
        assert child.wait(60) == 0
    local = MemoryStore()
    local.add_many(records)
    corrected = Enricher(local, wait_events=0).feed(expected)
    told = arrived(tmp_path, 1)
    for one in told:
        del one["peeltap"]["id"]
        # Suricata says in Redis whose events these are.
        del one["host"]
    key = lambda one: json.dumps(one, sort_keys=True)  # noqa: E731
    wanted = [json.loads(one) for one in corrected.splitlines()]
    assert sorted(map(key, told)) == sorted(map(key, wanted))
    # Of each flow in its order.
    for flow_id in {one["flow_id"] for one in wanted}:
        assert [one for one in told if one["flow_id"] == flow_id] == [
            one for one in wanted if one["flow_id"] == flow_id
        ]


def waiting(server: redis.Redis) -> int:
    streams = [f"{{suricata}}:peeltap:{number}" for number in range(4)]
    return sum(int(server.xlen(one)) for one in streams)


def held(port: int) -> int:
    """How many workers hold a partition."""
    leases = [f"{{suricata}}:peeltap:lease:{number}" for number in range(4)]
    return len(set(redis.Redis("127.0.0.1", port).mget(leases)) - {None})


@needs_redis
@pytest.mark.usefixtures("server")
def test_one_of_two_workers_is_killed_and_nothing_is_lost(tmp_path: Path, port: int) -> None:
    count = 12_000
    load = list(sequences(60, count))
    put(link(port), Site(), list({one.id: one for one, _ in load}.values()), "")
    lines = [event(one, sequence) for one, sequence in load]
    path = write_config(tmp_path, port)
    with worker(path, 1) as first, worker(path, 2):
        until(lambda: held(port) == 2, "both to have a share")
        for at in range(0, count, 2000):
            push(port, lines[at : at + 2000])
            if at == 4000:
                until(lambda: arrived(tmp_path, 1) and arrived(tmp_path, 2), "both to work")
                first.kill()
        until(lambda: len(ids(tmp_path, 1, 2)) == count, "all events")
        until(lambda: not waiting(redis.Redis("127.0.0.1", port)), "all to be acknowledged")
    told = arrived(tmp_path, 1) + arrived(tmp_path, 2)
    assert all(one["peeltap"]["confidence"] == "time" for one in told)
    found = by_flow(told)
    for number in range(60):
        [record] = [flow(10_000 + number)]
        flow_id = int(record.id, 16) * 7919 % (1 << 53)
        assert found[flow_id] == list(range(number, count, 60))


@needs_redis
@pytest.mark.usefixtures("server")
def test_late_events_of_a_port_used_again_go_to_their_own_attackers(
    tmp_path: Path, port: int
) -> None:
    # Ten uses of each of twenty ports. Of the last use no record is there as yet.
    epochs = [[flow(20_000 + number, epoch=epoch) for epoch in range(10)] for number in range(20)]
    put(link(port), Site(), [one for port_ in epochs for one in port_[:9]], "a")
    put(link(port), Site(), [], "a")
    redis.Redis("127.0.0.1", port).set(Site().sensor_key("a"), epochs[0][9].start)
    path = write_config(tmp_path, port)
    # The newest first, and all of them long after their connections.
    shuffled = [event(port_[e], e) for e in (9, 3, 7, 1, 8, 0, 6, 2, 5, 4) for port_ in epochs]
    with worker(path, 1), worker(path, 2):
        push(port, shuffled)
        until(lambda: len(ids(tmp_path, 1, 2)) == 180, "those that have a record")
        assert all(one["sequence"] != 9 for n in (1, 2) for one in arrived(tmp_path, n))
        put(link(port), Site(), [port_[9] for port_ in epochs], "a")
        until(lambda: len(ids(tmp_path, 1, 2)) == 200, "the others")
    for one in arrived(tmp_path, 1) + arrived(tmp_path, 2):
        assert one["src_ip"] == f"203.0.113.{one['sequence'] + 1}", one
        assert one["peeltap"]["confidence"] == "time"


@needs_redis
def test_redis_is_killed_stopped_and_begun_again(
    tmp_path: Path, server: Program, port: int
) -> None:
    count = 6000
    load = list(sequences(40, count))
    put(link(port), Site(), list({one.id: one for one, _ in load}.values()), "")
    lines = [event(one, sequence) for one, sequence in load]
    with worker(write_config(tmp_path, port), 1), worker(write_config(tmp_path, port), 2):
        push(port, lines[:3000])
        until(lambda: len(ids(tmp_path, 1, 2)) > 200, "the first")
        server.restart()
        until(lambda: up(port), "Redis")
        push(port, lines[3000:])
        until(lambda: len(ids(tmp_path, 1, 2)) > 3200, "some more")
        server.pause()
        server.go_on()
        until(lambda: len(ids(tmp_path, 1, 2)) == count, "all")
    told = arrived(tmp_path, 1) + arrived(tmp_path, 2)
    assert {one["peeltap"]["confidence"] for one in told} == {"time"}
    assert {one["sequence"] for one in told} == set(range(count))


def test_a_state_directory_is_one_workers(tmp_path: Path) -> None:
    with (
        _locked(tmp_path / "worker-1"),
        pytest.raises(RunError, match="another running worker's"),
        _locked(tmp_path / "worker-1"),
    ):
        pass
    with _locked(tmp_path / "worker-1") as directory:
        assert directory.is_dir()


def test_each_worker_has_files_of_its_own() -> None:
    sinks = [
        SinkSettings.model_validate({"file": "/var/log/peeltap/events.json"}),
        SinkSettings.model_validate({"redis": {"url": "redis://127.0.0.1"}}),
    ]
    own = own_files(sinks, 3)
    assert [one.label for one in own] == [
        "/var/log/peeltap/events.3.json",
        "redis redis://127.0.0.1/peeltap",
    ]
