"""All that a host's network is, as text, asked of the system's own programs."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

# Counters and timers, which go on by themselves.
_RESTLESS = re.compile(
    r"\b(gc_timer|hello_timer|tcn_timer|topology_change_timer)\s+[0-9.]+|\[\d+:\d+\]|"
    r" counter packets \d+ bytes \d+|expires \d+sec"
)
_RESTLESS_SYSCTLS = ("nf_conntrack_count", "stat", "dev_snmp6")

_QUESTIONS = (
    ("ip", "-d", "link"),
    ("ip", "address"),
    ("ip", "route", "show", "table", "all"),
    ("ip", "-6", "route", "show", "table", "all"),
    ("ip", "rule"),
    ("ip", "-6", "rule"),
    ("ip", "mrule"),
    ("ip", "-6", "mrule"),
    ("bridge", "fdb"),
    ("nft", "list", "ruleset"),
    ("ipset", "save"),
)


def state() -> dict[str, str]:
    """The state of this network namespace and of all that are named."""
    found = _here("")
    directory = Path("/run/netns")
    names = sorted(path.name for path in directory.iterdir()) if directory.is_dir() else []
    found["namespaces"] = " ".join(names)
    return found


def _here(name: str) -> dict[str, str]:
    found = {}
    for argv in _QUESTIONS:
        done = subprocess.run(argv, capture_output=True, text=True)
        lines = [_RESTLESS.sub("", line) for line in done.stdout.splitlines()]
        # Forwarding tables learn; what is set by hand is permanent or static.
        if argv[0] == "bridge":
            lines = [line for line in lines if "permanent" in line or "static" in line]
        # The order of these is that of their making, and says nothing.
        if argv[:2] in (("ip", "-6"), ("ip", "route"), ("bridge", "fdb")):
            lines = sorted(lines)
        found[f"{name}{' '.join(argv)}"] = "\n".join(lines)
    # Not with pathlib: there are thousands, and they are asked for again and again.
    for directory, _, names in os.walk("/proc/sys/net"):
        for path in (f"{directory}/{name}" for name in names):
            if not any(word in path for word in _RESTLESS_SYSCTLS):
                found[path] = _read(path)
    return found


def _read(path: str) -> str:
    try:
        opened = os.open(path, os.O_RDONLY)
    except OSError:
        return ""
    try:
        return os.read(opened, 65536).decode(errors="replace")
    except OSError:
        return ""
    finally:
        os.close(opened)


def differences(before: dict[str, str], after: dict[str, str]) -> list[str]:
    """The lines that came and went, under the question that they answer."""
    found = []
    for key in sorted({*before, *after}):
        old, new = (state.get(key, "").splitlines() for state in (before, after))
        if old != new:
            gone = [f"-{line}" for line in old if line not in new]
            fresh = [f"+{line}" for line in new if line not in old]
            found.append("\n".join([key, *gone, *fresh]))
    return found


def save(path: Path) -> None:
    """Keep the state in a file."""
    path.write_text(json.dumps(state()))


def load(path: Path) -> dict[str, str]:
    """Give back what `save` kept."""
    kept: dict[str, str] = json.loads(path.read_text())
    return kept
