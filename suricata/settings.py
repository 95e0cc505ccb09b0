"""The `suricata:` section of the configuration."""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

EveType = Literal[
    "alert",
    "anomaly",
    "bittorrent-dht",
    "dcerpc",
    "dhcp",
    "dnp3",
    "dns",
    "drop",
    "files",
    "flow",
    "frame",
    "ftp",
    "http",
    "http2",
    "ike",
    "krb5",
    "metadata",
    "modbus",
    "mqtt",
    "netflow",
    "nfs",
    "pgsql",
    "quic",
    "rdp",
    "rfb",
    "sip",
    "smb",
    "smtp",
    "snmp",
    "ssh",
    "stats",
    "tftp",
    "tls",
]

# All that tell of an attack. Left out: `netflow` repeats `flow`, `drop` is for inline use, `frame`
# and `metadata` are for those who write rules, `stats` is of the sensor.
EVE_TYPES: Final[tuple[EveType, ...]] = (
    "alert",
    "anomaly",
    "bittorrent-dht",
    "dcerpc",
    "dhcp",
    "dnp3",
    "dns",
    "files",
    "flow",
    "ftp",
    "http",
    "http2",
    "ike",
    "krb5",
    "modbus",
    "mqtt",
    "nfs",
    "pgsql",
    "quic",
    "rdp",
    "rfb",
    "sip",
    "smb",
    "smtp",
    "snmp",
    "ssh",
    "tftp",
    "tls",
)


def _network(text: str) -> str:
    """One member of HOME_NET: an address or CIDR, with `!` in front to leave it out."""
    try:
        ipaddress.ip_network(text.removeprefix("!"), strict=False)
    except ValueError as error:
        raise ValueError(
            f"{text!r} is no address or network; allowed: 192.0.2.0/24, 2001:db8::/32, 192.0.2.7,"
            " each with ! in front to leave it out"
        ) from error
    return text


Network = Annotated[str, AfterValidator(_network)]


def _account(text: str) -> str:
    """A user, or a user and a group."""
    if re.fullmatch(r"[a-z_][a-z0-9_-]*(:[a-z_][a-z0-9_-]*)?", text) is None:
        raise ValueError(f"{text[:60]!r} is no user; allowed: user, user:group")
    return text


Account = Annotated[str, AfterValidator(_account)]


class ExternalSuricata(BaseModel):
    """The operator's own Suricata: it listens on the tap, and its EVE is all that is read."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    eve: Path = Field(
        default=Path("/var/log/suricata/eve.json"), description="the file that it writes events to"
    )
    command_socket: Path | None = Field(
        default=None,
        description="its command socket; with it, it is asked how it is and to reload its rules",
    )


class EveRedis(BaseModel):
    """A Redis that the live Suricata writes its events to, in Suricata's own words."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    server: str = Field(default="127.0.0.1", min_length=1, max_length=255)
    port: int = Field(default=6379, ge=1, le=65_535)
    key: str = Field(default="suricata", min_length=1, max_length=255)
    # Suricata knows streams from version 8 on.
    mode: Literal["list", "lpush", "rpush", "stream"] = "list"


class SuricataSettings(BaseModel):
    """How the one Suricata is run, on a capture and live; `external`: who else runs it.

    `home_net` takes the place of the distribution's HOME_NET; with restore mode put the decoys'
    networks here. `extra` is laid over the distribution's file as it is, key by key, for whatever
    has no setting of its own.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    binary: str = "suricata"
    base: Path = Path("/etc/suricata/suricata.yaml")
    rules: list[Path] = []
    home_net: list[Network] | None = None
    eve_types: list[EveType] = Field(default=list(EVE_TYPES), min_length=1)
    # Payload and packet of an alert, base64: evidence, at the price of larger events.
    alert_payload: bool = True
    alert_packet: bool = False
    community_id_seed: int = Field(default=0, ge=0, le=0xFFFF)
    # A capture made on the machine that sends holds packets whose checksums the network card was to
    # fill in. Peeltap completes those of proxied connections; all others would be invisible to a
    # Suricata that checks. Live, the kernel says of each packet whether its checksum is still open.
    checksums: Literal["ignore", "check", "auto"] = "ignore"
    timeout_seconds: float | None = Field(default=None, gt=0)
    extra: dict[str, Any] = {}

    # From here on: of the live Suricata alone.
    external: ExternalSuricata | None = Field(
        default=None, description="the operator's own Suricata, which peeltap does not run"
    )
    threads: int = Field(default=1, ge=1, le=256)
    # Of all threads together. Less than 64 MB lost packets of full size on a busy tap.
    ring_mb: int = Field(default=64, ge=1, le=65_536)
    eve_output: Literal["file", "unix_stream", "unix_dgram"] = "file"
    eve_redis: EveRedis | None = None
    eve_threaded: bool = False
    # Nobody else tends this file. 0: it is never turned over.
    eve_max_mb: int = Field(default=256, ge=0)
    eve_keep: int = Field(default=2, ge=1, le=100)
    stats_interval_seconds: int = Field(default=10, ge=1, le=3600)
    # Large sets of rules take long to load.
    ready_seconds: float = Field(default=300.0, gt=0)
    restart_max_seconds: float = Field(default=60.0, gt=0)
    restart_limit: int | None = Field(default=None, ge=0)
    watch_rules: bool = True
    run_as: Account | None = None
    keep_running: bool = False

    @model_validator(mode="before")
    @classmethod
    def _bare_word(cls, value: object) -> object:
        """`suricata: external` stands for that mapping with its defaults."""
        if isinstance(value, str):
            if value != "external":
                raise ValueError(
                    f"{value[:60]!r} is not allowed; allowed: external, or a mapping of keys to"
                    " values"
                )
            return {"external": {}}
        if isinstance(value, dict) and value.get("external", {}) is None:
            return {**value, "external": {}}
        return value

    def beside(self, directory: Path) -> SuricataSettings:
        """Take relative names of files as relative to `directory`."""
        changed: dict[str, Any] = {"rules": [directory / path for path in self.rules]}
        if self.external is not None:
            eve, socket = self.external.eve, self.external.command_socket
            changed["external"] = ExternalSuricata(
                eve=directory / eve, command_socket=socket and directory / socket
            )
        return self.model_copy(update=changed)
