"""The page of `peeltap status`, and what is said when there is none."""

import copy
import io
import selectors
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from rich.console import Console

from pipeline import status
from pipeline.control import ControlServer
from pipeline.errors import ConfigError, RunError
from pipeline.status import ask, page, socket_of, warnings, watch
from pipeline.workers_report import WorkersReporter
from tests.pipeline.samples import REPORT, Asked, ended, worker


def shown(report: dict[str, Any]) -> str:
    out = io.StringIO()
    Console(file=out, width=100).print(page(report))
    return out.getvalue()


def test_the_page_tells_all() -> None:
    text = shown(REPORT)
    for words in (
        "Peeltap 0.1.0 · running for 1 d 2 h · br1 -> vtap0 · strip",
        "10  in           1,234/s, 7.9 Mbit/s",
        "2  merged away  header 1, header_ack 1",
        "1  held         waiting for their header",
        "by configuration: other",
        "by the kernel, ring full",
        "by the output: full",
        "3  stripped     header taken out",
        "version 7.0.10, pid 4712",
        "41  rules ",
        "5  flow",
        "0.4 s  behind     120 bytes not read yet",
        "1  waiting    for their flow record",
        "2,048  backlog    bytes, for /var/log/peeltap/events.json",
        "3  dropped    since they were too many for /var/log",
        "1  rejected   by /var/log/peeltap/events.json",
    ):
        assert words in text, (words, text)
    assert "To be looked at" not in text


def test_what_is_wrong_stands_at_the_end() -> None:
    report = copy.deepcopy(REPORT)
    report["capture"]["state"] = "gone"
    report["output"]["complaints"] = ["vtap0 has the address 192.0.2.1"]
    report["suricata"] = {"state": "backoff", "last_error": "no such \x1b[31m rule"}
    report["events"]["sinks"]["/var/log/peeltap/events.json"]["trouble"] = "/var/log is full"
    report["checkpoint"]["trouble"] = "no room"
    assert warnings(report) == [
        "br1 is gone",
        "vtap0 has the address 192.0.2.1",
        "Suricata: no such \x1b[31m rule",
        "events: /var/log is full",
        "checkpoint: no room",
    ]
    text = shown(report)
    assert text.rstrip().endswith("checkpoint: no room")
    # Some of it an attacker may choose.
    assert "\x1b" not in text


@pytest.mark.parametrize("key", list(REPORT))
def test_a_part_may_be_absent(key: str) -> None:
    assert "Peeltap" in shown({name: part for name, part in REPORT.items() if name != key})
    assert "Peeltap" in shown({**REPORT, key: {} if isinstance(REPORT[key], dict) else 0})


def report_of_workers() -> dict[str, Any]:
    told = [Asked(one) for one in (worker(1), worker(2, restarts=1, last_end="odd"), ended(3))]
    return WorkersReporter(config="w.yaml", partitions=16, workers=told).report()


def test_the_page_of_workers() -> None:
    text = shown(report_of_workers())
    for words in (
        "· 3 workers",
        "1  running  pid 4801, 2 partitions, 0.4 s behind",
        "2  running  pid 4802, 2 partitions, 0.4 s behind, restarts: 1",
        "3  ended    restarts: 3",
        "70  waiting     events, in suricata and its partitions",
        "40  pending     of these: read, not acknowledged",
        "3  workers     on all machines",
        "16  partitions  4 of them here",
        "24  claimed     events that dead workers had read",
        "10  flow",
        "4,096  backlog    bytes, for /var/log/peeltap/events.json",
        "worker 2 was begun again (restarts: 1); the last time odd",
        "worker 3 has ended (it was killed by SIGKILL); it is begun again in 4 s",
    ):
        assert words in text, (words, text)
    for words in ("Packets", "Connections", "Suricata"):
        assert words not in text


@pytest.mark.parametrize("key", list(report_of_workers()))
def test_a_part_of_workers_may_be_absent(key: str) -> None:
    report = report_of_workers()
    assert "Peeltap" in shown({name: part for name, part in report.items() if name != key})
    assert "Peeltap" in shown({**report, key: {} if isinstance(report[key], dict) else []})


REDIS = "flows: {redis: {url: 'redis://h'}}\nevents: {redis: {url: 'redis://h'}}\n"
SENSOR = """
gateways: [{from: 172.16.23.1, to: 172.16.23.2:9000, headers: [proxy-v2]}]
capture: {interface: br1}
suricata: {eve_redis: {server: h}}
control: {socket: here.sock}
"""


def test_which_socket_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "peeltap.yaml"
    file.write_text(f"{SENSOR}{REDIS}state: {{directory: state}}\n")
    assert socket_of(None, str(file)) == tmp_path / "here.sock"
    workers = tmp_path / "state" / "workers.sock"
    assert socket_of(None, str(file), workers=True) == workers
    # Of workers alone there is nothing else to ask.
    file.write_text(f"{REDIS}state: {{directory: state}}\n")
    assert socket_of(None, str(file)) == workers
    file.write_text(f"{REDIS}control: {{workers: other.sock}}\n")
    assert socket_of(None, str(file)) == tmp_path / "other.sock"
    file.write_text("capture: {}\n")
    with pytest.raises(ConfigError, match="interface"):
        socket_of(None, str(file))
    assert socket_of("named", None, workers=True) == Path("named")
    # Without a word: the service, or the workers where they alone are there.
    ours, theirs = tmp_path / "control.sock", tmp_path / "workers.sock"
    monkeypatch.setattr(status, "DEFAULT_SOCKET", ours)
    monkeypatch.setattr(status, "DEFAULT_WORKERS", theirs)
    assert socket_of(None, None) == ours
    theirs.touch()
    assert socket_of(None, None) == theirs
    ours.touch()
    assert socket_of(None, None) == ours
    assert socket_of(None, None, workers=True) == theirs


@pytest.fixture
def socket_of_a_service(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "control.sock"
    selector = selectors.DefaultSelector()
    server = ControlServer(path, {"status": lambda: REPORT}, selector)
    end = threading.Event()

    def run() -> None:
        while not end.is_set():
            for key, events in selector.select(0.01):
                key.data(events)

    thread = threading.Thread(target=run)
    thread.start()
    yield path
    end.set()
    thread.join()
    server.close()


def test_the_answer_is_the_report(socket_of_a_service: Path) -> None:
    assert ask(socket_of_a_service) == {"ok": True, **orjson.loads(orjson.dumps(REPORT))}


def test_without_a_service_the_remedy_is_said(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="start it with peeltap run"):
        ask(tmp_path / "absent")
    with pytest.raises(RunError, match="start it with peeltap run"):
        watch(tmp_path / "absent", Console(file=io.StringIO()))


def test_watching_ends_with_ctrl_c(
    socket_of_a_service: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = 0

    def sleep(seconds: float) -> None:
        nonlocal looks
        looks += 1
        if looks == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr("pipeline.status.time.sleep", sleep)
    out = io.StringIO()
    watch(socket_of_a_service, Console(file=out, width=100))
    assert out.getvalue().count("br1 -> vtap0") >= 1
