"""What may stand under each kind of sink that is another machine.

Secrets are named, never written; TLS is verified unless `verify: false` says otherwise.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self, get_args
from urllib.parse import SplitResult, urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    ValidationError,
    model_validator,
)

from ..secrets import Secret

Facility = Literal[
    "kern",
    "user",
    "mail",
    "daemon",
    "auth",
    "syslog",
    "lpr",
    "news",
    "uucp",
    "cron",
    "authpriv",
    "ftp",
    "local0",
    "local1",
    "local2",
    "local3",
    "local4",
    "local5",
    "local6",
    "local7",
]
"""In the words of syslog.conf, in the order of RFC 5424, table 1, without its 12 to 15."""

FACILITIES: Final[Mapping[str, int]] = {
    name: at if at < 12 else at + 4 for at, name in enumerate(get_args(Facility))
}

SYSLOG_PORTS: Final[Mapping[str, int]] = {"udp": 514, "tcp": 601, "tls": 6514}
"""RFC 5426, RFC 6587 (as RFC 3195 registered it), RFC 5425."""

# A word of a header of RFC 5424 or HTTP: printable ASCII without a space.
_PRINTABLE: Final = re.compile(r"[!-~]+")


def _split(text: str) -> SplitResult:
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError as error:
        raise ValueError(f"this is no address: {error}") from None
    return parts


def _address(text: str, schemes: str, example: str) -> str:
    """`text`, if it is a scheme, a host and perhaps a port and a path."""
    # Not shown before it is known to hold no password.
    parts = _split(text)
    if "@" in parts.netloc:
        raise ValueError(
            "a user or password stands in the address; take it out, and name it under keys of its"
            " own: user: NAME, password: {env: NAME}"
        )
    if parts.scheme not in schemes.split() or not parts.hostname or parts.query or parts.fragment:
        raise ValueError(f"{text[:60]!r} is no address of that kind; such as {example}")
    return text.rstrip("/")


def _http(text: str) -> str:
    return _address(text, "http https", "https://siem.example:9200")


def _redis(text: str) -> str:
    return _address(text, "redis rediss", "rediss://redis.example:6379")


def _syslog(text: str) -> str:
    if text.startswith("unix:"):
        if not text.removeprefix("unix:").startswith("/"):
            raise ValueError(f"{text[:60]!r} names no socket; such as unix:/dev/log")
        return text
    text = _address(text, "udp tcp tls", "tls://siem.example:6514")
    if _split(text).path:
        raise ValueError(f"{text[:60]!r} has a path; such as tls://siem.example:6514")
    return text


def _index(text: str) -> str:
    """Elasticsearch's own rules for the name of an index or data stream."""
    bad = re.search(r"[^!-~]|[A-Z\\/*?\"<>|,#:]", text)
    if bad or text[0] in "-_+" or text in (".", "..") or len(text) > 255:
        raise ValueError(
            f"{text[:60]!r} is no name of an index; lower case, without spaces or any of"
            r' \ / * ? " < > | , # :, and not beginning with - _ or +'
        )
    return text


def _topic(text: str) -> str:
    """Kafka's own rules for the name of a topic."""
    if re.fullmatch(r"[A-Za-z0-9._-]{1,249}", text) is None or text in (".", ".."):
        raise ValueError(f"{text[:60]!r} is no name of a topic; up to 249 of A-Z a-z 0-9 . _ and -")
    return text


def _word(text: str) -> str:
    if _PRINTABLE.fullmatch(text) is None:
        raise ValueError(f"{text[:60]!r} holds a space or what is no ASCII; one word is needed")
    return text


def _one_or_more(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _secret(value: Any) -> Secret:
    try:
        return Secret.model_validate(value)
    except ValidationError as error:
        raise ValueError(
            "; ".join(item["msg"].removeprefix("Value error, ") for item in error.errors())
        ) from None


def _header(value: Any) -> str | Secret:
    """The value of a header: text that is no secret, or where a secret is kept."""
    if not isinstance(value, str):
        return _secret(value)
    if re.fullmatch(r"[ -~]*", value) is None:
        raise ValueError("the value of a header is one line of printable ASCII")
    return value


def _option(value: Any) -> str | int | float | Secret:
    """The value of one of librdkafka's options."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str | int | float):
        return value
    return _secret(value)


HttpUrl = Annotated[str, AfterValidator(_http)]
Text = Annotated[str, Field(min_length=1, max_length=255)]
Word = Annotated[str, Field(min_length=1, max_length=48), AfterValidator(_word)]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Tls(_Model):
    """The keys of every kind that may be encrypted; without `ca` the system's own are trusted."""

    ca: Path | None = Field(
        default=None, description="certificates of authorities that are trusted, PEM"
    )
    cert: Path | None = Field(default=None, description="our own certificate, PEM")
    key: Path | None = Field(
        default=None, description="its key, PEM; absent if it is in the same file"
    )
    verify: bool = Field(
        default=True, description="whether the other side must prove who it is; leave it so"
    )
    timeout_seconds: float = Field(
        default=30, gt=0, le=600, description="how long an answer may take"
    )

    @model_validator(mode="after")
    def _pair(self) -> Self:
        if self.key is not None and self.cert is None:
            raise ValueError("key without cert: name the certificate as well")
        return self


class Syslog(Tls):
    """Syslog of RFC 5424; over UDP, TCP, TLS or a socket of this machine."""

    address: Annotated[str, AfterValidator(_syslog)] = Field(
        description="udp://HOST:514, tcp://HOST:601, tls://HOST:6514 or unix:/dev/log"
    )
    facility: Facility = Field(default="local0", description="the facility of every message")
    app: Word = Field(default="peeltap", description="APP-NAME of every message")
    host: Word | None = Field(default=None, description="HOSTNAME; unless given, this machine's")
    max_bytes: int = Field(
        default=65_000,
        ge=480,
        le=16 << 20,
        description="the longest message; a longer event goes to the dead letters, uncut",
    )
    resend_kb: int = Field(
        default=8192,
        ge=0,
        le=1 << 20,
        description="what was sent last and is sent again where a connection broke off",
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if not self.address.startswith("tls:") and (self.ca or self.cert or not self.verify):
            raise ValueError("ca, cert, key and verify are of tls:// only; use that, or drop them")
        return self


class Elasticsearch(Tls):
    """Elasticsearch or OpenSearch, by `_bulk`."""

    url: Annotated[list[HttpUrl], BeforeValidator(_one_or_more)] = Field(
        min_length=1, description="the cluster's address, or several of its nodes'"
    )
    index: Annotated[str, Field(min_length=1), AfterValidator(_index)] = Field(
        default="peeltap", description="the index, alias or data stream that events go to"
    )
    pipeline: Text | None = Field(default=None, description="an ingest pipeline of the cluster")
    user: Text | None = Field(default=None, description="who we are, with `password`")
    password: Secret | None = Field(default=None, description="{env: NAME} or {file: PATH}")
    api_key: Secret | None = Field(
        default=None, description="instead of a user: the encoded key, {env: NAME} or {file: PATH}"
    )
    gzip: bool = Field(default=True, description="whether requests are compressed")

    @model_validator(mode="after")
    def _one_proof(self) -> Self:
        if (self.user is None) != (self.password is None):
            raise ValueError("user and password belong together: name both, or neither")
        if self.api_key is not None and self.user is not None:
            raise ValueError("api_key and user: name one of them")
        return self

    @property
    def address(self) -> str:
        """What tells it from others."""
        return f"{self.url[0]}/{self.index}"


class Splunk(Tls):
    """Splunk's HTTP Event Collector."""

    url: HttpUrl = Field(description="the collector's address: https://HOST:8088")
    token: Secret = Field(description="{env: NAME} or {file: PATH}")
    index: Text | None = Field(default=None, description="unless given, the token's own")
    sourcetype: Text = Field(
        default="suricata", description="the add-on for Suricata reads `suricata`"
    )
    source: Text = Field(default="peeltap", description="the events' source")
    host: Text | None = Field(default=None, description="unless given, this machine's name")
    ack: bool = Field(
        default=True,
        description="whether an event is done only when the indexers say so; as the token has it",
    )
    ack_seconds: float = Field(
        default=120,
        gt=0,
        le=3600,
        description="after which what they did not say so of is sent anew",
    )
    gzip: bool = Field(default=True, description="whether requests are compressed")

    @property
    def address(self) -> str:
        """What tells it from others."""
        return self.url


# Ours to decide, or a way around what is never shown.
_TAKEN_OPTIONS: Final = {
    "bootstrap.servers": "name them under brokers",
    "metadata.broker.list": "name them under brokers",
    "enable.idempotence": "it is always on",
    "acks": "it is always all",
    "request.required.acks": "it is always all",
    "debug": "it would write secrets to the log",
}
_SECRET_OPTIONS: Final = re.compile(r"password|secret|\.key\.pem$|oauthbearer\.config")


class Kafka(_Model):
    """Kafka, by librdkafka's idempotent producer; needs the extra `kafka`."""

    brokers: list[Word] = Field(min_length=1, description="some of the cluster's: HOST:9092")
    topic: Annotated[str, Field(min_length=1), AfterValidator(_topic)] = Field(
        default="peeltap", description="the topic that events go to; the attacker is the key"
    )
    timeout_seconds: float = Field(
        default=30, gt=0, le=600, description="how long an answer may take"
    )
    options: dict[str, Annotated[str | int | float | Secret, PlainValidator(_option)]] = Field(
        default={}, description="options of librdkafka, such as security.protocol"
    )

    @model_validator(mode="after")
    def _not_ours(self) -> Self:
        for name, value in self.options.items():
            if name in _TAKEN_OPTIONS:
                raise ValueError(f"options: {name} is not to be set; {_TAKEN_OPTIONS[name]}")
            if _SECRET_OPTIONS.search(name) and not isinstance(value, Secret):
                raise ValueError(
                    f"options: {name} is a secret and does not stand in this file; name where it"
                    " is kept: {env: NAME} or {file: PATH}"
                )
        return self

    @property
    def address(self) -> str:
        """What tells it from others."""
        return f"{self.brokers[0]}/{self.topic}"


class RedisServer(Tls):
    """A Redis or Valkey, or a cluster of them, and who we are there."""

    url: Annotated[str, AfterValidator(_redis)] = Field(
        description="redis://HOST:6379, or rediss:// with TLS; a path is the database's number"
    )
    user: Text | None = Field(default=None, description="who we are, for ACLs")
    password: Secret | None = Field(default=None, description="{env: NAME} or {file: PATH}")
    cluster: bool = Field(default=False, description="whether it is a Redis Cluster")

    @model_validator(mode="after")
    def _fits_the_address(self) -> Self:
        if self.user is not None and self.password is None:
            raise ValueError("user without password: name both")
        path = _split(self.url).path.removeprefix("/")
        if path and not (path.isascii() and path.isdigit()):
            raise ValueError(f"{path[:60]!r} is no number of a database; such as redis://HOST/0")
        if not self.url.startswith("rediss:") and (self.ca or self.cert or not self.verify):
            raise ValueError("ca, cert, key and verify are of rediss:// only; use that")
        return self


class Redis(RedisServer):
    """A stream of Redis or Valkey."""

    stream: Text = Field(default="peeltap", description="the key of the stream")
    maxlen: int | None = Field(
        default=None, ge=1, description="about how many events it keeps; all unless given"
    )
    once_seconds: int = Field(
        default=0, ge=0, le=30 * 86_400, description="for how long a repeat of an event is seen"
    )
    replicas: int = Field(
        default=0, ge=0, le=16, description="how many replicas must have an event as well"
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.cluster and self.replicas:
            raise ValueError("replicas: not to be asked for in a cluster; leave it out")
        return self

    @property
    def address(self) -> str:
        """What tells it from others."""
        return f"{self.url}/{self.stream}"


class Signature(_Model):
    """A keyed hash of each request's body (HMAC-SHA-256), by which the receiver knows us."""

    secret: Secret = Field(description="{env: NAME} or {file: PATH}")
    header: Word = Field(default="X-Peeltap-Signature", description="where it stands")


class Webhook(Tls):
    """Any HTTP server, by POST."""

    url: HttpUrl = Field(description="where events are posted to")
    headers: dict[Word, Annotated[str | Secret, PlainValidator(_header)]] = Field(
        default={}, description="further headers: text, {env: NAME} or {file: PATH}"
    )
    format: Literal["ndjson", "array", "single"] = Field(
        default="ndjson",
        description="a line for each event, one JSON array, or a request for each event",
    )
    sign: Signature | None = Field(default=None, description="how requests are signed, if they are")
    gzip: bool = Field(default=False, description="whether requests are compressed")

    @property
    def address(self) -> str:
        """What tells it from others."""
        return self.url
