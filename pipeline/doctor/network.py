"""The captured interface, its ports, and the tap: facts in, findings out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from pipeline.doctor.finding import Finding, fail, ok, warn
from tap.device import fits, refusal
from tap.echo import way_back
from tap.links import ARPHRD_ETHER, Link, find
from tap.quarantine import breaches


@dataclass(frozen=True, slots=True)
class Network:
    """Interfaces as the kernel has them, and what is configured.

    `offloads` has the words that are on (lro, gro, gso, tso) of each interface that tells;
    `dropped` whether what arrives on the tap is dropped, None if we may not look.
    """

    links: Mapping[int, Link]
    capture: str
    promiscuous: bool
    superframes: str
    device: str
    makes_tap: bool
    workers: int = 1
    offloads: Mapping[str, frozenset[str]] = field(default_factory=dict)
    dropped: bool | None = None


def findings(network: Network, *, service_runs: bool) -> Iterator[Finding]:
    """All about interfaces."""
    capture = find(network.links, network.capture)
    if capture is None:
        yield fail(
            "interface",
            f"there is no {network.capture}: nothing is captured until there is",
            f"make it (ip link add {network.capture} type bridge), or name another under "
            "capture.interface",
        )
    else:
        ports = [link for link in network.links.values() if link.master == capture.index]
        yield from _interface(network, capture, ports)
        yield from _offloads(network, [capture, *ports])
    if network.makes_tap:
        yield from _tap(network, service_runs)
    else:
        yield from _existing(network, capture)


def _interface(network: Network, capture: Link, ports: Sequence[Link]) -> Iterator[Finding]:
    topic, name = "interface", capture.name
    if capture.hardware != ARPHRD_ETHER:
        yield fail(
            topic,
            f"{name} is no Ethernet (link type {capture.hardware})",
            "name the bridge, or an Ethernet interface, under capture.interface",
        )
        return
    well = True
    if not capture.up:
        well = False
        yield warn(topic, f"{name} is down", f"ip link set {name} up")
    if capture.kind == "bridge" and not ports:
        well = False
        yield warn(
            topic,
            f"the bridge {name} has no ports: nothing can cross it",
            f"ip link set PORT master {name}",
        )
    if capture.kind == "bridge" and not network.promiscuous:
        well = False
        yield warn(
            topic,
            f"capture.promiscuous is off: of the bridge {name} only what is for this host is seen, "
            "not what crosses from port to port",
            "leave capture.promiscuous on",
        )
    small = [port.name for port in ports if port.mtu < capture.mtu]
    if small:
        well = False
        yield warn(
            topic,
            f"{', '.join(small)}: a smaller MTU than {name}'s {capture.mtu}; larger frames are "
            "lost on the bridge itself",
            f"give all ports of {name} one MTU",
        )
    if well:
        of_ports = f"bridge, {len(ports)} port{'s' if len(ports) > 1 else ''}"
        kind = of_ports if capture.kind == "bridge" else "interface"
        yield ok(topic, f"{name} is up: {kind}, MTU {capture.mtu}")


def _offloads(network: Network, links: Sequence[Link]) -> Iterator[Finding]:
    topic = "offloads"
    lro = [link.name for link in links if "lro" in network.offloads.get(link.name, ())]
    if lro:
        yield warn(
            topic,
            f"{', '.join(lro)}: LRO merges segments and forgets where they began",
            "; ".join(f"ethtool -K {name} lro off" for name in lro),
        )
    merged = [
        link.name
        for link in links
        if network.offloads.get(link.name, frozenset()) & {"gro", "gso", "tso"}
    ]
    if merged and not lro:
        treated = (
            "they stay whole, which costs Suricata least"
            if network.superframes == "keep"
            else "they are cut to the MSS again"
        )
        yield ok(topic, f"frames of up to 64 KiB come from {', '.join(merged)}: {treated}")
    elif not lro:
        yield ok(topic, "off: every frame is as a wire would carry it")


def _tap(network: Network, service_runs: bool) -> Iterator[Finding]:
    topic = "tap"
    link = find(network.links, network.device)
    if link is None:
        if service_runs:
            yield fail(
                topic,
                f"{network.device} is not there, though the service runs",
                "see what it says of it: peeltap status",
            )
        else:
            yield ok(topic, f"{network.device} will be made")
        return
    reason = refusal(link)
    if reason is not None and not service_runs:
        yield fail(
            topic,
            reason,
            f"stop what uses it, delete it (ip link delete {link.name}), or set another tap.name",
        )
        return
    # Without the service nobody injects, and its drop is not there.
    dropped = network.dropped is not False if service_runs else True
    found = list(breaches(network.links, link, dropped)) if service_runs or link.up else []
    for breach in found:
        text, _, remedy = breach.partition("; ")
        yield fail(topic, text, remedy)
    if service_runs and network.dropped is None:
        yield warn(
            topic,
            f"whether what arrives on {link.name} is dropped cannot be told",
            "run peeltap doctor as root",
        )
    elif not service_runs and link.tun is not None and not fits(link.tun, network.workers):
        yield warn(
            topic,
            f"{link.name} was made for another number of workers and will be made anew",
            "restart a Suricata that listens on it and is not peeltap's to restart",
        )
    elif not found:
        state = "in quarantine" if service_runs else "left by an earlier run, will be used again"
        yield ok(topic, f"{link.name} is {state}")


def _existing(network: Network, capture: Link | None) -> Iterator[Finding]:
    topic, name = "tap", network.device
    link = find(network.links, name)
    if link is None:
        yield fail(
            topic,
            f"there is no interface {name} to inject into",
            "make it, or give tap.name instead, and a tap is made",
        )
        return
    if capture is not None and (way := way_back(network.links, link, capture)):
        yield fail(
            topic,
            f"{name}: {way}: our own packets would be captured again",
            "name an interface that leads elsewhere under tap.interface",
        )
        return
    well = True
    if not link.up:
        well = False
        yield fail(topic, f"{name} is down", f"ip link set {name} up")
    if capture is not None and link.mtu < capture.mtu:
        well = False
        yield warn(
            topic,
            f"{name} has an MTU of {link.mtu}, {capture.name} of {capture.mtu}: larger frames are "
            "lost",
            f"ip link set {name} mtu {capture.mtu}",
        )
    if well:
        yield ok(topic, f"packets go into {name}, which leads away from {network.capture}")
