"""The agent's listeners: the set that it shall have, and how one set becomes another.

    [{"name": "web", "listen": "192.168.110.2:80", "accept": "direct", "netns": "/run/netns/edge"}]

A listener that stays in the set is not touched; connections outlive their listener.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from diversion.proxy.addresses import Ends, parse_ends, show_ends
from diversion.proxy.listener import ACCEPT_WAYS

MAX_LISTENERS = 10_000


@dataclass(frozen=True)
class Listener:
    """One listening socket."""

    name: str
    listen: Ends
    accept: str = "direct"
    netns: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """As it stands in JSON."""
        return {
            "name": self.name,
            "listen": show_ends(self.listen),
            "accept": self.accept,
            "netns": self.netns,
        }


class RulesError(ValueError):
    """A set that cannot be used; `problems` are (place, what)."""

    def __init__(self, problems: list[tuple[str, str]]) -> None:
        super().__init__("; ".join(f"{place}: {what}" for place, what in problems))
        self.problems = problems


def read_listeners(value: Any) -> tuple[Listener, ...]:
    """Read a set, checked whole; raises RulesError."""
    if not isinstance(value, list):
        raise RulesError([("", "must be a list of listeners")])
    if len(value) > MAX_LISTENERS:
        raise RulesError([("", f"more than {MAX_LISTENERS} listeners")])
    problems: list[tuple[str, str]] = []
    found: dict[tuple[Ends, str | None], Listener] = {}
    for at, one in enumerate(value):
        try:
            listener = _read(one)
        except ValueError as error:
            problems.append((f"[{at}]", str(error)))
            continue
        key = (listener.listen, listener.netns)
        if key in found:
            problems.append((f"[{at}]", f"{show_ends(listener.listen)} is there twice"))
        found[key] = listener
    if problems:
        raise RulesError(problems)
    return tuple(found.values())


def _read(one: Any) -> Listener:
    if not isinstance(one, dict) or not set(one) <= {"name", "listen", "accept", "netns"}:
        raise ValueError("must be an object with name, listen, accept, netns")
    name = one.get("name", "")
    accept = one.get("accept", "direct")
    netns = one.get("netns")
    if not isinstance(name, str) or len(name) > 128:
        raise ValueError("name: must be text of at most 128 characters")
    if accept not in ACCEPT_WAYS:
        raise ValueError(f"accept: must be one of {', '.join(ACCEPT_WAYS)}")
    if netns is not None and not (isinstance(netns, str) and netns.startswith("/")):
        raise ValueError("netns: must be a path such as /run/netns/NAME")
    listener = Listener(name, parse_ends(one.get("listen")), accept, netns)
    if listener.listen[1] == 0:
        raise ValueError("listen: port 0 is no port to listen on")
    return listener


@dataclass(frozen=True)
class Change:
    """What makes of one set another."""

    close: tuple[Listener, ...]
    open: tuple[Listener, ...]


def change(have: tuple[Listener, ...], want: tuple[Listener, ...]) -> Change:
    """What to close and what to open; names may change without either."""
    before = {replace(one, name="") for one in have}
    after = {replace(one, name="") for one in want}
    return Change(
        close=tuple(one for one in have if replace(one, name="") not in after),
        open=tuple(one for one in want if replace(one, name="") not in before),
    )


def save(path: str, serial: str, listeners: tuple[Listener, ...]) -> None:
    """Keep a good set; the file is never half written. Raises OSError."""
    target = Path(path)
    draft = target.with_name(target.name + ".new")
    data = {"serial": serial, "listeners": [one.as_dict() for one in listeners]}
    with draft.open("w") as file:
        json.dump(data, file)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(target)


def restore(path: str) -> tuple[str, tuple[Listener, ...]]:
    """Read what `save` kept: serial and set; OSError or ValueError if there is nothing good."""
    data = json.loads(Path(path).read_text())
    if not isinstance(data, dict) or not isinstance(data.get("serial"), str):
        raise ValueError(f"{path}: holds no rules")
    return data["serial"], read_listeners(data.get("listeners"))
