"""The rules: which listeners exist, on which agent, and to which decoy they lead.

    decoys:
      web: {gateway2: "172.16.23.2:9080"}
    rules:
      - {agent: edge-3, listen: ["198.51.100.7:80"], decoy: web}
      - {agent: edge-4, listen: ["0.0.0.0:7001"], accept: redirect,
         destinations: ["198.51.100.0/24:1-65535"], decoy: web}
      - {listen: ["192.168.110.2:80"], decoy: web}        # no agent: gateway1's own host

The file is checked whole before any of it counts; a file that is wrong leaves the old rules.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from diversion.gateway.settings import (
    EndsField,
    GatewaySettings,
    NameField,
    RangeField,
    _Model,
)
from diversion.proxy.addresses import Ends, Range, parse_range, show_ends
from diversion.proxy.headers import emitter
from diversion.proxy.listeners import RulesError, read_listeners

CACHED = 65_536
"""Destinations whose rule is remembered."""

OWN = ""
"""The name under which gateway1 is an agent of its own."""


class Decoy(_Model):
    """One decoy, as gateway1 reaches it."""

    gateway2: EndsField = Field(description="ADDRESS:PORT of gateway2's listener for it")
    codec: str | None = Field(
        default=None, description="its leg's header, where it is not the gateway's `codec`"
    )


class Rule(_Model):
    """Listeners that lead to one decoy."""

    agent: str | None = Field(default=None, description="whose listeners; gateway1's own if absent")
    name: str = Field(default="", max_length=128, description="what the listeners are called")
    listen: list[EndsField] = Field(
        default_factory=list, description="ADDRESS:PORT of each listening socket"
    )
    accept: Literal["direct", "redirect", "tproxy"] = Field(
        default="direct", description="how peers come to the socket"
    )
    netns: str | None = Field(default=None, description="the network namespace of the sockets")
    destinations: list[RangeField] = Field(
        default_factory=list,
        description="what the peers attack, where it is not what is listened on",
    )
    decoy: str = Field(description="a name under `decoys`")

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if not self.listen and not self.destinations:
            raise ValueError("needs listen, destinations or both")
        wild = any(one[0] in ("0.0.0.0", "::") for one in self.listen)  # noqa: S104
        if not self.destinations and (wild or self.accept != "direct"):
            raise ValueError(
                "destinations: needed, since what is attacked is not what is listened on; "
                'for instance ["198.51.100.0/24:1-65535"]'
            )
        if self.netns is not None and not self.netns.startswith("/"):
            raise ValueError("netns: must be a path such as /run/netns/NAME")
        return self

    @property
    def ranges(self) -> list[Range]:
        """What is attacked here."""
        return self.destinations or [parse_range(show_ends(one)) for one in self.listen]


class Rules(_Model):
    """The whole file."""

    decoys: dict[NameField, Decoy] = Field(description="decoys by name")
    rules: list[Rule] = Field(description="listeners, and where they lead")

    @model_validator(mode="after")
    def _whole(self) -> Self:
        sockets: dict[tuple[str | None, str | None, Ends], int] = {}
        for at, rule in enumerate(self.rules):
            if rule.decoy not in self.decoys:
                known = ", ".join(self.decoys) or "none"
                raise ValueError(
                    f"rules[{at}].decoy: {rule.decoy!r} is not in decoys; known: {known}"
                )
            for one in rule.listen:
                key = (rule.agent, rule.netns, one)
                if key in sockets:
                    raise ValueError(
                        f"rules[{at}].listen: {show_ends(one)} is in rules[{sockets[key]}] already"
                    )
                sockets[key] = at
        return self


class RuleSet:
    """The rules as they are asked; made of a checked file, and never changed."""

    def __init__(self, rules: Rules) -> None:
        self.decoys: Mapping[str, Decoy] = rules.decoys
        self._exact: dict[tuple[str, Ends], Decoy] = {}
        self._ranges: dict[str, list[tuple[Range, Decoy]]] = {}
        self._listeners: dict[str, list[dict[str, Any]]] = {}
        self._cache: dict[tuple[str, Ends], Decoy | None] = {}
        for rule in rules.rules:
            self._add(rule, rules.decoys[rule.decoy])

    def _add(self, rule: Rule, decoy: Decoy) -> None:
        agent = OWN if rule.agent is None else rule.agent
        for one in rule.ranges:
            if one.single is not None:
                self._exact.setdefault((agent, one.single), decoy)
            else:
                self._ranges.setdefault(agent, []).append((one, decoy))
        for listen in rule.listen:
            self._listeners.setdefault(agent, []).append(
                {
                    "name": rule.name or rule.decoy,
                    "listen": show_ends(listen),
                    "accept": rule.accept,
                    "netns": rule.netns,
                }
            )

    def decoy(self, agent: str, destination: Ends) -> Decoy | None:
        """The decoy behind what was attacked; the first rule that fits, single addresses first."""
        key = (agent, destination)
        found = self._exact.get(key)
        if found is not None:
            return found
        if key in self._cache:
            return self._cache[key]
        for one, decoy in self._ranges.get(agent, ()):
            if destination in one:
                found = decoy
                break
        if len(self._cache) >= CACHED:
            self._cache.clear()
        self._cache[key] = found
        return found

    def listeners(self, agent: str) -> Sequence[dict[str, Any]]:
        """An agent's listeners, as they are sent to it."""
        return self._listeners.get(agent, ())

    def message(self, agent: str) -> dict[str, Any]:
        """What an agent is told; the serial is the same for the same rules."""
        listeners = self.listeners(agent)
        text = json.dumps(listeners, sort_keys=True).encode()
        serial = hashlib.sha256(text).hexdigest()[:16]
        return {"rules": {"serial": serial, "listeners": list(listeners)}}


def checked(settings: GatewaySettings, rules: Rules) -> RuleSet:
    """The rules, after what only the gateway's own file can tell is right; ValueError if not."""
    agents = {} if settings.gateway1 is None else settings.gateway1.agents
    for at, rule in enumerate(rules.rules):
        if rule.agent is not None and rule.agent not in agents:
            known = ", ".join(agents) or "none"
            raise ValueError(
                f"rules[{at}].agent: {rule.agent!r} is not in gateway1.agents; known: {known}"
            )
    for name, decoy in rules.decoys.items():
        if decoy.codec is not None:
            try:
                emitter(settings.codec(decoy.codec))
            except ValueError as error:
                raise ValueError(f"decoys.{name}.codec: {error}") from None
    made = RuleSet(rules)
    for agent in (OWN, *agents):
        try:
            read_listeners(list(made.listeners(agent)))
        except RulesError as error:
            whose = f"of agent {agent!r}" if agent != OWN else "of gateway1's own host"
            raise ValueError(f"rules: listeners {whose}: {error}") from None
    return made
