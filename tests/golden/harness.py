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
def replay(capture: Path, mode: str, settings: str, *, suricata: bool = True) -> Replayed:
    """Calls the command line as its user would, with the fixtures' rules."""
    directory = scratch() / f"{capture.name}-{mode}-{suricata}"
    directory.mkdir()
    clean, flows, events = (directory / name for name in ("clean.pcap", "flows", "events"))
    argv = [PEELTAP, "replay", capture, "--config", FIXTURES / settings, "--mode", mode]
    argv += ["--out", clean, "--flows", flows, "--json"]
    if suricata:
        argv += ["--suricata", "--rules", RULES, "--eve", events]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, f"{done.stderr}\n{done.stdout}"
    return Replayed(
        clean,
        json_lines(flows),
        json_lines(events) if suricata else [],
        json.loads(done.stdout),
    )


def replayed(name: str, mode: str) -> Replayed:
    """Peeltap with Suricata on a capture."""
    one = known(name)
    return replay(one.capture, mode, one.config)


@functools.cache
def suricata_on(capture: Path) -> list[Event]:
    """Suricata's own events for a capture, without peeltap, with the same settings."""
    settings = config.load(FIXTURES / "peeltap.yaml").suricata.model_copy(update={"rules": [RULES]})
    run = process.run(capture, settings, scratch() / f"{capture.name}-suricata")
    return json_lines(run.eve)


def tshark(capture: Path, display: str, *fields: str) -> list[tuple[str, ...]]:
    """The fields of the packets that a display filter chooses, checksums checked."""
    argv = ["tshark", "-r", str(capture), "-Y", display, "-T", "fields", "-E", "occurrence=f"]
    for protocol in ("ip", "tcp", "udp"):
        argv += ["-o", f"{protocol}.check_checksum:TRUE"]
    for field in fields:
        argv += ["-e", field]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return [tuple(line.split("\t")) for line in done.stdout.splitlines()]


def address(text: str) -> str:
    """An address in its shortest form; Suricata writes IPv6 in full."""
    return str(ipaddress.ip_address(text))
