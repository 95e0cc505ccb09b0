"""Elasticsearch and OpenSearch, by `_bulk`.

Each event is *created* under its id: a repeat meets a conflict (409), which says that the event is
there, so none is there twice. `create` is also the only way into a data stream.
https://www.elastic.co/docs/api/doc/elasticsearch/operation/operation-bulk
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import quote, urlencode

import orjson

from ..secrets import SecretError, read_all
from .client import Outgoing, Rejected, Unavailable
from .http import Answer, Http
from .parts import Outcome, Smaller, in_parts
from .settings import Elasticsearch

# All that is read of the answer: what was asked for is in it, thousands of times, otherwise.
_FILTER: Final = "errors,items.*._id,items.*.status,items.*.error.type,items.*.error.reason"
# Of a single event: the cluster's state, not the event's fault.
_LATER: Final = frozenset({401, 403, 404, 408, 429})


class ElasticsearchClient:
    """Delivers to an index, an alias or a data stream."""

    kind = "elasticsearch"

    def __init__(self, settings: Elasticsearch) -> None:
        self._settings = settings
        self._http = Http(self.kind, settings, settings.url, compress=settings.gzip)
        query = {"filter_path": _FILTER}
        if settings.pipeline is not None:
            query["pipeline"] = settings.pipeline
        self._path = f"/{quote(settings.index)}/_bulk?{urlencode(query)}"
        self._at = 0
        self._headers: dict[str, str] | None = None
        self._duplicates = 0

    def deliver(self, batch: Sequence[Outgoing]) -> list[Rejected]:
        """See Client."""
        return in_parts([range(len(batch))], lambda part: self._send(batch, part))

    def _send(self, batch: Sequence[Outgoing], part: Sequence[int]) -> Outcome:
        lines = []
        for at in part:
            one = batch[at]
            lines.append(b'{"create":{"_id":"%s"}}\n%s\n' % (one.id.encode(), one.line))
        url, answer = self._ask(
            "POST", self._path, b"".join(lines), {"Content-Type": "application/x-ndjson"}
        )
        if answer.status == 413:
            raise Smaller("the cluster takes no request as large as this event (413)")
        if answer.status != 200:
            self._next()
            raise self._http.said(answer, "see the cluster's state, and index and pipeline", url)
        return self._outcome(batch, part, answer, url)

    def _outcome(
        self, batch: Sequence[Outgoing], part: Sequence[int], answer: Answer, url: str
    ) -> Outcome:
        garbage = self._http.trouble(
            url, "its answer is none of _bulk; see whether something else answers there"
        )
        try:
            told = orjson.loads(answer.body)
            items = [item["create"] for item in told["items"]]
            results = [(item["_id"], int(item["status"]), item.get("error")) for item in items]
        except (ValueError, KeyError, TypeError, AttributeError):
            raise garbage from None
        if [one[0] for one in results] != [batch[at].id for at in part]:
            raise garbage
        rejected: list[Rejected] = []
        again: list[int] = []
        why = ""
        for at, (_, status, error) in zip(part, results, strict=True):
            if 200 <= status < 300:
                continue
            if status == 409:
                self._duplicates += 1
                continue
            words = self._http.redactor.clean(f"{status} {_reason(error)}")
            if status in _LATER or status >= 500:
                again.append(at)
                why = why or words
            else:
                rejected.append(Rejected(at, words))
        sentence = ""
        if again:
            sentence = str(
                self._http.trouble(
                    url,
                    f"{len(again)} of {len(part)} events are not taken just now ({why}); see the"
                    " cluster's state",
                )
            )
        return Outcome(rejected, again, sentence=sentence, retry_after=answer.retry_after)

    def _ask(
        self, method: str, path: str, body: bytes, headers: dict[str, str]
    ) -> tuple[str, Answer]:
        """Ask the node that answered last, then the others. Raises Unavailable of the last."""
        urls = self._settings.url
        trouble: Unavailable | None = None
        for _ in urls:
            url = urls[self._at % len(urls)]
            try:
                answer = self._http.request(
                    method, url + path, body, {**headers, **self._proof(url)}
                )
            except Unavailable as error:
                trouble = error
                self._next()
                continue
            if answer.status == 401 or (answer.status == 403 and method == "POST"):
                # Its file may hold another one by now.
                self._headers = None
                raise self._http.said(answer, f"see {self._places()} and its rights", url)
            return url, answer
        assert trouble is not None  # noqa: S101
        raise trouble

    def _next(self) -> None:
        self._at += 1

    def _places(self) -> str:
        secret = self._settings.api_key or self._settings.password
        return secret.place if secret else "user and password, which are not set,"

    def _proof(self, url: str) -> dict[str, str]:
        # `reopen` may come between: what is returned is what was made here.
        headers = self._headers
        if headers is None:
            headers = self._headers = self._read_proof(url)
        return headers

    def _read_proof(self, url: str) -> dict[str, str]:
        settings = self._settings
        try:
            values = read_all([settings.api_key or settings.password], self._http.redactor)
        except SecretError as error:
            raise self._http.secret_missing(error, url) from None
        if settings.api_key is not None:
            return {"Authorization": f"ApiKey {values[0]}"}
        if settings.user is None:
            return {}
        basic = base64.b64encode(f"{settings.user}:{values[0]}".encode()).decode()
        self._http.redactor.knows(basic)
        return {"Authorization": f"Basic {basic}"}

    def check(self) -> str:
        """See Client."""
        url, answer = self._ask("GET", "/", b"", {})
        if answer.status == 403:
            # Whoever may only write is known, and told nothing more.
            return f"{url}: it knows us, and tells us no version"
        if answer.status != 200:
            raise self._http.said(answer, "see the cluster's state", url)
        try:
            told = orjson.loads(answer.body)
            version = told["version"]
            name = f"{version.get('distribution', 'elasticsearch')} {version['number']}"
            cluster = f"{told['cluster_name']}"
        except (ValueError, KeyError, TypeError, AttributeError):
            raise self._http.trouble(url, "this is no Elasticsearch; see the address") from None
        return self._http.redactor.clean(f"{url}: {name}, cluster {cluster}")

    def abort(self) -> None:
        """See Client."""
        self._http.abort()

    def reopen(self) -> None:
        """See Client."""
        self._headers = None
        self._http.reopen()

    def status(self) -> dict[str, Any]:
        """See Client."""
        return {
            "kind": self.kind,
            "address": self._settings.url[self._at % len(self._settings.url)],
            "duplicates": self._duplicates,
            **self._http.status(),
        }

    def close(self) -> None:
        """See Client."""
        self._http.close()


def _reason(error: object) -> str:
    if isinstance(error, dict):
        return f"{error.get('type')}: {error.get('reason')}"
    return str(error)
