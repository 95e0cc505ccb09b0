"""The section `flows:`, and what workers need of a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline import config
from pipeline.errors import ConfigError
from pipeline.flow_settings import RedisFlows, open_publisher, open_store

URL = "redis://redis.example:6379"
WORKERS: dict[str, Any] = {
    "events": {"redis": {"url": URL}},
    "flows": {"redis": {"url": URL}},
    "sinks": [{"file": "events.json"}],
}


def worker(tmp_path: Path, **more: Any) -> Any:
    path = tmp_path / "w.yaml"
    sections = {name: value for name, value in {**WORKERS, **more}.items() if value is not None}
    path.write_text(yaml.safe_dump(sections, sort_keys=False))
    return config.load_worker(path)[1]


def test_a_file_of_workers_alone_needs_neither_legs_nor_interface(tmp_path: Path) -> None:
    whole = worker(tmp_path)
    assert whole.events.redis.inbox == "suricata"
    assert whole.sinks[0].file.path == tmp_path / "events.json"
    place = whole.flows.redis.place
    assert (place.name, place.seconds, place.open_seconds) == ("default", 3600, 86_400)


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "no events": ({"events": None}, "events: workers read from Redis; name it"),
    "no flows": ({"flows": None}, "flows: workers find flow records in Redis; name it"),
    "a session's parts": ({"sessions": {}}, "none has the whole story; set events"),
    "a backlog that drops": (
        {"sinks": [{"file": "a", "backlog": {"full": "drop-oldest"}}]},
        r"w.yaml:\d+: sinks\[0\].backlog: what waits for a worker's sink waits in Redis",
    ),
    "standard output": ({"sinks": [{"stdout": True}]}, r"sinks\[0\]: workers share"),
    "a kept stream that is moved": (
        {"events": {"redis": {"url": URL, "mode": "stream", "delete": False}}},
        "delete: false is for mode: stream with partitions: 1",
    ),
    "braces": ({"events": {"redis": {"url": URL, "inbox": "a{}b"}}}, "braces that do not enclose"),
    "a name": ({"flows": {"redis": {"url": URL, "site": "a b"}}}, "'a b' is no name here"),
    "a password": ({"flows": {"redis": {"url": URL, "password": "secret"}}}, "{env: NAME}"),
    "one name twice": (
        {"sinks": [{"file": "a"}, {"file": "a"}]},
        r"sinks\[1\]: .*a is the name of another sink, too",
    ),
    "two sources": (
        {"events": {"redis": {"url": URL}, "file": "eve.json"}},
        "file and redis: name one source of events",
    ),
}


@pytest.mark.parametrize(("more", "words"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_is_said_with_its_place(
    tmp_path: Path, more: dict[str, Any], words: str
) -> None:
    with pytest.raises(ConfigError, match=words) as told:
        worker(tmp_path, **more)
    assert "secret" not in str(told.value).replace("a secret does not stand", "")


SENSOR = """
gateways: [{from: 172.16.23.1, to: 172.16.23.2:9000, headers: [proxy-v2]}]
capture: {interface: br1}
"""
OF_SENSORS = {
    "nobody reads": ("suricata: {eve_redis: {}}", "events that go to Redis are read there"),
    "nobody writes": (
        "events: {redis: {url: redis://h}}",
        "the Suricata that Peeltap runs writes to a file; set suricata",
    ),
    "elsewhere": (
        "suricata: {eve_redis: {key: a}}\nevents: {redis: {url: redis://h, inbox: b}}",
        "'b' is not the key that Suricata writes to: 'a'",
    ),
}


@pytest.mark.parametrize(("text", "words"), OF_SENSORS.values(), ids=OF_SENSORS)
def test_a_sensors_events_are_read_where_they_are_written(text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        config.parse_live(SENSOR + text, "s.yaml")


def test_a_sensors_own_suricata_may_write_there(tmp_path: Path) -> None:
    events = "events: {redis: {url: redis://h}}\n"
    for suricata in ("external", "{eve_redis: {server: h}}"):
        config.parse_live(f"{SENSOR}{events}suricata: {suricata}\n", "s.yaml")


def test_one_story_is_for_one_worker(tmp_path: Path) -> None:
    events = {"redis": {"url": URL, "partitions": 1}}
    assert worker(tmp_path, sessions={}, events=events).sessions is not None


def test_a_sensor_has_a_name_and_both_ends_are_made_of_one_section(tmp_path: Path) -> None:
    settings = RedisFlows(url="redis://127.0.0.1", sensor="s-1", ttl_seconds=9e4)
    assert settings.sensor_name == "s-1"
    assert settings.place.open_seconds == 9e4
    assert RedisFlows(url="redis://127.0.0.1").sensor_name
    publisher = open_publisher(
        settings, tmp_path / "flows.sqlite", block_timeout_ms=20, say=lambda *_: None
    )
    publisher.close()
    store = open_store(settings, say=lambda *_: None)
    store.close()
