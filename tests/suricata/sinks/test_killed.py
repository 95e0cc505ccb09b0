"""The relay as a process, killed again and again, with other machines behind it that fail, too."""

from __future__ import annotations

import itertools
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import orjson
import pytest
import redis

from tests.support.http_bulk import Bulk
from tests.support.http_collector import Collector
from tests.support.kafka_mock import MockCluster
from tests.support.programs import answers, free_port, redis_server, rsyslog, until
from tests.support.sink_load import many
from tests.suricata.sinks.test_redis import idents
from tests.suricata.sinks.test_splunk import TOKEN
from tests.suricata.sinks.test_webhook import Hook

ROOT = Path(__file__).parents[3]
COUNT = 10_000
KILLS = 3

CHILD = """
import sys, threading
from pathlib import Path
from pipeline.config import load_live
from pipeline.outbound import open_outbound, open_state
from reassembly.store import MemoryStore
from suricata.enrich import Enricher
from suricata.relay import Relay
from suricata.sources.file import FileSource
place = Path(sys.argv[1])
_, whole = load_live(place / "peeltap.yaml")
say = lambda level, text: print(text, flush=True)
state = open_state(place)
source = FileSource(place / "eve.json", state, notice=lambda text: say(0, text))
outbound = open_outbound(whole.sinks, place, state, rereads=True, say=say)
relay = Relay(source, Enricher(MemoryStore(), wait_events=0), outbound, commit_seconds=0.02,
              say=say)
stop = threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), stop.set()), daemon=True).start()
relay.run(stop)
"""

CONFIG = """
gateways: [{{from: 172.16.23.1, to: 172.16.23.2:9000, headers: [proxy-v2]}}]
capture: {{interface: br1}}
sinks:
  - elasticsearch: {{url: "{bulk}"}}
    batch: {{events: 500}}
  - redis: {{url: "redis://127.0.0.1:{port}", once_seconds: 3600}}
    batch: {{events: 500}}
  - webhook: {{url: "{hook}", format: array}}
    batch: {{events: 500}}
"""


REPEATING = """
gateways: [{{from: 172.16.23.1, to: 172.16.23.2:9000, headers: [proxy-v2]}}]
capture: {{interface: br1}}
sinks:
  - kafka: {{brokers: {brokers}, topic: peeltap, timeout_seconds: 20}}
    batch: {{events: 500}}
  - splunk: {{url: "{url}", token: {{env: SPLUNK_TOKEN}}, ack_seconds: 5}}
    batch: {{events: 500}}
  - syslog: {{address: "tcp://127.0.0.1:{port}"}}
    batch: {{events: 500}}
"""


def _write_events(place: Path) -> None:
    lines = [orjson.dumps({**one.event, "peeltap": None}) for one in many(COUNT)]
    (place / "eve.json").write_bytes(
        b"".join(line.replace(b',"peeltap":null', b"") + b"\n" for line in lines)
    )


@pytest.mark.tool("redis-server", "redis-cli")
def test_every_id_is_there_and_once_where_a_repeat_is_known(tmp_path: Path) -> None:
    faults = itertools.cycle(["lost", "", "half", "failing", "", "reset", ""])
    port = free_port()
    with Bulk() as bulk, Hook() as hook, redis_server(tmp_path, port) as program:
        text = CONFIG.format(bulk=bulk.url, hook=hook.url, port=port)
        (tmp_path / "peeltap.yaml").write_text(text)
        command = [sys.executable, "-c", CHILD, str(tmp_path)]
        # What was in the file before the first start counts as well.
        _write_events(tmp_path)
        for _ in range(KILLS):
            bulk.faults.extend(itertools.islice(faults, 5))
            hook.faults.extend(itertools.islice(faults, 5))
            # So many more, or all that there are.
            aims = [min(len(one) + 500, COUNT) for one in (bulk.documents, hook.events)]
            with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE) as child:
                until(
                    lambda aims=aims: (  # type: ignore[misc]
                        len(bulk.documents) >= aims[0] and len(hook.events) >= aims[1]
                    ),
                    "events",
                )
                child.send_signal(signal.SIGKILL)
            program.restart()
        with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE) as child:
            reader = redis.Redis("127.0.0.1", port, socket_timeout=30)
            until(
                lambda: len(bulk.documents) == len(hook.events) == reader.xlen("peeltap") == COUNT,
                "all events",
                seconds=200,
            )
            assert child.stdin is not None
            child.stdin.close()
            assert child.wait(60) == 0
        told = idents(port)
    # Upserts and marks: each once, whatever came again.
    assert max(told.values()) == 1
    assert set(told) == set(bulk.documents) == set(hook.events)
    numbers = {orjson.loads(line)["flow_id"] for line in bulk.documents.values()}
    assert numbers == set(range(COUNT))
    assert bulk.complaints == hook.complaints == []
    # A kill repeats what was on its way, not everything. How far this sink is ahead of the slower
    # one then is a matter of the machine.
    assert sum(hook.events.values()) < KILLS * COUNT


@pytest.mark.tool("rsyslogd")
def test_every_id_is_there_where_a_repeat_is_not_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPLUNK_TOKEN", TOKEN)
    faults = itertools.cycle(["lost", "", "half", "failing", "", "reset", ""])
    port = free_port()
    module = f'module(load="imtcp")\ninput(type="imtcp" port="{port}" address="127.0.0.1")'
    with (
        MockCluster() as cluster,
        Collector(token=TOKEN) as collector,
        rsyslog(tmp_path, module, lambda: answers(port)),
    ):
        brokers = orjson.dumps(cluster.brokers).decode()
        text = REPEATING.format(brokers=brokers, url=collector.url, port=port)
        (tmp_path / "peeltap.yaml").write_text(text)
        command = [sys.executable, "-c", CHILD, str(tmp_path)]
        _write_events(tmp_path)
        received = tmp_path / "received"
        received.touch()
        for number in range(KILLS):
            collector.faults.extend(itertools.islice(faults, 5))
            cluster.down(1 + number)
            aim = min(len(collector.indexed) + 500, COUNT)
            with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE) as child:
                until(lambda aim=aim: len(collector.indexed) >= aim, "events")  # type: ignore[misc]
                child.send_signal(signal.SIGKILL)
            cluster.up(1 + number)
        with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE) as child:
            until(lambda: len(collector.indexed) == COUNT, "Splunk", seconds=200)
            until(lambda: len(_syslog_ids(received)) == COUNT, "syslog", seconds=200)
            until(lambda: len(cluster.idents()) == COUNT, "Kafka", seconds=200)
            assert child.stdin is not None
            child.stdin.close()
            assert child.wait(60) == 0
        in_kafka = cluster.idents()
    # How often is not asked: all came within the two seconds for which a lagging sink's backlog may
    # be in memory alone, so each kill begins anew.
    assert set(_syslog_ids(received)) == set(in_kafka) == set(collector.indexed)
    assert collector.complaints == []


def _syslog_ids(received: Path) -> Counter[str]:
    found: Counter[str] = Counter()
    for line in received.read_bytes().split(b"\n")[:-1]:
        event = orjson.loads(line[line.index(b"{") :])
        found[event["peeltap"]["id"]] += 1
    return found
