"""The `events:` and `sinks:` sections of the configuration."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from .enrich import WAIT_EVENTS, WAIT_SECONDS
from .sinks.settings import (
    Elasticsearch,
    Kafka,
    Redis,
    RedisServer,
    Splunk,
    Syslog,
    Text,
    Webhook,
)

MOST_PARTITIONS: Final = 256

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def _name(text: str) -> str:
    if not _NAME.fullmatch(text):
        raise ValueError(
            f"{text!r} is no name of a sink; allowed: letters, digits and . _ -, up to 64"
        )
    return text


def _inbox(text: str) -> str:
    # A cluster keeps together what has the same text in braces; ours has the inbox's.
    if set(text) & set("{}") and not re.fullmatch(r"[^{}]*\{[^{}]+\}[^{}]*", text):
        raise ValueError(
            f"{text[:60]!r} has braces that do not enclose a part of it; such as {{site-7}}:eve"
        )
    return text


class RedisEvents(RedisServer):
    """Events that Suricata writes to Redis (`filetype: redis`), for any number of workers."""

    inbox: Annotated[Text, AfterValidator(_inbox)] = Field(
        default="suricata", description="what Suricata calls key: of a list or a stream"
    )
    mode: Literal["list", "lpush", "rpush", "stream"] = Field(
        default="list", description="as Suricata's mode; list is lpush, xadd is stream"
    )
    group: Text = Field(default="peeltap", description="the consumer group of all workers")
    partitions: int = Field(
        default=16, ge=1, le=MOST_PARTITIONS, description="among how many streams flows are divided"
    )
    lease_seconds: float = Field(
        default=10,
        ge=0.5,
        le=600,
        description="for how long a worker that says nothing keeps its partitions",
    )
    delete: bool = Field(
        default=True, description="whether what was delivered is removed from Suricata's stream"
    )

    @model_validator(mode="after")
    def _keeps_only_what_is_not_moved(self) -> Self:
        if not self.delete and not self.is_direct:
            raise ValueError(
                "delete: false is for mode: stream with partitions: 1; otherwise events are moved"
                " into streams of their own"
            )
        return self

    @property
    def is_direct(self) -> bool:
        """Whether Suricata's stream is read as it is, with nothing divided."""
        return self.mode == "stream" and self.partitions == 1


class EventSettings(BaseModel):
    """Where Suricata's events come from, and how they are treated.

    Unless a source is named it is the file of the Suricata that we run.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    file: Path | None = Field(default=None, description="the EVE file of another Suricata")
    unix_stream: Path | None = Field(
        default=None, description="a stream socket to listen on (Suricata: filetype unix_stream)"
    )
    unix_dgram: Path | None = Field(
        default=None, description="a datagram socket to listen on (Suricata: filetype unix_dgram)"
    )
    redis: RedisEvents | None = Field(
        default=None, description="a Redis that Suricata writes to (Suricata: filetype redis)"
    )
    threaded: bool | None = Field(
        default=None,
        description="whether Suricata writes eve.N.json for each thread; found out unless given",
    )
    start: Literal["beginning", "end"] = Field(
        default="beginning", description="where a file is begun that was never read before"
    )
    wait_seconds: float = Field(
        default=WAIT_SECONDS, ge=0, le=60, description="how long an event waits for its flow record"
    )
    wait_events: int = Field(
        default=WAIT_EVENTS, ge=0, le=1_000_000, description="how many events may wait"
    )
    forward_stats: bool = Field(
        default=False, description="whether Suricata's stats events go to the sinks, too"
    )

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        sources = ("file", "unix_stream", "unix_dgram", "redis")
        named = [name for name in sources if getattr(self, name) is not None]
        if len(named) > 1:
            raise ValueError(f"{' and '.join(named)}: name one source of events")
        return self


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class RotateSettings(_Section):
    """When a sink's file is turned over, and what is kept of it; without, others rotate it."""

    mb: int | None = Field(default=None, ge=1, le=1_000_000, description="at so many MiB")
    seconds: int | None = Field(
        default=None,
        ge=1,
        le=366 * 86_400,
        description="whenever so many are over, counted from 1970 in UTC: 86400 is midnight",
    )
    keep: int = Field(default=7, ge=1, le=10_000, description="files that are kept besides")
    compress: bool = Field(default=True, description="whether those are compressed, by gzip")

    @model_validator(mode="after")
    def _some_reason(self) -> Self:
        if self.mb is None and self.seconds is None:
            raise ValueError("says not when to rotate; set mb or seconds")
        return self


class FileSettings(_Section):
    """A file to append to; reopened on SIGHUP."""

    path: Path = Field(description="the file")
    rotate: RotateSettings | None = Field(
        default=None, description="when Peeltap itself turns it over; without it, others do"
    )

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:
        return {"path": value} if isinstance(value, str | Path) else value

    @property
    def address(self) -> str:
        """What tells it from others."""
        return str(self.path)


class WhenSettings(_Section):
    """A rule of what goes to a sink: all that is said must hold."""

    types: list[str] | None = Field(default=None, min_length=1, description="event types")
    severity: int | None = Field(
        default=None, ge=1, le=255, description="alerts of this severity or a worse one; 1 is worst"
    )
    decoys: list[str] | None = Field(
        default=None,
        min_length=1,
        description="names or addresses of decoys, * and ? as in a shell",
    )
    signatures: list[str | int] | None = Field(
        default=None, min_length=1, description="alerts by signature id or text, * and ? likewise"
    )


class AggregateSettings(_Section):
    """How identical alerts become one."""

    seconds: float = Field(
        gt=0, le=3600, description="for how long alerts of one attacker, decoy and signature gather"
    )


class BatchSettings(_Section):
    """How much is handed over at a time; whichever is reached first."""

    events: int = Field(default=1000, ge=1, le=100_000, description="events at most")
    kb: int = Field(default=1024, ge=1, le=65_536, description="KiB at most, or one event")
    seconds: float = Field(default=1.0, gt=0, le=60, description="how long the first one waits")


class BacklogSettings(_Section):
    """What waits for a sink that lags."""

    mb: int = Field(default=1024, ge=1, le=1_048_576, description="MiB at most, on disk")
    full: Literal["block", "drop-oldest"] = Field(
        default="block",
        description="what then: reading stops for all sinks, or this one loses what is oldest",
    )


class SinkSettings(BaseModel):
    """One place that corrected events go to: one key says which kind, the others how."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, AfterValidator(_name)] | None = Field(
        default=None, description="what it is called; made of kind and address unless given"
    )
    file: FileSettings | None = Field(
        default=None, description="a file to append to; reopened on SIGHUP, after rotation"
    )
    stdout: bool = Field(default=False, description="whether this is standard output")
    syslog: Syslog | None = Field(default=None, description="a syslog receiver")
    elasticsearch: Elasticsearch | None = Field(
        default=None, description="Elasticsearch or OpenSearch"
    )
    splunk: Splunk | None = Field(default=None, description="Splunk's HTTP Event Collector")
    kafka: Kafka | None = Field(default=None, description="a topic of Kafka")
    redis: Redis | None = Field(default=None, description="a stream of Redis or Valkey")
    webhook: Webhook | None = Field(default=None, description="any HTTP server")
    shape: Literal["eve", "ecs", "ocsf", "cim"] = Field(
        default="eve", description="the form that events have there"
    )
    when: list[WhenSettings] | None = Field(
        default=None, min_length=1, description="which events go there: any rule; all unless given"
    )
    sample: dict[str, Annotated[int, Field(ge=1, le=1_000_000)]] = Field(
        default={}, description="by event type, one in how many flows goes there"
    )
    aggregate: AggregateSettings | None = Field(
        default=None, description="how identical alerts become one"
    )
    batch: BatchSettings = Field(
        default_factory=BatchSettings, description="how much is handed over at a time"
    )
    backlog: BacklogSettings = Field(
        default_factory=BacklogSettings, description="what waits while it lags"
    )

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        kinds = [name for name in type(self).model_fields if name not in COMMON]
        if sum(bool(getattr(self, name)) for name in kinds) != 1:
            raise ValueError(f"name one kind for each sink: {', '.join(kinds)}; as file: PATH")
        return self

    @property
    def kind(self) -> str:
        """Which of the kinds it is."""
        return next(
            name for name in type(self).model_fields if name not in COMMON and getattr(self, name)
        )

    @property
    def label(self) -> str:
        """Its name, or one made of kind and address."""
        if self.name is not None:
            return self.name
        address = getattr(getattr(self, self.kind), "address", None)
        if self.kind == "file" or address is None:
            return str(address or self.kind)
        return f"{self.kind} {address}"


COMMON: Final = ("name", "shape", "when", "sample", "aggregate", "batch", "backlog")
"""Keys of every sink; each other one is a kind."""
