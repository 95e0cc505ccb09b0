"""All sinks together, behind a real relay: one that is dead holds nobody, and gets everything."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

from reassembly.store import MemoryStore
from suricata.delivery.outbound import DEAD_LETTERS, SPOOL, way
from suricata.delivery.positions import FILE, DeliveryState
from suricata.enrich import Enricher
from suricata.event_settings import SinkSettings
from suricata.relay import Relay
from suricata.sinks.client import Rejected
from suricata.sinks.file import FileClient
from suricata.sources.file import FileSource
from suricata.sources.position import load

from .parts import Limit, Told, outbound, until
from .parts import way as plain_way

EVENT = (
    b'{"timestamp":"2026-01-01T00:00:00.000000+0000","event_type":"dns","src_ip":"192.0.2.1",'
    b'"proto":"UDP","n":%d}\n'
)


def events(first: int, last: int) -> bytes:
    return b"".join(EVENT % n for n in range(first, last))


def relay(place: Path, *ways: Any, **more: Any) -> Relay:
    more.setdefault("flush_seconds", 0.01)
    read_bytes = more.pop("read_bytes", 4096)
    out = outbound(place, *ways, **more)
    return Relay(
        FileSource(place / "eve.json", place),
        Enricher(MemoryStore(), wait_events=0),
        out,
        read_bytes=read_bytes,
        commit_seconds=0.02,
    )


def offset(place: Path) -> int:
    """Up to where the source may forget."""
    saved = load(place / "events-position.json")[0].get("eve.json")
    return saved[0].offset if saved else 0


def numbers(client: Told) -> list[int]:
    return [one.event["n"] for one in client.taken]


def file_lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


def test_a_dead_sink_holds_neither_the_others_nor_the_reader(tmp_path: Path) -> None:
    (tmp_path / "eve.json").write_bytes(events(0, 2000))
    dead = Told(down="siem takes nothing (no route): start it")
    out = FileClient(tmp_path / "out.json")
    first = relay(tmp_path, plain_way("out", out), plain_way("siem", dead), spill_seconds=0.05)
    first.start()
    until(lambda: file_lines(tmp_path / "out.json") == 2000)
    # All that it lacks is on disk, so the source may forget it.
    until(lambda: offset(tmp_path) == len(events(0, 2000)))
    until(lambda: first.status()["spool"]["on_disk"])
    # And what the file has is known to be safe there, so that a stop in haste repeats nothing.
    spool = first._outbound.spool
    until(lambda: spool.acked()["out"] == spool.last and not first._outbound.has_moved)
    assert first.stop(0.1)
    assert dead.taken == []
    until(lambda: dead.closed)
    status = first.status()["sinks"]["siem"]
    assert status["trouble"] == "siem takes nothing (no route): start it"
    # Waiting, or in the batch that it was trying: all of it is still to come.
    assert spool.acked()["siem"] == 0 < spool.last
    # The next run has everything for it, once, and the file nothing twice.
    alive = Told()
    second = relay(
        tmp_path, plain_way("out", FileClient(tmp_path / "out.json")), plain_way("siem", alive)
    )
    second.start()
    until(lambda: len(alive.taken) == 2000)
    assert numbers(alive) == list(range(2000))
    assert len(set(alive.ids())) == 2000
    until(lambda: second.status()["spool"]["disk_bytes"] == 0)
    assert second.stop()
    assert file_lines(tmp_path / "out.json") == 2000
    assert list((tmp_path / SPOOL).iterdir()) == []


def test_a_sink_comes_back_while_events_go_on(tmp_path: Path) -> None:
    (tmp_path / "eve.json").write_bytes(events(0, 500))
    siem = Told(down="siem takes nothing (refused): start it")
    carrier = relay(tmp_path, plain_way("siem", siem), spill_seconds=0.01, memory_bytes=20_000)
    carrier.start()
    until(lambda: siem.calls > 1)
    for start in range(500, 3000, 500):
        with (tmp_path / "eve.json").open("ab") as eve:
            eve.write(events(start, start + 500))
    until(lambda: carrier.status()["backlog_bytes"] == 0)
    siem.down = None
    until(lambda: len(siem.taken) == 3000)
    assert numbers(siem) == list(range(3000))
    assert carrier.stop()


def test_what_is_refused_for_good_is_kept_and_holds_nobody(tmp_path: Path) -> None:
    (tmp_path / "eve.json").write_bytes(events(0, 100))
    picky = Told()

    def refuse(batch: Any) -> list[Rejected]:
        picky.take([one for index, one in enumerate(batch) if index != 3])
        return [Rejected(3, "mapper_parsing_exception")]

    picky.script = [refuse]
    carrier = relay(tmp_path, plain_way("siem", picky))
    carrier.start()
    until(lambda: len(picky.taken) == 99)
    assert carrier.stop()
    [path] = (tmp_path / DEAD_LETTERS).iterdir()
    letter = orjson.loads(path.read_bytes())
    assert letter["reason"] == "mapper_parsing_exception"
    assert orjson.loads(letter["line"])["n"] == 3
    assert orjson.loads(letter["line"])["peeltap"]["id"] == letter["id"]
    state = DeliveryState(tmp_path / FILE)
    assert state.sinks()["siem"] > 0
    state.close()


def test_a_sink_that_may_lose_is_told_how_many_even_after_a_restart(tmp_path: Path) -> None:
    (tmp_path / "eve.json").write_bytes(b"")

    def begun(siem: Told) -> Relay:
        limit = Limit(512 << 10, drops=True)
        ways = (
            plain_way("out", FileClient(tmp_path / "out.json")),
            plain_way("siem", siem, backlog=limit),
        )
        carrier = relay(tmp_path, *ways, spill_seconds=0.01, read_bytes=65_536)
        carrier.start()
        return carrier

    total = 0

    def write(count: int) -> None:
        nonlocal total
        with (tmp_path / "eve.json").open("ab") as eve:
            eve.write(events(total, total + count))
        total += count
        until(lambda: file_lines(tmp_path / "out.json") == total)

    dead = Told(down="siem takes nothing (refused): start it")
    carrier = begun(dead)
    for _ in range(8):
        write(5000)
    # What it was taking when it broke off, a MiB at most, is kept; of the rest half a MiB.
    until(lambda: carrier.status()["spool"]["disk_bytes"] < 2 << 20)
    assert carrier.stop(0.1)
    assert carrier.status()["sinks"]["out"]["dropped"] == 0
    siem = Told()
    carrier = begun(siem)
    write(1)
    last = f'"n":{total - 1}'.encode()
    until(lambda: siem.taken and last in siem.taken[-1].line)
    assert carrier.stop()
    told = [one.event["peeltap"] for one in siem.taken if one.event["event_type"] == "peeltap"]
    assert {one["kind"] for one in told} == {"backlog_dropped"}
    lost = sum(one["events"] for one in told)
    assert lost > 10_000
    assert lost + len(siem.taken) - len(told) == total
    assert carrier.status()["sinks"]["siem"]["dropped"] == lost


def test_sinks_are_added_removed_and_renamed(tmp_path: Path) -> None:
    (tmp_path / "eve.json").write_bytes(events(0, 300))
    said: list[str] = []
    one, dead = Told(), Told(down="dead: mend it")
    first = relay(tmp_path, plain_way("one", one), plain_way("dead", dead), spill_seconds=0.01)
    first.start()
    until(lambda: len(one.taken) == 300)
    assert first.stop(0.1)
    with (tmp_path / "eve.json").open("ab") as eve:
        eve.write(events(300, 400))
    again, new = Told(), Told()
    second = relay(
        tmp_path,
        plain_way("one", again),
        plain_way("new", new),
        say=lambda _, text: said.append(text),
    )
    second.start()
    until(lambda: len(again.taken) == len(new.taken) == 100)
    assert second.stop()
    assert numbers(again) == numbers(new) == list(range(300, 400))
    assert said == ["no longer a sink: dead; what waited for it is forgotten"]
    assert list((tmp_path / SPOOL).iterdir()) == []


@pytest.mark.parametrize(
    ("more", "plain"),
    [
        ({}, True),
        ({"when": [{"types": ["alert"]}]}, False),
        ({"sample": {"flow": 10}}, False),
        ({"aggregate": {"seconds": 1}}, False),
    ],
)
def test_a_file_gets_whole_blocks_unless_events_are_looked_at(
    tmp_path: Path, more: dict[str, Any], plain: bool
) -> None:
    settings = SinkSettings.model_validate({"file": str(tmp_path / "o"), **more})
    assert (way(settings, FileClient(tmp_path / "o"), None).treatment is None) == plain
    assert way(settings, FileClient(tmp_path / "o"), orjson.dumps).treatment is not None
    assert way(settings, Told(), None).treatment is not None
