"""The bench of events: its hands, its judgement, and a small run of the service."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.events.material import Feed, Material, moment, stamp
from bench.events.parts import Run, Tail, flat, times
from bench.events.service import Service
from bench.report import MIB


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Material:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bench.eve.CONNECTIONS", 500)
        return Material(tmp_path_factory.mktemp("bench") / "material", 3_000)


def test_every_event_arrives_corrected_and_its_cost_is_told(
    material: Material, tmp_path: Path
) -> None:
    place = material.place(tmp_path / "service", link=True)
    with Service(place, [{"file": str(tmp_path / "out.json")}]) as service:
        service.begin()
        told = service.until(material.events)
    assert told.events == material.events
    assert told.outcomes.get("none", 0) == told.waiting == 0
    assert told.cpu > service.before.cpu
    assert told.memory > MIB
    lines = (tmp_path / "out.json").read_bytes().splitlines()
    assert len({json.loads(line)["peeltap"]["id"] for line in lines}) == material.events


def test_connections_may_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.eve.CONNECTIONS", 50)
    copy = Material(tmp_path / "material", 100)
    copy.open_ended()
    ends = {json.loads(line)["end"] for line in copy.flows.read_bytes().splitlines()}
    assert ends == {None}


def test_a_feed_stays_near_and_is_stamped(
    material: Material, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.events.material.AHEAD", 4_000)
    monkeypatch.setattr("bench.events.material.ROTATE_BYTES", 1 << 20)
    feed = Feed(tmp_path, material)
    feed.up_to(20_000, 0)
    assert feed.written <= 4_000
    while feed.written < 20_000:
        feed.up_to(20_000, feed.written)
    assert feed.written == 20_000
    assert (tmp_path / "eve.json.1").exists()
    tail = Tail(tmp_path / "eve.json")
    tail.look()
    assert len(list(feed.pace(1_000, 0.05))) == 5
    feed.close()
    [age] = tail.look()
    assert 0 <= age < 60


def test_a_moment_is_what_was_stamped() -> None:
    assert moment(b'{"timestamp":"%b","x":1}' % stamp(1767225600.5).encode()) == 1767225600.5


def test_ratios_and_flatness() -> None:
    slow, fast = Run("", [20.0, 40.0, 20.0]), Run("", [10.0, 10.0, 10.0])
    assert times(slow, fast) == 2.0
    assert flat([100 * MIB] * 8) == (True, 100 * MIB, 100 * MIB)
    assert flat([100 * MIB] * 4 + [107 * MIB] * 4)[0]
    assert not flat([100 * MIB] * 4 + [109 * MIB] * 4)[0]
