"""Checkpoints: an engine that stopped anywhere and went on in another gives what one that never
stopped gives.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import dpkt
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from peeltap_core import Engine

from fixtures import truth
from tests.core.talks import ANSWER, HEADER, OPEN, REQUEST, STARTED, drive, talk
from tests.property.strategies import Case, cases, plain_cases
from tests.support import headers
from tests.support.driver import (
    EPOCH_NS,
    MAGIC_LAYOUT,
    MILLISECOND,
    Driver,
    configure,
    gateway,
    gateway6,
)
from tests.support.packets import Leg
from tests.support.transcript import Talk

Timed = Sequence[tuple[int, bytes]]
"""Nanoseconds since the epoch, frame."""

LINKS = {1: "ethernet", 101: "raw", 12: "raw", 113: "sll", 276: "sll2"}


class Ran(NamedTuple):
    """What came out of one engine or several, by the frame that it came in with."""

    emitted: dict[int, list[bytes]]
    records: dict[tuple[str, int], dict[str, Any]]
    held: list[int]
    """How many packets waited at each stop."""


def run(frames: Timed, config: bytes, link: str, stops: Iterable[int] = ()) -> Ran:
    """All frames, with an engine of its own from each stop on."""
    emitted: dict[int, list[bytes]] = {}
    held: list[int] = []
    records = b""
    bounds = [0, *stops, len(frames)]
    kept: list[bytes] = []
    for begin, end in pairwise(bounds):
        engine = Engine(config)
        for checkpoint in reversed(kept):
            engine.resume(checkpoint)
        out = []
        for at, (ts, frame) in enumerate(frames[begin:end]):
            # Every other checkpoint is of what changed.
            if at and at % 5 == 0:
                kept.append(engine.checkpoint(full=at % 2 == 0, slots=3))
            out += engine.push(ts, frame, link=link)
        if end < len(frames):
            held.append(engine.stats()["packets"]["held"])
            kept.append(engine.checkpoint(full=False))
        else:
            out += engine.finish()
        for slot, frame in out:
            emitted.setdefault(begin + slot, []).append(frame)
        records += engine.take_records()
    lines = [orjson.loads(line) for line in records.splitlines()]
    # The last word on each connection, as a store keeps it.
    return Ran(emitted, {(line["id"], line["epoch"]): line for line in lines}, held)


def timed(frames: Iterable[bytes]) -> Timed:
    return [(EPOCH_NS + n * MILLISECOND, frame) for n, frame in enumerate(frames)]


def same_from(stop: int, stopped: Ran, never: Ran) -> None:
    """Nothing waited at the stop: from there on all is the same, and so are the records."""
    for slot in (*stopped.emitted, *never.emitted):
        assert stopped.emitted.get(slot) == never.emitted.get(slot), f"frame {slot} of {stop}"
    assert stopped.records == never.records


@st.composite
def stopped_cases(draw: st.DrawFn, kind: st.SearchStrategy[Case]) -> tuple[Case, list[int]]:
    case = draw(kind)
    most = len(case.packets) - 1
    stops = draw(st.sets(st.integers(1, max(1, most)), min_size=1, max_size=3))
    return case, sorted(stops)


@pytest.mark.parametrize("mode", ["strip", "restore"])
@given(stopped_cases(st.one_of(cases(), plain_cases())))
def test_a_stop_changes_nothing(mode: str, drawn: tuple[Case, list[int]]) -> None:
    case, stops = drawn
    frames = timed(case.frames)
    config = configure(mode=mode)
    never = run(frames, config, case.leg.link)
    stopped = run(frames, config, case.leg.link, stops)
    if not any(stopped.held):
        same_from(stops[0], stopped, never)
        return
    # What waited at a stop is gone. In strip mode nothing else differs from what came in or would
    # have come out; where a handshake was lost that waited to be restored, its acknowledgement may
    # leave with the header's packet.
    whole = dict(enumerate(case.frames))
    for slot, out in stopped.emitted.items():
        bare = case.leg.with_(padded=False).frame(case.packets[slot])
        assert mode == "restore" or out in (never.emitted.get(slot), [whole[slot]], [bare])
    assert stopped.records.keys() == never.records.keys()
    (record,) = stopped.records.values()
    (wanted,) = never.records.values()
    same = {"id", "epoch", "observed", "start", "end", "packets", "bytes"}
    assert {key: record[key] for key in same} == {key: wanted[key] for key in same}
    assert record["verdict"] in (wanted["verdict"], "incomplete")


def recording(path: Path) -> tuple[str, Timed]:
    with path.open("rb") as stream:
        reader = dpkt.pcap.UniversalReader(stream)
        return LINKS[reader.datalink()], [(round(ts * 10**6) * 1000, data) for ts, data in reader]


@pytest.mark.parametrize("mode", ["strip", "restore"])
@pytest.mark.parametrize("known", tuple(truth.every()), ids=lambda known: known.name)
def test_a_stop_in_a_recording_changes_nothing(known: truth.Truth, mode: str) -> None:
    link, frames = recording(truth.CAPTURES / f"{known.name}.pcap")
    rule: dict[str, Any] = {"to_port": None}
    if "stacked" in known.name:
        rule |= {"headers": ["proxy-v2"], "depth": 2}
    config = configure(gateway(**rule), gateway6(**rule), mode=mode, announce=True)
    never = run(frames, config, link)
    free = [stop for stop in range(1, len(frames)) if run(frames, config, link, [stop]).held == [0]]
    assert free
    for stop in free[:: max(1, len(free) // 8)]:
        same_from(stop, run(frames, config, link, [stop]), never)
    several = free[:: max(1, len(free) // 4)]
    same_from(0, run(frames, config, link, several), never)


def checkpoint_of(driver: Driver, *, full: bool = True) -> bytes:
    assert isinstance(driver.engine, Engine)
    return driver.engine.checkpoint(full=full)


def restarted(driver: Driver, *gateways: dict[str, Any], **settings: Any) -> Driver:
    """Another engine that goes on where `driver` stopped."""
    after = drive(*gateways, **settings)
    after.now = driver.now
    assert isinstance(after.engine, Engine)
    after.engine.resume(checkpoint_of(driver))
    return after


def moved(told: Talk, driver: Driver) -> Talk:
    told.driver = driver
    return told


def test_what_changed_is_enough_behind_a_full_one() -> None:
    driver = drive()
    quiet = talk(driver, leg=Leg(client_port=40001))
    busy = talk(driver, leg=Leg(client_port=40002))
    quiet.check(STARTED)
    busy.check(OPEN)
    engine = Engine(configure())
    driver.wait(5)
    full = checkpoint_of(driver)
    driver.wait(5)
    busy.check("c>s [P.] 0:46 ack 0 -> c>s [P.] 0:18 ack 0")
    driver.wait(2)
    changed = checkpoint_of(driver, full=False)
    assert 0 < len(changed) < len(full)
    driver.wait(5)
    assert checkpoint_of(driver, full=False) == b""
    assert engine.resume(changed) == 1
    assert engine.resume(full) == 1
    after = Driver(engine)
    after.now = driver.now
    for told in (quiet, busy):
        moved(told, after).check("s>c [P.] 0:19 ack 46 -> s>c [P.] 0:19 ack 18")
    after.finish()
    assert [record["packets"] for record in after.take_records()] == [
        {"to_server": 3, "to_client": 3},
        {"to_server": 3, "to_client": 2},
    ]


def test_a_handshake_before_the_stop_still_asks_for_its_header() -> None:
    told = talk()
    told.check(OPEN)
    moved(told, restarted(told.driver)).check("c>s [P.] 0:46 ack 0 -> c>s [P.] 0:18 ack 0")


def test_a_header_of_which_a_part_waited_is_incomplete_after_the_stop() -> None:
    told = talk(stripped=HEADER + REQUEST)
    told.check(OPEN + "c>s [P.] 0:20 ack 0 -> held")
    after = restarted(told.driver, announce=True)
    (announced,) = after.take_records()
    assert (announced["verdict"], announced["end"]) == ("incomplete", None)
    moved(told, after).check(
        """
        c>s [P.] 20:46 ack 0   -> same
        s>c [P.] 0:19 ack 46   -> same
        """
    )


def test_a_clean_stop_lets_what_waits_go_first() -> None:
    told = talk(stripped=HEADER + REQUEST)
    told.check(
        OPEN
        + """
        c>s [P.] 0:20 ack 0 -> held
        end                 -> c>s [P.] 0:20 ack 0
        """
    )


def test_records_go_on_under_their_identifier() -> None:
    told = talk(drive(announce=True))
    told.check(STARTED)
    (early,) = told.driver.take_records()
    after = restarted(told.driver, announce=True)
    moved(told, after).check("s>c [P.] 0:19 ack 46 -> s>c [P.] 0:19 ack 18")
    after.finish()
    (final,) = after.take_records()
    assert (final["id"], final["epoch"], final["start"]) == (early["id"], 0, early["start"])
    assert final["true"] == early["true"]
    assert final["packets"] == {"to_server": 3, "to_client": 3}
    assert final["bytes"] == {"to_server": len(HEADER + REQUEST), "to_client": len(ANSWER)}


def test_late_packets_of_an_earlier_use_are_still_its_own() -> None:
    driver = drive()
    old = talk(driver)
    old.check(STARTED + "c>s [F.] 46 ack 0 -> c>s [F.] 18 ack 0")
    new = talk(driver, client_isn=3_000_000_000, server_isn=7_000_000)
    new.check(OPEN)
    after = restarted(driver)
    moved(old, after).check("s>c [P.] 0:19 ack 46 -> s>c [P.] 0:19 ack 18")
    moved(new, after).check("c>s [P.] 0:46 ack 0  -> c>s [P.] 0:18 ack 0")
    after.finish()
    assert [record["epoch"] for record in after.take_records()] == [0, 1]


@pytest.mark.parametrize(
    ("change", "verdict"),
    [
        ({}, "stripped"),
        ({"headers": ["magic", "proxy-v2"]}, "stripped"),
        ({"to_port": 9001}, None),
        ({"from_": "172.16.23.9/32"}, "midstream"),
    ],
    ids=["same", "codecs in another order", "leg gone", "not trusted any more"],
)
def test_the_configuration_decides_who_goes_on(change: dict[str, Any], verdict: str | None) -> None:
    told = talk()
    told.check(STARTED)
    after = restarted(told.driver, gateway(**change))
    assert after.stats["events"] == (
        {"resumed": 1} if verdict == "stripped" else {"not_resumed": 1}
    )
    moved(told, after).check("c>s [P.] 46:46 ack 0")
    after.push(told.frame('c>s [P.] 46 "more" ack 0'))
    after.finish()
    assert [record["verdict"] for record in after.take_records()] == ([verdict] if verdict else [])


def test_a_codec_that_is_gone_takes_its_connections_with_it() -> None:
    told = talk(header=headers.magic())
    told.check("c>s [S] -> same\ns>c [S.] ack 0 -> same\nc>s [P.] 0:39 ack 0")
    checkpoint = checkpoint_of(told.driver)
    config = orjson.loads(configure(gateway(headers=["proxy-v2"])))
    config["codecs"].remove(MAGIC_LAYOUT)
    engine = Engine(orjson.dumps(config))
    assert engine.resume(checkpoint) == 0
    assert engine.stats()["events"] == {"not_resumed": 1}


def test_of_several_workers_connections_each_is_recorded_by_its_own() -> None:
    driver = drive()
    told = [talk(driver, leg=Leg(client_port=port)) for port in (40001, 40002)]
    for one in told:
        one.check(STARTED)
    checkpoint = checkpoint_of(driver)
    records: list[dict[str, Any]] = []
    for own in told:
        engine = Engine(configure())
        assert engine.resume(checkpoint, shared=True) == 2
        worker = Driver(engine)
        worker.now = driver.now
        moved(own, worker).check("s>c [P.] 0:19 ack 46 -> s>c [P.] 0:19 ack 18")
        worker.finish()
        records += worker.take_records()
    assert [record["observed"]["src_port"] for record in records] == [40001, 40002]


@pytest.mark.parametrize(
    ("blob", "text"),
    [
        (b"SQLite format 3\0", "this is no checkpoint"),
        (b"PTCK\x02", "the checkpoint has version 2; this program knows 1"),
        (b"PTCK\x01\0\0", "the checkpoint is cut"),
        (b"PTCK\x01\0\0\0\x04abcd", "the checkpoint is damaged: its checksum is wrong"),
    ],
)
def test_what_is_no_checkpoint_is_said(blob: bytes, text: str) -> None:
    with pytest.raises(ValueError, match=f"^{text}$"):
        Engine(configure()).resume(blob)


def test_nothing_is_a_checkpoint_of_nothing() -> None:
    engine = Engine(configure())
    assert engine.checkpoint(full=True) == b""
    assert engine.resume(b"") == 0
