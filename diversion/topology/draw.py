"""A picture as text: a tree for terminals, Graphviz's DOT for its programs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Final

from diversion.topology.graph import Graph, Node

_MARKS: Final = {"": "", "new": "+ ", "changed": "~ ", "gone": "- "}
_COLOURS: Final = {"": "black", "new": "darkgreen", "changed": "darkorange", "gone": "red"}


def tree(graph: Graph) -> str:
    """One tree for each namespace, with what stands on what indented below it.

    In a declared picture `+` marks what would be made, `~` what would change, `-` what would go.
    """
    lines: list[str] = []
    for place in graph.places():
        lines.append(f"namespace {place}" if place else "host")
        roots = graph.roots(place)
        for at, node in enumerate(roots):
            lines += _branch(graph, node, "", last=at == len(roots) - 1, seen=set())
    return "\n".join(lines) + "\n"


def _branch(
    graph: Graph, node: Node, indent: str, *, last: bool, seen: set[tuple[str, str]]
) -> Iterator[str]:
    yield f"{indent}{'└── ' if last else '├── '}{_MARKS[node.state]}{label(graph, node)}"
    if node.key in seen:
        return
    below = indent + ("    " if last else "│   ")
    carried = graph.carried(node)
    here = [one for one, _ in carried if one.place == node.place]
    for at, one in enumerate(here):
        yield from _branch(graph, one, below, last=at == len(here) - 1, seen=seen | {node.key})


def label(graph: Graph, node: Node) -> str:
    """A node in one line: its name, its kind, its details, where its pair's other end is."""
    text = f"{node.name} ({node.kind})"
    partner = graph.partner(node)
    if partner is not None:
        place = partner.place or "host"
        text += f" ═ {partner.name}" + (f" in {place}" if partner.place != node.place else "")
    if node.details:
        text += f"  {', '.join(node.details)}"
    return text


def dot(graph: Graph) -> str:
    """Graphviz's language, a cluster for each namespace; `dot -Tsvg` draws it."""
    lines = ["graph network {", "  rankdir=LR;", '  node [shape=box, fontname="sans-serif"];']
    for number, place in enumerate(graph.places()):
        lines.append(f"  subgraph cluster{number} {{")
        lines.append(f"    label={_quoted(f'namespace {place}' if place else 'host')};")
        for node in sorted(graph.nodes.values(), key=lambda one: one.key):
            if node.place == place:
                text = "\n".join([f"{node.name} ({node.kind})", *node.details])
                lines.append(
                    f"    {_quoted(_identity(node.key))} "
                    f"[label={_quoted(text)}, color={_COLOURS[node.state]}];"
                )
        lines.append("  }")
    for edge in graph.edges:
        style = ' [style=bold, label="pair"]' if edge.kind == "pair" else ""
        ends = f"{_quoted(_identity(edge.below))} -- {_quoted(_identity(edge.above))}"
        lines.append(f"  {ends}{style};")
    return "\n".join([*lines, "}"]) + "\n"


def _identity(key: tuple[str, str]) -> str:
    return f"{key[0]}/{key[1]}"


def _quoted(text: str) -> str:
    # DOT's strings know the quote and, in labels, the line's end; a backslash is doubled.
    return json.dumps(text, ensure_ascii=False)
