"""The agent's file: JSON, checked in full before anything starts.

{"name": "edge-3",
 "gateway1": "172.16.24.1:7000",
 "tls": {"certificate": "edge-3.pem", "key": "edge-3.key", "ca": "ca.pem", "name": "gateway1"},
 "rules": "from-gateway1",
 "state": "/var/lib/peeltap-agent/rules.json"}
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from diversion.proxy.addresses import Ends, parse_ends
from diversion.proxy.headers import emitter, magic_layout
from diversion.proxy.hub import Limits
from diversion.proxy.listeners import Listener, RulesError, read_listeners

MAX_BYTES = 8 << 20


class AgentConfigError(Exception):
    """The file cannot be used; the text has one line for each mistake."""


@dataclass(frozen=True)
class Tls:
    """How the agent proves who it is, and knows gateway1."""

    certificate: str
    key: str
    ca: str
    name: str
    """The name that gateway1's certificate must have."""


@dataclass(frozen=True)
class AgentConfig:
    """The whole file."""

    name: str
    gateway1: Ends
    tls: Tls | None = None
    rules: bool = True
    """Whether gateway1 is asked for rules."""
    listeners: tuple[Listener, ...] = ()
    """Listeners of the file's own, beside those of the rules."""
    state: str | None = None
    """Where the last good rules are kept."""
    log: str = "-"
    codec: dict[str, Any] = field(default_factory=lambda: {"kind": "proxy-v2"})
    limits: Limits = field(default_factory=Limits)


KEYS = {
    "name": "what gateway1 knows this agent by; in its certificate, where there is one",
    "gateway1": "ADDRESS:PORT",
    "tls": "certificate, key, ca: files in PEM; name: the name in gateway1's certificate",
    "codec": "proxy-v2 (default), proxy-v1, or an object: magic, or layout and encoding",
    "rules": "true (default): gateway1 is asked for rules; false: only the listeners of this file",
    "listeners": "a list of objects: name, listen, accept, netns",
    "state": "the file that keeps the last good rules",
    "log": "a file, or - for standard output (default)",
    "limits": "bounds: " + ", ".join(one.name for one in fields(Limits)),
}
"""Every key and what it holds; `--help` prints it."""


def load(path: str) -> AgentConfig:
    """Read and check the file at `path`; raises AgentConfigError."""
    try:
        raw = Path(path).read_bytes()
    except OSError as error:
        raise AgentConfigError(f"{path}: cannot be read: {error.strerror}") from None
    if len(raw) > MAX_BYTES:
        raise AgentConfigError(f"{path}: longer than {MAX_BYTES} bytes; this is no configuration")
    try:
        data = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise AgentConfigError(f"{path}: not JSON: {error}") from None
    return check(data, path)


def check(data: Any, path: str) -> AgentConfig:
    """Check what the file holds; `path` is its name in messages. Raises AgentConfigError."""
    if not isinstance(data, dict):
        raise AgentConfigError(f"{path}: must be an object with name and gateway1")
    wrong: list[str] = []
    found: dict[str, Any] = {}
    for key in data:
        if key not in KEYS:
            wrong.append(f"{key}: unknown key; allowed: {', '.join(KEYS)}")
    for key in ("name", "gateway1"):
        if key not in data:
            wrong.append(f"{key}: missing; {KEYS[key]}")
    for key, read in _READERS.items():
        if key in data:
            try:
                found[key] = read(data[key])
            except RulesError as error:
                wrong += [f"{key}{place}: {what}" for place, what in error.problems]
            except (ValueError, TypeError, KeyError) as error:
                wrong.append(f"{key}: {error}")
    if found.get("rules") is False and not found.get("listeners"):
        wrong.append("listeners: missing; without rules of gateway1 the agent needs its own")
    if wrong:
        raise AgentConfigError("\n".join(f"{path}: {one}" for one in wrong))
    return AgentConfig(**found)


def _name(value: Any) -> str:
    if not isinstance(value, str) or not value or len(value) > 64:
        raise ValueError("must be text of 1 to 64 characters")
    if not all(letter.isalnum() or letter in "-_." for letter in value) or not value.isascii():
        raise ValueError("may hold letters, digits, '-', '_' and '.' only")
    return value


def _tls(value: Any) -> Tls:
    names = [one.name for one in fields(Tls)]
    if not isinstance(value, dict) or sorted(value) != sorted(names):
        raise ValueError(f"must be an object with {', '.join(names)}")
    for name in names:
        if not isinstance(value[name], str) or not value[name]:
            raise ValueError(f"{name}: must be text")
    return Tls(**value)


def read_codec(value: Any) -> dict[str, Any]:
    """Read a codec as a configuration names it; the core's form of it. Raises ValueError."""
    if isinstance(value, str):
        codec: dict[str, Any] = {"name": value, "kind": value}
    elif isinstance(value, dict) and set(value) == {"magic"}:
        codec = {"name": "magic", "kind": "layout", "layout": magic_layout(_hex(value["magic"]))}
    elif isinstance(value, dict) and "layout" in value and set(value) <= {"layout", "encoding"}:
        codec = {"name": "layout", "kind": "layout", "layout": value["layout"]}
        codec["encoding"] = value.get("encoding", "binary")
    else:
        raise ValueError(KEYS["codec"])
    emitter(codec)
    return codec


def _hex(value: Any) -> str:
    if not isinstance(value, str) or len(bytes.fromhex(value)) != 8:
        raise ValueError("magic: must be 8 bytes in hex")
    return value


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("must be true or false")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError("must be the name of a file")
    return value


def read_limits(value: Any) -> Limits:
    """Read bounds; raises ValueError."""
    if not isinstance(value, dict):
        raise ValueError("must be an object")
    kinds = {one.name: type(one.default) for one in fields(Limits)}
    for name, number in value.items():
        if name not in kinds:
            raise ValueError(f"{name}: unknown; allowed: {', '.join(kinds)}")
        whole = kinds[name] is int
        if isinstance(number, bool) or not isinstance(number, int if whole else (int, float)):
            raise ValueError(f"{name}: must be a {'whole ' if whole else ''}number")
        if not 0 < number <= 1e8:
            raise ValueError(f"{name}: must be more than 0 and at most 100000000")
    return Limits(**value)


_READERS = {
    "name": _name,
    "gateway1": parse_ends,
    "tls": _tls,
    "codec": read_codec,
    "rules": _flag,
    "listeners": read_listeners,
    "state": _text,
    "log": _text,
    "limits": read_limits,
}
