"""What only shows when the values of a configuration are seen together, and what an endpoint is.

`problems` works on a half-valid mapping, so that an operator sees every mistake at once. Nothing
here needs pydantic, whose import costs more than a small replay.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from reassembly.presets import LAYOUT_PRESETS

Location = tuple[str | int, ...]
"""Keys and list positions, from the file's top."""

BUILTIN_CODECS = ("proxy-v2", "proxy-v1")
"""Codecs that need no entry under `codecs`."""

SSLPROXY = "sslproxy"
"""SSLproxy's line; only the site knows where it stands, so it needs an entry with `position`."""

_MAGIC = re.compile(r"[0-9a-fA-F]{16}")
_CODEC_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,31}")

_ENDPOINT_FORMS = (
    "an address or a network, with or without a port: 172.16.23.1, 172.16.23.0/24, "
    "172.16.23.1:9000, fd00::1, fd00::/64, [fd00::1]:9000"
)

CODEC_DEFAULTS: Final[Mapping[str, Any]] = {
    "magic": None,
    "encoding": "binary",
    "layout": None,
    "position": None,
    "max_length": None,
}


class Endpoint(NamedTuple):
    """One end of a proxied leg: a network in CIDR form, and a port or None for any port."""

    network: str
    port: int | None = None

    @classmethod
    def parse(cls, value: object) -> Endpoint:
        """Read what stands in the file; ValueError says what is wrong with it."""
        if isinstance(value, Endpoint):
            return value
        if not isinstance(value, str):
            raise ValueError(f"{value!r} is not text; write {_ENDPOINT_FORMS}")
        host, port = _split_port(value)
        if "%" in host:
            raise ValueError(f"{value!r} names an interface; leave out what begins with %")
        try:
            network = ipaddress.ip_network(host)
        except ValueError:
            raise ValueError(_not_a_network(value, host)) from None
        return cls(network.with_prefixlen, port)

    @property
    def version(self) -> int:
        """4 or 6."""
        return 6 if ":" in self.network else 4

    def __str__(self) -> str:
        """Give the shortest text that `parse` reads as this endpoint."""
        network = self.network.removesuffix("/32" if self.version == 4 else "/128")
        if self.port is None:
            return network
        return f"[{network}]:{self.port}" if self.version == 6 else f"{network}:{self.port}"


def _split_port(text: str) -> tuple[str, int | None]:
    """Take an optional port off an endpoint; two or more bare colons are an IPv6 address."""
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise ValueError(f"{text!r} has a bracket out of place; write {_ENDPOINT_FORMS}")
        port = rest[1:] if rest else None
    elif text.count(":") == 1:
        host, _, port = text.partition(":")
    else:
        return text, None
    if port is None:
        return host, None
    if not (port.isascii() and port.isdigit() and 1 <= int(port) <= 65535):
        raise ValueError(f"{port!r} in {text!r} is not a port; allowed: 1 to 65535")
    return host, int(port)


def _not_a_network(value: str, host: str) -> str:
    """Say why `host` is no network; a network with host bits set is the common slip."""
    try:
        network = ipaddress.ip_interface(host).network
    except ValueError:
        return f"{value!r} is not an IP address; write {_ENDPOINT_FORMS}"
    return f"{value!r} has address bits beyond its prefix; write {network} or the bare address"


def problems(settings: Mapping[str, Any]) -> Iterator[tuple[Location, str]]:
    """Find what is wrong between values, as (where, what) pairs.

    `settings` has the file's shape and may be wrong in any way; what is not of the right type is
    left to the models.
    """
    codecs = settings.get("codecs")
    codecs = codecs if isinstance(codecs, Mapping) else {}
    for name, codec in codecs.items():
        yield from _codec_problems(str(name), codec)
    known = [*BUILTIN_CODECS, SSLPROXY, *(name for name in map(str, codecs) if name != SSLPROXY)]
    gateways = settings.get("gateways")
    seen: dict[tuple[str, str], int] = {}
    for index, gateway in enumerate(gateways if isinstance(gateways, list) else []):
        if isinstance(gateway, Mapping):
            yield from _gateway_problems(index, gateway, known, seen, SSLPROXY in codecs)


def _gateway_problems(
    index: int,
    gateway: Mapping[str, Any],
    known: list[str],
    seen: dict[tuple[str, str], int],
    sslproxy: bool,
) -> Iterator[tuple[Location, str]]:
    here: Location = ("gateways", index)
    headers = gateway.get("headers")
    names: list[str] = []
    for at, name in enumerate(headers if isinstance(headers, list) else []):
        if not isinstance(name, str):
            continue
        where = (*here, "headers", at)
        if name in LAYOUT_PRESETS and name not in known:
            yield (
                where,
                f"{name} needs the site's own value; add it: "
                f'codecs: {{{name}: {{magic: "d1e0c0ffee5eedb5"}}}}',
            )
        elif name == SSLPROXY and not sslproxy:
            yield (
                where,
                "sslproxy needs to know where its line stands; add it: "
                "codecs: {sslproxy: {position: request}} for HTTP, {position: front} for all else",
            )
        elif name not in known:
            yield where, f"no codec is called {name!r}{hint(name, known)}"
        elif name in names:
            yield where, f"{name} is named twice; name it once"
        names.append(name)
    try:
        ends = Endpoint.parse(gateway.get("from")), Endpoint.parse(gateway.get("to"))
    except ValueError:
        return
    source, to = ends
    if source.version != to.version:
        yield (
            (*here, "to"),
            f"{to} is IPv{to.version} and from is IPv{source.version}; "
            "both ends of a leg are of one family",
        )
    first = seen.setdefault((str(source), str(to)), index)
    if first != index:
        yield here, f"the same leg as gateways[{first}]; put all its headers into one entry"


def _codec_problems(name: str, codec: object) -> Iterator[tuple[Location, str]]:
    here: Location = ("codecs", name)
    if name in BUILTIN_CODECS:
        yield here, f"{name} is built in and takes no settings; leave it out, or choose a new name"
        return
    if not _CODEC_NAME.fullmatch(name):
        yield (
            here,
            f"{name!r} cannot be a codec's name; allowed: up to 32 of a-z 0-9 . _ -, "
            "beginning with a letter or a digit",
        )
    if not isinstance(codec, Mapping):
        return
    layout, magic = codec.get("layout"), codec.get("magic")
    if name in LAYOUT_PRESETS:
        for key in ("layout", "encoding", "max_length", "position"):
            if codec.get(key) not in (None, CODEC_DEFAULTS[key]):
                yield (
                    (*here, key),
                    f"{name} ships with its layout; take this out",
                )
        if magic is None:
            yield (
                (*here, "magic"),
                'missing; give the magic bytes in hex: {magic: "d1e0c0ffee5eedb5"}',
            )
        elif isinstance(magic, str) and not _MAGIC.fullmatch(magic):
            yield (
                (*here, "magic"),
                f"{magic!r} is not 8 bytes in hex; for instance d1e0c0ffee5eedb5",
            )
        return
    if name == SSLPROXY or codec.get("position") is not None:
        if codec.get("position") is None:
            yield (
                (*here, "position"),
                "missing; request: behind the first line, as SSLproxy does for HTTP; "
                "front: before all, as it does for everything else",
            )
        for key in ("magic", "encoding", "layout", "max_length"):
            if codec.get(key) not in (None, CODEC_DEFAULTS[key]):
                yield (*here, key), "an entry for SSLproxy's line takes position only; take it out"
        return
    if magic is not None:
        yield (
            (*here, "magic"),
            "only the codec called magic takes it; begin the layout with {bytes: ...}",
        )
    if layout is None:
        yield (*here, "layout"), "missing; give the header's fields in the order they are sent"
    elif isinstance(layout, list):
        from reassembly.layout import layout_problems

        encoding, longest = codec.get("encoding", "binary"), codec.get("max_length")
        for location, text in layout_problems(layout, encoding, longest):
            place = location if location == ("max_length",) else ("layout", *location)
            yield (*here, *place), text


def hint(name: str, allowed: list[str]) -> str:
    """Name the nearest allowed word, if one is near, and all of them."""
    import difflib

    near = difflib.get_close_matches(name, allowed, n=1, cutoff=0.6)
    guess = f"; did you mean {near[0]}?" if near else ";"
    return f"{guess} allowed: {', '.join(allowed)}"
