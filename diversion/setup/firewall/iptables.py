"""The iptables back end: chains of the topology's own, a jump to each, and ipset for the sets.

Everything of one table is changed by one `iptables-restore --noflush`, so whole or not at all. The
jumps carry the comment `peeltap:NAME`. Names of sets are unique on the host, because old kernels
share them across namespaces.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import zlib
from collections.abc import Iterator
from typing import Final

from diversion.setup.firewall.nft import Runner
from diversion.setup.firewall.rules import AddressSet, Hook, Match, Rule
from diversion.setup.things import Ruleset

# Table and built-in chain of each hook.
_PLACES: Final[dict[Hook, tuple[str, str]]] = {
    "zone": ("raw", "PREROUTING"),
    "mark": ("mangle", "PREROUTING"),
    "dnat": ("nat", "PREROUTING"),
    "input": ("filter", "INPUT"),
    "forward": ("filter", "FORWARD"),
    "snat": ("nat", "POSTROUTING"),
    "ingress": ("raw", "PREROUTING"),
}
TABLES: Final = ("raw", "mangle", "nat", "filter")


def make(run: Runner, ruleset: Ruleset) -> None:
    """Make sets, chains and jumps."""
    if ruleset.sets:
        run(ruleset.namespace, ["ipset", "restore"], "".join(_set_lines(ruleset)))
    run(ruleset.namespace, ["iptables-restore", "--noflush"], "".join(_restore_lines(ruleset)))


def remove(run: Runner, ruleset: Ruleset) -> None:
    """Remove them as far as they are there, and tables that were not there before and are empty."""
    namespace = ruleset.namespace
    before = _saved(run, namespace)
    lines = []
    for table in TABLES:
        present = before.get(table, [])
        jumps = [line for line in present if _is_jump(line, ruleset.name)]
        chains = [
            line.split()[0][1:] for line in present if line.startswith(f":{_prefix(ruleset.name)}")
        ]
        if jumps or chains:
            gone = [f"-D{line[2:]}" for line in jumps]
            gone += [f"-F {chain}" for chain in chains] + [f"-X {chain}" for chain in chains]
            lines += [f"*{table}\n", *(f"{line}\n" for line in gone), "COMMIT\n"]
    if lines:
        run(namespace, ["iptables-restore", "--noflush"], "".join(lines))
    for one in _sets(run, namespace, ruleset.name):
        run(namespace, ["ipset", "destroy", one])
    _drop_tables(run, ruleset)


def _drop_tables(run: Runner, ruleset: Ruleset) -> None:
    """Take away the tables and built-in chains that came with us and are empty.

    Only iptables over nf_tables can lose them, and without nft they stay, doing nothing.
    """
    if shutil.which("nft") is None:
        return
    namespace = ruleset.namespace
    for table in TABLES:
        chains = _chains_of(run, namespace, table)
        fresh = [
            chain
            for chain, empty in chains.items()
            if empty and f"{table}/{chain}" not in ruleset.tables_before
        ]
        if chains and len(fresh) == len(chains) and table not in ruleset.tables_before:
            run(namespace, ["nft", "delete", "table", "ip", table])
            continue
        for chain in fresh:
            run(namespace, ["nft", "delete", "chain", "ip", table, chain])


def tables(run: Runner, namespace: str) -> tuple[str, ...]:
    """Which of iptables' tables are there, and with nft also which chains: `nat/PREROUTING`."""
    found = list(_saved(run, namespace))
    if shutil.which("nft") is not None:
        for table in TABLES:
            found += [f"{table}/{chain}" for chain in _chains_of(run, namespace, table)]
    return tuple(sorted(found))


def _chains_of(run: Runner, namespace: str, table: str) -> dict[str, bool]:
    """The chains of one of iptables' tables as nft shows them, and whether each is as if new."""
    listed = json.loads(run(namespace, ["nft", "-j", "list", "ruleset", "ip"]))["nftables"]
    chains = [one["chain"] for one in listed if one.get("chain", {}).get("table") == table]
    rules = {one["rule"]["chain"] for one in listed if one.get("rule", {}).get("table") == table}
    return {
        str(one["name"]): one["name"] not in rules and one.get("policy") == "accept"
        for one in chains
    }


def fingerprint(run: Runner, namespace: str, name: str) -> str | None:
    """What the kernel has of a topology's chains and sets, as a digest; None if nothing."""
    digest = hashlib.sha256()
    found = False
    for table, lines in sorted(_saved(run, namespace).items()):
        for line in lines:
            if _is_jump(line, name) or line.startswith(f"-A {_prefix(name)}"):
                found = True
                digest.update(f"{table} {line}\n".encode())
    for one in _sets(run, namespace, name):
        found = True
        saved = run(namespace, ["ipset", "save", one])
        digest.update("\n".join(sorted(saved.splitlines())).encode())
    return digest.hexdigest() if found else None


def owned(run: Runner, namespace: str, name: str) -> bool:
    """Whether there is anything with this topology's mark."""
    return fingerprint(run, namespace, name) is not None


def forward_policy(run: Runner, namespace: str) -> str:
    """ACCEPT or DROP."""
    for line in _saved(run, namespace).get("filter", []):
        if line.startswith(":FORWARD "):
            return line.split()[1]
    return "ACCEPT"


def set_forward_policy(run: Runner, namespace: str, policy: str) -> None:
    """Set it."""
    run(namespace, ["iptables", "-P", "FORWARD", policy])


def _sets(run: Runner, namespace: str, name: str) -> list[str]:
    """The topology's sets that are there."""
    if shutil.which("ipset") is None:
        return []
    names = run(namespace, ["ipset", "list", "-n"]).split()
    return sorted(one for one in names if one.startswith(_set_prefix(name, namespace)))


def _saved(run: Runner, namespace: str) -> dict[str, list[str]]:
    """The lines of iptables-save, by table, without counters' lines and comments."""
    found: dict[str, list[str]] = {}
    table = ""
    for line in run(namespace, ["iptables-save"]).splitlines():
        if line.startswith("*"):
            table = line[1:]
            found[table] = []
        elif line.startswith((":", "-A")):
            found[table].append(line)
    return found


# --- Names ----------------------------------------------------------------------------------------


def _prefix(name: str) -> str:
    return f"PT-{name}-"


def _chain(name: str, rule: Rule) -> str:
    # At most 28 characters: 3 + 12 + 1 + 7.
    return f"{_prefix(name)}{rule.hook}"


def _comment(name: str) -> str:
    return f"peeltap:{name}"


def _is_jump(line: str, name: str) -> bool:
    return f" --comment {_comment(name)} " in line or f' --comment "{_comment(name)}" ' in line


def _set_prefix(name: str, namespace: str) -> str:
    return f"pt-{name}-{zlib.crc32(namespace.encode()):08x}-"


def set_name(ruleset: Ruleset, one: AddressSet) -> str:
    """The name of a set on this host; at most 31 characters: 3 + 12 + 1 + 8 + 1 + 6."""
    return _set_prefix(ruleset.name, ruleset.namespace) + one.name[:6]


# --- How a ruleset is written ---------------------------------------------------------------------


def commands(ruleset: Ruleset) -> list[str]:
    """What a person would have typed."""
    lines = []
    for one in ruleset.sets:
        name = set_name(ruleset, one)
        lines.append(f"ipset create {name} hash:ip,port maxelem {_room(one)}")
        lines += [f"ipset add {name} {member}" for member in one.members[:3]]
        if len(one.members) > 3:
            lines.append(f"# ... and {len(one.members) - 3} more members")
    for table, here in _by_table(ruleset):
        lines += [f"iptables -t {table} -N {chain}" for chain in _chains(ruleset, here)]
        lines += [f"iptables -t {table} {line}" for line in _rule_lines(ruleset, here)]
    return lines


def removal_commands(ruleset: Ruleset) -> list[str]:
    """What a person would have typed to remove it."""
    lines = []
    for table, here in _by_table(ruleset):
        lines += [f"iptables -t {table} -D{line[2:]}" for line in _jumps(ruleset, here)]
        for chain in _chains(ruleset, here):
            lines += [f"iptables -t {table} -F {chain}", f"iptables -t {table} -X {chain}"]
    return lines + [f"ipset destroy {set_name(ruleset, one)}" for one in ruleset.sets]


def _room(one: AddressSet) -> int:
    return max(65536, len(one.members))


def _buckets(one: AddressSet) -> int:
    """The next power of two: a set that grows while it is filled is copied each time."""
    return max(1024, 1 << (len(one.members) - 1).bit_length())


def _set_lines(ruleset: Ruleset) -> Iterator[str]:
    for one in ruleset.sets:
        name = set_name(ruleset, one)
        size = f"hashsize {_buckets(one)} maxelem {_room(one)}"
        yield f"create {name} hash:ip,port family inet {size}\n"
        for member in one.members:
            yield f"add {name} {member}\n"


def _restore_lines(ruleset: Ruleset) -> Iterator[str]:
    for table, here in _by_table(ruleset):
        yield f"*{table}\n"
        yield from (f":{chain} - [0:0]\n" for chain in _chains(ruleset, here))
        yield from (f"{line}\n" for line in _rule_lines(ruleset, here))
        yield "COMMIT\n"


def _by_table(ruleset: Ruleset) -> Iterator[tuple[str, list[Rule]]]:
    for table in TABLES:
        here = [rule for rule in ruleset.rules if _PLACES[rule.hook][0] == table]
        if here:
            yield table, here


def _chains(ruleset: Ruleset, rules: list[Rule]) -> list[str]:
    return list(dict.fromkeys(_chain(ruleset.name, rule) for rule in rules))


def _jumps(ruleset: Ruleset, rules: list[Rule]) -> list[str]:
    comment = f"-m comment --comment {_comment(ruleset.name)}"
    return list(
        dict.fromkeys(
            f"-A {_PLACES[rule.hook][1]} {comment} -j {_chain(ruleset.name, rule)}"
            for rule in rules
        )
    )


def _rule_lines(ruleset: Ruleset, rules: list[Rule]) -> Iterator[str]:
    yield from _jumps(ruleset, rules)
    for rule in rules:
        words = [*_matches(ruleset, rule.match), *_action(rule)]
        yield f"-A {_chain(ruleset.name, rule)} {' '.join(words)}"


def _matches(ruleset: Ruleset, match: Match) -> Iterator[str]:
    yield from ("-i", match.arriving) if match.arriving else ()
    yield from ("-o", match.leaving) if match.leaving else ()
    yield from ("-s", match.source) if match.source else ()
    yield from ("-d", match.destination) if match.destination else ()
    protocol = match.protocol or ("tcp" if match.ports or match.transparent else "")
    yield from ("-p", protocol) if protocol else ()
    if match.ports:
        yield from ("-m", "multiport", "--dports", ",".join(match.ports).replace("-", ":"))
    if match.advertised:
        one = next(one for one in ruleset.sets if one.name == match.advertised)
        yield from ("-m", "set", "--match-set", set_name(ruleset, one), "dst,dst")
    if match.reply is not None:
        yield from ("-m", "conntrack", "--ctdir", "REPLY" if match.reply else "ORIGINAL")
    if match.connection_mark is not None:
        yield from ("-m", "connmark", "--mark", f"{match.connection_mark:#x}")
    if match.transparent:
        yield from ("-m", "socket", "--transparent")


def _action(rule: Rule) -> list[str]:
    match rule.action:
        case "accept" | "drop":
            return ["-j", rule.action.upper()]
        case "dnat" | "snat" if "/" in rule.argument:
            return ["-j", "NETMAP", "--to", rule.argument]
        case "dnat":
            return ["-j", "DNAT", "--to-destination", rule.argument]
        case "snat":
            return ["-j", "SNAT", "--to-source", rule.argument]
        case "masquerade":
            return ["-j", "MASQUERADE"]
        case "mark":
            return ["-j", "MARK", "--set-mark", f"{rule.number:#x}"]
        case "keep-mark":
            return ["-j", "CONNMARK", "--set-mark", f"{rule.number:#x}"]
        case "give-mark":
            return ["-j", "CONNMARK", "--restore-mark"]
        case "zone":
            return ["-j", "CT", "--zone-orig", str(rule.number)]
