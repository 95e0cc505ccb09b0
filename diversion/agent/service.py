"""The agent as a whole: listeners by the rules, each connection to gateway1, a clean end."""

from __future__ import annotations

import errno
import os
import signal
import socket
import ssl
import sys
from pathlib import Path
from typing import Any

from diversion.agent.channel import Channel
from diversion.agent.config import AgentConfig
from diversion.agent.rules import restore, save
from diversion.proxy.addresses import Ends, show_ends
from diversion.proxy.headers import emitter
from diversion.proxy.hub import Hub, raise_file_limit
from diversion.proxy.link import Link
from diversion.proxy.listeners import Listener, ListenerSet
from diversion.proxy.loop import Loop
from diversion.proxy.pump import End
from diversion.proxy.tls import TlsEnd, client_context


class Agent:
    """Everything of one agent; `start`, then the loop's `run`."""

    def __init__(self, config: AgentConfig, loop: Loop, log_fd: int) -> None:
        self.hub = Hub(loop, config.limits, log_fd)
        self._config = config
        self._loop = loop
        self._emit = emitter(config.codec)
        self._tls: ssl.SSLContext | None = None
        if config.tls is not None:
            self._tls = client_context(config.tls.certificate, config.tls.key, config.tls.ca)
        self._serial = ""
        self._listeners = ListenerSet(self.hub, self._accepted, lambda: self._channel.report())
        self._channel = Channel(
            loop,
            self._connect_channel,
            hello=lambda: {"name": config.name, "serial": self._serial},
            rules=self._new_rules,
            report=self.report,
            say=self.hub.say,
        )

    def start(self) -> None:
        """Open the listeners that are known, and ask gateway1 for its rules."""
        wanted: tuple[Listener, ...] = ()
        state = self._config.state
        if self._config.rules and state is not None and Path(state).exists():
            try:
                self._serial, wanted = restore(state)
                self.hub.say("info", "rules restored", serial=self._serial, listeners=len(wanted))
            except (OSError, ValueError) as error:
                self.hub.say("error", "kept rules cannot be used", why=str(error)[:1000])
        self._listeners.apply(self._with_own(wanted))
        if self._config.rules:
            self._channel.start()

    def stop(self) -> None:
        """Accept nothing more; end when the connections have."""
        self._channel.stop()
        self._listeners.stop()
        self.hub.say("info", "draining", open=self.hub.counters.open)
        self.hub.drain()

    def report(self) -> dict[str, Any]:
        """How the listeners are, and what happened so far."""
        counters = self.hub.counters.as_dict()
        return {
            "serial": self._serial,
            "listeners": self._listeners.report(),
            "counters": counters,
        }

    # --- Rules ---

    def _new_rules(self, serial: str, listeners: tuple[Listener, ...]) -> None:
        want = self._with_own(listeners)
        if serial == self._serial and want == self._listeners.want:
            return
        self._serial = serial
        self._listeners.apply(want)
        if self._config.state is not None:
            try:
                save(self._config.state, serial, listeners)
            except OSError as error:
                self.hub.say("error", "rules not kept", why=str(error))
        up = sum(one["up"] for one in self._listeners.report())
        self.hub.say("info", "rules applied", serial=serial, up=up, failed=len(want) - up)

    def _with_own(self, rules: tuple[Listener, ...]) -> tuple[Listener, ...]:
        own = {(one.listen, one.netns) for one in self._config.listeners}
        theirs = (one for one in rules if (one.listen, one.netns) not in own)
        return (*self._config.listeners, *theirs)

    # --- Connections ---

    def _accepted(self, sock: socket.socket, peer: Ends, destination: Ends) -> None:
        onward = self.hub.socket_to(self._config.gateway1)
        link = Link(self.hub, sock, peer)
        if not link.announce(peer, destination):
            onward.close()
            return
        try:
            header = self._emit(peer, destination)
        except ValueError as error:
            onward.close()
            link.end("no_header", reset=True, why=str(error))
            return
        link.bring(self._dress(onward), self._config.gateway1, header)

    def _dress(self, sock: socket.socket) -> socket.socket | TlsEnd:
        if self._tls is None or self._config.tls is None:
            return sock
        return TlsEnd(sock, self._tls, server_side=False, server_name=self._config.tls.name)

    def _connect_channel(self) -> End:
        sock = self.hub.socket_to(self._config.gateway1)
        number = sock.connect_ex(self._config.gateway1)
        if number not in (0, errno.EINPROGRESS):
            sock.close()
            raise OSError(number, os.strerror(number))
        dressed = self._dress(sock)
        return End(dressed, plain=dressed is sock)  # type: ignore[arg-type]


def run(config: AgentConfig) -> int:
    """Serve until SIGTERM or SIGINT; returns the exit code."""
    raise_file_limit(config.limits.connections)
    loop = Loop()
    log_fd = 1
    if config.log != "-":
        log_fd = os.open(config.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
    try:
        agent = Agent(config, loop, log_fd)
    except OSError as error:
        sys.stderr.write(f"peeltap-agent: {error}\n")
        return 2
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: loop.call(agent.stop))
    agent.hub.say(
        "info", "started", name=config.name, gateway1=show_ends(config.gateway1), pid=os.getpid()
    )
    agent.start()
    loop.run()
    agent.hub.lines.flush()
    return 0
