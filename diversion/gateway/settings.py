"""The models of `peeltap gateway`'s file: `gateway1`, `gateway2`, and what both share."""

from __future__ import annotations

import json
import re
from typing import Annotated, Any, Literal, Self

import peeltap_core
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
    model_validator,
)

from diversion.gateway.parse import reader
from diversion.proxy.addresses import (
    Ends,
    Network,
    Range,
    parse_ends,
    parse_network,
    parse_range,
    show_ends,
)
from diversion.proxy.headers import emitter, magic_layout
from diversion.proxy.hub import Limits

BUILTIN = ("proxy-v2", "proxy-v1")


class _Model(BaseModel):
    """Unknown keys are refused, values are not converted, and nothing changes afterwards."""

    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, populate_by_name=True, allow_inf_nan=False
    )


EndsField = Annotated[Ends, PlainValidator(parse_ends), PlainSerializer(show_ends)]
NetworkField = Annotated[Network, PlainValidator(parse_network), PlainSerializer(str)]


def _name(value: str) -> str:
    """It stands in lines of the log and in HAProxy's file as it is."""
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,64}", value):
        raise ValueError("a name has 1 to 64 letters, digits, '-', '_' and '.'")
    return value


NameField = Annotated[str, AfterValidator(_name)]

RangeField = Annotated[Range, PlainValidator(parse_range)]


class Tls(_Model):
    """Mutual certificates: who connects needs one of `ca`."""

    certificate: str = Field(description="this side's certificate with its chain, in PEM")
    key: str = Field(description="its key, in PEM")
    ca: str = Field(description="the authority whose certificates are accepted, in PEM")


class AgentListen(_Model):
    """Where agents connect to gateway1."""

    address: EndsField = Field(description="ADDRESS:PORT to listen on")
    tls: Tls | None = Field(
        default=None, description="mutual certificates; without it, addresses are what is trusted"
    )


class KnownAgent(_Model):
    """Who may send headers to gateway1."""

    source: list[NetworkField] = Field(
        default_factory=list,
        alias="from",
        description="addresses it connects from; with TLS its certificate's name counts as well",
    )
    headers: list[str] = Field(
        default=["proxy-v2"], min_length=1, description="codecs that it may send"
    )


class Gateway1Settings(_Model):
    """The entry of all traffic, on the host."""

    listen: list[AgentListen] = Field(
        default_factory=list, description="where agents connect: address, and tls if by certificate"
    )
    agents: dict[NameField, KnownAgent] = Field(
        default_factory=dict,
        description="who may send headers, by the name in rules and certificate",
    )
    rules: str = Field(description="the file of the rules, read anew when it changes")
    codec: str = Field(default="proxy-v2", description="the header of the leg across br1")

    @model_validator(mode="after")
    def _whole(self) -> Self:
        for at, one in enumerate(self.listen):
            if one.tls is None and not any(agent.source for agent in self.agents.values()):
                raise ValueError(
                    f"listen[{at}] takes headers in clear, but no agent has `from`: "
                    "name the addresses that are trusted, or give it tls"
                )
        return self


class DecoyChoice(_Model):
    """Which decoy is meant by a destination."""

    destination: RangeField = Field(description="ADDRESS, NETWORK/LENGTH, either with :PORT[-PORT]")
    decoy: list[EndsField] | Literal["destination"] = Field(
        description="ADDRESS:PORT, one for each IP version; `destination`: that address itself"
    )


class LegListen(_Model):
    """Where gateway1 connects to gateway2."""

    address: EndsField = Field(description="ADDRESS:PORT to listen on")
    headers: list[str] = Field(
        default=["proxy-v2"], min_length=1, description="codecs that are accepted"
    )
    decoy: list[EndsField] | None = Field(
        default=None, description="the one decoy behind it: ADDRESS:PORT for each IP version"
    )
    decoys: list[DecoyChoice] = Field(
        default_factory=list,
        description="the decoy by the header's destination; the first that fits",
    )

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if (self.decoy is None) == (not self.decoys):
            raise ValueError("needs one of decoy and decoys")
        if self.decoy is not None and not self.decoy:
            raise ValueError("decoy: is empty; at least one ADDRESS:PORT is needed")
        return self

    @property
    def ranges(self) -> list[Range]:
        """All decoys' addresses and ports that this listener can lead to."""
        found: list[Range] = []
        for choice in self.decoys:
            if choice.decoy == "destination":
                found.append(choice.destination)
            else:
                found += [parse_range(show_ends(one)) for one in choice.decoy]
        found += [parse_range(show_ends(one)) for one in self.decoy or ()]
        return found


class Gateway2Settings(_Model):
    """The other end of the leg, beside the decoys."""

    listen: list[LegListen] = Field(min_length=1, description="where gateway1 connects")
    trusted: list[NetworkField] = Field(
        min_length=1, description="addresses of gateway1: whose headers are believed"
    )
    source: Literal["nftables", "iptables", "transparent", "own"] = Field(
        default="nftables", description="how the decoy gets to see the peer's address"
    )
    name: str = Field(
        default="gateway2",
        pattern=r"^[a-z][a-z0-9_]{0,15}$",
        description="part of the names of its table and chains; one for each gateway2 of a host",
    )
    table: int = Field(
        default=9310,
        ge=1,
        le=0x7FFFFFFF,
        description="the routing table of `source: transparent`",
    )


class CodecSettings(_Model):
    """One entry of `codecs`, as in peeltap.yaml."""

    magic: str | None = Field(default=None, description="8 magic bytes in hex; only for `magic`")
    layout: list[Any] | None = Field(default=None, description="the header's fields")
    encoding: Literal["binary", "text"] = Field(default="binary", description="how it is written")
    max_length: int | None = Field(default=None, ge=1, description="the longest header, in bytes")


class LimitSettings(_Model):
    """Bounds; seconds are of silence, except for the header, which has so long in all."""

    connections: int = Field(
        default=Limits.connections, ge=1, description="connections at a time, in all"
    )
    per_peer: int = Field(
        default=Limits.per_peer, ge=1, description="connections at a time of one peer"
    )
    unheaded: int = Field(
        default=Limits.unheaded,
        ge=1,
        description="connections at a time from one address that have not sent their header",
    )
    header_seconds: float = Field(
        default=Limits.header_seconds, gt=0, description="until the header is whole"
    )
    header_bytes: int = Field(
        default=Limits.header_bytes, ge=64, le=65_551, description="the longest header"
    )
    connect_seconds: float = Field(
        default=Limits.connect_seconds, gt=0, description="until the other end has answered"
    )
    idle_seconds: float = Field(
        default=Limits.idle_seconds, gt=0, description="of silence before a connection is reset"
    )
    keepalive_seconds: int = Field(
        default=Limits.keepalive_seconds, ge=1, le=32_767, description="between TCP keepalives"
    )
    drain_seconds: float = Field(
        default=Limits.drain_seconds, gt=0, description="for open connections after SIGTERM"
    )

    def limits(self) -> Limits:
        """As the proxies take them."""
        return Limits(**self.model_dump())


class MetricsSettings(_Model):
    """Counters for Prometheus."""

    listen: EndsField = Field(description="ADDRESS:PORT of the endpoint")


class GatewaySettings(_Model):
    """The whole file."""

    gateway1: Gateway1Settings | None = Field(default=None, description="the entry, on the host")
    gateway2: Gateway2Settings | None = Field(default=None, description="beside the decoys")
    codecs: dict[str, CodecSettings] = Field(
        default_factory=dict, description="the value of magic, declared layouts"
    )
    limits: LimitSettings = Field(default_factory=LimitSettings, description="bounds")
    metrics: MetricsSettings | None = Field(
        default=None, description="for Prometheus; off if absent"
    )
    log: str = Field(default="-", description="a file for the lines, - for standard output")

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.gateway1 is None and self.gateway2 is None:
            raise ValueError("needs gateway1, gateway2 or both")
        for name in self.codecs:
            self.codec(name)
        if self.gateway1 is not None:
            emitter(self.codec(self.gateway1.codec))
            for agent in self.gateway1.agents.values():
                reader([self.codec(name) for name in agent.headers])
        for one in () if self.gateway2 is None else self.gateway2.listen:
            reader([self.codec(name) for name in one.headers])
        return self

    def codec(self, name: str) -> dict[str, Any]:
        """A codec by its name, as the core takes it; ValueError if it is none."""
        one = self.codecs.get(name)
        if one is None:
            if name in BUILTIN:
                return {"name": name, "kind": name}
            raise ValueError(
                f"codec {name!r} is not known; known: {', '.join((*BUILTIN, *self.codecs))}"
            )
        if name in BUILTIN:
            raise ValueError(f"codecs.{name}: is built in; give yours another name")
        layout = one.layout
        if one.magic is not None and one.layout is None:
            layout = magic_layout(one.magic)
        if layout is None or (one.magic is not None) != (name == "magic"):
            raise ValueError(f"codecs.{name}: needs {'magic' if name == 'magic' else 'layout'}")
        codec: dict[str, Any] = {"name": name, "kind": "layout", "encoding": one.encoding}
        codec["layout"] = layout
        if one.max_length is not None:
            codec["max_length"] = one.max_length
        try:
            peeltap_core.parse_header(json.dumps(codec).encode(), b"")
        except ValueError as error:
            raise ValueError(f"codecs.{name}: {error}") from None
        return codec
