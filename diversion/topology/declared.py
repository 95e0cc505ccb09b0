"""A topology's things as a picture, with what applying it would do marked on each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from diversion.setup.firewall.rules import Rule
from diversion.setup.things import (
    Address,
    Desired,
    Key,
    Link,
    LinkSetting,
    Namespace,
    Route,
    Ruleset,
    Wanted,
)
from diversion.topology.graph import Edge, Graph, Node, State


def declared(desired: Iterable[Desired], states: Mapping[Key, State] | None = None) -> Graph:
    """Draw what is wanted; `states` gives what applying it would do with each thing, by key."""
    wanted = list(desired)
    marks = states or {}
    graph = Graph()
    links = [one for one in wanted if isinstance(one, Link)]
    for link in links:
        state: State = marks.get(link.key, "")
        details = _details(wanted, link.namespace, link.name)
        graph.add(Node(link.name, link.kind, link.namespace, (*_kind(link), *details), state))
        if link.peer:
            inside = _details(wanted, link.peer_namespace, link.peer)
            graph.add(Node(link.peer, "veth", link.peer_namespace, inside, state))
    _foreign(wanted, graph)
    for link in links:
        here = (link.namespace, link.name)
        if link.peer:
            graph.join(Edge(here, (link.peer_namespace, link.peer), "pair"))
        if link.parent:
            graph.join(Edge((link.parents_home, link.parent), here, "on"))
    for one in wanted:
        if isinstance(one, Wanted) and isinstance(one.setting, LinkSetting):
            setting = one.setting
            if setting.attribute == "master" and one.value:
                place = setting.namespace
                graph.join(Edge((place, str(one.value)), (place, setting.link), "port"))
    _firewalls(wanted, graph, marks)
    return graph


def _kind(link: Link) -> tuple[str, ...]:
    if link.number is None:
        return ()
    word = {"vxlan": "vni", "vrf": "table"}.get(link.kind, "id")
    return (f"{word} {link.number}",)


def _details(wanted: list[Desired], place: str, name: str) -> tuple[str, ...]:
    found = [
        one.address
        for one in wanted
        if isinstance(one, Address) and (one.namespace, one.link) == (place, name)
    ]
    if len(found) > 4:
        found = [*found[:3], f"and {len(found) - 3} more"]
    ways = [
        f"to {one.to} via {one.via}"
        for one in wanted
        if isinstance(one, Route) and (one.namespace, one.link) == (place, name) and one.via
    ]
    return (*found, *ways[:3])


def _foreign(wanted: list[Desired], graph: Graph) -> None:
    """Interfaces that are there already: the topology stands on them and does not make them."""
    for one in wanted:
        for key in one.stands_on:
            if key[0] == "link" and key[2] != "lo":
                graph.add(Node(key[2], "interface", key[1], _details(wanted, key[1], key[2])))


def _firewalls(wanted: list[Desired], graph: Graph, marks: Mapping[Key, State]) -> None:
    spaces = {one.name for one in wanted if isinstance(one, Namespace)}
    for one in wanted:
        if isinstance(one, Ruleset) and (not one.namespace or one.namespace in spaces):
            lines = [line for rule in one.rules if (line := _rule(rule))]
            members = sum(len(several.members) for several in one.sets)
            if members:
                lines.append(f"{members} addresses with ports advertised")
            if len(lines) > 6:
                lines = [*lines[:5], f"and {len(lines) - 5} more rules"]
            state = marks.get(one.key, "")
            graph.add(Node("firewall", one.backend, one.namespace, tuple(lines), state))


def _rule(rule: Rule) -> str:
    """The rules that a person looks for: where what is addressed to whom goes."""
    match = rule.match
    if rule.action == "dnat" and "/" in rule.argument:
        return f"{match.destination} from {match.arriving} to {rule.argument}"
    if rule.action == "dnat":
        ports = f":{','.join(match.ports)}" if match.ports else ""
        what = match.destination or "what is advertised"
        return f"{what}{ports} to {rule.argument}"
    if rule.action == "drop" and match.arriving:
        return f"{match.arriving}: all dropped"
    if rule.hook == "input":
        who = match.source or "everybody else"
        return f"{who} to {match.destination}:{','.join(match.ports)}: {rule.action}"
    return ""
