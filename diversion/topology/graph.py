"""The picture of a network: nodes that stand in namespaces, and edges between them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

State = Literal["", "new", "changed", "gone"]
"""Of a node in a declared picture: what applying it would do; empty: it is there already."""


@dataclass(frozen=True)
class Node:
    """An interface, container, domain or neighbour. `details` are for reading, in order."""

    name: str
    kind: str
    place: str = ""
    details: tuple[str, ...] = ()
    state: State = ""

    @property
    def key(self) -> tuple[str, str]:
        """What names it in a picture."""
        return (self.place, self.name)


@dataclass(frozen=True)
class Edge:
    """`below` carries `above`: a bridge its port, a parent its VLAN; or a pair's two ends."""

    below: tuple[str, str]
    above: tuple[str, str]
    kind: Literal["port", "on", "pair", "inside", "neighbour"] = "port"


@dataclass
class Graph:
    """A host's picture. Places are namespaces; "" is the host's own."""

    nodes: dict[tuple[str, str], Node] = field(default_factory=dict)
    edges: list[Edge] = field(default_factory=list)

    def add(self, node: Node) -> None:
        """Add a node; the first of a name stays."""
        self.nodes.setdefault(node.key, node)

    def join(self, edge: Edge) -> None:
        """Add an edge, once, if both its ends are there."""
        known = edge.below in self.nodes and edge.above in self.nodes
        if known and edge not in self.edges:
            self.edges.append(edge)

    def places(self) -> list[str]:
        """The places, the host's own first."""
        return sorted({node.place for node in self.nodes.values()})

    def roots(self, place: str) -> list[Node]:
        """The nodes of a place that nothing else carries there, by kind and name."""
        carried = {
            edge.above for edge in self.edges if edge.kind != "pair" and edge.below[0] == place
        }
        here = [node for node in self.nodes.values() if node.place == place]
        return sorted(
            (node for node in here if node.key not in carried),
            key=lambda node: (node.kind != "bridge", node.kind, node.name),
        )

    def carried(self, node: Node) -> list[tuple[Node, Edge]]:
        """What stands on a node, by name."""
        found = [
            (self.nodes[edge.above], edge)
            for edge in self.edges
            if edge.below == node.key and edge.kind != "pair"
        ]
        return sorted(found, key=lambda one: one[0].key)

    def partner(self, node: Node) -> Node | None:
        """The other end of a pair."""
        for edge in self.edges:
            if edge.kind == "pair" and node.key in (edge.below, edge.above):
                other = edge.above if edge.below == node.key else edge.below
                return self.nodes[other]
        return None

    def as_dict(self) -> dict[str, Any]:
        """As `--json` prints it."""
        return {
            "nodes": [
                {
                    "name": node.name,
                    "kind": node.kind,
                    "namespace": node.place,
                    "details": list(node.details),
                    "state": node.state or "there",
                }
                for node in sorted(self.nodes.values(), key=lambda one: one.key)
            ],
            "edges": [
                {"below": list(edge.below), "above": list(edge.above), "kind": edge.kind}
                for edge in self.edges
            ],
        }
