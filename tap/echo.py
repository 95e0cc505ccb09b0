"""Whether what is sent out of an interface would come back into the capture.

The engine would take its own packets for the wire's, and strip them again, without end. A frame
moves between interfaces of one namespace by few rules, which are followed here step by step:

    out of a veth       in at its peer
    out of a bridge     out of its ports
    out of anything that stands on another (VLAN, macvlan)   out of that one
    in at a port        in at its bridge, and out of the bridge's other ports

Interfaces in other namespaces and on other machines cannot be seen from here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from tap.links import Link


def way_back(links: Mapping[int, Link], sender: Link, capture: Link) -> str | None:
    """How frames sent out of `sender` reach `capture`, as one clause; None if they do not."""
    if sender.index == capture.index:
        return "it is the interface that is captured"
    if sender.master == capture.index:
        return f"it is a port of {capture.name}, which is captured"
    if capture.master == sender.index:
        return f"{capture.name}, which is captured, is a port of it"
    waiting = [(sender.index, "out")]
    before: dict[tuple[int, str], tuple[int, str] | None] = {waiting[0]: None}
    while waiting:
        at = waiting.pop(0)
        if at[0] == capture.index:
            passed = []
            step: tuple[int, str] | None = at
            while step is not None:
                passed.append(links[step[0]].name)
                step = before[step]
            return f"what is sent there comes back by {' -> '.join(reversed(passed))}"
        for following in _next(links, *at):
            if following not in before:
                before[following] = at
                waiting.append(following)
    return None


def _next(links: Mapping[int, Link], index: int, way: str) -> Iterator[tuple[int, str]]:
    link = links[index]
    ports = [one.index for one in links.values() if one.master == index]
    if way == "out":
        if link.lower is not None and link.lower in links:
            yield link.lower, "in" if link.kind == "veth" else "out"
        for port in ports:
            yield port, "out"
    elif link.master is not None and link.master in links:
        yield link.master, "in"
        for other in links.values():
            if other.master == link.master and other.index != index:
                yield other.index, "out"
