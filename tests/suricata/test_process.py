"""The installed Suricata on real captures; and each way in which a run ends badly."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from scapy.all import IP, TCP, Ether, Raw, wrpcap  # type: ignore[attr-defined]

from suricata import process
from suricata.enrich import Enricher
from suricata.settings import SuricataSettings

from .samples import SEED, store

RULE = 'alert http any any -> any any (msg:"path"; http.uri; content:"/shell"; sid:1; rev:1;)'
REQUEST = b"GET /shell HTTP/1.1\r\nHost: a\r\n\r\n"
# The samples' first connection starts here.
START = 1767225600.01


@pytest.fixture
def capture(tmp_path: Path) -> Path:
    """One HTTP request on the leg, with wrong TCP checksums, as an offloading host captures it."""
    to_server = Ether() / IP(src="172.16.23.1", dst="172.16.23.2")
    to_client = Ether() / IP(src="172.16.23.2", dst="172.16.23.1")
    leg = {"sport": 40000, "dport": 9000, "chksum": 7}
    back = {"sport": 9000, "dport": 40000, "chksum": 7}
    packets = [
        to_server / TCP(**leg, flags="S", seq=1),
        to_client / TCP(**back, flags="SA", seq=1, ack=2),
        to_server / TCP(**leg, flags="A", seq=2, ack=2),
        to_server / TCP(**leg, flags="PA", seq=2, ack=2) / Raw(REQUEST),
        to_client / TCP(**back, flags="A", seq=2, ack=2 + len(REQUEST)),
    ]
    for number, packet in enumerate(packets):
        packet.time = START + number / 1000
    path = tmp_path / "leg.pcap"
    wrpcap(str(path), packets)
    return path


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    path = tmp_path / "own.rules"
    path.write_text(RULE + "\n")
    return path


def settings_for(rules: Path | None, **more: object) -> SuricataSettings:
    chosen = {"rules": [] if rules is None else [rules], "community_id_seed": SEED, **more}
    return SuricataSettings.model_validate(chosen)


def events(run: process.Run) -> list[dict[str, object]]:
    return [json.loads(line) for line in run.eve.read_bytes().splitlines()]


@pytest.mark.suricata
def test_a_run_gives_events_that_can_be_corrected(
    capture: Path, rules: Path, tmp_path: Path
) -> None:
    seen: list[tuple[int, int]] = []
    run = process.run(
        capture,
        settings_for(rules),
        tmp_path / "log",
        progress=lambda done, total: seen.append((done, total)),
        poll_seconds=0.01,
    )
    assert run.version.startswith(("7", "8"))
    assert run.warnings == []
    size = capture.stat().st_size
    assert seen[-1] == (size, size)
    assert all(0 <= done <= size == total for done, total in seen)
    enricher = Enricher(store(), community_id_seed=SEED, wait_events=0)
    enricher.feed(run.eve.read_bytes())
    rows = [(row.attacker, row.decoy, row.signature) for row in enricher.alerts.rows()]
    assert rows == [("203.0.113.1", "192.168.110.2", "path")]


@pytest.mark.suricata
def test_the_same_capture_gives_the_same_events_and_an_earlier_run_is_replaced(
    capture: Path, rules: Path, tmp_path: Path
) -> None:
    first = process.run(capture, settings_for(rules), tmp_path / "log").eve.read_bytes()
    second = process.run(capture, settings_for(rules), tmp_path / "log").eve.read_bytes()
    drop = [
        [{k: v for k, v in json.loads(line).items() if k != "flow_id"} for line in eve.splitlines()]
        for eve in (first, second)
    ]
    assert drop[0] == drop[1]
    assert len(drop[0]) >= 3


@pytest.mark.suricata
@pytest.mark.parametrize(("checksums", "sees"), [("ignore", True), ("check", False)])
def test_checksums(capture: Path, rules: Path, tmp_path: Path, checksums: str, sees: bool) -> None:
    run = process.run(capture, settings_for(rules, checksums=checksums), tmp_path / "log")
    assert any(event["event_type"] == "alert" for event in events(run)) == sees


@pytest.mark.suricata
def test_home_net_reaches_the_rules(capture: Path, tmp_path: Path) -> None:
    rules = tmp_path / "home.rules"
    rules.write_text('alert tcp any any -> $HOME_NET any (msg:"home"; content:"/shell"; sid:1;)\n')
    for home, sees in (("172.16.23.2", True), ("10.0.0.0/8", False)):
        run = process.run(capture, settings_for(rules, home_net=[home]), tmp_path / "log")
        assert any(event["event_type"] == "alert" for event in events(run)) == sees


@pytest.mark.suricata
def test_without_rules_there_are_events_and_no_alerts(capture: Path, tmp_path: Path) -> None:
    run = process.run(capture, settings_for(None), tmp_path / "log")
    types = {event["event_type"] for event in events(run)}
    assert "http" in types
    assert "alert" not in types


# rules file | line, reason in Suricata's words
BAD_RULES = [
    (f"{RULE}\n\n{RULE.replace('http.uri', 'foo')}\n", 3, "unknown rule keyword 'foo'"),
    ("alert tcp any any -> any (msg:\"x\"; sid:3;)\n", 1, "failed to parse port"),
    ("hello\n", 1, ""),
]  # fmt: skip


@pytest.mark.suricata
@pytest.mark.parametrize("do", ["run", "check"])
@pytest.mark.parametrize(("text", "line", "reason"), BAD_RULES, ids=["keyword", "port", "words"])
def test_a_broken_rule_file(
    capture: Path, tmp_path: Path, text: str, line: int, reason: str, do: str
) -> None:
    rules = tmp_path / 'bad "rules" file.rules'
    rules.write_text(text)
    run = process.check if do == "check" else partial(process.run, capture)
    with pytest.raises(process.RuleError) as caught:
        run(settings_for(rules), tmp_path / "log")
    assert str(caught.value).startswith(f"{rules}:{line}: Suricata refuses this rule: ")
    assert reason in caught.value.reason
    assert "\n" not in str(caught.value)


@pytest.mark.suricata
def test_good_rules_pass_the_check(rules: Path, tmp_path: Path) -> None:
    assert process.check(settings_for(rules), tmp_path / "log").version


def children() -> Iterator[int]:
    for task in Path("/proc/self/task").iterdir():
        try:
            found = (task / "children").read_text()
        except OSError:
            continue  # a thread that has just ended; its children are another's now
        for child in found.split():
            yield int(child)


@pytest.fixture
def leaves_none() -> Iterator[None]:
    """Whatever happens, no process of ours stays."""
    before = set(children())
    yield
    assert set(children()) <= before


@pytest.fixture
def endless(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A capture that never comes: a named pipe whose writer says nothing.

    Waiting for it, Suricata hears no SIGTERM; how long it is given to is no part of these tests.
    """
    monkeypatch.setattr(process, "_STOP_SECONDS", 0.2)
    path = tmp_path / "endless.pcap"
    os.mkfifo(path)
    # Both ways, so that opening blocks nobody.
    end = os.open(path, os.O_RDWR)
    yield path
    os.close(end)


@pytest.mark.suricata
def test_killed_in_mid_run(endless: Path, tmp_path: Path) -> None:
    def kill_our_suricata() -> None:
        while not over.wait(0.02):
            for child in children():
                try:
                    started = b"-r\0" in Path(f"/proc/{child}/cmdline").read_bytes()
                except OSError:
                    continue
                if started:
                    os.kill(child, signal.SIGKILL)
                    return

    over = threading.Event()
    killer = threading.Thread(target=kill_our_suricata)
    killer.start()
    try:
        with pytest.raises(process.SuricataKilled, match=r"^Suricata was killed by SIGKILL after "):
            process.run(endless, settings_for(None), tmp_path / "log")
    finally:
        over.set()
        killer.join()


@pytest.mark.suricata
@pytest.mark.usefixtures("leaves_none")
def test_longer_than_allowed(endless: Path, tmp_path: Path) -> None:
    with pytest.raises(process.SuricataTimeout, match=r"^Suricata was stopped after "):
        process.run(endless, settings_for(None, timeout_seconds=0.5), tmp_path / "log")


@pytest.mark.suricata
@pytest.mark.usefixtures("leaves_none")
def test_interrupted_by_the_person(endless: Path, tmp_path: Path) -> None:
    def interrupt(_done: int, _total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        process.run(endless, settings_for(None), tmp_path / "log", progress=interrupt)


LINK_TYPE_147 = bytes.fromhex("d4c3b2a1020004000000000000000000ffff000093000000")
PACKET = bytes(8) + b"\4\0\0\0\4\0\0\0abcd"
NO_CAPTURES = [
    (b"this is no capture, and long enough to be asked about", "unknown file format"),
    (LINK_TYPE_147[:10], "truncated dump file"),
    (b"", "truncated dump file|Empty file"),
    (LINK_TYPE_147 + PACKET, "datalink type 147 not .*supported"),
]


@pytest.mark.suricata
@pytest.mark.usefixtures("leaves_none")
@pytest.mark.parametrize(("data", "reason"), NO_CAPTURES, ids=["words", "cut", "empty", "link"])
def test_what_is_no_capture(tmp_path: Path, data: bytes, reason: str) -> None:
    junk = tmp_path / "junk.pcap"
    junk.write_bytes(data)
    with pytest.raises(process.SuricataFailed, match=f"cannot read {junk}: .*({reason})"):
        process.run(junk, settings_for(None), tmp_path / "log")


@pytest.mark.suricata
def test_a_capture_without_packets_has_no_events(tmp_path: Path) -> None:
    empty = tmp_path / "empty.pcap"
    empty.write_bytes(LINK_TYPE_147)
    run = process.run(empty, settings_for(None), tmp_path / "log")
    assert events(run) == []
    assert run.warnings == [f"{empty} holds no packets"]


@pytest.mark.suricata
def test_a_truncated_capture_gives_what_it_holds_and_a_warning(
    capture: Path, rules: Path, tmp_path: Path
) -> None:
    capture.write_bytes(capture.read_bytes()[:-10])
    run = process.run(capture, settings_for(rules), tmp_path / "log")
    assert any("truncated dump file" in warning for warning in run.warnings)
    assert any(event["event_type"] == "http" for event in events(run))


@pytest.mark.suricata
@pytest.mark.parametrize("missing", ["capture", "rules", "base"])
def test_a_missing_file_is_named(capture: Path, rules: Path, tmp_path: Path, missing: str) -> None:
    gone = tmp_path / "gone"
    settings = settings_for(
        gone if missing == "rules" else rules, **({"base": gone} if missing == "base" else {})
    )
    with pytest.raises(process.InputError, match=f"{gone} cannot be read: No such file"):
        process.run(gone if missing == "capture" else capture, settings, tmp_path / "log")


# Programs of another kind: real ones, made for the test.


def program(path: Path, says: str) -> str:
    path.write_text(f"#!/bin/sh\necho '{says}'\n")
    path.chmod(0o755)
    return str(path)


def test_absent() -> None:
    with pytest.raises(process.SuricataMissing, match="there is no program 'no-suricata'"):
        process.find("no-suricata")


@pytest.mark.parametrize(
    ("says", "sentence"),
    [
        ("This is Suricata version 6.0.10 RELEASE", "is Suricata 6.0.10; peeltap needs 7.0"),
        ("This is Snort", "is not Suricata: its -V says 'This is Snort"),
    ],
)
def test_wrong_version(tmp_path: Path, says: str, sentence: str) -> None:
    with pytest.raises(process.SuricataVersion, match=sentence):
        process.find(program(tmp_path / "suricata", says))


@pytest.mark.parametrize("version", ["7.0.0-beta1", "7.0.10 RELEASE", "8.0.1 RELEASE"])
def test_versions_that_do(tmp_path: Path, version: str) -> None:
    path = program(tmp_path / "suricata", f"This is Suricata version {version}")
    assert process.find(path).version == version.split()[0]
