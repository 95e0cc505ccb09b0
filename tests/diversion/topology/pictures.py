"""A small picture: a bridge with a port whose pair's other end is in a namespace."""

from __future__ import annotations

from diversion.topology.graph import Edge, Graph, Node


def picture() -> Graph:
    graph = Graph()
    graph.add(Node("br0", "bridge", "", ("192.0.2.1/24",)))
    graph.add(Node("p0", "veth", "", state="new"))
    graph.add(Node("eth0", "veth", "vip", ('a "quoted" <detail>',), state="gone"))
    graph.add(Node("v5", "vlan", "vip", ("id 5",), state="changed"))
    graph.join(Edge(("", "br0"), ("", "p0"), "port"))
    graph.join(Edge(("", "p0"), ("vip", "eth0"), "pair"))
    graph.join(Edge(("vip", "eth0"), ("vip", "v5"), "on"))
    return graph


def circle() -> Graph:
    """What cannot be, and must not hang whoever draws it."""
    graph = Graph()
    for name in ("a", "b"):
        graph.add(Node(name, "vlan"))
    graph.join(Edge(("", "a"), ("", "b"), "on"))
    graph.join(Edge(("", "b"), ("", "a"), "on"))
    return graph
