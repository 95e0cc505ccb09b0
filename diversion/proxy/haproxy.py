"""HAProxy's configuration for a hop: what agents and gateways have in common there."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from diversion.proxy.addresses import Ends, show_ends
from diversion.proxy.hub import Limits

SEND = {"proxy-v2": "send-proxy-v2", "proxy-v1": "send-proxy"}
"""HAProxy's words for the headers that it can send."""


class NoHAProxyError(ValueError):
    """HAProxy cannot do it; the text says what."""


class Server(NamedTuple):
    """One server line: where to, with which header, and its further words."""

    name: str
    to: Ends | None
    """None: where the connection was going to."""
    codec: str | None
    words: str = ""


def head(limits: Limits) -> list[str]:
    """`global` and `defaults`."""
    return [
        "global",
        f"  maxconn {limits.connections}",
        "  log stdout format raw local0",
        "defaults",
        "  mode tcp",
        "  log global",
        "  option splice-auto",
        "  option clitcpka",
        "  option srvtcpka",
        '  log-format "%ci:%cp %fi:%fp %si:%sp %U %B %Tt %ts"',
        f"  timeout connect {_milliseconds(limits.connect_seconds)}",
        f"  timeout client {_milliseconds(limits.idle_seconds)}",
        f"  timeout server {_milliseconds(limits.idle_seconds)}",
    ]


def bind(ends: Ends, words: str = "") -> str:
    """A bind line."""
    wide = " v6only" if ":" in ends[0] else ""
    return f"  bind {show_ends(ends)}{wide}{words and ' '}{words}"


def backend(server: Server, lines: Iterable[str] = ()) -> list[str]:
    """A backend with one server."""
    to = "0.0.0.0:0" if server.to is None else show_ends(server.to)
    words = f" {server.words}" if server.words else ""
    return [
        f"backend {server.name}",
        *lines,
        f"  server {server.name} {to}{_send(server.codec)}{words}",
    ]


def word(name: str) -> str:
    """A name or a path as one word of the file; NoHAProxyError where it would be more, or less."""
    if not _WORD.fullmatch(name):
        raise NoHAProxyError(f"{name!r} cannot stand in HAProxy's file: give it a plainer name")
    return name


_WORD = re.compile(r"[A-Za-z0-9_./:@%+,=-]+")


def text(lines: Sequence[str]) -> str:
    """The file."""
    return "\n".join(lines) + "\n"


def _send(codec: str | None) -> str:
    if codec is None:
        return ""
    if codec not in SEND:
        raise NoHAProxyError(f"HAProxy cannot send {codec}: only {', '.join(SEND)}")
    return f" {SEND[codec]}"


def _milliseconds(seconds: float) -> int:
    return max(1, int(seconds * 1000))
