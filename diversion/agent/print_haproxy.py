"""The agent as HAProxy's configuration: the same listeners, the same header, the same gateway1."""

from __future__ import annotations

import os

from diversion.agent.config import AgentConfig
from diversion.agent.rules import restore
from diversion.proxy import haproxy
from diversion.proxy.haproxy import NoHAProxyError, Server, word


def render(config: AgentConfig) -> str:
    """HAProxy's file for the listeners of the agent's own file and of its last good rules.

    Raises NoHAProxyError where HAProxy cannot do the same.
    """
    listeners = list(config.listeners)
    if config.rules and config.state is not None and os.path.exists(config.state):  # noqa: PTH110
        listeners += restore(config.state)[1]
    if not listeners:
        raise NoHAProxyError("there is no listener yet: gateway1 has sent no rules")
    lines = haproxy.head(config.limits)
    lines.append("frontend peers")
    for one in listeners:
        words = f"namespace {word(os.path.basename(one.netns))}" if one.netns else ""  # noqa: PTH119
        if one.accept == "tproxy":
            words += f"{words and ' '}transparent"
        lines.append(haproxy.bind(one.listen, words))
    lines.append("  default_backend gateway1")
    words = ""
    if config.tls is not None:
        tls = config.tls
        crt, key, ca, name = map(word, (tls.certificate, tls.key, tls.ca, tls.name))
        lines.insert(0, f"# {crt} must hold the certificate and the key {key}")
        words = f"ssl crt {crt} ca-file {ca} verify required verifyhost {name}"
    server = Server("gateway1", config.gateway1, str(config.codec["kind"]), words)
    return haproxy.text(lines + haproxy.backend(server))
