"""Runs peeltap, Suricata and tshark on the captures, each at most once in a test session."""

from __future__ import annotations

import functools
import ipaddress
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import fixtures
from fixtures import truth
from fixtures.truth import Truth
from pipeline import config
from suricata import process

FIXTURES = Path(fixtures.__file__).parent
RULES = FIXTURES / "rules" / "peeltap.rules"
PEELTAP = Path(sys.executable).with_name("peeltap")

Event = dict[str, Any]

TRUTHS = tuple(truth.every())


def each(truths: Iterable[Truth] = TRUTHS) -> pytest.MarkDecorator:
    """Parametrizes a test by capture; all tests of one capture run in one worker."""
    return pytest.mark.parametrize(
        "name",
        [pytest.param(one.name, marks=pytest.mark.xdist_group(one.name)) for one in truths],
    )


in_both_modes = pytest.mark.parametrize("mode", truth.BOTH)


@functools.cache
def known(name: str) -> Truth:
    """The truth file of a capture."""
    return truth.load(truth.CAPTURES / f"{name}.yaml")


@functools.cache
def scratch() -> Path:
    """A directory for this session."""
    # Kept alive by the cache, removed when the interpreter ends.
    return Path(_scratch().name)


@functools.cache
def _scratch() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="peeltap-golden-")


@dataclass(frozen=True)
class Replayed:
    """What one `peeltap replay` left behind."""

    clean: Path
    flows: list[dict[str, Any]]
    events: list[Event]
    summary: dict[str, Any]


def json_lines(path: Path) -> list[dict[str, Any]]:
    """The objects of a file of JSON lines."""
    return [json.loads(line) for line in path.read_text().splitlines()]


@functools.cache
def replay(
    capture: Path, mode: str, settings: str, *, suricata: bool = True, superframes: str = "keep"
) -> Replayed:
    """Calls the command line as its user would, with the fixtures' rules."""
    directory = Path(tempfile.mkdtemp(prefix=f"{capture.stem}-{mode}-", dir=scratch()))
    clean, flows, events = (directory / name for name in ("clean.pcap", "flows", "events"))
    argv: list[str | Path] = [
        PEELTAP,
        "replay",
        capture,
        "--config",
        FIXTURES / settings,
        "--mode",
        mode,
        "--superframes",
        superframes,
    ]
    argv += ["--out", clean, "--flows", flows, "--json"]
    if suricata:
        argv += ["--suricata", "--rules", RULES, "--eve", events]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, f"{done.stderr}\n{done.stdout}"
    return Replayed(
        clean,
        json_lines(flows),
        json_lines(events) if suricata else [],
        json.loads(done.stdout),
    )


def replayed(name: str, mode: str, superframes: str = "keep") -> Replayed:
    """Peeltap with Suricata on a capture."""
    one = known(name)
    return replay(one.capture, mode, one.config, superframes=superframes)


@functools.cache
def suricata_on(capture: Path) -> list[Event]:
    """Suricata's own events for a capture, without peeltap, with the same settings."""
    settings = config.load(FIXTURES / "peeltap.yaml").suricata.model_copy(update={"rules": [RULES]})
    run = process.run(capture, settings, scratch() / f"{capture.name}-suricata")
    return json_lines(run.eve)


# Each packet in the eyes of tshark: field, and how the tests call it.
FIELDS = {
    "frame.time_epoch": "time",
    "frame.protocols": "protocols",
    "ip.src": "source4",
    "ipv6.src": "source6",
    "tcp.srcport": "source_port",
    "ip.dst": "target4",
    "ipv6.dst": "target6",
    "tcp.dstport": "target_port",
    "tcp.flags.syn": "syn",
    "tcp.flags.ack": "ack",
    "tcp.len": "length",
    "tcp.payload": "payload",
    "ip.checksum.status": "ip_checksum",
    "tcp.checksum.status": "tcp_checksum",
    "tcp.analysis.retransmission": "retransmission",
    "tcp.analysis.fast_retransmission": "fast_retransmission",
    "tcp.analysis.spurious_retransmission": "spurious_retransmission",
    "tcp.analysis.lost_segment": "lost_segment",
    "tcp.analysis.ack_lost_segment": "ack_lost_segment",
    "tcp.analysis.out_of_order": "out_of_order",
    "tcp.analysis.keep_alive": "keep_alive",
}


@functools.cache
def tshark(capture: Path) -> list[dict[str, str]]:
    """Every packet of a capture, by the names in FIELDS; "" where a packet lacks the field."""
    argv = ["tshark", "-r", str(capture), "-T", "fields", "-E", "occurrence=f"]
    for protocol in ("ip", "tcp"):
        argv += ["-o", f"{protocol}.check_checksum:TRUE"]
    for field in FIELDS:
        argv += ["-e", field]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, done.stderr
    return [
        dict(zip(FIELDS.values(), line.split("\t"), strict=True))
        for line in done.stdout.splitlines()
    ]


def bad_checksums(capture: Path) -> list[dict[str, str]]:
    """The packets whose IP or TCP checksum tshark calls bad."""
    # 0 is Bad in tshark's table of checksum states.
    return [row for row in tshark(capture) if "0" in (row["ip_checksum"], row["tcp_checksum"])]


def address(text: str) -> str:
    """An address in its shortest form; Suricata writes IPv6 in full."""
    return str(ipaddress.ip_address(text))
