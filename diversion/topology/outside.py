"""What stands on a host's bridges and is no interface of its own: Docker, libvirt, Open vSwitch.

Each function takes what the program itself says (its JSON or XML) and adds to a picture. All of it
is somebody else's text: what does not look as expected is left out.
"""

from __future__ import annotations

import http.client
import json
import socket
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from diversion.topology.graph import Edge, Graph, Node

MAX_BYTES: Final = 16 << 20
DOCKER_SOCKET: Final = Path("/run/docker.sock")
LIBVIRT: Final = Path("/etc/libvirt/qemu")


class OutsideError(Exception):
    """A file that a person named cannot be used; a sentence."""


def parse(text: str, name: str) -> Any:
    """Read JSON; OutsideError names the file."""
    if len(text) > MAX_BYTES:
        raise OutsideError(f"{name}: longer than {MAX_BYTES} characters")
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise OutsideError(f"{name}: not JSON: {error}") from None


def docker(graph: Graph, networks: Any) -> None:
    """Add what `docker network inspect` says: networks on their bridges, containers on them."""
    for network in _dicts(networks):
        options = network.get("Options")
        options = options if isinstance(options, dict) else {}
        given = options.get("com.docker.network.bridge.name")
        bridge = str(given or f"br-{str(network.get('Id', ''))[:12]}")
        if network.get("Driver") != "bridge":
            continue
        graph.add(Node(bridge, "bridge"))
        name = f"{network.get('Name')}"
        subnets = [str(one.get("Subnet")) for one in _dicts(_inside(network, "IPAM", "Config"))]
        graph.add(Node(f"docker:{name}", "docker network", "", tuple(subnets)))
        graph.join(Edge(("", bridge), ("", f"docker:{name}"), "inside"))
        containers = network.get("Containers")
        for container in containers.values() if isinstance(containers, dict) else ():
            if isinstance(container, dict):
                held = [container.get(key) for key in ("IPv4Address", "IPv6Address", "MacAddress")]
                details = tuple(str(one) for one in held if one)
                node = Node(str(container.get("Name")), "container", "", details)
                graph.add(node)
                graph.join(Edge(("", f"docker:{name}"), node.key, "inside"))


def ask_docker(path: Path = DOCKER_SOCKET) -> Any:
    """What the Engine's socket says of its networks; an empty list where there is none."""
    if not path.exists():
        return []
    try:
        listed = _get(path, "/networks")
        return [_get(path, f"/networks/{one['Id']}") for one in _dicts(listed) if "Id" in one]
    except (OSError, http.client.HTTPException, OutsideError):
        return []


def _get(path: Path, url: str) -> Any:
    connection = http.client.HTTPConnection("docker", timeout=3)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as opened:
        opened.settimeout(3)
        opened.connect(str(path))
        connection.sock = opened
        connection.request("GET", url)
        return parse(connection.getresponse().read(MAX_BYTES).decode(errors="replace"), url)


def libvirt(graph: Graph, text: str) -> None:
    """Add one of libvirt's XML files: a network on its bridge, or a domain on those it uses."""
    if len(text) > MAX_BYTES or "<!DOCTYPE" in text or "<!ENTITY" in text:
        return
    try:
        root = ElementTree.fromstring(text)  # noqa: S314 -- entities were refused above
    except ElementTree.ParseError:
        return
    name = root.findtext("name") or ""
    if root.tag == "network":
        bridge = root.find("bridge")
        if bridge is not None and bridge.get("name"):
            place = str(bridge.get("name"))
            graph.add(Node(place, "bridge"))
            held = tuple(
                str(one.get("address")) for one in root.findall("ip") if one.get("address")
            )
            graph.add(Node(f"libvirt:{name}", "libvirt network", "", held))
            graph.join(Edge(("", place), ("", f"libvirt:{name}"), "inside"))
    elif root.tag == "domain":
        for card in root.findall("devices/interface"):
            _card(graph, name, card)


def _card(graph: Graph, domain: str, card: ElementTree.Element) -> None:
    source, mac, target = (card.find(tag) for tag in ("source", "mac", "target"))
    if source is None:
        return
    details = tuple(str(one.get("address")) for one in (mac,) if one is not None)
    graph.add(Node(domain, "domain", "", details))
    network = source.get("network")
    below = source.get("bridge") or (f"libvirt:{network}" if network else None)
    if target is not None and ("", str(target.get("dev"))) in graph.nodes:
        below = target.get("dev")
    if below:
        graph.join(Edge(("", below), ("", domain), "inside"))


def libvirt_files(directory: Path = LIBVIRT) -> Iterator[str]:
    """The text of libvirt's files: networks before domains."""
    for path in (*sorted(directory.glob("networks/*.xml")), *sorted(directory.glob("*.xml"))):
        try:
            if path.stat().st_size <= MAX_BYTES:
                yield path.read_text(errors="replace")
        except OSError:
            continue


def open_vswitch(graph: Graph, bridges: Any, ports: Any) -> None:
    """Add what `ovs-vsctl --format=json list Bridge` and `list Port` say."""
    names = {row["_uuid"]: row["name"] for row in _rows(ports) if {"_uuid", "name"} <= set(row)}
    for row in _rows(bridges):
        bridge = str(row.get("name"))
        graph.nodes.pop(("", bridge), None)
        graph.add(Node(bridge, "ovs bridge"))
        held = row.get("ports", [])
        for port in held if isinstance(held, tuple) else (held,):
            name = names.get(port)
            if name is not None and name != bridge:
                graph.add(Node(str(name), "ovs port"))
                graph.join(Edge(("", bridge), ("", str(name)), "port"))


def _rows(table: Any) -> Iterator[dict[str, Any]]:
    """The rows of OVSDB's JSON (RFC 7047, 5.1), with UUIDs as text and sets as tuples."""
    if not isinstance(table, dict) or not isinstance(table.get("headings"), list):
        return
    for row in table.get("data", ()):
        if isinstance(row, list):
            yield dict(zip(map(str, table["headings"]), map(_value, row), strict=False))


def _value(plain: Any) -> Any:
    match plain:
        case ["uuid", str(text)]:
            return text
        case ["set", list(values)]:
            return tuple(_value(one) for one in values)
        case list() | dict():
            return None
        case _:
            return plain


def _dicts(value: Any) -> list[dict[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _inside(value: Any, *keys: str) -> Any:
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value
