"""The sections of the configuration that are the live service's own.

What leads to a package's part lives with that package (`tap.settings`, `suricata.settings`,
`suricata.event_settings`); here is what `peeltap run` itself does with capture, state, control
socket, metrics and log. A file without these sections runs with every default but the interface.
"""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path
from typing import Annotated, Final, Literal, NamedTuple

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

MAX_WORKERS: Final = 64
WORKERS_SOCKET: Final = "workers.sock"

_INTERFACE: Final = re.compile(r"[^\s/:]{1,15}")
_USER: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,31}(?::[A-Za-z0-9_][A-Za-z0-9_.-]{0,31})?")


class _Model(BaseModel):
    """Unknown keys are refused, values are not converted, and nothing changes afterwards."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


def _interface(name: str) -> str:
    # dev_valid_name() in the kernel.
    if not _INTERFACE.fullmatch(name) or name in (".", ".."):
        raise ValueError(
            f"{name!r} cannot be an interface's name; allowed: up to 15 characters without spaces,"
            " slashes and colons, as ip link shows them"
        )
    return name


def _listen(text: str) -> str:
    address = Address.parse(text)
    if not ipaddress.ip_address(address.host).is_loopback:
        raise ValueError(
            f"{text!r} is not on loopback, and the counters tell what attackers do; listen on"
            " 127.0.0.1:9469 or [::1]:9469 and let a proxy with access control carry it further"
        )
    return text


def _user(text: str) -> str:
    if not _USER.fullmatch(text):
        raise ValueError(f"{text!r} is not a user; write peeltap, or user and group: peeltap:adm")
    return text


class Address(NamedTuple):
    """Where a socket listens."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Address:
        """Read `127.0.0.1:9469` or `[::1]:9469`; raises ValueError with a sentence."""
        host, _, port = text.rpartition(":")
        bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
        try:
            known = ipaddress.ip_address(bare)
            if (known.version == 6) != (bare != host) or not port.isascii() or not port.isdigit():
                raise ValueError
            if not 0 < int(port) < 65536:
                raise ValueError
        except ValueError:
            raise ValueError(
                f"{text!r} is not an address and a port; write 127.0.0.1:9469 or [::1]:9469"
            ) from None
        return cls(bare, int(port))


Interface = Annotated[str, AfterValidator(_interface)]

# A path is written as text; strict reading would want a Path.
FilePath = Annotated[Path, Field(strict=False)]


class Capture(_Model):
    """Where packets come from."""

    interface: Interface = Field(description="the bridge or interface that carries the proxied leg")
    ring_mb: int = Field(
        default=64, ge=1, le=4096, description="the capture ring of each worker, in MiB"
    )
    block_timeout_ms: int = Field(
        default=20, ge=1, le=1000, description="how long a packet may wait in the ring, in ms"
    )
    filter: str | None = Field(
        default=None, min_length=1, description="capture only what matches, written as for tcpdump"
    )
    promiscuous: bool = Field(
        default=True, description="whether packets for other hosts are captured, too"
    )


class State(_Model):
    """What has to survive a restart, and where it lies."""

    directory: FilePath = Field(
        default=Path("/var/lib/peeltap"),
        description="flow records, the connection table, Suricata's files, places in event files",
    )
    checkpoint_seconds: float = Field(
        default=5.0,
        gt=0,
        le=3600,
        description="how much of the connection table kill -9 may lose, in seconds",
    )
    records: int = Field(
        default=1_000_000, ge=1, le=100_000_000, description="flow records kept at most"
    )
    retention_days: float = Field(
        default=7.0, gt=0, le=3650, description="how long a flow record is kept"
    )


class Control(_Model):
    """The socket that `peeltap status` asks."""

    socket: FilePath = Field(
        default=Path("/run/peeltap/control.sock"), description="where the control socket lies"
    )
    group: str | None = Field(
        default=None, min_length=1, description="a group whose members may use it, besides its user"
    )
    workers: FilePath | None = Field(
        default=None,
        description="where the socket of peeltap enrich --workers lies; unless given, workers.sock"
        " in the state directory",
    )


class Metrics(_Model):
    """The endpoint for Prometheus."""

    listen: Annotated[str, AfterValidator(_listen)] = Field(
        description="a loopback address and a port: 127.0.0.1:9469"
    )
    workers: Annotated[str, AfterValidator(_listen)] | None = Field(
        default=None,
        description="the same for peeltap enrich --workers, where the file is a sensor's as well",
    )


class Log(_Model):
    """What the service says, on standard error."""

    level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="the least that is worth a line"
    )
    format: Literal["json", "text"] = Field(
        default="json", description="one JSON object a line, or text for a person"
    )


class ServiceSections(BaseModel):
    """The service's own part of the whole file; `pipeline.config_check` adds the others'."""

    capture: Capture | None = Field(default=None, description="where packets come from")
    workers: int = Field(
        default=1,
        ge=1,
        le=MAX_WORKERS,
        strict=True,
        description="threads among which connections are divided",
    )
    state: State = Field(default_factory=State, description="what survives a restart, and where")
    control: Control = Field(
        default_factory=Control, description="the socket that peeltap status asks"
    )
    metrics: Metrics | None = Field(default=None, description="the endpoint for Prometheus")
    log: Log = Field(default_factory=Log, description="what the service says")
    run_as: Annotated[str, AfterValidator(_user)] | None = Field(
        default=None, description="the user that a service started as root becomes"
    )

    @property
    def workers_socket(self) -> Path:
        """Where `peeltap enrich --workers` is asked: one state directory is one of it."""
        return self.control.workers or self.state.directory / WORKERS_SOCKET

    @property
    def workers_metrics(self) -> str | None:
        """Where `peeltap enrich --workers` listens; `listen` is a sensor's, where there is one."""
        if self.metrics is None:
            return None
        return self.metrics.workers or (self.metrics.listen if self.capture is None else None)
