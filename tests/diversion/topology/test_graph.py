"""What stands where, and on what."""

from __future__ import annotations

from diversion.topology.graph import Edge, Node
from tests.diversion.topology.pictures import circle, picture


def test_roots_and_what_they_carry() -> None:
    graph = picture()
    assert graph.places() == ["", "vip"]
    assert [node.name for node in graph.roots("")] == ["br0"]
    assert [node.name for node in graph.roots("vip")] == ["eth0"]
    assert [node.name for node, _ in graph.carried(graph.nodes["", "br0"])] == ["p0"]


def test_a_pair_has_two_ends() -> None:
    graph = picture()
    assert graph.partner(graph.nodes["", "p0"]) == graph.nodes["vip", "eth0"]
    assert graph.partner(graph.nodes["vip", "eth0"]) == graph.nodes["", "p0"]
    assert graph.partner(graph.nodes["", "br0"]) is None


def test_an_edge_is_there_once_and_only_between_nodes() -> None:
    graph = picture()
    before = list(graph.edges)
    graph.join(Edge(("", "br0"), ("", "p0"), "port"))
    graph.join(Edge(("", "br0"), ("", "none"), "port"))
    assert graph.edges == before


def test_the_first_of_a_name_stays() -> None:
    graph = picture()
    graph.add(Node("br0", "tap"))
    assert graph.nodes["", "br0"].kind == "bridge"


def test_plain_values() -> None:
    told = picture().as_dict()
    assert told["nodes"][0] == {
        "name": "br0",
        "kind": "bridge",
        "namespace": "",
        "details": ["192.0.2.1/24"],
        "state": "there",
    }
    assert {edge["kind"] for edge in told["edges"]} == {"port", "pair", "on"}


def test_a_circle_has_no_root() -> None:
    assert circle().roots("") == []
