"""What the picture counts: files that grow are followed line by line, wires by the kernel."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import pytest

from diversion.namespaces import World
from pipeline.demo import programs
from pipeline.demo.counters import LATEST, Counters, Voice
from tests.support import ordinary
from tests.support.wired import wired


def alert(source: str, port: int = 80) -> dict[str, Any]:
    return {
        "event_type": "alert",
        "src_ip": source,
        "dest_ip": "2001:0db8:0000:0000:0000:0000:0000:0002",
        "dest_port": port,
        "alert": {"signature": "PEELTAP jndi"},
    }


def test_a_file_is_followed_while_it_grows(tmp_path: Path) -> None:
    path = tmp_path / "eve.json"
    voice = Voice(path)
    voice.read()
    assert (voice.events, voice.alerts) == (0, 0)
    lines = [json.dumps(event) + "\n" for event in (alert("192.0.2.1"), {"event_type": "stats"})]
    half = lines[0][:20]
    path.write_text(lines[0] + lines[1] + half)
    voice.read()
    voice.read()
    assert (voice.events, voice.alerts) == (1, 1)
    path.write_text(lines[0] + lines[1] + lines[0])
    voice.read()
    assert (voice.events, voice.alerts) == (2, 2)
    assert voice.named == {"192.0.2.1": 2}
    assert voice.latest[0].decoy == "2001:db8::2"


def test_only_the_latest_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "eve.json"
    path.write_text("".join(json.dumps(alert("192.0.2.1", port)) + "\n" for port in range(50)))
    voice = Voice(path)
    voice.read()
    assert [one.port for one in voice.latest] == list(range(50 - LATEST, 50))


def count(world: World) -> int:
    wired(world)
    nothing = Voice(world.directory / "nothing")
    programs.status = lambda: None  # type: ignore[assignment]
    counters = Counters(world.host, ("br1",), nothing, nothing)
    counters.read()
    before = counters.packets["br1"]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as talker:
        for _ in range(10):
            talker.sendto(b"x", ("172.16.23.2", 9))
    counters.read()
    print(list(counters.packets), counters.packets["br1"] >= before + 10, counters.stripped)
    programs.status = lambda: {"connections": {"stripped": 3}}
    counters.read()
    print(counters.stripped)
    return 0


@pytest.mark.netns
def test_the_wires_are_counted_and_peeltap_is_asked() -> None:
    assert ordinary.in_world(__name__, "count").splitlines() == ["['br1'] True None", "3"]
