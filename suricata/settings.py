"""The `suricata:` section of the configuration."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

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


class SuricataSettings(BaseModel):
    """How the one Suricata is run.

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
    # Suricata that checks.
    checksums: Literal["ignore", "check", "auto"] = "ignore"
    timeout_seconds: float | None = Field(default=None, gt=0)
    extra: dict[str, Any] = {}
