"""The `enrichment:` and `sessions:` sections of the configuration."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator


def _network(text: str) -> str:
    try:
        return str(ipaddress.ip_network(text))
    except ValueError:
        try:
            meant = ipaddress.ip_network(text, strict=False)
        except ValueError:
            raise ValueError(
                f"{text!r} is no address and no network; allowed: 192.0.2.1, 192.0.2.0/24"
            ) from None
        raise ValueError(f"{text!r} has bits below its prefix; the network is {meant}") from None


def _address(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise ValueError(f"{text!r} is no address; allowed: 192.0.2.1") from None


Network = Annotated[str, AfterValidator(_network)]
Address = Annotated[str, AfterValidator(_address)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Named(_Section):
    """A name for addresses."""

    name: str = Field(min_length=1, max_length=128, description="what it is called")
    addresses: list[Network] = Field(
        min_length=1, description="its addresses and networks; of two, the narrower one counts"
    )
    tags: list[str] = Field(default=[], description="words to find it by")


class GeoipSettings(_Section):
    """MaxMind's database files, or others of that format."""

    city: Path | None = Field(
        default=None, description="a City or Country file: GeoLite2-City.mmdb"
    )
    asn: Path | None = Field(default=None, description="an ASN file: GeoLite2-ASN.mmdb")

    @model_validator(mode="after")
    def _one(self) -> Self:
        if self.city is None and self.asn is None:
            raise ValueError("names no file; give city, asn, or both")
        return self


class PeerSettings(_Section):
    """Attackers by address, and what becomes of their events."""

    addresses: list[Network] = Field(default=[], description="addresses and networks")
    file: Path | None = Field(
        default=None,
        description="a file with one a line, `#` begins a remark; read when it changes",
    )
    then: Literal["drop", "tag"] = Field(
        default="tag",
        description="tag: `peeltap.attacker.lists` names the list; drop: their events go nowhere",
    )

    @model_validator(mode="after")
    def _some(self) -> Self:
        if not self.addresses and self.file is None:
            raise ValueError("names nobody; give addresses, a file, or both")
        return self


class EnrichmentSettings(_Section):
    """What is added to events."""

    decoys: list[Named] = Field(default=[], description="names of the attacked addresses")
    segments: list[Named] = Field(
        default=[], description="names of the networks that the attacked addresses lie in"
    )
    agents: list[Named] = Field(
        default=[], description="names of those who connect on the proxied leg"
    )
    topology: Path | None = Field(
        default=None, description="a topology file, whose segments and virtual addresses have names"
    )
    geoip: GeoipSettings | None = Field(
        default=None, description="where the attacker's address is, and whose"
    )
    reverse_dns: bool = Field(
        default=False, description="whether the attacker's host name is asked for"
    )
    nameservers: list[Address] = Field(
        default=[], description="who is asked for it; the system's own unless given"
    )
    allow: PeerSettings | None = Field(default=None, description="attackers that are one's own")
    deny: PeerSettings | None = Field(default=None, description="attackers that are known already")

    @property
    def asks_for_anything(self) -> bool:
        """Whether there is anything to add."""
        return self != EnrichmentSettings()


class SessionSettings(_Section):
    """How connections of one attacker become one story."""

    window_seconds: float = Field(
        default=900.0, ge=1, le=86_400, description="silence after which a session has ended"
    )
    summary_seconds: float = Field(
        default=300.0, ge=1, le=86_400, description="how often a session that goes on is summed up"
    )
    sessions: int = Field(
        default=10_000, ge=1, le=1_000_000, description="sessions that are remembered at most"
    )
    ipv6_prefix: int = Field(
        default=128, ge=32, le=128, description="how many bits of an IPv6 address make an attacker"
    )
