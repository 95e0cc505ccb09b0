"""The HTTP Event Collector, against a strict server of the published API."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from suricata.sinks.client import Outgoing, Partly, Unavailable
from suricata.sinks.settings import Splunk
from suricata.sinks.splunk import SplunkClient
from tests.support.http_collector import Collector
from tests.support.sink_load import drive, many, outgoing

TOKEN = "11111111-2222-3333-4444-555555555555"


@pytest.fixture(autouse=True)
def _token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPLUNK_TOKEN", TOKEN)


def client(server: Collector, **more: Any) -> SplunkClient:
    settings = {"url": server.url, "token": {"env": "SPLUNK_TOKEN"}, "timeout_seconds": 60, **more}
    return SplunkClient(Splunk.model_validate(settings))


def test_an_event_counts_when_the_indexers_have_it() -> None:
    with Collector(token=TOKEN) as server:
        server.polls_needed = 3
        sink = client(server, index="traps", host="sensor-1")
        assert sink.deliver(many(3)) == []
        assert sink.status()["polls"] == 3
    assert server.indexed == {one.id: 1 for one in many(3)}
    [event] = server.events
    assert event == {
        "host": "sensor-1",
        "source": "peeltap",
        "sourcetype": "suricata",
        "index": "traps",
        "time": 1767225600.0,
        "fields": {"peeltap_id": many(1)[0].id},
        "event": many(1)[0].event,
    }
    assert server.complaints == []


def test_what_is_never_acknowledged_is_sent_again() -> None:
    with Collector(token=TOKEN) as server:
        server.polls_needed = 1000
        sink = client(server, ack_seconds=0.3)
        with pytest.raises(Unavailable, match=r"/ack: not indexed within 0.3 s"):
            sink.deliver(many(2))
        server.polls_needed = 1
        assert drive(sink, many(2)).rejected == {}
        assert set(server.indexed) == {one.id for one in many(2)}


def test_a_token_without_acknowledgement_is_named_and_may_be_accepted() -> None:
    with Collector(token=TOKEN, acks=False) as server:
        with pytest.raises(Unavailable, match="enable indexer acknowledgement for the token, or"):
            client(server).deliver(many(2))
        assert client(server, ack=False).deliver(many(2)) == []


def test_an_event_that_it_refuses_is_told_apart_from_the_others() -> None:
    events = many(6)
    with Collector(token=TOKEN) as server:
        server.poison = {events[2].id}
        sink = client(server)
        with pytest.raises(Partly, match="the others are sent again") as told:
            sink.deliver(events)
        [rejected] = told.value.rejected
        assert (rejected.index, rejected.reason) == (2, "400 Invalid data format")
        assert told.value.taken == set()
        assert sink.deliver([*events[:2], *events[3:]]) == []
    assert len(server.indexed) == 5


def test_a_request_that_is_too_large_goes_in_halves() -> None:
    events = [outgoing(number, payload="x" * (20_000 * (number == 5))) for number in range(20)]
    with Collector(token=TOKEN, most_bytes=8_000) as server:
        [rejected] = client(server).deliver(events)
    assert rejected.index == 5
    assert len(server.indexed) == 19


REFUSALS = {
    "reset": "the connection broke off",
    "failing": r"it answers 503 \(.*Server is busy.*\); see the collector",
    "busy": "it answers 429",
    "garbage": "it answers 200",
    "other": "it answers 200",
    "half": "the connection broke off",
    "drip": "no whole answer within 1 s",
}


@pytest.mark.parametrize(("fault", "words"), REFUSALS.items(), ids=REFUSALS)
def test_a_fault_is_told_and_the_batch_comes_again(fault: str, words: str) -> None:
    with Collector(token=TOKEN) as server:
        server.faults.append(fault)
        sink = client(server, timeout_seconds=1 if fault == "drip" else 60)
        with pytest.raises(Unavailable, match=words) as told:
            sink.deliver(many(3))
        assert str(told.value).startswith(f"splunk {server.url}/services/collector/event: ")
        assert drive(sink, many(3)).rejected == {}


def test_the_token_is_read_again_and_never_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPLUNK_TOKEN", "another-token-that-is-wrong")
    with Collector(token=TOKEN) as server:
        sink = client(server)
        with pytest.raises(Unavailable, match=r"it answers 403 .*; see the environment variable"):
            sink.deliver(many(1))
        monkeypatch.setenv("SPLUNK_TOKEN", TOKEN)
        assert sink.deliver(many(1)) == []
        server.faults.append("denied")
        with pytest.raises(Unavailable, match=r"\(no: Splunk \*\*\*\)") as told:
            sink.deliver(many(1))
        for text in (str(told.value), repr(sink.status()), repr(sink._settings)):
            assert TOKEN not in text
        monkeypatch.delenv("SPLUNK_TOKEN")
        with pytest.raises(Unavailable, match="SPLUNK_TOKEN is empty or absent"):
            sink.deliver(many(1))


def test_it_says_what_it_found(monkeypatch: pytest.MonkeyPatch) -> None:
    with Collector(token=TOKEN) as server:
        assert client(server).check().endswith("the collector is healthy and the token is right")
        assert server.events == []
        monkeypatch.setenv("SPLUNK_TOKEN", "another-token")
        with pytest.raises(Unavailable, match="403"):
            client(server).check()


def test_a_stop_ends_the_wait_for_the_indexers() -> None:
    with Collector(token=TOKEN) as server:
        server.polls_needed = 1000
        sink = client(server)
        timer = threading.Timer(0.2, sink.abort)
        timer.start()
        with pytest.raises(Unavailable, match="stopped"):
            sink.deliver(many(1))
        sink.close()


def test_an_event_without_a_time_has_that_of_its_arrival() -> None:
    with Collector(token=TOKEN) as server:
        line = b'{"peeltap":{"id":"x.1"}}'
        client(server).deliver([Outgoing("x.1", line, {"peeltap": {"id": "x.1"}})])
    assert "time" not in server.events[0]
