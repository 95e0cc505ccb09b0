"""A picture as SVG: a box for each namespace, in columns by what carries what."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from typing import Final, NamedTuple

from diversion.topology.graph import Graph, Node

_CHARACTER: Final = 6.6
_LINE: Final = 15
_PAD: Final = 10
_GAP: Final = 18
_COLUMN: Final = 50

_FILLS: Final = {
    "bridge": "#dbe9ff",
    "vrf": "#dbe9ff",
    "nftables": "#ffe9d6",
    "iptables": "#ffe9d6",
    "interface": "#eeeeee",
    "hardware": "#eeeeee",
    "tun": "#e6dcff",
    "tap": "#e6dcff",
}
_STROKES: Final = {"": "#555555", "new": "#1a7f37", "changed": "#bc6c00", "gone": "#cf222e"}
_DASHES: Final = {"": "", "new": "", "changed": ' stroke-dasharray="5 3"', "gone": ""}


class _Box(NamedTuple):
    x: float
    y: float
    width: float
    height: float


def svg(graph: Graph) -> str:
    """Draw it, whole, as one SVG document."""
    boxes: dict[tuple[str, str], _Box] = {}
    frames: list[tuple[str, _Box]] = []
    x = float(_GAP)
    bottom = 0.0
    # The host's own namespace is one column; all others share the next ones, four high.
    places = graph.places()
    groups = [places[:1]] + [places[at : at + 4] for at in range(1, len(places), 4)]
    for group in groups:
        y = float(_GAP)
        widest = 0.0
        for place in group:
            frame = _place(graph, place, x, y, boxes)
            frames.append((place, frame))
            y = frame.y + frame.height + _GAP
            widest = max(widest, frame.width)
        bottom = max(bottom, y)
        x += widest + _COLUMN
    width = max(x - _COLUMN + _GAP, 100)
    body = [*_frames(frames), *_edges(graph, boxes), *_nodes(graph, boxes)]
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{bottom:.0f}" '
        f'viewBox="0 0 {width:.0f} {bottom:.0f}" font-family="sans-serif" font-size="11">'
    )
    ground = f'<rect width="{width:.0f}" height="{bottom:.0f}" fill="white"/>'
    return "\n".join([head, ground, *body, "</svg>"]) + "\n"


def _place(
    graph: Graph, place: str, x: float, y: float, boxes: dict[tuple[str, str], _Box]
) -> _Box:
    """Put a namespace's nodes into columns, carriers left of what they carry; its frame."""
    depths = _depths(graph, place)
    left = x + _PAD
    top = y + 24
    bottom = top
    for depth in range(max(depths.values(), default=0) + 1):
        column = [graph.nodes[key] for key, at in depths.items() if at == depth]
        widest = max((_size(node)[0] for node in column), default=0)
        below = top
        for node in column:
            width, height = _size(node)
            boxes[node.key] = _Box(left, below, width, height)
            below += height + _PAD
        bottom = max(bottom, below)
        left += widest + _COLUMN
    return _Box(x, y, max(left - x - _COLUMN + _PAD, 120), bottom - y)


def _depths(graph: Graph, place: str) -> dict[tuple[str, str], int]:
    depths: dict[tuple[str, str], int] = {}
    waiting = [(node, 0) for node in graph.roots(place)]
    while waiting:
        node, depth = waiting.pop(0)
        if node.key in depths:
            continue
        depths[node.key] = depth
        waiting += [(one, depth + 1) for one, _ in graph.carried(node) if one.place == place]
    for node in graph.nodes.values():
        # What carries itself in a circle has no root.
        if node.place == place:
            depths.setdefault(node.key, 0)
    return depths


def _lines(node: Node) -> list[str]:
    return [f"{node.name} ({node.kind})", *node.details]


def _size(node: Node) -> tuple[float, float]:
    lines = _lines(node)
    return max(map(len, lines)) * _CHARACTER + 2 * _PAD, len(lines) * _LINE + _PAD


def _frames(frames: list[tuple[str, _Box]]) -> Iterator[str]:
    for place, box in frames:
        title = f"namespace {place}" if place else "host"
        yield (
            f'<rect x="{box.x:.0f}" y="{box.y:.0f}" width="{box.width:.0f}" '
            f'height="{box.height:.0f}" rx="6" fill="#fafafa" stroke="#bbbbbb"/>'
        )
        at = f'x="{box.x + _PAD:.0f}" y="{box.y + 16:.0f}"'
        yield f'<text {at} fill="#555555">{escape(title)}</text>'


def _nodes(graph: Graph, boxes: dict[tuple[str, str], _Box]) -> Iterator[str]:
    for key, box in boxes.items():
        node = graph.nodes[key]
        fill = _FILLS.get(node.kind, "white")
        yield (
            f'<rect x="{box.x:.0f}" y="{box.y:.0f}" width="{box.width:.0f}" '
            f'height="{box.height:.0f}" rx="4" fill="{fill}" '
            f'stroke="{_STROKES[node.state]}"{_DASHES[node.state]}/>'
        )
        for at, line in enumerate(_lines(node)):
            weight = ' font-weight="bold"' if at == 0 else ""
            yield (
                f'<text x="{box.x + _PAD:.0f}" y="{box.y + (at + 1) * _LINE:.0f}"{weight}>'
                f"{escape(line)}</text>"
            )


def _edges(graph: Graph, boxes: dict[tuple[str, str], _Box]) -> Iterator[str]:
    for edge in graph.edges:
        one, other = boxes[edge.below], boxes[edge.above]
        start, end = (one, other) if one.x <= other.x else (other, one)
        x1, y1 = start.x + start.width, start.y + start.height / 2
        x2, y2 = end.x, end.y + end.height / 2
        if start.x == end.x:
            # In one column: a bow on its right side.
            x2 = end.x + end.width
        bend = max(abs(x2 - x1) / 2, 20)
        right = -bend if start.x != end.x else bend
        width = 2.5 if edge.kind == "pair" else 1.2
        yield (
            f'<path d="M {x1:.0f} {y1:.0f} C {x1 + bend:.0f} {y1:.0f}, {x2 + right:.0f} {y2:.0f}, '
            f'{x2:.0f} {y2:.0f}" fill="none" stroke="#777777" stroke-width="{width}"/>'
        )
