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

from pipeline.control import ControlServer
from pipeline.errors import RunError
from pipeline.status import ask, page, warnings, watch
from tests.pipeline.samples import REPORT


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
