"""The `page:` section of the configuration."""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated, Final, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from pipeline.service_settings import Address
from suricata.secrets import Secret

_NAME: Final = re.compile(r"(?=.{1,253}\Z)[a-z0-9_](?:[a-z0-9_.-]*[a-z0-9])?")


def _listen(text: str) -> str:
    try:
        Address.parse(text)
    except ValueError:
        raise ValueError(
            f"{text!r} is not an address and a port; write 127.0.0.1:8470 or [::1]:8470"
        ) from None
    return text


def _name(text: str) -> str:
    if not _NAME.fullmatch(text):
        raise ValueError(
            f"{text!r} cannot be a host's name; write it without a port and in small letters:"
            " peeltap.example"
        )
    return text


class PageSettings(BaseModel):
    """Where the page is, and who may see it."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    listen: Annotated[str, AfterValidator(_listen)] = Field(
        default="127.0.0.1:8470", description="an address and a port"
    )
    token: Secret = Field(
        description="what is asked for, at least 16 characters: {file: PATH} or {env: NAME}"
    )
    beyond_loopback: bool = Field(
        default=False, description="whether other machines may ask; there is no TLS"
    )
    names: list[Annotated[str, AfterValidator(_name)]] = Field(
        default=[], max_length=16, description="host names under which it is asked for"
    )
    viewers: int = Field(default=8, ge=1, le=64, description="how many may look at a time")

    @model_validator(mode="after")
    def _told_clearly(self) -> Self:
        loopback = ipaddress.ip_address(Address.parse(self.listen).host).is_loopback
        if not loopback and not self.beyond_loopback:
            raise ValueError(
                f"{self.listen!r} is not on loopback, and the page has no TLS; listen on"
                " 127.0.0.1:8470 behind ssh -L or a proxy with TLS, or set beyond_loopback: true"
            )
        return self
