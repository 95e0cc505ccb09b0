"""The picture as SVG: well-formed, everything in it, no box outside or on another."""

from __future__ import annotations

import itertools
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from diversion.setup.desired import desired
from diversion.topology.declared import declared
from diversion.topology.graph import Graph
from diversion.topology.svg import svg
from pipeline import topology_file
from tests.diversion.topology.pictures import circle, picture

EXAMPLES = sorted((Path(__file__).parents[3] / "fixtures/topologies").glob("*.yaml"))
SVG = "{http://www.w3.org/2000/svg}"


def boxes(root: ElementTree.Element, radius: str) -> list[tuple[float, float, float, float]]:
    return [
        tuple(float(str(one.get(key))) for key in ("x", "y", "width", "height"))  # type: ignore[misc]
        for one in root.iter(f"{SVG}rect")
        if one.get("rx") == radius
    ]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_no_box_lies_on_another_or_outside(path: Path) -> None:
    graph = declared(desired(topology_file.load(path).settings, "nftables"))
    root = ElementTree.fromstring(svg(graph))
    width, height = float(str(root.get("width"))), float(str(root.get("height")))
    nodes = boxes(root, "4")
    assert len(nodes) == len(graph.nodes)
    for group in (nodes, boxes(root, "6")):
        for (x1, y1, w1, h1), (x2, y2, w2, h2) in itertools.combinations(group, 2):
            assert x1 + w1 <= x2 or x2 + w2 <= x1 or y1 + h1 <= y2 or y2 + h2 <= y1
    for x, y, w, h in nodes:
        assert x >= 0
        assert y >= 0
        assert x + w <= width
        assert y + h <= height


def test_text_is_text() -> None:
    assert "a &quot;quoted&quot; &lt;detail&gt;" in svg(picture())


@pytest.mark.parametrize("graph", [circle(), Graph()])
def test_what_has_no_root_is_drawn(graph: Graph) -> None:
    ElementTree.fromstring(svg(graph))
