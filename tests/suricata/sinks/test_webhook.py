"""A webhook, against a server that reads what it gets and checks the signature."""

from __future__ import annotations

import hashlib
import hmac
from collections import Counter
from pathlib import Path
from typing import Any

import orjson
import pytest

from suricata.sinks.client import Partly, Unavailable
from suricata.sinks.settings import Webhook
from suricata.sinks.webhook import WebhookClient
from tests.support.http_siem import Siem, papers
from tests.support.sink_load import drive, many, outgoing

KEY = "a-key-for-signatures"


class Hook(Siem):
    """Takes any of the three formats at /events."""

    def __init__(self, papers: Path | None = None) -> None:
        super().__init__(papers)
        self.events: Counter[str] = Counter()
        self.keys: list[str] = []
        self.poison: set[str] = set()
        self.most_bytes = 1 << 23

    @property
    def url(self) -> str:
        return super().url + "/events"

    def answer(self, method: str, path: str, headers: Any, body: bytes) -> tuple[int, bytes]:
        if method == "OPTIONS":
            return 204, b""
        if (method, path) != ("POST", "/events"):
            self.complaints.append(f"{method} {path}")
            return 404, b""
        signature = headers.get("X-Peeltap-Signature")
        wanted = "sha256=" + hmac.new(KEY.encode(), body, hashlib.sha256).hexdigest()
        if signature is not None and signature != wanted:
            return 403, b""
        if len(body) > self.most_bytes:
            return 413, b""
        if headers["Content-Type"] == "application/x-ndjson":
            found = [orjson.loads(line) for line in body.splitlines()]
        else:
            found = orjson.loads(body)
            found = found if type(found) is list else [found]
        idents = [one["peeltap"]["id"] for one in found]
        if self.poison & set(idents):
            return 422, b"not this one"
        self.keys.append(headers["Idempotency-Key"])
        self.events.update(idents)
        return 202, b""


def client(server: Hook, **more: Any) -> WebhookClient:
    return WebhookClient(Webhook.model_validate({"url": server.url, "timeout_seconds": 60, **more}))


@pytest.mark.parametrize("form", ["ndjson", "array", "single"])
@pytest.mark.parametrize("compress", [False, True])
def test_each_format_arrives_whole_and_signed(
    form: str, compress: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOOK_KEY", KEY)
    events = many(4)
    with Hook() as server:
        sink = client(server, format=form, gzip=compress, sign={"secret": {"env": "HOOK_KEY"}})
        assert sink.deliver(events) == []
        assert sink.deliver(events) == []
    assert server.events == {one.id: 2 for one in events}
    assert "X-Peeltap-Signature" in server.headers[0]
    # A repeat has the same key, another batch another one.
    requests = 4 if form == "single" else 1
    assert server.keys[:requests] == server.keys[requests:]
    assert len(set(server.keys)) == requests
    if form == "single":
        assert server.keys[0] == events[0].id


def test_headers_are_sent_and_secret_ones_never_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "token"
    file.write_text("Bearer top-secret-thing\n")
    monkeypatch.setenv("HOOK_KEY", KEY)
    with Hook() as server:
        headers = {"Authorization": {"file": str(file)}, "X-Site": "north"}
        sink = client(server, headers=headers)
        sink.deliver(many(1))
        assert server.headers[0]["Authorization"] == "Bearer top-secret-thing"
        assert server.headers[0]["X-Site"] == "north"
        server.faults.append("denied")
        with pytest.raises(Unavailable, match=rf"\(no: \*\*\*\); see the file {file}") as told:
            sink.deliver(many(1))
        for text in (str(told.value), repr(sink.status()), repr(sink._settings)):
            assert "top-secret" not in text
        file.unlink()
        sink.reopen()
        with pytest.raises(Unavailable, match="cannot be read"):
            sink.deliver(many(1))


def test_one_that_is_refused_is_found_by_halves() -> None:
    events = many(50)
    events[20] = outgoing(20, payload="x" * 30_000)
    with Hook() as server:
        server.poison = {events[7].id}
        server.most_bytes = 20_000
        found = client(server).deliver(events)
    assert {one.index: one.reason for one in found} == {7: "422 not this one", 20: "413"}
    assert len(server.events) == 48


def test_of_single_ones_those_that_are_done_are_not_sent_again() -> None:
    events = many(5)
    with Hook() as server:
        server.faults.extend(["", "", "failing"])
        with pytest.raises(Partly, match="it answers 503") as told:
            client(server, format="single").deliver(events)
        assert told.value.taken == {0, 1}


REFUSALS = {
    "reset": "the connection broke off",
    "failing": "it answers 503",
    "half": None,
    "drip": "no whole answer within 1 s",
}


@pytest.mark.parametrize(("fault", "words"), REFUSALS.items(), ids=REFUSALS)
def test_a_fault_is_told_and_the_batch_comes_again(fault: str, words: str | None) -> None:
    with Hook() as server:
        server.faults.append(fault)
        sink = client(server, timeout_seconds=1 if fault == "drip" else 60)
        if words is not None:
            with pytest.raises(Unavailable, match=words):
                sink.deliver(many(3))
        assert drive(sink, many(3)).rejected == {}


def test_it_goes_nowhere_else() -> None:
    class Elsewhere(Hook):
        def answer(self, method: str, path: str, headers: Any, body: bytes) -> tuple[int, bytes]:
            return 307, b""

    with Elsewhere() as server, pytest.raises(Unavailable, match="it sends us elsewhere"):
        client(server).deliver(many(1))


def test_tls_and_our_own_certificate(tmp_path: Path) -> None:
    papers(tmp_path)
    with Hook(tmp_path) as server:
        sink = client(server, ca=str(tmp_path / "ca.pem"), cert=str(tmp_path / "client.pem"))
        assert sink.deliver(many(2)) == []
        with pytest.raises(Unavailable, match="no TLS"):
            client(server).deliver(many(2))


def test_it_says_what_it_found() -> None:
    with Hook() as server:
        assert client(server).check() == f"{server.url}: it answers (204)"
        assert not server.events
        server.faults.append("failing")
        with pytest.raises(Unavailable, match="503"):
            client(server).check()
