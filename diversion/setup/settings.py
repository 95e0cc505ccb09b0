"""The topology file: which network a host shall have; `values` has the words in it."""

from __future__ import annotations

import ipaddress
from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from diversion.setup.firewall.rules import split_endpoint, version_of
from diversion.setup.values import (
    AddressRange,
    AnyEndpoint,
    AnyIP,
    AnyNetwork,
    DirectoryPath,
    Endpoint,
    InterfaceAddress,
    InterfaceName,
    IPv4,
    MachineName,
    Mode,
    NamespaceName,
    Network,
    OtherEnd,
    Port,
    TopologyName,
    listed,
    of_one_version,
    segment_name,
    tcp,
)

LISTENER_6: Final = "fd70:6565:6c74:6170::1"
"""Where the agent accepts what is diverted over IPv6: an address of loopback's own (RFC 4193)."""


class _Model(BaseModel):
    """Unknown keys are refused, values are not converted, and nothing changes afterwards."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, populate_by_name=True)


class RouteSettings(_Model):
    """A route through a neighbour."""

    to: AnyNetwork = Field(
        description="the network: 10.1.0.0/24, or 0.0.0.0/0 (::/0) for everything"
    )
    via: AnyIP = Field(description="the neighbour's address")

    @model_validator(mode="after")
    def _one_version(self) -> Self:
        of_one_version(self.to, self.via)
        return self


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
    to: AnyIP = Field(description="the machine that they lead to")
    ports: list[Port] = Field(
        default=[], description="80, 8000-8010, udp/53; everything where none are named"
    )
    gateway: AnyIP | None = Field(
        default=None, description="the neighbour on the bridge through which distant peers answer"
    )

    @model_validator(mode="after")
    def _one_version(self) -> Self:
        of_one_version(self.to, *self.addresses, *([self.gateway] if self.gateway else []))
        return self


class TapSettings(_Model):
    """The analysis tap, in quarantine, as the service adopts it."""

    name: InterfaceName = Field(default="vtap0", description="the tap")
    mtu: int = Field(default=1500, ge=68, le=65521, description="its MTU: that of what is captured")
    kind: Literal["tap", "veth"] = Field(
        default="tap",
        description="veth: a pair, into one end of which packets are injected, where no tap may be "
        "made; the service then has tap: interface instead of name",
    )


class SuricataPlaceSettings(_Model):
    """Where Suricata is: the interface on which it listens, and its directories."""

    on: InterfaceName = Field(
        description="the interface on which it listens: gro, gso, tso and lro are off there, or it "
        "would see frames that nobody sent"
    )
    socket: DirectoryPath | None = Field(
        default=None, description="the directory of its command socket"
    )
    events: DirectoryPath | None = Field(
        default=None, description="the directory of its eve.json and logs"
    )
    user: str = Field(default="root", description="who owns these directories")
    group: str = Field(default="root", description="which group may look into them")
    mode: Mode = Field(default="0750", description="their mode")


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
    decoys: InterfaceName | None = Field(
        default=None, description="the interface behind which the decoys are"
    )
    beside: list[Network] = Field(
        default=[], description="decoys on the same machine: what they answer stays there"
    )
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
    ports: list[Annotated[Port, AfterValidator(tcp)]] = Field(
        min_length=1, description="80, 8000-8010"
    )


class SegmentSettings(_Model):
    """A network segment behind a bridge's port, in a namespace of its own, served by the agent."""

    name: Annotated[str, AfterValidator(segment_name)] = Field(
        description="what it is called; its namespace is seg-NAME"
    )
    on: InterfaceName = Field(description="the bridge that leads to it")
    vlan: int | None = Field(
        default=None, ge=1, le=4094, description="its VLAN's id; untagged without it"
    )
    network: Annotated[list[AnyNetwork], BeforeValidator(listed)] = Field(
        min_length=1, max_length=2, description="the segment's network; or one of each IP version"
    )
    addresses: list[AddressRange] = Field(
        default=[], description="addresses of the agent's own: single ones, or ranges"
    )
    held: list[AnyNetwork] = Field(
        default=[], description="whole prefixes that are all the agent's own, by one route each"
    )
    gateway: Annotated[list[AnyIP], BeforeValidator(listed)] = Field(
        default=[], max_length=2, description="the segment's router; or one of each IP version"
    )
    advertise: list[AdvertiseSettings] = Field(
        default=[], description="which of these addresses show which ports"
    )
    listener: Annotated[list[AnyEndpoint], BeforeValidator(listed)] = Field(
        default=["127.0.0.1:7000", f"[{LISTENER_6}]:7000"],
        max_length=2,
        description="where the agent accepts them all: address:port; or one of each IP version",
    )

    @model_validator(mode="after")
    def _one_of_each(self) -> Self:
        for name in ("network", "gateway", "listener"):
            versions = [version_of(split_endpoint(one)[0]) for one in getattr(self, name)]
            if len(set(versions)) != len(versions):
                raise ValueError(f"{name} has two of one IP version; keep one")
        return self


class LegSettings(_Model):
    """One interface of a router."""

    on: InterfaceName = Field(description="the bridge that it is a port of")
    addresses: list[InterfaceAddress] = Field(
        min_length=1, description="its addresses, with prefix lengths"
    )


class RouterSettings(_Model):
    """A namespace that forwards between bridges, so that what is behind it looks like a VM."""

    name: Annotated[str, AfterValidator(segment_name)] = Field(
        description="what it, and its namespace, is called"
    )
    legs: list[LegSettings] = Field(min_length=1, description="its interfaces, eth0 and on")
    routes: list[RouteSettings] = Field(default=[], description="routes through neighbours")


class MachineInterfaceSettings(_Model):
    """An interface of a machine; without `on` and `to` it is the end that another's `to` names."""

    on: InterfaceName | None = Field(
        default=None, description="the bridge of this host that it is a port of"
    )
    to: OtherEnd | None = Field(
        default=None, description="the other end of its wire: MACHINE/INTERFACE"
    )
    addresses: list[InterfaceAddress] = Field(
        default=[], description="its addresses, with prefix lengths"
    )

    @model_validator(mode="after")
    def _one_end(self) -> Self:
        if self.on is not None and self.to is not None:
            raise ValueError("has on and to; a wire has two ends, take one of them out")
        return self


class MachineSettings(_Model):
    """A namespace that stands for a machine: for a demo, a trial, a test."""

    interfaces: dict[InterfaceName, MachineInterfaceSettings] = Field(
        default={}, description="its interfaces, by name"
    )
    loopback: list[InterfaceAddress] = Field(
        default=[], description="addresses that are its own on every network"
    )
    routes: list[RouteSettings] = Field(default=[], description="routes through neighbours")
    forwards: bool = Field(default=False, description="whether it is a router")
    low_ports: bool = Field(
        default=False, description="whether servers without privileges may take ports below 1024"
    )


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
        default=[],
        description="the other hosts' addresses: where frames for all are sent; with frr it finds "
        "them out",
    )


class BgpNeighbourSettings(_Model):
    """Another host that is told what is behind this one's VTEPs, and tells its own."""

    address: IPv4 = Field(description="its address on the network between")
    asn: int | None = Field(
        default=None, alias="as", ge=1, le=0xFFFFFFFF, description="its AS; without it this host's"
    )


class FrrSettings(_Model):
    """BGP EVPN, by FRR: the VTEPs learn from other hosts what is behind theirs."""

    asn: int = Field(alias="as", ge=1, le=0xFFFFFFFF, description="this host's AS: 65001")
    router_id: IPv4 = Field(description="an address that no other host has as its id")
    neighbours: list[BgpNeighbourSettings] = Field(
        min_length=1, description="the other hosts, or those that reflect their routes"
    )
    flood: bool = Field(
        default=True,
        description="whether frames for all, and for MACs not known, go to every host; without it "
        "only what was told is reached",
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
    machines: dict[MachineName, MachineSettings] = Field(
        default={}, description="namespaces that stand for machines, by name"
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
    frr: FrrSettings | None = Field(
        default=None, description="BGP EVPN for the VTEPs, by FRR's daemons"
    )
    tap: TapSettings | None = Field(default=None, description="the analysis tap")
    suricata: SuricataPlaceSettings | None = Field(default=None, description="Suricata's place")
    offloads: dict[InterfaceName, OffloadSettings] = Field(
        default={}, description="offloads of interfaces, by name"
    )

    @model_validator(mode="after")
    def _something(self) -> Self:
        if not self.model_fields_set - {"name", "firewall"}:
            raise ValueError("asks for nothing; name bridges, virtual addresses, or a tap")
        return self
