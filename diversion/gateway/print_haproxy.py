"""A gateway as HAProxy's configuration: the same hop, as far as HAProxy can do it."""

from __future__ import annotations

from collections.abc import Iterable

from diversion.gateway.rules import OWN, Rules, RuleSet
from diversion.gateway.settings import Gateway1Settings, Gateway2Settings, GatewaySettings
from diversion.proxy import haproxy
from diversion.proxy.addresses import Range, parse_ends
from diversion.proxy.haproxy import NoHAProxyError, Server, word


def render(settings: GatewaySettings, rules: Rules | None) -> str:
    """HAProxy's file for the gateways of one file; `rules` are gateway1's.

    Raises NoHAProxyError where HAProxy cannot do the same.
    """
    lines = haproxy.head(settings.limits.limits())
    if settings.gateway1 is not None and rules is not None:
        lines += _gateway1(settings.gateway1, rules)
    if settings.gateway2 is not None:
        lines += _gateway2(settings.gateway2)
    return haproxy.text(lines)


def _gateway1(settings: Gateway1Settings, rules: Rules) -> list[str]:
    for name, agent in settings.agents.items():
        _only_proxy(f"agent {name}", agent.headers)
    lines = []
    for at, one in enumerate(settings.listen):
        words = "accept-proxy"
        if one.tls is not None:
            crt, key, ca = map(word, (one.tls.certificate, one.tls.key, one.tls.ca))
            lines.append(f"# {crt} must hold the certificate and the key {key}")
            words += f" ssl crt {crt} ca-file {ca} verify required"
        lines += [f"frontend agents{at}", haproxy.bind(one.address, words)]
        trusted = [str(net) for agent in settings.agents.values() for net in agent.source]
        if trusted:
            # src is what the header says by then; who connects is asked before it is read.
            lines.append(f"  tcp-request connection reject unless {{ src {' '.join(trusted)} }}")
        lines += _choice(
            (one, rule.decoy)
            for rule in rules.rules
            if rule.agent is not None
            for one in rule.ranges
        )
    own = RuleSet(rules).listeners(OWN)
    if own:
        lines.append("frontend own")
        for listener in own:
            words = "transparent" if listener["accept"] == "tproxy" else ""
            lines.append(haproxy.bind(parse_ends(listener["listen"]), words))
        lines += _choice(
            (one, rule.decoy) for rule in rules.rules if rule.agent is None for one in rule.ranges
        )
    for name, decoy in rules.decoys.items():
        server = Server(f"decoy-{name}", decoy.gateway2, decoy.codec or settings.codec)
        lines += haproxy.backend(server)
    return lines


def _choice(ranges: Iterable[tuple[Range, str]]) -> list[str]:
    """The rules in order, single addresses first, as gateway1 asks them."""
    ordered = sorted(ranges, key=lambda pair: pair[0].single is None)
    return [f"  use_backend decoy-{decoy} if {_is(one)}" for one, decoy in ordered]


def _is(one: Range) -> str:
    ports = (
        "" if (one.first, one.last) == (0, 0xFFFF) else f" {{ dst_port {one.first}:{one.last} }}"
    )
    return f"{{ dst {one.network} }}{ports}"


def _gateway2(settings: Gateway2Settings) -> list[str]:
    lines: list[str] = []
    source = [] if settings.source == "own" else ["  source 0.0.0.0 usesrc client"]
    if source and settings.source != "transparent":
        lines.append(
            f"# HAProxy has no {settings.source} source: this is the transparent one, whose "
            "return route must be there"
        )
    trusted = " ".join(map(str, settings.trusted))
    backends: list[str] = []
    for at, one in enumerate(settings.listen):
        _only_proxy("gateway2", one.headers)
        lines += [
            f"frontend leg{at}",
            haproxy.bind(one.address, "accept-proxy"),
            f"  tcp-request connection reject unless {{ src {trusted} }}",
        ]
        choices = [(_is(choice.destination), choice.decoy) for choice in one.decoys]
        if one.decoy is not None:
            choices.append(("", one.decoy))
        for number, (condition, decoy) in enumerate(choices):
            for to in [None] if decoy == "destination" else decoy:
                version = (
                    "" if to is None else f"{{ src {'::/0' if ':' in to[0] else '0.0.0.0/0'} }}"
                )
                name = f"leg{at}-{number}{'-v6' if to is not None and ':' in to[0] else ''}"
                lines.append(f"  use_backend {name} if {condition} {version}".rstrip())
                backends += haproxy.backend(Server(name, to, None), source)
    return lines + backends


def _only_proxy(who: str, headers: Iterable[str]) -> None:
    for name in headers:
        if name not in haproxy.SEND:
            raise NoHAProxyError(
                f"{who}: HAProxy cannot read {name}: only {', '.join(haproxy.SEND)}"
            )
