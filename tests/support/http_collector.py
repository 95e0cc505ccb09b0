"""Splunk's HTTP Event Collector as published; see `http_siem` for what it is not."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import orjson

from .http_siem import Siem


class Collector(Siem):
    """Knows one token, and acknowledges after some polls; a restart forgets what it owes."""

    def __init__(
        self,
        papers: Path | None = None,
        *,
        token: str,
        acks: bool = True,
        most_bytes: int = 1 << 22,
    ) -> None:
        super().__init__(papers)
        self.token = token
        self.acks = acks
        self.most_bytes = most_bytes
        self.indexed: Counter[str] = Counter()
        self.events: list[dict[str, Any]] = []
        self.polls_needed = 1
        self.poison: set[str] = set()
        self._owed: dict[tuple[str, int], list[str]] = {}
        self._polled: Counter[tuple[str, int]] = Counter()
        self._next = 0

    def carries_events(self, path: str) -> bool:
        return path.endswith("/event")

    def restart(self) -> None:
        self.kill()
        # What was received and not yet indexed is lost, as is every promise.
        self._owed.clear()
        self.start()

    def answer(self, method: str, path: str, headers: Any, body: bytes) -> tuple[int, bytes]:
        url = urlsplit(path)
        if url.path == "/services/collector/health" and method == "GET":
            return _says(200, 17, "HEC is healthy")
        proof = headers.get("Authorization")
        if proof is None:
            return _says(401, 2, "Token is required")
        if proof != f"Splunk {self.token}":
            return _says(403, 4, "Invalid token")
        channel = headers.get("X-Splunk-Request-Channel", "")
        if self.acks and len(channel) != 36:
            return _says(400, 10, "Data channel is missing")
        if method == "POST" and url.path == "/services/collector/ack":
            return self._ack(channel, body)
        if method != "POST" or url.path != "/services/collector/event":
            self.complaints.append(f"{method} {path}")
            return 404, b""
        if len(body) > self.most_bytes:
            return 413, b""
        return self._take(channel, body)

    def _take(self, channel: str, body: bytes) -> tuple[int, bytes]:
        if not body:
            return _says(400, 5, "No data")
        found = []
        for number, one in enumerate(_objects(body)):
            event = one.get("event")
            if event is None:
                return _says(400, 12, "Event field is required", **{"invalid-event-number": number})
            if event["peeltap"]["id"] in self.poison:
                return _says(400, 6, "Invalid data format", **{"invalid-event-number": number})
            if set(one) - {"event", "time", "host", "source", "sourcetype", "index", "fields"}:
                self.complaints.append(f"unknown keys: {sorted(one)}")
            found.append(one)
        idents = [one["event"]["peeltap"]["id"] for one in found]
        if [one["fields"]["peeltap_id"] for one in found] != idents:
            self.complaints.append("ids that differ")
        self.events += found[:1]
        if not self.acks:
            self.indexed.update(idents)
            return _says(200, 0, "Success")
        ack, self._next = self._next, self._next + 1
        self._owed[channel, ack] = idents
        return _says(200, 0, "Success", ackId=ack)

    def _ack(self, channel: str, body: bytes) -> tuple[int, bytes]:
        if not self.acks:
            return _says(400, 14, "ACK is disabled")
        told = {}
        for ack in orjson.loads(body)["acks"]:
            key = channel, ack
            self._polled[key] += 1
            done = key in self._owed and self._polled[key] >= self.polls_needed
            told[str(ack)] = done
            if done:
                # Told once, then forgotten.
                self.indexed.update(self._owed.pop(key))
        return 200, orjson.dumps({"acks": told})


def _says(status: int, code: int, text: str, **more: Any) -> tuple[int, bytes]:
    return status, orjson.dumps({"text": text, "code": code, **more})


def _objects(body: bytes) -> Any:
    """JSON objects one behind the other, as the collector takes them."""
    if b"}\n{" not in body and b"}{" in body:
        # The quick way, for those that we know: an envelope begins with its host.
        pieces = body.replace(b'}{"host":', b'}\n{"host":').split(b"\n")
        return [orjson.loads(piece) for piece in pieces]
    decoder = json.JSONDecoder()
    text, at, found = body.decode(), 0, []
    while at < len(text):
        one, at = decoder.raw_decode(text, at)
        found.append(one)
    return found
