"""The nftables back end: one table for each topology and namespace, made and removed whole.

It talks nft's JSON (libnftables-json(5)); for people each statement has its text as well (nft(8)).
A table is a family's; what is dropped as it arrives on an interface needs one of family netdev.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final, Protocol

from diversion.setup.firewall.rules import HOOKS, AddressSet, Hook, Match, Rule
from diversion.setup.things import Ruleset


class Runner(Protocol):
    """Runs a program inside a namespace."""

    def __call__(self, namespace: str, argv: list[str], text: str = "") -> str:
        """Give what the program wrote; SetupError with its complaint."""


@dataclass(frozen=True)
class _Chain:
    kind: str
    hook: str
    priority: int


_CHAINS: Final[dict[Hook, _Chain]] = {
    # In front of connection tracking, which is at -200.
    "zone": _Chain("filter", "prerouting", -300),
    "mark": _Chain("filter", "prerouting", -150),
    "dnat": _Chain("nat", "prerouting", -100),
    "input": _Chain("filter", "input", 0),
    "forward": _Chain("filter", "forward", 0),
    "snat": _Chain("nat", "postrouting", 100),
    "ingress": _Chain("filter", "ingress", -500),
}

_SET_TYPE: Final = ["ipv4_addr", "inet_proto", "inet_service"]

# A batch of this many elements stays far below the kernel's limit of one netlink message.
_ELEMENTS: Final = 20_000


@dataclass(frozen=True)
class _Part:
    """A match or statement: its text and its JSON."""

    text: str
    json: Any


def table_name(name: str) -> str:
    """The table of the topology `name`."""
    return f"peeltap-{name}"


def make(run: Runner, ruleset: Ruleset) -> None:
    """Make the tables of a ruleset; all of them or none."""
    run(ruleset.namespace, ["nft", "-j", "-f", "-"], json.dumps({"nftables": _objects(ruleset)}))


def remove(run: Runner, ruleset: Ruleset) -> None:
    """Remove its tables, as far as they are there."""
    present = _present(run, ruleset.namespace)
    gone = [
        {"delete": {"table": {"family": family, "name": table_name(ruleset.name)}}}
        for family in ("inet", "netdev")
        if (family, table_name(ruleset.name)) in present
    ]
    if gone:
        run(ruleset.namespace, ["nft", "-j", "-f", "-"], json.dumps({"nftables": gone}))


def fingerprint(run: Runner, namespace: str, name: str) -> str | None:
    """What the kernel has of a topology's tables, as a digest; None if it has nothing."""
    present = _present(run, namespace)
    digest = hashlib.sha256()
    found = False
    for family in ("inet", "netdev"):
        if (family, table_name(name)) in present:
            found = True
            listed = run(namespace, ["nft", "-j", "list", "table", family, table_name(name)])
            for one in json.loads(listed)["nftables"]:
                if "metainfo" not in one:
                    digest.update(json.dumps(one, sort_keys=True).encode())
    return digest.hexdigest() if found else None


def owned(run: Runner, namespace: str, name: str) -> bool:
    """Whether there is a table with this topology's name."""
    return any(table == table_name(name) for _, table in _present(run, namespace))


def _present(run: Runner, namespace: str) -> set[tuple[str, str]]:
    listed = json.loads(run(namespace, ["nft", "-j", "list", "tables"]))["nftables"]
    tables = (one["table"] for one in listed if "table" in one)
    return {(one["family"], one["name"]) for one in tables}


# --- iptables' FORWARD policy, seen through nft ---------------------------------------------------


def forward_policy(run: Runner, namespace: str) -> str:
    """ACCEPT or DROP; ACCEPT where there is no such chain."""
    chain = _forward_chain(run, namespace)
    return str(chain["policy"]).upper() if chain else "ACCEPT"


def set_forward_policy(run: Runner, namespace: str, policy: str) -> None:
    """Set it, if there is such a chain."""
    chain = _forward_chain(run, namespace)
    if chain is not None:
        told = {name: value for name, value in chain.items() if name != "handle"}
        told["policy"] = policy.lower()
        run(
            namespace,
            ["nft", "-j", "-f", "-"],
            json.dumps({"nftables": [{"add": {"chain": told}}]}),
        )


def _forward_chain(run: Runner, namespace: str) -> dict[str, Any] | None:
    listed = json.loads(run(namespace, ["nft", "-j", "list", "chains"]))["nftables"]
    for one in listed:
        chain = one.get("chain", {})
        if (chain.get("family"), chain.get("table"), chain.get("name")) == (
            "ip",
            "filter",
            "FORWARD",
        ) and "policy" in chain:
            return dict(chain)
    return None


# --- How a ruleset is written ---------------------------------------------------------------------


def commands(ruleset: Ruleset) -> list[str]:
    """What a person would have typed."""
    lines: list[str] = []
    for family, rules in _families(ruleset):
        table = f"{family} {table_name(ruleset.name)}"
        lines.append(f"nft add table {table}")
        if family == "inet":
            for one in ruleset.sets:
                kind = " . ".join(_SET_TYPE)
                lines.append(f"nft add set {table} {one.name} '{{ type {kind} ; }}'")
                lines += _element_commands(table, one)
        for hook in _hooks(rules):
            lines.append(f"nft add chain {table} {_chain_text(hook, rules)}")
        for rule in rules:
            text = " ".join(part.text for part in _parts(rule))
            lines.append(f"nft add rule {table} {_chain_name(rule.hook)} {text}")
    return lines


def _element_commands(table: str, one: AddressSet) -> Iterator[str]:
    shown = one.members[:3]
    for member in shown:
        address, protocol, port = _split(member)
        yield f"nft add element {table} {one.name} '{{ {address} . {protocol} . {port} }}'"
    if len(one.members) > len(shown):
        yield f"# ... and {len(one.members) - len(shown)} more elements"


def removal_commands(ruleset: Ruleset) -> list[str]:
    """What a person would have typed to remove it."""
    return [
        f"nft delete table {family} {table_name(ruleset.name)}" for family, _ in _families(ruleset)
    ]


def _objects(ruleset: Ruleset) -> list[dict[str, Any]]:
    told: list[dict[str, Any]] = []
    table = table_name(ruleset.name)
    for family, rules in _families(ruleset):
        where = {"family": family, "table": table}
        told.append({"add": {"table": {"family": family, "name": table}}})
        if family == "inet":
            for one in ruleset.sets:
                told.append({"add": {"set": {**where, "name": one.name, "type": _SET_TYPE}}})
                told += _elements(where, one)
        for hook in _hooks(rules):
            chain = _CHAINS[hook]
            told.append(
                {
                    "add": {
                        "chain": {
                            **where,
                            "name": _chain_name(hook),
                            "type": chain.kind,
                            "hook": chain.hook,
                            "prio": chain.priority,
                            "policy": "accept",
                        }
                    }
                }
                if hook != "ingress"
                else {"add": {"chain": _ingress(where, rules)}}
            )
        for rule in rules:
            told.append(
                {
                    "add": {
                        "rule": {
                            **where,
                            "chain": _chain_name(rule.hook),
                            "expr": [part.json for part in _parts(rule)],
                        }
                    }
                }
            )
    return told


def _ingress(where: dict[str, str], rules: list[Rule]) -> dict[str, Any]:
    # The policy says it as well as the rule: the service looks for a chain that drops.
    [device] = {rule.match.arriving for rule in rules}
    chain = _CHAINS["ingress"]
    return {
        **where,
        "name": "ingress",
        "type": chain.kind,
        "hook": chain.hook,
        "prio": chain.priority,
        "dev": device,
        "policy": "drop",
    }


def _elements(where: dict[str, str], one: AddressSet) -> Iterator[dict[str, Any]]:
    for at in range(0, len(one.members), _ELEMENTS):
        several = [{"concat": list(_split(member))} for member in one.members[at : at + _ELEMENTS]]
        yield {"add": {"element": {**where, "name": one.name, "elem": several}}}


def _split(member: str) -> tuple[str, str, int]:
    address, _, rest = member.partition(",")
    protocol, _, port = rest.partition(":")
    return address, protocol, int(port)


def _families(ruleset: Ruleset) -> Iterator[tuple[str, list[Rule]]]:
    """The families that a ruleset needs, with the rules of each."""
    inet = [rule for rule in ruleset.rules if rule.hook != "ingress"]
    if inet or ruleset.sets:
        yield "inet", inet
    ingress = [rule for rule in ruleset.rules if rule.hook == "ingress"]
    if ingress:
        yield "netdev", ingress


def _hooks(rules: Iterable[Rule]) -> list[Hook]:
    used = {rule.hook for rule in rules}
    return [hook for hook in HOOKS if hook in used]


def _chain_name(hook: Hook) -> str:
    # Words of nft's own language cannot be names in it: a person could not type them.
    return f"at-{hook}" if hook in ("mark", "dnat", "snat") else hook


def _chain_text(hook: Hook, rules: list[Rule]) -> str:
    chain = _CHAINS[hook]
    device = policy = ""
    if hook == "ingress":
        device, policy = f" device {rules[0].match.arriving}", " policy drop ;"
    where = f"type {chain.kind} hook {chain.hook}{device} priority {chain.priority} ;"
    return f"{_chain_name(hook)} '{{ {where}{policy} }}'"


# --- How a rule is written ------------------------------------------------------------------------


def _parts(rule: Rule) -> Iterator[_Part]:
    yield from _matches(rule.match, ingress=rule.hook == "ingress")
    yield _action(rule)


def _matches(match: Match, *, ingress: bool) -> Iterator[_Part]:
    if match.arriving and not ingress:
        yield _equal(f'iifname "{match.arriving}"', {"meta": {"key": "iifname"}}, match.arriving)
    if match.leaving:
        yield _equal(f'oifname "{match.leaving}"', {"meta": {"key": "oifname"}}, match.leaving)
    for field, value in (("saddr", match.source), ("daddr", match.destination)):
        if value:
            left = {"payload": {"protocol": "ip", "field": field}}
            yield _equal(f"ip {field} {value}", left, _prefix(value))
    if match.advertised:
        parts = [
            {"payload": {"protocol": "ip", "field": "daddr"}},
            {"meta": {"key": "l4proto"}},
            {"payload": {"protocol": "th", "field": "dport"}},
        ]
        text = f"ip daddr . meta l4proto . th dport @{match.advertised}"
        yield _equal(text, {"concat": parts}, f"@{match.advertised}")
    if match.protocol and not match.ports:
        yield _equal(f"meta l4proto {match.protocol}", {"meta": {"key": "l4proto"}}, match.protocol)
    if match.ports:
        left = {"payload": {"protocol": match.protocol or "tcp", "field": "dport"}}
        text = f"{match.protocol or 'tcp'} dport {{ {', '.join(match.ports)} }}"
        yield _equal(text, left, {"set": [_port(one) for one in match.ports]})
    if match.reply is not None:
        direction = "reply" if match.reply else "original"
        yield _equal(f"ct direction {direction}", {"ct": {"key": "direction"}}, direction)
    if match.connection_mark is not None:
        text = f"ct mark {match.connection_mark:#x}"
        yield _equal(text, {"ct": {"key": "mark"}}, match.connection_mark)
    if match.transparent:
        yield _equal("socket transparent 1", {"socket": {"key": "transparent"}}, 1)


def _action(rule: Rule) -> _Part:
    match rule.action:
        case "accept" | "drop":
            return _Part(rule.action, {rule.action: None})
        case "dnat" | "snat":
            if "/" in rule.argument:
                netmap = {"family": "ip", "addr": _prefix(rule.argument), "flags": "netmap"}
                return _Part(f"{rule.action} ip prefix to {rule.argument}", {rule.action: netmap})
            address, _, port = rule.argument.partition(":")
            told: dict[str, Any] = {"family": "ip", "addr": address}
            if port:
                told["port"] = int(port)
            return _Part(f"{rule.action} ip to {rule.argument}", {rule.action: told})
        case "masquerade":
            return _Part("masquerade", {"masquerade": None})
        case "mark":
            return _set(f"meta mark set {rule.number:#x}", {"meta": {"key": "mark"}}, rule.number)
        case "keep-mark":
            return _set(f"ct mark set {rule.number:#x}", {"ct": {"key": "mark"}}, rule.number)
        case "give-mark":
            connection = {"ct": {"key": "mark"}}
            return _set("meta mark set ct mark", {"meta": {"key": "mark"}}, connection)
        case "zone":
            zone = {"ct": {"key": "zone", "dir": "original"}}
            return _set(f"ct original zone set {rule.number}", zone, rule.number)


def _equal(text: str, left: Any, right: Any) -> _Part:
    return _Part(text, {"match": {"op": "==", "left": left, "right": right}})


def _set(text: str, key: Any, value: Any) -> _Part:
    return _Part(text, {"mangle": {"key": key, "value": value}})


def _prefix(text: str) -> Any:
    address, _, length = text.partition("/")
    return {"prefix": {"addr": address, "len": int(length)}} if length else address


def _port(text: str) -> Any:
    first, _, last = text.partition("-")
    return {"range": [int(first), int(last)]} if last else int(first)
