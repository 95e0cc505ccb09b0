"""`_bulk` of Elasticsearch and OpenSearch, as published; see `http_siem` for what it is not."""

from __future__ import annotations

import base64
from collections import Counter
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import orjson

from .http_siem import Siem

# What those limit to 100 MB, small enough for a test.
MOST_BYTES = 4 << 20


class Bulk(Siem):
    """Knows one index, and who may write to it."""

    def __init__(
        self,
        papers: Path | None = None,
        *,
        basic: str | None = None,
        api_key: str | None = None,
        index: str = "peeltap",
        most_bytes: int = MOST_BYTES,
    ) -> None:
        super().__init__(papers)
        self.documents: dict[str, bytes] = {}
        self.tries: Counter[str] = Counter()
        self.basic = basic
        self.api_key = api_key
        self.most_bytes = most_bytes
        self.index = index
        self.only_writing = False
        self.item_faults: dict[str, int] = {}
        """Per id: the status that it gets; below 0 once only."""

    def carries_events(self, path: str) -> bool:
        return "_bulk" in path

    def answer(self, method: str, path: str, headers: Any, body: bytes) -> tuple[int, bytes]:
        if not self._proved(headers.get("Authorization")):
            return 401, b'{"error":{"type":"security_exception"},"status":401}'
        url = urlsplit(path)
        query = parse_qs(url.query)
        if (method, url.path) == ("GET", "/"):
            if self.only_writing:
                return 403, b'{"error":{"type":"security_exception"},"status":403}'
            return 200, orjson.dumps(
                {
                    "cluster_name": "siem",
                    "version": {"number": "2.19.0", "distribution": "opensearch"},
                }
            )
        if (method, url.path) != ("POST", f"/{self.index}/_bulk"):
            return self._complain(405, f"{method} {path}")
        if headers.get("Content-Type") != "application/x-ndjson":
            return self._complain(406, f"Content-Type {headers.get('Content-Type')}")
        if not set(query) <= {"filter_path", "pipeline"}:
            return self._complain(400, f"unrecognized parameters {sorted(query)}")
        if len(body) > self.most_bytes:
            return 413, b""
        if not body.endswith(b"\n"):
            return self._complain(400, "the bulk request must be terminated by a newline")
        lines = body.split(b"\n")[:-1]
        if len(lines) % 2:
            return self._complain(400, "an action without its document")
        items = [
            {"create": self._create(orjson.loads(lines[at]), lines[at + 1])}
            for at in range(0, len(lines), 2)
        ]
        errors = any("error" in item["create"] for item in items)
        return 200, orjson.dumps({"errors": errors, "items": items})

    def _proved(self, proof: str | None) -> bool:
        if self.basic is not None:
            return proof == "Basic " + base64.b64encode(self.basic.encode()).decode()
        if self.api_key is not None:
            return proof == f"ApiKey {self.api_key}"
        return proof is None

    def _complain(self, status: int, text: str) -> tuple[int, bytes]:
        self.complaints.append(text)
        return status, orjson.dumps({"error": {"type": "illegal_argument", "reason": text}})

    def _create(self, action: Any, document: bytes) -> dict[str, Any]:
        ident = action["create"]["_id"]
        self.tries[ident] += 1
        status = self.item_faults.get(ident, 0)
        if status < 0:
            del self.item_faults[ident]
        if status:
            return _error(ident, abs(status), "made_up", "as the test wants it")
        try:
            found = orjson.loads(document)
        except orjson.JSONDecodeError as error:
            return _error(ident, 400, "document_parsing_exception", str(error))
        if type(found) is not dict:
            return _error(ident, 400, "document_parsing_exception", "no object")
        if ident in self.documents:
            return _error(ident, 409, "version_conflict_engine_exception", "already exists")
        self.documents[ident] = document
        return {"_id": ident, "status": 201}


def _error(ident: str, status: int, kind: str, reason: str) -> dict[str, Any]:
    return {"_id": ident, "status": status, "error": {"type": kind, "reason": reason}}
