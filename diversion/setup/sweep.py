"""What a topology left behind and no journal tells of: found by its owner marks.

Interfaces carry the mark as their alias, namespaces on their loopback, rules of routing a table
that follows from the topology's name, firewalls its name. What was changed and has no mark, sysctls
and addresses on interfaces of others, cannot be found this way.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from diversion.setup.desired import Backend
from diversion.setup.firewall import iptables, nft
from diversion.setup.machine import NAMED, Machine
from diversion.setup.names import mark_base
from diversion.setup.observed import Observed, look
from diversion.setup.steps import Remove
from diversion.setup.things import Link, Namespace, PolicyRule, Route, Ruleset


def sweep(machine: Machine, backends: Iterable[Backend]) -> list[Remove]:
    """Find what carries the mark of the machine's owner, in the order of removal."""
    names = sorted(path.name for path in NAMED.iterdir()) if NAMED.is_dir() else []
    found: list[Remove] = []
    spaces: list[Remove] = []
    for name in ["", *names]:
        observed = Observed()
        look(machine, name, observed)
        found += _rulesets(machine, name, backends)
        found += _inside(machine, name, observed)
        if observed.marks.get(("link", name, "lo")) == machine.mark:
            spaces.append(Remove(Namespace(name)))
    return found + spaces


def _rulesets(machine: Machine, name: str, backends: Iterable[Backend]) -> Iterator[Remove]:
    for backend in backends:
        owned = nft.owned if backend == "nftables" else iptables.owned
        if owned(machine.run, name, machine.owner):
            yield Remove(Ruleset(name, machine.owner, backend, ()))


def _inside(machine: Machine, name: str, observed: Observed) -> Iterator[Remove]:
    base = mark_base(machine.owner)
    for one in observed.things.values():
        # Routes out of an interface go with it; the one that ends a VRF's table has none.
        marked = isinstance(one, PolicyRule) or (isinstance(one, Route) and not one.link)
        if marked and base <= one.table <= base + 0xFF:
            yield Remove(one)
    for key, mark in observed.marks.items():
        link = observed.things[key]
        ours = mark == machine.mark or (link.kind == "tap" and mark.endswith(f"({machine.owner})"))
        if ours and isinstance(link, Link) and link.name != "lo":
            yield Remove(link)
