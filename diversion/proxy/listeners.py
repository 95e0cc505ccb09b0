"""A set of listening sockets: the one that shall be, and how it becomes the one that is.

    [{"name": "web", "listen": "192.168.110.2:80", "accept": "direct", "netns": "/run/netns/edge"}]

A listener that stays in the set is not touched, and connections outlive their listener. One that
cannot be opened, because its address or namespace is not there yet, is tried again; one whose
namespace was made anew is opened there, since nobody can reach the old one any more.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from diversion.proxy import listener as listening
from diversion.proxy.addresses import Ends, parse_ends, show_ends
from diversion.proxy.hub import Hub
from diversion.proxy.listener import ACCEPT_WAYS
from diversion.proxy.loop import Deadline

RETRY = 5.0
"""Seconds until a listener that could not be opened is tried again, and between looks at whether
namespaces are still those in which listeners were opened."""

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
    if netns is not None and not netns.isprintable():
        raise ValueError("netns: may hold printable characters only")
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


Accepted = Callable[[socket.socket, Ends, Ends], None]
"""Called with an accepted socket, the peer and the attacked destination."""


class ListenerSet:
    """Opens and closes; `changed` is called when something came up or went down by itself."""

    def __init__(self, hub: Hub, accepted: Accepted, changed: Callable[[], None]) -> None:
        self._hub = hub
        self._accepted = accepted
        self._changed = changed
        self._want: tuple[Listener, ...] = ()
        self._open: dict[Listener, socket.socket] = {}
        self._failed: dict[Listener, str] = {}
        self._spaces: dict[Listener, tuple[int, int] | None] = {}
        """In which namespace each listener with `netns` was opened."""
        self._retry = Deadline(self._retries)

    @property
    def want(self) -> tuple[Listener, ...]:
        """The set that shall be."""
        return self._want

    def apply(self, want: tuple[Listener, ...]) -> None:
        """Make this the set."""
        todo = change(tuple(self._open), want)
        for one in todo.close:
            self._close(one)
        self._want = want
        self._failed.clear()
        same = {_socket_of(one): one for one in self._open}
        for one in want:
            before = same.get(_socket_of(one))
            if before is None:
                self._listen(one)
            elif before != one:
                self._open[one] = self._open.pop(before)
                if before in self._spaces:
                    self._spaces[one] = self._spaces.pop(before)

    def stop(self) -> None:
        """Try nothing any more; the hub closes what is open."""
        self._hub.loop.cancel(self._retry)
        self._open.clear()
        self._spaces.clear()

    def report(self) -> list[dict[str, Any]]:
        """Each listener, whether it is up, and what is wrong if not."""
        return [
            {**one.as_dict(), "up": one in self._open, "error": self._failed.get(one, "")}
            for one in self._want
        ]

    def _close(self, one: Listener) -> None:
        self._spaces.pop(one, None)
        self._hub.unserve(self._open.pop(one))

    def _listen(self, one: Listener) -> None:
        # Looked at before it is entered: if it changes in between, it is seen to have changed.
        space = None if one.netns is None else listening.identity(one.netns)
        try:
            sock = listening.listen(one.listen, accept=one.accept, netns=one.netns)
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or str(error)
            if self._failed.get(one) != why:
                self._hub.say("error", "listener failed", listener=one.name, why=why)
            self._failed[one] = why
            self._look_later()
            return
        self._failed.pop(one, None)
        self._open[one] = sock
        if one.netns is not None:
            self._spaces[one] = space
            self._look_later()
        accept = one.accept
        # A socket with one address knows it; any other is asked for each connection.
        fixed = one.listen if accept == "direct" and not _is_any(one.listen) else None

        def accepted(sock: socket.socket, peer: Ends) -> None:
            self._accepted(sock, peer, fixed or listening.destination(sock, accept))

        self._hub.serve(sock, accepted)

    def _look_later(self) -> None:
        if not self._retry.is_set:
            self._hub.loop.at(self._hub.loop.now + RETRY, self._retry)

    def _retries(self, now: float) -> float | None:
        """Open what failed, and what is in a namespace that is no more; tell if there was any."""
        paths = {one.netns for one in self._spaces if one.netns is not None}
        there = {path: listening.identity(path) for path in paths}
        # A name that is gone says nothing: the namespace may live on without it.
        lost = [
            one for one, space in self._spaces.items() if there[str(one.netns)] not in (None, space)
        ]
        for one in lost:
            self._close(one)
        again = [*self._failed, *lost]
        for one in again:
            self._listen(one)
        if again:
            self._changed()
        return now + RETRY if self._failed or self._spaces else None


def _socket_of(one: Listener) -> Listener:
    """A listener without what may change while its socket stays."""
    return replace(one, name="")


def _is_any(ends: Ends) -> bool:
    return ends[0] in ("0.0.0.0", "::")  # noqa: S104
