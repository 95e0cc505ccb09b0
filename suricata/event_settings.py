"""The `events:` and `sinks:` sections of the configuration."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from .enrich import WAIT_EVENTS, WAIT_SECONDS


class EventSettings(BaseModel):
    """Where Suricata's events come from, and how they are treated.

    Without `file`, `unix_stream` or `unix_dgram` it is the file of the Suricata that we run.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    file: Path | None = Field(default=None, description="the EVE file of another Suricata")
    unix_stream: Path | None = Field(
        default=None, description="a stream socket to listen on (Suricata: filetype unix_stream)"
    )
    unix_dgram: Path | None = Field(
        default=None, description="a datagram socket to listen on (Suricata: filetype unix_dgram)"
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
        named = [n for n in ("file", "unix_stream", "unix_dgram") if getattr(self, n) is not None]
        if len(named) > 1:
            raise ValueError(f"{' and '.join(named)}: name one source of events")
        return self


class SinkSettings(BaseModel):
    """One place that corrected events go to."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    file: Path | None = Field(
        default=None, description="a file to append to; reopened on SIGHUP, after rotation"
    )
    stdout: bool = Field(default=False, description="whether this is standard output")

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if (self.file is not None) == self.stdout:
            raise ValueError("name one kind for each sink: file: PATH, or stdout: true")
        return self
