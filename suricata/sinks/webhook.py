"""Any HTTP server, by POST: a batch of lines, a JSON array, or a request for each event.

A 2xx is the acknowledgement. `Idempotency-Key` is an event's id, or made of those of the batch, so
that a receiver knows a repeat; the events carry their ids as well.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from typing import Any, Final

from ..secrets import Secret, SecretError, read_all
from .client import Outgoing, Rejected
from .http import Answer, Http
from .parts import Outcome, Smaller, in_parts
from .settings import Webhook

# Too large, or something in it is wrong: a smaller request tells what.
_SMALLER: Final = frozenset({400, 413, 422})


class WebhookClient:
    """Delivers to one URL."""

    kind = "webhook"

    def __init__(self, settings: Webhook) -> None:
        self._settings = settings
        self._http = Http(self.kind, settings, [settings.url], compress=settings.gzip)
        self._secrets: tuple[dict[str, str], bytes] | None = None

    def deliver(self, batch: Sequence[Outgoing]) -> list[Rejected]:
        """See Client."""
        places = range(len(batch))
        single = self._settings.format == "single"
        parts: list[Sequence[int]] = [[at] for at in places] if single else [places]
        return in_parts(parts, lambda part: self._send([batch[at] for at in part]))

    def _send(self, events: list[Outgoing]) -> Outcome:
        if len(events) == 1:
            key = events[0].id
        else:
            key = hashlib.sha256("\n".join(one.id for one in events).encode()).hexdigest()[:64]
        answer = self._post(self._body(events), key)
        if 200 <= answer.status < 300:
            return Outcome()
        url = self._settings.url
        if answer.status in _SMALLER:
            words = answer.body[:4096].decode(errors="replace")
            raise Smaller(self._http.redactor.clean(f"{answer.status} {words}"))
        if answer.status in (401, 403):
            # Its file may hold another one by now.
            self._secrets = None
            raise self._http.said(answer, f"see {self._places()}", url)
        raise self._http.said(answer, "see the receiver, and the address", url)

    def _body(self, events: list[Outgoing]) -> bytes:
        match self._settings.format:
            case "ndjson":
                return b"".join(b"%s\n" % one.line for one in events)
            case "array":
                return b"[%s]" % b",".join(one.line for one in events)
            case _:
                return events[0].line

    def _post(self, body: bytes, key: str) -> Answer:
        secrets = self._secrets
        if secrets is None:
            secrets = self._secrets = self._read()
        fixed, signing = secrets
        lines = self._settings.format == "ndjson"
        headers = {
            "Content-Type": "application/x-ndjson" if lines else "application/json",
            "Idempotency-Key": key,
            **fixed,
        }
        if self._settings.sign is not None:
            # Of the body as it was before it was compressed.
            digest = hmac.new(signing, body, hashlib.sha256).hexdigest()
            headers[self._settings.sign.header] = f"sha256={digest}"
        return self._http.request("POST", self._settings.url, body, headers)

    def _read(self) -> tuple[dict[str, str], bytes]:
        """The configured headers and the key of the signature. Raises Unavailable."""
        headers = {}
        signing = b""
        try:
            for name, value in self._settings.headers.items():
                if isinstance(value, Secret):
                    [headers[name]] = read_all([value], self._http.redactor)
                else:
                    headers[name] = value
            if self._settings.sign is not None:
                [text] = read_all([self._settings.sign.secret], self._http.redactor)
                signing = text.encode()
        except SecretError as error:
            raise self._http.secret_missing(error, self._settings.url) from None
        return headers, signing

    def _places(self) -> str:
        headers = self._settings.headers
        secret = [f"{value.place}" for value in headers.values() if isinstance(value, Secret)]
        return ", ".join(secret) or "headers, which hold no secret,"

    def check(self) -> str:
        """See Client. No event is sent: a receiver may do anything with it."""
        answer = self._http.request("OPTIONS", self._settings.url, b"", self._read()[0])
        if answer.status in (401, 403) or answer.status >= 500:
            raise self._http.said(
                answer, f"see the receiver and {self._places()}", self._settings.url
            )
        return f"{self._settings.url}: it answers ({answer.status})"

    def abort(self) -> None:
        """See Client."""
        self._http.abort()

    def reopen(self) -> None:
        """See Client."""
        self._secrets = None
        self._http.reopen()

    def status(self) -> dict[str, Any]:
        """See Client."""
        return {"kind": self.kind, "address": self._settings.url, **self._http.status()}

    def close(self) -> None:
        """See Client."""
        self._http.close()
