"""The canary: what is chosen, what is recognised, what each end of the flight tells."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import peeltap_core
import pytest

from fixtures.netns import Lab
from pipeline import config
from pipeline.doctor import canary
from pipeline.doctor.canary import CanaryError, Flight, Plan, findings, fly, judge, plan
from pipeline.doctor.frames import End, conversation
from reassembly.engine_config import engine_config

LAYOUT6 = '{ours: {layout: [{bytes: "4f555253"}, {ipv6: peer}, {u16be: peer_port}, \
{ipv6: destination}, {u16be: destination_port}]}}'


def _engine(gateways: str, codecs: str = "{}") -> dict[str, Any]:
    settings = config.parse(f"gateways: {gateways}\ncodecs: {codecs}\n", "test.yaml")
    engine: dict[str, Any] = json.loads(engine_config(settings.engine))
    return engine


CHOSEN = [
    ("[{from: 172.16.23.1, to: 172.16.23.2:9000, headers: [proxy-v2]}]", "{}", "proxy-v2", 28),
    ("[{from: 172.16.0.0/16, to: 172.17.0.0/24, headers: [proxy-v1]}]", "{}", "proxy-v1", None),
    ("[{from: fd00::1, to: 'fd00::2', headers: [proxy-v2]}]", "{}", "proxy-v2", 28),
    (
        "[{from: 10.0.0.1, to: 10.0.0.2, headers: [magic]}]",
        '{magic: {magic: "d1e0c0ffee5eedb5"}}',
        "magic",
        21,
    ),
    ("[{from: 10.0.0.1, to: 10.0.0.2, headers: [proxy-v2], depth: 3}]", "{}", "proxy-v2", 84),
    (
        "[{from: '10.0.0.1:7', to: 10.0.0.2, headers: [proxy-v2]},"
        " {from: 10.0.0.3, to: 10.0.0.2, headers: [sslproxy, proxy-v1]}]",
        "{sslproxy: {position: request}}",
        "proxy-v1",
        None,
    ),
]


@pytest.mark.parametrize(("gateways", "codecs", "codec", "length"), CHOSEN)
def test_the_engine_takes_what_is_chosen_for_proxied(
    gateways: str, codecs: str, codec: str, length: int | None
) -> None:
    engine = _engine(gateways, codecs)
    made = plan(engine, random.Random(7))
    assert made.codec == codec
    assert length in (None, len(made.header))
    assert made.source[1] >= 61_000
    core = peeltap_core.Engine(json.dumps(engine).encode())
    leave: list[tuple[int, bytes]] = []
    client = End(b"\x02pt\0\0\0", *made.source, 1000)
    server = End(b"\x02pt\0\0\1", *made.target, 2000)
    for at, (_, frame) in enumerate(conversation(client, server, made.request, made.response)):
        leave += core.push(at * 1000, frame)
    leave += core.finish()
    out = b"".join(frame for _, frame in leave)
    records = [json.loads(line) for line in core.take_records().splitlines()]
    assert [record["verdict"] for record in records] == ["stripped"]
    true = records[0]["true"]
    assert (true["src_ip"], true["src_port"]) == made.peer
    assert made.token.encode() in out
    assert made.header not in out


REFUSED = [
    ("[{from: '10.0.0.1:7', to: 10.0.0.2, headers: [proxy-v2]}]", "{}", "every leg fixes"),
    (
        "[{from: 10.0.0.1, to: 10.0.0.2, headers: [sslproxy]}]",
        "{sslproxy: {position: request}}",
        "no leg has a codec",
    ),
]


@pytest.mark.parametrize(("gateways", "codecs", "words"), REFUSED)
def test_refused(gateways: str, codecs: str, words: str) -> None:
    with pytest.raises(CanaryError, match=words):
        plan(_engine(gateways, codecs), random.Random(7))
    flight = fly(_engine(gateways, codecs), "br1", "vtap0", [])
    [found] = findings(flight, "br1")
    assert (found.state, words in found.text) == ("fail", True)


def test_a_codec_without_room_for_ipv4_says_ipv6() -> None:
    engine = _engine("[{from: 10.0.0.1, to: 10.0.0.2, headers: [ours]}]", LAYOUT6)
    made = plan(engine, random.Random(7))
    read = peeltap_core.parse_header(json.dumps(engine["codecs"][-1]).encode(), made.header)
    assert read is not None
    assert read["true"]["src_port"] == made.peer[1]


PLAN = Plan(
    ("172.16.23.1", 61_234),
    ("172.16.23.2", 9000),
    ("198.51.100.77", 20_001),
    ("203.0.113.80", 80),
    "proxy-v2",
    b"header",
    "0123456789abcdef",
)
CORRECTED = {
    "event_type": "http",
    "src_ip": "198.51.100.77",
    "src_port": 20_001,
    "dest_ip": "203.0.113.80",
    "dest_port": 80,
    "peeltap": {
        "observed": {"src_port": 61_234, "dest_port": 9000},
        "verdict": "stripped",
    },
}
RAW = {"src_ip": "172.16.23.1", "src_port": 61_234, "dest_ip": "172.16.23.2", "dest_port": 9000}
BACK = {**CORRECTED, "src_ip": "203.0.113.80", "src_port": 80}
BACK |= {"dest_ip": "198.51.100.77", "dest_port": 20_001}
OTHERS = {**CORRECTED, "peeltap": {"observed": {"src_port": 61_234, "dest_port": 9001}}}

JUDGED = [
    (CORRECTED, True, False),
    (BACK, True, False),
    (RAW, False, True),
    ({**RAW, "peeltap": {"confidence": "none"}}, False, True),
    (OTHERS, False, False),
    ({"src_port": 61_234}, False, False),
    ([61_234], False, False),
]


@pytest.mark.parametrize(("event", "corrected", "uncorrected"), JUDGED)
def test_its_event_is_recognised(event: Any, corrected: bool, uncorrected: bool) -> None:
    flight = Flight()
    judge(flight, PLAN, json.dumps(event).encode())
    assert (flight.event is not None, flight.uncorrected is not None) == (corrected, uncorrected)


@pytest.mark.parametrize("line", [b"", b"61234", b"{61234", b'{"a": 1}', b"\xff61234"])
def test_other_lines_are_passed_over(line: bytes) -> None:
    flight = Flight()
    judge(flight, PLAN, line)
    assert (flight.event, flight.uncorrected) == (None, None)


def test_ipv6_is_the_same_in_every_form() -> None:
    made = replace(PLAN, peer=("2001:db8:77::1", 20_001))
    flight = Flight()
    event = {**CORRECTED, "src_ip": "2001:0db8:0077:0000:0000:0000:0000:0001"}
    judge(flight, made, json.dumps(event).encode())
    assert flight.event == event


TOLD = [
    (Flight(PLAN), "fail", "do not cross br1"),
    (Flight(PLAN, crossed=True, event=CORRECTED), "ok", "of type http, from 198.51.100.77"),
    (Flight(PLAN, crossed=True, uncorrected=RAW), "fail", "with the gateways' addresses"),
    (
        Flight(PLAN, crossed=True, watched_tap="vtap0", on_tap=True, on_tap_with_header=True),
        "fail",
        "on vtap0 with its header still in front",
    ),
    (Flight(PLAN, crossed=True, watched_tap="vtap0"), "fail", "did not come to vtap0"),
    (Flight(PLAN, crossed=True, watched_tap="vtap0", on_tap=True), "warn", "no sink is a file"),
    (
        Flight(PLAN, crossed=True, watched_tap="vtap0", on_tap=True, sinks=["e.json"]),
        "fail",
        "on vtap0, without its header, but no event",
    ),
    (Flight(PLAN, crossed=True, sinks=["e.json"]), "fail", "it is across br1, but no event"),
]


@pytest.mark.parametrize(("flight", "state", "words"), TOLD, ids=[row[2] for row in TOLD])
def test_how_far_it_came(flight: Flight, state: str, words: str) -> None:
    [found] = findings(flight, "br1")
    assert (found.state, words in found.text) == (state, True)


def test_the_time_for_its_event_begins_when_it_has_crossed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now, ends = 100.0, []

    @contextmanager
    def cage(bridge: str) -> Iterator[tuple[None, None]]:
        nonlocal now
        now += 50
        yield None, None

    monkeypatch.setattr(canary, "time", SimpleNamespace(monotonic=lambda: now))
    monkeypatch.setattr(canary, "cage", cage)
    monkeypatch.setattr(canary, "_watch", lambda *_: None)
    monkeypatch.setattr(canary, "_send", lambda *_: True)
    monkeypatch.setattr(canary, "_follow", lambda *arguments: ends.append(arguments[-1]))
    engine = _engine("[{from: 172.16.23.1, to: 172.16.23.2:9000, headers: [proxy-v2]}]")
    assert fly(engine, "br1", "vtap0", [], seconds=5.0).crossed
    assert ends == [155.0]


@pytest.mark.netns
def test_where_nothing_runs_it_crosses_and_comes_nowhere() -> None:
    engine = _engine("[{from: 172.16.23.1, to: 172.16.23.2:9000, headers: [proxy-v2]}]")
    with Lab() as lab:
        host = lab.namespace("host")
        lab.bridge(host, "br1")
        with host.entered():
            flight = fly(engine, "br1", "lo", [lab.directory / "events.json"], seconds=0.5)
    assert flight.crossed
    assert (flight.watched_tap, flight.on_tap) == ("lo", False)
    [found] = findings(flight, "br1")
    assert "did not come to lo" in found.text
