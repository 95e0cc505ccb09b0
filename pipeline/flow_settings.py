"""The `flows:` section: flow records in Redis, for workers on any machine."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from reassembly.redis_flows import OPEN_SECONDS, SECONDS, Site
from reassembly.redis_publisher import ALLOWANCE_SECONDS, FlowPublisher
from reassembly.redis_store import RedisStore
from suricata.sinks.settings import RedisServer

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)

__all__ = ["FlowPublisher", "FlowsSettings", "RedisFlows", "open_publisher", "open_store"]

Say = Callable[[int, str], None]


def _name(text: str) -> str:
    if not _NAME.fullmatch(text):
        raise ValueError(
            f"{text[:64]!r} is no name here; allowed: letters, digits and . _ -, up to 64"
        )
    return text


Name = Annotated[str, AfterValidator(_name)]


class RedisFlows(RedisServer):
    """Where sensors publish flow records, and workers find them."""

    site: Name = Field(
        default="default",
        description="one space of addresses: sensors whose legs carry the same have other sites",
    )
    sensor: Name | None = Field(
        default=None, description="what this sensor is called; this machine's name unless given"
    )
    ttl_seconds: float = Field(
        default=SECONDS,
        ge=1,
        le=30 * 86_400,
        description="how long the record of a closed connection stays",
    )
    open_seconds: float = Field(
        default=OPEN_SECONDS,
        ge=1,
        le=30 * 86_400,
        description="how long the record of an open connection stays",
    )

    @property
    def place(self) -> Site:
        """Where the records lie, and for how long."""
        return Site(self.site, self.ttl_seconds, max(self.open_seconds, self.ttl_seconds))

    @property
    def sensor_name(self) -> str:
        """What this sensor is called."""
        if self.sensor is not None:
            return self.sensor
        host = re.sub(r"[^A-Za-z0-9._-]", "-", socket.gethostname())[:64]
        return host if _NAME.fullmatch(host) else "sensor"


class FlowsSettings(BaseModel):
    """Flow records beyond this machine."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    redis: RedisFlows = Field(description="the Redis that sensors and workers share")


def open_publisher(
    settings: RedisFlows, path: Path, *, block_timeout_ms: int, say: Say
) -> FlowPublisher:
    """A sensor's; `path` is its local store. Raises ValueError for a file that cannot be used."""
    # Redis' library is no part of what others wait for at their start.
    from suricata.redis_link import RedisLink

    return FlowPublisher(
        RedisLink(settings),
        settings.place,
        settings.sensor_name,
        path,
        # A packet may wait in the ring for so long.
        allowance_seconds=ALLOWANCE_SECONDS + block_timeout_ms / 1000,
        say=say,
    )


def open_store(settings: RedisFlows, *, say: Say) -> RedisStore:
    """A worker's. Raises ValueError for a file that cannot be used."""
    from suricata.redis_link import RedisLink

    return RedisStore(RedisLink(settings), settings.place, say=say)
