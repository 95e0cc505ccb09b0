"""The live demo from beginning to end, as whoever runs the tests and as an ordinary user."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.demo import live
from tests.pipeline.conftest import ARGV, Run, child
from tests.support import ordinary

Demo = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def place() -> Iterator[Path]:
    """Where the demo puts its files, whoever it is; pytest's own directories are its user's."""
    with tempfile.TemporaryDirectory(prefix="peeltap-test-") as path:
        Path(path).chmod(0o777)
        yield Path(path)


@pytest.fixture
def demo(place: Path) -> Iterator[Demo]:
    """Starts `peeltap demo`, in a session of its own as a terminal would."""
    started = []

    def start(
        *arguments: object, as_ordinary: bool = False, makes_taps: bool = True
    ) -> subprocess.Popen[str]:
        argv = [*ARGV, "demo", *map(str, arguments)]
        if as_ordinary:
            argv = ordinary.command(argv, makes_taps=makes_taps)
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ordinary.ROOT,
            env={**os.environ, "TMPDIR": str(place)},
            start_new_session=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def processes_with(place: Path) -> list[str]:
    """The command lines that name the place: all programs of the demo have files there."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            line = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
        if str(place) in line:
            found.append(line)
    return found


def told_right(text: str) -> dict[str, Any]:
    """What `--json` printed, which is true and complete."""
    told: dict[str, Any] = json.loads(text)
    assert told["right"] is True
    assert told["demo"] == "live"
    assert told["attackers"] == ["203.0.113.7", "2001:db8:bad::7", "198.51.100.23"]
    assert told["wronged"] == []
    # Without Peeltap nobody but the proxy is ever named.
    assert set(told["blamed"]) <= {"172.16.23.1"}
    assert {row["alone"] for row in told["rows"]} <= {None, "172.16.23.1"}
    assert sum(row["alone"] is None for row in told["rows"]) >= 8
    assert {row["tap"] for row in told["rows"]} == {"172.16.23.1"}
    assert told["headers_taken_out"] == 15
    return told


def events(lines: bytes) -> Counter[tuple[str, ...]]:
    """What is told of whom: types, ends, signatures, and what was understood of the application."""
    told: Counter[tuple[str, ...]] = Counter()
    for line in lines.splitlines():
        event = json.loads(line)
        kind = event["event_type"]
        ends = (str(event[key]) for key in ("src_ip", "src_port", "dest_ip", "dest_port"))
        said = event[kind] if kind in ("alert", "http", "ssh", "smtp", "tls") else {}
        told[(kind, *ends, json.dumps(said, sort_keys=True))] += 1
    return told


@pytest.mark.netns
@pytest.mark.suricata
def test_the_whole_show(demo: Demo, place: Path) -> None:
    before = sorted(Path("/sys/class/net").iterdir())
    pcap = place / "pcap"
    kept = place / "kept"
    arguments = ("--seconds", 1, "--json", "--pcap", pcap, "--keep", kept)
    out, err = demo(*arguments).communicate(timeout=300)
    assert err == ""
    told_right(out)
    # The recording of br1, replayed, tells of the same events.
    again = child(
        "replay", pcap / "br1.pcapng", "-c", kept / "peeltap.yaml", "--suricata", "--eve", "-", "-q"
    )
    assert (again.returncode, again.stderr) == (0, b"")
    assert events(again.stdout) == events((kept / "events.json").read_bytes())
    # On br1 the headers are before the attackers' words, on vtap0 they are not.
    dirty, clean = ((pcap / f"{name}.pcapng").read_bytes() for name in ("br1", "vtap0"))
    for words in (b"GET /cgi-bin/.%2e/", b"SSH-2.0-Go", b"VRFY root"):
        assert words in dirty
        assert words in clean
    assert dirty.count(b"\r\n\r\n\0\r\nQUIT\n") == 15
    assert clean.count(b"\r\n\r\n\0\r\nQUIT\n") == 0
    assert processes_with(place) == []
    assert sorted(place.iterdir()) == [kept, pcap]
    assert sorted(Path("/sys/class/net").iterdir()) == before


@pytest.mark.netns
@pytest.mark.suricata
def test_an_ordinary_user_holds_it_and_looks_around(demo: Demo, place: Path) -> None:
    process = demo("--seconds", 1, "--json", "--hold", as_ordinary=True)
    assert process.stdout is not None
    assert process.stderr is not None
    out = ""
    while not out.endswith("\n}\n"):
        line = process.stdout.readline()
        assert line, process.stderr.read()
        out += line
    assert told_right(out)["tap"] == "tap"
    said = ""
    while "Configurations" not in said:
        said += process.stderr.readline()
    [enter] = [line.split() for line in said.splitlines() if "nsenter" in line]
    [status] = [line.split()[1:] for line in said.splitlines() if "setup status" in line]
    for inside, answer in (
        (["ip", "-brief", "address", "show", "br1"], "172.16.23.1/24"),
        ([*ARGV, "status", "--json"], '"interface": "br1"'),
        (["ip", "netns", "exec", "vm1", "ip", "address"], "192.168.110.2/32"),
        ([*ARGV, *status], "demo: the host is as the file says"),
    ):
        looked = subprocess.run(
            ordinary.command([*enter, *inside]), capture_output=True, text=True, timeout=60
        )
        assert answer in looked.stdout, looked.stderr
    os.killpg(process.pid, signal.SIGINT)
    process.communicate(timeout=180)
    assert process.returncode == 0
    assert processes_with(place) == []
    assert list(place.iterdir()) == []


@pytest.mark.netns
@pytest.mark.suricata
def test_who_may_make_no_tap_gets_a_veth(demo: Demo) -> None:
    process = demo("--seconds", 1, "--json", as_ordinary=True, makes_taps=False)
    out, err = process.communicate(timeout=300)
    assert err == ""
    assert told_right(out)["tap"] == "veth"


@pytest.mark.netns
@pytest.mark.suricata
@pytest.mark.parametrize(
    ("sign", "as_ordinary"), [("gateway2-vm1.yaml", False), ("events.json", True)]
)
def test_ctrl_c_leaves_nothing(demo: Demo, place: Path, sign: str, as_ordinary: bool) -> None:
    """Pressed while it starts, and while the attacks go on."""
    process = demo("--seconds", 60, as_ordinary=as_ordinary)
    deadline = time.monotonic() + 60
    while not any(path.stat().st_size for path in place.glob(f"*/{sign}")):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=180)
    assert (process.returncode, out, err) == (130, "", "peeltap: interrupted\n")
    assert processes_with(place) == []
    assert list(place.iterdir()) == []


@pytest.mark.netns
def test_a_directory_that_is_in_use_is_refused(peeltap: Run, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for option in ("--keep", "--pcap"):
        said = peeltap("demo", option, tmp_path)
        assert (said.code, said.err) == (
            1,
            f"peeltap: {tmp_path}: is not empty; name a new directory\n",
        )


@pytest.mark.suricata
def test_where_it_is_forbidden_recordings_are_shown(
    peeltap: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "why_not", lambda request: "the kernel refuses")
    said = peeltap("demo", "--json")
    assert said.code == 0
    assert json.loads(said.out)["demo"] == "offline"
    assert said.err.splitlines() == [
        "peeltap: the live demo cannot be shown here: the kernel refuses",
        "peeltap: so these are recorded attacks instead (peeltap demo --offline)",
    ]


@pytest.mark.parametrize("option", ["--hold", "--pcap=/tmp/x", "--seconds=5"])
def test_what_recordings_cannot_show_is_an_error(
    peeltap: Run, monkeypatch: pytest.MonkeyPatch, option: str
) -> None:
    monkeypatch.setattr(live, "why_not", lambda request: "the kernel refuses")
    said = peeltap("demo", option)
    assert (said.code, said.out) == (1, "")
    assert said.err == "peeltap: the live demo cannot be shown here: the kernel refuses\n"
    wrong = peeltap("demo", "--offline", option)
    assert wrong.code == 2
    assert option.partition("=")[0] in wrong.err


def test_what_is_missing_is_the_reason(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(live.programs, "missing", lambda *more: f"no {' '.join(more)}")
    assert live.why_not(live.Request(pcap=tmp_path)) == "no dumpcap"
    monkeypatch.setattr(live.programs, "missing", lambda *more: None)
    monkeypatch.setattr(live, "RULES", tmp_path / "rules")
    assert live.why_not(live.Request()) == f"{tmp_path}/rules is not there"
