"""gateway1: agents and diverted connections in, across br1 to the decoy's gateway2."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable
from typing import Any

from diversion.gateway.agents import Agents
from diversion.gateway.parse import Header, reader
from diversion.gateway.rules import OWN, Decoy, RuleSet
from diversion.gateway.settings import AgentListen, GatewaySettings, KnownAgent
from diversion.proxy.addresses import Ends
from diversion.proxy.control import PREFACE
from diversion.proxy.headers import Emitter, emitter
from diversion.proxy.hub import Hub
from diversion.proxy.link import HeadError, Link, Parse
from diversion.proxy.listener import listen
from diversion.proxy.listeners import ListenerSet, read_listeners
from diversion.proxy.tls import TlsEnd, server_context

_TALK = object()
"""What stands for a header where a conversation begins."""


class Gateway1:
    """Everything of one gateway1; `rules` are checked already."""

    def __init__(self, settings: GatewaySettings, hub: Hub, rules: RuleSet) -> None:
        if settings.gateway1 is None:
            raise ValueError("no gateway1 in these settings")
        self._settings = settings.gateway1
        self._hub = hub
        self.rules = rules
        self.agents = Agents(hub, lambda: self.rules)
        self._codec: Callable[[str], dict[str, Any]] = settings.codec
        self._emitters: dict[str | None, Emitter] = {}
        self._parsers = {
            name: _or_talk(reader([settings.codec(codec) for codec in agent.headers]))
            for name, agent in self._settings.agents.items()
        }
        # Where each agent has addresses, a stranger need not even show a certificate.
        self._anywhere = not all(agent.source for agent in self._settings.agents.values())
        self._own = ListenerSet(hub, self._accepted_own, lambda: None)
        self._trusted: dict[str, str | None] = {}

    def start(self) -> None:
        """Listen for agents, and open the listeners that are gateway1's own; OSError."""
        for one in self._settings.listen:
            self._serve_agents(one)
        self._own.apply(read_listeners(list(self.rules.listeners(OWN))))

    def stop(self) -> None:
        """End the conversations; connections are the hub's."""
        self.agents.stop()
        self._own.stop()

    def change(self, rules: RuleSet) -> None:
        """Go by other rules from now on; live connections stay."""
        own = read_listeners(list(rules.listeners(OWN)))
        self.rules = rules
        self._own.apply(own)
        self.agents.push()

    def listeners(self) -> list[dict[str, Any]]:
        """gateway1's own listeners and how they are."""
        return self._own.report()

    # --- Agents ---

    def _serve_agents(self, one: AgentListen) -> None:
        context = None
        if one.tls is not None:
            context = server_context(one.tls.certificate, one.tls.key, one.tls.ca)

        def accepted(sock: socket.socket, address: Ends) -> None:
            name = self._name_of(address[0])
            if context is not None and (name is not None or self._anywhere):
                end = TlsEnd(sock, context, server_side=True)
                link = Link(self._hub, end, address)
                link.read_head(self._certified(link, end), self._headed)
                return
            link = Link(self._hub, sock, address)
            if name is None:
                link.end("untrusted", reset=True)
                return
            link.agent = name
            link.read_head(self._parsers[name], self._headed)

        self._hub.serve(listen(one.address), accepted)

    def _name_of(self, address: str) -> str | None:
        """The agent that may send headers from an address, if one may."""
        if address not in self._trusted:
            if len(self._trusted) > 4096:
                self._trusted.clear()
            self._trusted[address] = next(
                (name for name, agent in self._settings.agents.items() if _is_from(agent, address)),
                None,
            )
        return self._trusted[address]

    def _certified(self, link: Link, end: TlsEnd) -> Parse:
        """Read what its certificate's agent may send; the name is known with the first byte."""

        def parse(stream: bytes) -> tuple[int, Any] | None:
            if not link.agent:
                name = end.common_name
                agent = self._settings.agents.get(name)
                if agent is None or (agent.source and not _is_from(agent, link.peer[0])):
                    raise HeadError("untrusted", f"certificate of {name[:64]!r}")
                link.agent = name
            return self._parsers[link.agent](stream)

        return parse

    def _headed(self, link: Link, found: object) -> None:
        if found is _TALK:
            left, received = link.hand_over()
            self.agents.join(link.agent, left, received)
        elif not isinstance(found, Header):
            link.end("local")
        elif link.announce(found.peer, found.destination):
            self._bring(link, self.rules.decoy(link.agent, found.destination))

    # --- Own ---

    def _accepted_own(self, sock: socket.socket, peer: Ends, destination: Ends) -> None:
        link = Link(self._hub, sock, peer)
        if link.announce(peer, destination):
            self._bring(link, self.rules.decoy(OWN, destination))

    # --- Onward ---

    def _bring(self, link: Link, decoy: Decoy | None) -> None:
        if decoy is None or link.destination is None:
            link.end("no_rule", reset=True)
            return
        try:
            header = self._emitter(decoy.codec)(link.peer, link.destination)
        except ValueError as error:
            link.end("no_header", reset=True, why=str(error))
            return
        try:
            onward = self._hub.socket_to(decoy.gateway2)
        except OSError:
            link.end("limit_files", reset=True)
            return
        link.bring(onward, decoy.gateway2, header)

    def _emitter(self, codec: str | None) -> Emitter:
        found = self._emitters.get(codec)
        if found is None:
            found = emitter(self._codec(self._settings.codec if codec is None else codec))
            self._emitters[codec] = found
        return found


def _is_from(agent: KnownAgent, address: str) -> bool:
    value = ipaddress.ip_address(address)
    return any(value in network for network in agent.source)


def _or_talk(header: Parse) -> Parse:
    """Read what agents begin with: a header, or the preface of a conversation."""

    def parse(stream: bytes) -> tuple[int, Any] | None:
        if stream.startswith(PREFACE):
            return len(PREFACE), _TALK
        try:
            found = header(stream)
        except HeadError:
            if PREFACE.startswith(stream):
                return None
            raise
        # One byte may be the beginning of either.
        return found

    return parse
