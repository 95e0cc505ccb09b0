"""The `tap:` section of the configuration."""

from __future__ import annotations

import grp
import pwd
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

MAX_MTU = 65521
"""The kernel's limit for a tap: 65,535 without the Ethernet header (drivers/net/tun.c)."""


def _interface_name(name: str) -> str:
    """What `dev_valid_name` of the kernel takes; and no %, by which it would number the name."""
    if not 0 < len(name.encode()) <= 15:
        raise ValueError(f"{name!r} is no name of an interface: it has 1 to 15 bytes")
    # Under these two names /proc/sys/net keeps what is for all interfaces.
    if name in ("all", "default"):
        raise ValueError(f"{name!r} cannot be the name of an interface of ours")
    if name in (".", "..") or any(c in "/:%" or c.isspace() or not c.isprintable() for c in name):
        raise ValueError(f"{name!r} is no name of an interface: no spaces, /, : or % in it")
    return name


def _known(what: str, find: object, name: str | int) -> str | int:
    try:
        if isinstance(name, str):
            find(name)  # type: ignore[operator]
        elif name < 0:
            raise KeyError
    except KeyError:
        raise ValueError(f"this machine knows no {what} {name!r}") from None
    return name


InterfaceName = Annotated[str, AfterValidator(_interface_name)]
User = Annotated[str | int, AfterValidator(lambda name: _known("user", pwd.getpwnam, name))]
Group = Annotated[str | int, AfterValidator(lambda name: _known("group", grp.getgrnam, name))]

_OF_A_DEVICE = ("name", "persistent", "mtu", "owner", "group")


class TapSettings(BaseModel):
    """Where the regenerated packets go: a tap of our own, or an interface that is there already."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    name: InterfaceName = Field(default="vtap0", description="the tap that is made")
    interface: InterfaceName | None = Field(
        default=None,
        description="inject into this existing interface instead, one that leads to a Suricata",
    )
    persistent: bool = Field(
        default=True,
        description="whether the tap outlives the service, so that Suricata stays on it",
    )
    mtu: int | None = Field(
        default=None,
        ge=68,
        le=MAX_MTU,
        description="the tap's MTU; without it, that of the captured interface",
    )
    owner: User | None = Field(
        default=None,
        description="who may open a persistent tap without CAP_NET_ADMIN: a user's name or number; "
        "without it, whoever made it",
    )
    group: Group | None = Field(
        default=None, description="a group that may open it as well: a name or number"
    )
    superframes: Literal["keep", "segment"] | None = Field(
        default=None,
        description="whether offloaded frames stay whole or are cut to the MSS; "
        "without it, what the key superframes of the whole file says",
    )

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if self.interface is not None:
            extra = [key for key in _OF_A_DEVICE if key in self.model_fields_set]
            if extra:
                raise ValueError(
                    f"{extra[0]} is of a tap that is made; with interface, which names one that "
                    "is there already, take it out"
                )
        return self

    @property
    def device(self) -> str:
        """The interface that receives the packets, made or there already."""
        return self.interface or self.name

    def engine_superframes(self, of_file: Literal["keep", "segment"]) -> Literal["keep", "segment"]:
        """Give the engine's `superframes`; `of_file` is the value of that key at the top level."""
        return self.superframes or of_file

    def owner_id(self) -> int | None:
        """The owner's number, if one is named."""
        return pwd.getpwnam(self.owner).pw_uid if isinstance(self.owner, str) else self.owner

    def group_id(self) -> int | None:
        """The group's number, if one is named."""
        return grp.getgrnam(self.group).gr_gid if isinstance(self.group, str) else self.group
