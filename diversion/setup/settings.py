"""The topology file: which network a host shall have."""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated, Any, Final, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

MAX_NAME: Final = 15
"""An interface's name: IFNAMSIZ without the final zero (linux/if.h)."""


class _Model(BaseModel):
    """Unknown keys are refused, values are not converted, and nothing changes afterwards."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, populate_by_name=True)


# --- Words ----------------------------------------------------------------------------------------


def _topology_name(text: str) -> str:
    if not re.fullmatch(r"[a-z][a-z0-9-]{0,11}", text):
        raise ValueError(
            f"{text!r} cannot be a topology's name; allowed: up to 12 small letters, digits and -, "
            "with a letter in front"
        )
    return text


def interface_name(text: str) -> str:
    """Check a name as dev_valid_name() in the kernel does; ValueError."""
    if len(text.encode()) > MAX_NAME:
        length = len(text.encode())
        raise ValueError(
            f"{text!r} has {length} characters; an interface's name has at most {MAX_NAME}"
        )
    if not re.fullmatch(r"[A-Za-z0-9_.@][A-Za-z0-9_.@-]*", text) or text in (
        ".",
        "..",
        "all",
        "default",
        "lo",
    ):
        raise ValueError(
            f"{text!r} cannot be an interface's name; allowed: letters, digits and _ . @ -"
        )
    return text


def _namespace_name(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,62}", text):
        raise ValueError(f"{text!r} cannot be a namespace's name; allowed: letters, digits, _ . -")
    return text


def _segment_name(text: str) -> str:
    # With what is put in front it is an interface's name.
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,9}", text):
        raise ValueError(
            f"{text!r} cannot be a name here; allowed: up to 10 small letters, digits and -"
        )
    return text


def _address(text: str) -> str:
    try:
        return str(ipaddress.IPv4Address(text))
    except ValueError:
        raise ValueError(f"{text!r} is no IPv4 address; allowed: 192.0.2.1") from None


def _interface_address(text: str) -> str:
    try:
        value = ipaddress.ip_interface(text)
    except ValueError:
        raise ValueError(
            f"{text!r} is no address with a prefix length; allowed: 192.0.2.1/24"
        ) from None
    if "/" not in text:
        raise ValueError(f"{text!r} has no prefix length; write {text}/24, or as long as it is")
    return str(value)


def _network(text: str) -> str:
    try:
        return str(ipaddress.IPv4Network(text))
    except ValueError:
        try:
            meant = ipaddress.IPv4Network(text, strict=False)
        except ValueError:
            raise ValueError(f"{text!r} is no IPv4 network; allowed: 192.0.2.0/24") from None
        raise ValueError(f"{text!r} has bits below its prefix; the network is {meant}") from None


def _range(text: str) -> str:
    """`192.0.2.10`, or `192.0.2.10-192.0.2.20`."""
    first, dash, last = text.partition("-")
    low, high = (ipaddress.IPv4Address(_address(one)) for one in (first, last if dash else first))
    if high < low:
        raise ValueError(f"{text!r} runs backwards; write {high}-{low}")
    if int(high) - int(low) >= 65536:
        raise ValueError(f"{text!r} has more than 65536 addresses; give a whole prefix instead")
    return f"{low}-{high}" if dash else str(low)


def _endpoint(text: str) -> str:
    address, colon, port = text.rpartition(":")
    if not colon:
        raise ValueError(f"{text!r} has no port; allowed: 192.0.2.1:80")
    return f"{_address(address)}:{_port_number(port)}"


def _port_number(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= 65535:
        raise ValueError(f"{text!r} is no port; allowed: 1 to 65535")
    return int(text)


def _port(value: Any) -> Any:
    """`80`, `8000-8010`, `udp/53`; TCP where no protocol is named."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        return value
    text = str(value)
    protocol, slash, ports = text.rpartition("/")
    if slash and protocol not in ("tcp", "udp"):
        raise ValueError(f"{text!r}: {protocol!r} is no protocol; allowed: tcp, udp")
    first, dash, last = ports.partition("-")
    low, high = _port_number(first), _port_number(last if dash else first)
    if high < low:
        raise ValueError(f"the port range {ports!r} runs backwards; write {high}-{low}")
    return f"{protocol or 'tcp'}/{low}-{high}" if dash else f"{protocol or 'tcp'}/{low}"


def _tcp(port: str) -> str:
    if not port.startswith("tcp/"):
        raise ValueError(f"{port!r}: the agent accepts TCP only; allowed: 80, 8000-8010")
    return port


TopologyName = Annotated[str, AfterValidator(_topology_name)]
InterfaceName = Annotated[str, AfterValidator(interface_name)]
NamespaceName = Annotated[str, AfterValidator(_namespace_name)]
IPv4 = Annotated[str, AfterValidator(_address)]
InterfaceAddress = Annotated[str, AfterValidator(_interface_address)]
Network = Annotated[str, AfterValidator(_network)]
AddressRange = Annotated[str, AfterValidator(_range)]
Endpoint = Annotated[str, AfterValidator(_endpoint)]
Port = Annotated[str, BeforeValidator(_port)]


# --- Sections -------------------------------------------------------------------------------------


class RouteSettings(_Model):
    """A route through a neighbour."""

    to: Network = Field(description="the network: 10.1.0.0/24, or 0.0.0.0/0 for everything")
    via: IPv4 = Field(description="the neighbour's address")


class BridgeSettings(_Model):
    """A bridge: made, or there already, with what it shall have."""

    addresses: list[InterfaceAddress] = Field(
        default=[], description="the host's own addresses on it, with prefix lengths"
    )
    ports: list[InterfaceName] = Field(
        default=[], description="interfaces that are there and become its ports"
    )
    routes: list[RouteSettings] = Field(default=[], description="routes out of it")
    mtu: int | None = Field(default=None, ge=68, le=65535, description="its MTU")


class VirtualSettings(_Model):
    """Extra addresses on a bridge's network that lead to a machine behind this host."""

    on: InterfaceName = Field(description="the bridge on whose network they are")
    style: Literal["direct", "macvlan", "netns"] = Field(
        default="macvlan",
        description="direct: on the bridge itself; macvlan: each with a MAC of its own; "
        "netns: each in a namespace of its own as well",
    )
    addresses: list[AddressRange] = Field(
        min_length=1, description="192.0.2.10, or a range 192.0.2.10-192.0.2.20"
    )
    to: IPv4 = Field(description="the machine that they lead to")
    ports: list[Port] = Field(
        default=[], description="80, 8000-8010, udp/53; everything where none are named"
    )
    gateway: IPv4 | None = Field(
        default=None, description="the neighbour on the bridge through which distant peers answer"
    )


class TapSettings(_Model):
    """The analysis tap, in quarantine, as the service adopts it."""

    name: InterfaceName = Field(default="vtap0", description="the tap")
    mtu: int = Field(default=1500, ge=68, le=65521, description="its MTU: that of what is captured")


class OffloadSettings(_Model):
    """What an interface leaves to its hardware; what is not named stays as it is."""

    gro: bool | None = Field(default=None, description="merging of received packets")
    gso: bool | None = Field(default=None, description="late cutting of packets to be sent")
    tso: bool | None = Field(default=None, description="the same, by the hardware")
    lro: bool | None = Field(default=None, description="merging by the hardware")


class Gateway1Settings(_Model):
    """The firewall before gateway1: who may connect."""

    listen: Endpoint = Field(description="where gateway1 accepts agents: address:port")
    agents: list[Network] = Field(min_length=1, description="the agents' networks")


class Gateway2Settings(_Model):
    """What gateway2 needs of the host, the VM or the namespace in which it runs."""

    namespace: NamespaceName | None = Field(
        default=None, description="the namespace in which it runs; this host's own without it"
    )
    listen: Endpoint = Field(description="where it accepts gateway1: address:port")
    gateway1: list[Network] = Field(min_length=1, description="who may connect: 172.16.23.1/32")
    decoys: InterfaceName = Field(description="the interface behind which the decoys are")
    mark: int = Field(
        default=0x5054, ge=1, le=0xFFFFFFFF, description="the mark of packets of its own sockets"
    )
    table: int = Field(
        default=5054, ge=256, le=0x7FFFFFFF, description="the routing table for those packets"
    )


class CommunicationSettings(_Model):
    """The host's own address on a VLAN of a trunk: where the agent talks to gateway1 from."""

    on: InterfaceName = Field(description="the bridge that has the trunk port")
    vlan: int = Field(ge=1, le=4094, description="the VLAN's id")
    address: InterfaceAddress = Field(description="the address, with its prefix length")


class AdvertiseSettings(_Model):
    """Addresses, and the ports that each of them shows."""

    addresses: list[AddressRange] = Field(
        min_length=1, description="192.0.2.10, or a range 192.0.2.10-192.0.2.20"
    )
    ports: list[Annotated[Port, AfterValidator(_tcp)]] = Field(
        min_length=1, description="80, 8000-8010"
    )


class SegmentSettings(_Model):
    """A network segment behind a bridge's port, in a namespace of its own, served by the agent."""

    name: Annotated[str, AfterValidator(_segment_name)] = Field(
        description="what it is called; its namespace is seg-NAME"
    )
    on: InterfaceName = Field(description="the bridge that leads to it")
    vlan: int | None = Field(
        default=None, ge=1, le=4094, description="its VLAN's id; untagged without it"
    )
    network: Network = Field(description="the segment's network")
    addresses: list[AddressRange] = Field(
        default=[], description="addresses of the agent's own: single ones, or ranges"
    )
    held: list[Network] = Field(
        default=[], description="whole prefixes that are all the agent's own, by one route each"
    )
    gateway: IPv4 | None = Field(default=None, description="the segment's router")
    advertise: list[AdvertiseSettings] = Field(
        default=[], description="which of these addresses show which ports"
    )
    listener: Endpoint = Field(
        default="127.0.0.1:7000", description="where the agent accepts them all: address:port"
    )


class LegSettings(_Model):
    """One interface of a router."""

    on: InterfaceName = Field(description="the bridge that it is a port of")
    addresses: list[InterfaceAddress] = Field(
        min_length=1, description="its addresses, with prefix lengths"
    )


class RouterSettings(_Model):
    """A namespace that forwards between bridges, so that what is behind it looks like a VM."""

    name: Annotated[str, AfterValidator(_segment_name)] = Field(
        description="what it, and its namespace, is called"
    )
    legs: list[LegSettings] = Field(min_length=1, description="its interfaces, eth0 and on")
    routes: list[RouteSettings] = Field(default=[], description="routes through neighbours")


class TunnelSettings(_Model):
    """A tunnel to another host, and what is behind it."""

    kind: Literal["ipip", "gre", "vxlan"] = Field(description="what it is made of")
    local: IPv4 = Field(description="this host's address on the network between")
    remote: IPv4 = Field(description="the other host's")
    vni: int | None = Field(default=None, ge=1, le=0xFFFFFF, description="of a vxlan: its number")
    address: InterfaceAddress = Field(description="this host's address inside the tunnel")
    routes: list[RouteSettings] = Field(
        default=[], description="networks behind the other host, through its address inside"
    )

    @model_validator(mode="after")
    def _number(self) -> Self:
        if (self.kind == "vxlan") != (self.vni is not None):
            raise ValueError("vni is needed for a vxlan, and has no meaning for another tunnel")
        return self


class VtepSettings(_Model):
    """One end of a VXLAN that carries a bridge's frames to other hosts, with their list."""

    on: InterfaceName = Field(description="the bridge that it is a port of")
    vni: int = Field(ge=1, le=0xFFFFFF, description="the network's number")
    local: IPv4 = Field(description="this host's address on the network between")
    peers: list[IPv4] = Field(
        min_length=1, description="the other hosts' addresses: where frames for all are sent"
    )


class VrfSettings(_Model):
    """A network in a VRF of its own: others on this host may have the same addresses."""

    on: InterfaceName = Field(description="the interface, or bridge, that leads to it")
    addresses: list[InterfaceAddress] = Field(
        default=[], description="the host's own addresses in it, with prefix lengths"
    )
    network: Network = Field(description="the network: 10.0.0.0/24")
    mapped: Network = Field(
        description="the prefix under which other VRFs reach it, of the same length: 10.9.0.0/24"
    )
    routes: list[RouteSettings] = Field(
        default=[], description="routes through neighbours in it, in the VRF's own table"
    )

    @model_validator(mode="after")
    def _as_long(self) -> Self:
        network, mapped = ipaddress.ip_network(self.network), ipaddress.ip_network(self.mapped)
        if network.prefixlen != mapped.prefixlen:
            raise ValueError(
                f"network {network} and mapped {mapped} differ in length; "
                f"write mapped: {mapped.network_address}/{network.prefixlen}, or another"
            )
        if network.overlaps(mapped):
            raise ValueError(f"mapped {mapped} overlaps network {network}; take another prefix")
        return self


class TopologySettings(_Model):
    """The whole file."""

    name: TopologyName = Field(description="what this topology is called: its mark on all it makes")
    firewall: Literal["nftables", "iptables"] | None = Field(
        default=None, description="the back end; without it nftables, where the host has it"
    )
    bridges: dict[InterfaceName, BridgeSettings] = Field(default={}, description="bridges, by name")
    virtual: list[VirtualSettings] = Field(
        default=[], description="virtual addresses that lead to machines behind this host"
    )
    gateway1: Gateway1Settings | None = Field(
        default=None, description="the firewall before gateway1"
    )
    gateway2: list[Gateway2Settings] = Field(
        default=[], description="what each gateway2 on this host needs"
    )
    communication: list[CommunicationSettings] = Field(
        default=[], description="the host's own addresses on VLANs of trunks"
    )
    segments: list[SegmentSettings] = Field(
        default=[], description="network segments that the agent serves"
    )
    routers: list[RouterSettings] = Field(
        default=[], description="namespaces that forward between bridges"
    )
    tunnels: dict[InterfaceName, TunnelSettings] = Field(
        default={}, description="tunnels to other hosts, by the interface's name"
    )
    vteps: dict[InterfaceName, VtepSettings] = Field(
        default={}, description="VXLANs that join bridges of several hosts, by the interface's name"
    )
    vrfs: dict[InterfaceName, VrfSettings] = Field(
        default={}, description="networks that overlap, each in a VRF of its own, by its name"
    )
    tap: TapSettings | None = Field(default=None, description="the analysis tap")
    offloads: dict[InterfaceName, OffloadSettings] = Field(
        default={}, description="offloads of interfaces, by name"
    )

    @model_validator(mode="after")
    def _something(self) -> Self:
        if not self.model_fields_set - {"name", "firewall"}:
            raise ValueError("asks for nothing; name bridges, virtual addresses, or a tap")
        return self
