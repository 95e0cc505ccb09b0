"""`_bulk` against a strict server of the published API (tests/support/http_bulk.py)."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from suricata.sinks.client import Outgoing, Partly, Rejected, Unavailable
from suricata.sinks.elasticsearch import ElasticsearchClient
from suricata.sinks.settings import Elasticsearch
from tests.support.http_bulk import Bulk
from tests.support.http_siem import papers
from tests.support.sink_load import drive, many, outgoing

PASSWORD = "correct-horse-battery"


def client(server: Bulk, **more: Any) -> ElasticsearchClient:
    return ElasticsearchClient(
        Elasticsearch.model_validate({"url": server.url, "timeout_seconds": 60, **more})
    )


def test_events_arrive_under_their_ids_as_they_are() -> None:
    events = many(3)
    with Bulk() as server:
        assert client(server).deliver(events) == []
    assert server.documents == {one.id: one.line for one in events}
    assert server.complaints == []
    assert server.headers[-1]["Content-Encoding"] == "gzip"


def test_what_is_there_already_is_there_once_and_counts_as_taken() -> None:
    events = many(10)
    with Bulk() as server:
        sink = client(server, gzip=False)
        sink.deliver(events[:6])
        assert sink.deliver(events) == []
        assert sink.status()["duplicates"] == 6
    assert len(server.documents) == 10


ITEMS = {
    # id, status that it gets -> what becomes of it
    "a mapping that does not fit": (400, "rejected"),
    "too busy": (429, "again"),
    "a shard is away": (503, "again"),
    "the index is read-only": (403, "again"),
    "the index is not there": (404, "again"),
}


@pytest.mark.parametrize(("status", "fate"), ITEMS.values(), ids=ITEMS)
def test_each_event_has_its_own_fate(status: int, fate: str) -> None:
    events = many(5)
    with Bulk() as server:
        server.item_faults[events[2].id] = status
        if fate == "rejected":
            assert client(server).deliver(events) == [
                Rejected(2, "400 made_up: as the test wants it")
            ]
        else:
            with pytest.raises(Partly, match="1 of 5 events are not taken just now") as told:
                client(server).deliver(events)
            assert told.value.taken == {0, 1, 3, 4}
            assert told.value.rejected == []
    assert set(server.documents) == {one.id for one in events} - {events[2].id}


def test_a_request_that_is_too_large_goes_in_halves_and_one_event_that_is_does_not_go() -> None:
    events = many(40)
    events[7] = outgoing(7, payload="x" * 20_000)
    with Bulk(most_bytes=8_000) as server:
        [rejected] = client(server).deliver(events)
    assert rejected.index == 7
    assert "413" in rejected.reason
    assert len(server.documents) == 39


REFUSALS = {
    "reset": "the connection broke off",
    "busy": "it answers 429",
    "failing": "it answers 503",
    "garbage": "its answer is none of _bulk",
    "other": "its answer is none of _bulk",
    "half": "the connection broke off",
    "drip": "no whole answer within 1 s",
    "denied": "it answers 401",
}


@pytest.mark.parametrize(("fault", "words"), REFUSALS.items(), ids=REFUSALS)
def test_a_fault_is_told_with_its_address_and_the_batch_comes_again(fault: str, words: str) -> None:
    events = many(3)
    with Bulk() as server:
        server.faults.append(fault)
        sink = client(server, timeout_seconds=1 if fault == "drip" else 60)
        with pytest.raises(Unavailable, match=words) as told:
            sink.deliver(events)
        assert server.url in str(told.value)
        assert told.value.retry_after == (1.0 if fault == "busy" else None)
        assert drive(sink, events).rejected == {}
    assert len(server.documents) == 3


def test_proofs_and_that_they_are_never_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ES_KEY", PASSWORD)
    file = tmp_path / "password"
    file.write_text("wrong-one-first\n")
    with Bulk(api_key=PASSWORD) as server:
        assert client(server, api_key={"env": "ES_KEY"}).deliver(many(1)) == []
    with Bulk(basic=f"elastic:{PASSWORD}") as server:
        sink = client(server, user="elastic", password={"file": str(file)})
        with pytest.raises(Unavailable, match=f"it answers 401 .*; see the file {file}"):
            sink.deliver(many(1))
        # The file is read again; and a server that repeats what it was told gives nothing away.
        file.write_text(PASSWORD + "\n")
        assert sink.deliver(many(1)) == []
        server.faults.append("denied")
        with pytest.raises(Unavailable, match="401") as told:
            sink.deliver(many(1))
        assert "no: Basic ***" in str(told.value)
        for text in (str(told.value), repr(sink.status()), repr(sink._settings)):
            assert PASSWORD not in text
    assert server.complaints == []


def test_a_secret_that_is_not_there_is_a_trouble_with_its_place(tmp_path: Path) -> None:
    with Bulk() as server:
        sink = client(server, api_key={"file": str(tmp_path / "none")})
        with pytest.raises(Unavailable, match=f"the file {tmp_path}/none cannot be read"):
            sink.deliver(many(1))


def test_tls_is_verified_unless_it_is_said(tmp_path: Path) -> None:
    papers(tmp_path)
    with Bulk(tmp_path) as server:
        assert client(server, ca=str(tmp_path / "ca.pem")).deliver(many(2)) == []
        with pytest.raises(Unavailable, match=r"no TLS \(.*; name its authority under ca"):
            client(server, ca=str(tmp_path / "other.pem")).deliver(many(2))
        trusting = client(server, verify=False)
        assert trusting.deliver(many(2)) == []
        assert trusting.status()["tls_verified"] is False
        with pytest.raises(ValueError, match=r"ca: .*/password cannot be used"):
            client(server, ca=str(tmp_path / "password"))


def test_another_node_is_asked_where_one_is_gone() -> None:
    with Bulk() as gone, Bulk() as server:
        gone.kill()
        sink = client(server, url=[gone.url, server.url])
        assert sink.deliver(many(2)) == []
        assert sink.status()["address"] == server.url
        server.kill()
        with pytest.raises(Unavailable, match=r"no connection \(Connection refused\)"):
            sink.deliver(many(2))


def test_a_stop_ends_a_request_that_waits() -> None:
    with Bulk() as server:
        server.faults.append("drip")
        sink = client(server, timeout_seconds=60)
        timer = threading.Timer(0.2, sink.abort)
        timer.start()
        with pytest.raises(Unavailable, match="stopped amid a request"):
            sink.deliver(many(1))
        with pytest.raises(Unavailable, match="stopped"):
            sink.deliver(many(1))
        sink.close()


def test_it_says_what_it_found() -> None:
    with Bulk() as server:
        assert client(server).check() == f"{server.url}: opensearch 2.19.0, cluster siem"
        server.only_writing = True
        assert client(server).check() == f"{server.url}: it knows us, and tells us no version"
    with pytest.raises(Unavailable, match="no connection"):
        client(server).check()


def test_a_line_that_is_no_json_is_refused_by_the_server_alone() -> None:
    with Bulk() as server:
        bad = Outgoing("x.1", b"{", {})
        [rejected] = client(server).deliver([outgoing(1), bad, outgoing(2)])
    assert rejected.index == 1
    assert len(server.documents) == 2
