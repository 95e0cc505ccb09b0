"""The models of the `gateways`, `codecs`, `limits` and mode keys of the configuration file.

`EngineSettings` holds them all. Pydantic checks each value by itself and says what is wrong with
it; `reassembly.rules` finds what only shows when values are seen together. A file in which all is
right is read without them, by `reassembly.engine_config`, which says the same of it.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
    ValidationError,
    model_validator,
)
from pydantic_core import InitErrorDetails, PydanticCustomError

from reassembly.engine_config import MAX_CONNECTIONS, MAX_COUNT, MAX_SECONDS
from reassembly.presets import MAX_LENGTH
from reassembly.rules import Endpoint, problems


class _Model(BaseModel):
    """Unknown keys are refused, values are not converted, and nothing changes afterwards."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        frozen=True,
        populate_by_name=True,
        allow_inf_nan=False,
        # Only the whole is validated: building each part's own validator would cost start-up time.
        defer_build=True,
    )


EndpointField = Annotated[Endpoint, PlainValidator(Endpoint.parse), PlainSerializer(str)]


class Gateway(_Model):
    """One proxied leg: who connects to whom, and which headers are believed on it."""

    source: EndpointField = Field(
        alias="from",
        description="gateway1, the side that connects: an address or network, optionally a port",
    )
    to: EndpointField = Field(
        description="gateway2, the side that listens: an address or network, optionally a port"
    )
    headers: list[str] = Field(
        min_length=1, description="codecs that may stand at the front of a connection on this leg"
    )
    required: bool = Field(
        default=False, description="whether a connection without a header counts as malformed"
    )
    depth: int = Field(
        default=1, ge=1, le=8, description="how many stacked headers a connection carries"
    )


class Codec(_Model):
    """One entry of `codecs`: a declared layout, or what the site says of a shipped codec."""

    magic: str | None = Field(
        default=None, description="the magic bytes, in hex; only for the codec called magic"
    )
    encoding: Literal["binary", "text"] = Field(
        default="binary", description="how the layout's fields are written on the wire"
    )
    layout: list[Any] | None = Field(
        default=None, description="the header's fields in the order in which they are sent"
    )
    position: Literal["front", "request", "any"] | None = Field(
        default=None, description="where SSLproxy's line stands; makes this entry that codec"
    )
    max_length: int | None = Field(
        default=None, ge=1, le=MAX_LENGTH, description="the longest header, in bytes"
    )


class Limits(_Model):
    """Bounds on what the engine remembers and holds back; seconds are capture time."""

    connections: int = Field(
        default=1_000_000, ge=1, le=MAX_CONNECTIONS, description="connections tracked at a time"
    )
    half_open: int = Field(
        default=65_536,
        ge=1,
        le=MAX_CONNECTIONS,
        description="connections without a finished handshake",
    )
    hold_packets: int = Field(
        default=256, ge=1, le=MAX_COUNT, description="packets held for one connection"
    )
    hold_bytes: int = Field(
        default=1_048_576,
        ge=1,
        le=MAX_COUNT,
        description="bytes of packets held for one connection",
    )
    hold_seconds: float = Field(
        default=3.0, gt=0, le=MAX_SECONDS, description="how long a packet waits for its header"
    )
    hold_total_bytes: int = Field(
        default=67_108_864, ge=1, le=MAX_COUNT, description="bytes of packets held in all"
    )
    fragments: int = Field(
        default=4096,
        ge=1,
        le=MAX_COUNT,
        description="IP fragments held until their datagram is whole",
    )
    fragment_seconds: float = Field(
        default=30.0, gt=0, le=MAX_SECONDS, description="how long a fragment is held"
    )
    idle_seconds: float = Field(
        default=3600.0,
        gt=0,
        le=MAX_SECONDS,
        description="silence after which a connection is forgotten",
    )
    half_open_seconds: float = Field(
        default=60.0,
        gt=0,
        le=MAX_SECONDS,
        description="silence after which a half-open connection is forgotten",
    )
    closed_seconds: float = Field(
        default=60.0, gt=0, le=MAX_SECONDS, description="how long a closed connection is remembered"
    )


class EngineSettings(_Model):
    """Everything the engine is told."""

    gateways: list[Gateway] = Field(
        min_length=1, description="which legs carry headers, and who is trusted to send them"
    )
    codecs: dict[str, Codec] = Field(
        default_factory=dict,
        description="declared layouts, the value of magic, sslproxy's position",
    )
    mode: Literal["strip", "restore"] = Field(
        default="strip",
        description="take headers out, or also write the true addresses into the packets",
    )
    midstream: Literal["pass", "drop"] = Field(
        default="pass", description="what becomes of connections whose beginning was not captured"
    )
    other: Literal["pass", "drop"] = Field(
        default="pass", description="what becomes of traffic that is on none of the legs"
    )
    superframes: Literal["keep", "segment"] = Field(
        default="keep", description="whether offloaded frames stay whole or are cut to the MSS"
    )
    limits: Limits = Field(
        default_factory=Limits, description="bounds on what is remembered and held"
    )

    @model_validator(mode="after")
    def _whole(self) -> EngineSettings:
        found = list(problems(self.model_dump(by_alias=True, include={"gateways", "codecs"})))
        if found:
            raise ValidationError.from_exception_data(
                type(self).__name__,
                [
                    InitErrorDetails(
                        type=PydanticCustomError("setting", "{text}", {"text": text}),
                        loc=location,
                        input=None,
                    )
                    for location, text in found
                ],
            )
        return self
