"""From what is to what shall be: the ordered steps, found without touching anything.

    desired, observed, journal ──> Plan(actions) or PlanError(problems)

A thing that is wanted and absent is made; one that is there as wanted is left, ours or not; one
that is there and different is made anew if it is ours, and a problem if not. What the journal has
and the file no longer asks for is taken back first, latest first. What stands on a thing that goes,
goes with it, and is made again if it is wanted.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from diversion.setup.journal import Entry
from diversion.setup.observed import Observed
from diversion.setup.steps import Make, Remove, Set, Step
from diversion.setup.things import (
    Address,
    Desired,
    Key,
    Link,
    LinkSetting,
    Origin,
    PolicyRule,
    Route,
    Ruleset,
    Thing,
    Wanted,
)

Problem = tuple[Origin, str]


class PlanError(Exception):
    """The topology cannot be had on this host as it is; `problems` are (place in the file, why)."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("; ".join(text for _, text in problems))
        self.problems = problems


@dataclass(frozen=True)
class Action:
    """A step. It takes back the journal's entry `cancels`, or stands in the place of `replaces`."""

    step: Step
    cancels: int | None = None
    replaces: int | None = None


@dataclass(frozen=True)
class Plan:
    """The steps in order, and what is wanted and there without us."""

    actions: tuple[Action, ...]
    found: tuple[Desired, ...] = ()


def plan(
    desired: Sequence[Desired],
    observed: Observed,
    entries: Mapping[int, Entry],
    seen: Mapping[Key, str],
    *,
    cut_me_off: bool = False,
) -> Plan:
    """Find the steps; PlanError says, place by place, why there are none.

    `cut_me_off`: an interface may lose its addresses to a bridge.
    """
    found = list(_absent_ground(desired, observed)) + list(_in_use(desired, observed, entries))
    if not cut_me_off:
        found += _cut_off(desired, observed, entries)
    work = _Work(observed, entries, seen)
    work.take_back({one.key for one in desired})
    for one in desired:
        if isinstance(one, Wanted):
            work.want_setting(one)
        else:
            work.want_thing(one)
    problems = found + work.problems
    if problems:
        raise PlanError(sorted(problems, key=lambda problem: str(problem[0])))
    return Plan(tuple(work.actions), tuple(work.found))


@dataclass
class _Work:
    """The steps found so far, and what is gone by then."""

    observed: Observed
    entries: Mapping[int, Entry]
    seen: Mapping[Key, str]
    actions: list[Action] = field(default_factory=list)
    found: list[Desired] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    gone: set[Key] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._ours = {entry.step.key: entry for entry in self.entries.values()}

    def take_back(self, wanted: set[Key]) -> None:
        """The way back from what the file no longer asks for."""
        for entry in reversed(list(self.entries.values())):
            if entry.step.key in wanted or self._still_vacated(entry.step, wanted):
                continue
            inverse = entry.step.inverse
            if inverse is not None:
                self.actions.append(Action(inverse, cancels=entry.number))
            if isinstance(entry.step, Make):
                self.gone.add(entry.step.key)

    def _still_vacated(self, step: Step, wanted: set[Key]) -> bool:
        """Whether an address or route is gone because its interface is a port, and stays one."""
        if not isinstance(step, Remove) or not isinstance(step.thing, Address | Route):
            return False
        return ("link-setting", step.thing.namespace, step.thing.link, "master") in wanted

    def want_thing(self, thing: Thing) -> None:
        entry = self._ours.get(thing.key)
        state = self._state(thing, entry)
        if state == "there":
            if entry is None:
                self.found.append(thing)
            return
        if state != "absent":
            if entry is None:
                self.problems.append((thing.origin, state))
                return
            self.actions.append(Action(entry.step.inverse or entry.step, cancels=entry.number))
            entry = None
        self.gone.add(thing.key)
        if isinstance(thing, Ruleset):
            before = self.observed.tables.get(thing.namespace, ())
            thing = replace(thing, tables_before=before)
        self.actions.append(Action(Make(thing), replaces=entry.number if entry else None))

    def _state(self, thing: Thing, entry: Entry | None) -> str:
        """`there`, `absent`, or why what is there is not what is wanted."""
        if isinstance(thing, Ruleset):
            return self._state_of_rules(thing, entry)
        found = self.observed.things.get(thing.key)
        if found is None or thing.key in self.gone:
            return "absent"
        # By what it stands on now, which may be another interface than the one that is wanted; what
        # the kernel does not tell of a link, its peer's namespace, the wanted one tells.
        ground = found.stands_on + (thing.stands_on if isinstance(thing, Link) else ())
        if any(key in self.gone for key in ground):
            return "absent"
        return difference(thing, found) or "there"

    def _state_of_rules(self, rules: Ruleset, entry: Entry | None) -> str:
        seen = self.observed.fingerprints.get(rules.key)
        if seen is None or ("namespace", rules.namespace) in self.gone:
            return "absent"
        if entry is None:
            return (
                f"there are firewall rules called peeltap-{rules.name} already, and no journal of "
                "them; run down, which goes by the owner marks then"
            )
        same = entry.step == Make(rules) and self.seen.get(rules.key) == seen
        # A part of them may be gone with the interface that it was for.
        whole = not any(key in self.gone for key in rules.stands_on)
        return "there" if same and whole else "differs"

    def want_setting(self, wanted: Wanted) -> None:
        setting = wanted.setting
        entry = self._ours.get(wanted.key)
        value = self.observed.settings.get(wanted.key)
        if any(key in self.gone for key in wanted.stands_on):
            value = None
        if value is not None and _same(value, wanted.value):
            if entry is None:
                self.found.append(wanted)
            return
        if isinstance(setting, LinkSetting) and setting.attribute == "master" and wanted.value:
            self._vacate(setting)
        former = value
        if entry is not None and isinstance(entry.step, Set) and value is not None:
            former = entry.step.former
        replaces = entry.number if entry is not None else None
        self.actions.append(Action(Set(setting, wanted.value, former), replaces=replaces))

    def _vacate(self, setting: LinkSetting) -> None:
        """A port of a bridge has no use for addresses: they would only deceive. A VRF's interface
        loses its routes when it moves.
        """
        if ("link", setting.namespace, setting.link) in self.gone:
            return
        namespace, link = setting.namespace, setting.link
        for route in self.observed.routes_out_of(namespace, link):
            self._vacate_of(route)
        for one in self.observed.addresses(namespace):
            if one.link == link and not _link_local(one):
                self._vacate_of(one)

    def _vacate_of(self, one: Address | Route) -> None:
        entry = self._ours.get(one.key)
        ours = entry is not None and isinstance(entry.step, Make)
        self.actions.append(Action(Remove(one), cancels=entry.number if entry and ours else None))
        if ours:
            del self._ours[one.key]
        # It may be wanted all the same: what a VRF's interface shall have comes after the move.
        self.gone.add(one.key)


def _same(value: object, wanted: object) -> bool:
    return value == wanted or str(value) == str(wanted)


def difference(wanted: Thing, found: Any) -> str | None:
    """Why what is there is not what is wanted; None if it is."""
    match wanted:
        case Link():
            if found.kind != wanted.kind:
                kind = "hardware" if found.kind == "hardware" else f"of kind {found.kind}"
                what = f"there is an interface {wanted.name} already, and it is {kind}"
                return f"{what}; take another name"
            for attribute in ("number", "local"):
                if getattr(wanted, attribute) not in (None, "", getattr(found, attribute)):
                    return f"there is an interface {wanted.name} already, with another {attribute}"
            if wanted.parent and found.parent and wanted.parent != found.parent:
                return f"there is an interface {wanted.name} already, on {found.parent}"
        case Route():
            if (wanted.via, wanted.link) != (found.via, found.link):
                way = f"through {found.via}" if found.via else f"out of {found.link}"
                return f"there is a route to {wanted.to} already, {way}"
        case PolicyRule():
            if wanted.table != found.table:
                return f"there is a rule of priority {wanted.priority} already"
    return None


# --- What stands in the way -----------------------------------------------------------------------


def _absent_ground(desired: Sequence[Desired], observed: Observed) -> Iterator[Problem]:
    """What is to stand on an interface that nobody makes."""
    made = {one.key for one in desired}
    made |= {
        ("link", one.peer_namespace, one.peer)
        for one in desired
        if isinstance(one, Link) and one.peer
    }
    made |= {("link", one.key[1], "lo") for one in desired if one.key[0] == "namespace"}
    told = set()
    for one in desired:
        for key in one.stands_on:
            if key in made or key in observed.things or key in told or key[0] != "link":
                continue
            told.add(key)
            where = f" in the namespace {key[1]}" if key[1] else ""
            yield (
                one.origin,
                f"there is no interface {key[2]}{where}; ip link shows those there are",
            )


def _in_use(
    desired: Sequence[Desired], observed: Observed, entries: Mapping[int, Entry]
) -> Iterator[Problem]:
    """Addresses and networks that another interface has."""
    ours = {entry.step.key for entry in entries.values()}
    ports = _ports(desired)
    vrfs = _vrfs(desired, observed)
    for one in desired:
        if not isinstance(one, Address):
            continue
        mine = ipaddress.ip_interface(one.address)
        for other in observed.addresses(one.namespace):
            if (one.namespace, other.link) in ports or other.link == one.link or other.key in ours:
                continue
            # Equal addresses in several VRFs are what VRFs are for.
            if vrfs.get((one.namespace, one.link)) != vrfs.get((one.namespace, other.link)):
                continue
            theirs = ipaddress.ip_interface(other.address)
            if theirs.ip == mine.ip:
                yield one.origin, f"{mine.ip} is in use on {other.link}; take another address"
            elif (
                one.network
                and mine.version == theirs.version
                and mine.network.overlaps(theirs.network)
                and theirs.network.num_addresses > 1
                and not _link_local(other)
            ):
                what = f"{mine.network} overlaps {theirs.network} on {other.link}"
                yield one.origin, f"{what}; take another network"


def _cut_off(
    desired: Sequence[Desired], observed: Observed, entries: Mapping[int, Entry]
) -> Iterator[Problem]:
    """Interfaces that would lose their addresses to a bridge, or to a VRF."""
    vrfs = _vrfs(desired, observed)
    # What we gave it nobody relies on for reaching this host.
    ours = {one.step.key for one in entries.values() if isinstance(one.step, Make)}
    for namespace, link in sorted(_ports(desired)):
        setting = LinkSetting(namespace, link, "master")
        wanted = next(one for one in desired if one.key == setting.key)
        if not isinstance(wanted, Wanted) or observed.settings.get(setting.key) == wanted.value:
            continue
        held = [
            one.address
            for one in observed.addresses(namespace)
            if one.link == link and not _link_local(one) and one.key not in ours
        ]
        if held and (namespace, link) in vrfs:
            yield (
                wanted.origin,
                f"{link} has the address {held[0]}, which nobody outside the VRF {wanted.value} "
                f"reaches any more; name it there (vrfs.{wanted.value}.addresses) and say "
                "--yes-cut-me-off, or take another interface",
            )
        elif held:
            yield (
                wanted.origin,
                f"{link} has the address {held[0]}, which it loses as a port of {wanted.value}; "
                "give the bridge that address (bridges: addresses) and say --yes-cut-me-off, "
                "or take another port",
            )


def _ports(desired: Sequence[Desired]) -> set[tuple[str, str]]:
    """(namespace, interface) of everything that becomes a port."""
    return {
        (one.setting.namespace, one.setting.link)
        for one in desired
        if isinstance(one, Wanted)
        and isinstance(one.setting, LinkSetting)
        and one.setting.attribute == "master"
        and one.value
    }


def _vrfs(desired: Sequence[Desired], observed: Observed) -> dict[tuple[str, str], str]:
    """The VRF of each interface, by (namespace, interface), that is in one or shall be."""
    there = [one for one in observed.things.values() if isinstance(one, Link)]
    wanted = [one for one in desired if isinstance(one, Link)]
    names = {(one.namespace, one.name) for one in (*there, *wanted) if one.kind == "vrf"}
    found = {}
    for key, value in observed.settings.items():
        if key[0] == "link-setting" and key[3] == "master" and (key[1], value) in names:
            found[key[1], key[2]] = str(value)
    for one in desired:
        if (
            isinstance(one, Wanted)
            and isinstance(one.setting, LinkSetting)
            and one.setting.attribute == "master"
            and (one.setting.namespace, one.value) in names
        ):
            found[one.setting.namespace, one.setting.link] = str(one.value)
    return found


def _link_local(one: Address) -> bool:
    return ipaddress.ip_interface(one.address).ip.is_link_local
