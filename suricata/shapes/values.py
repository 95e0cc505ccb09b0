"""Values out of an event, each of the type that was asked for, or None.

A shape promises types to whoever indexes it: one event with a text where an address belongs is
refused by the index, or worse, decides the field's type for all that follow. So nothing is taken
over as it is found.
"""

from __future__ import annotations

import ipaddress
import re
from functools import lru_cache
from math import isfinite
from typing import Any, Final

from ..eve import Clock

Event = dict[str, Any]

MAX_PORT: Final = 0xFFFF
_LONG: Final = 1 << 63

# Shared by all: it only remembers what a text always means, and bounds itself.
_clock = Clock()

_HOST: Final = re.compile(
    r"(?=.{1,253}\Z)(?:[A-Za-z0-9](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9])?\.)*"
    r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.?\Z"
)


def text(value: object) -> str | None:
    """A text that is not empty; half a surrogate pair in it is replaced."""
    if type(value) is not str or not value:
        return None
    return value if value.isascii() else value.encode(errors="replace").decode()


def number(value: object) -> int | None:
    """A whole number of 64 bits, not below zero."""
    return value if type(value) is int and 0 <= value < _LONG else None


def port(value: object) -> int | None:
    """A port; 0 is Suricata's word for none."""
    return value if type(value) is int and 0 < value <= MAX_PORT else None


def digits(value: object) -> str | None:
    """A number that the shape wants as text; a text stays one."""
    return str(value) if type(value) is int and -_LONG <= value < _LONG else text(value)


def boolean(value: object) -> bool | None:
    """True or false."""
    return value if type(value) is bool else None


def ip(value: object) -> str | None:
    """An address, as it is written."""
    return value if type(value) is str and _is_ip(value) else None


def texts(value: object) -> list[str] | None:
    """The texts of a list, or the one text."""
    if type(value) is not list:
        one = text(value)
        return None if one is None else [one]
    found = [one for one in map(text, value) if one is not None]
    return found or None


def nanoseconds(value: object) -> int | None:
    """A moment that EVE wrote, in nanoseconds since 1970."""
    return _clock.parse(value)


def date(value: object) -> str | None:
    """The same, as RFC 3339 writes it: `Z`, or a colon in the offset."""
    if type(value) is not str:
        return None
    if _clock.parse(value) is None:
        # A certificate's times have no zone: they are in UTC (RFC 5280, section 4.1.2.5).
        value += "Z"
        return value if len(value) == _PLAIN and _clock.parse(value) is not None else None
    if not _EVE_TIME.fullmatch(value):
        return None
    return value[:-5] + "Z" if value.endswith("+0000") else f"{value[:-2]}:{value[-2:]}"


_PLAIN: Final = len("2026-01-01T00:00:00Z")
_EVE_TIME: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?[+-]\d{4}", re.ASCII)


def host(value: object) -> str | None:
    """A host's name (RFC 1123, and `_` within), not an address."""
    if type(value) is not str or not _HOST.match(value) or _is_ip(value):
        return None
    return value


def put(out: Event, path: tuple[str, ...], value: Any) -> None:
    """Set the member at `path`, with the objects on the way to it; None sets nothing."""
    if value is None:
        return
    *way, last = path
    for name in way:
        out = out.setdefault(name, {})
    out[last] = value


def child(event: Event, name: str) -> Event:
    """The object under `name`, an empty one where there is none."""
    value = event.get(name)
    return value if type(value) is dict else {}


def fraction(value: object) -> float | None:
    """A number with or without a fraction, if JSON can write it."""
    if type(value) is float:
        return value if isfinite(value) else None
    return float(value) if type(value) is int and -_LONG <= value < _LONG else None


def geo(value: object) -> Event | None:
    """A place, as `suricata.enrichment.geoip` writes it: members of ECS's `geo`."""
    if type(value) is not dict:
        return None
    found: Event = {name: one for name in GEO if (one := text(value.get(name))) is not None}
    where = child(value, "location")
    lat, lon = fraction(where.get("lat")), fraction(where.get("lon"))
    if lat is not None and lon is not None:
        found["location"] = {"lat": lat, "lon": lon}
    return found or None


def autonomous_system(value: object) -> Event | None:
    """An autonomous system: `{"number": ..., "organization": {"name": ...}}`."""
    if type(value) is not dict:
        return None
    found = filled(number=number(value.get("number")))
    name = text(child(value, "organization").get("name"))
    if name is not None:
        found["organization"] = {"name": name}
    return found or None


GEO: Final = (
    "city_name",
    "continent_code",
    "continent_name",
    "country_iso_code",
    "country_name",
    "postal_code",
    "region_iso_code",
    "region_name",
    "timezone",
)


def filled(**members: Any) -> Event:
    """An object of those members that are there."""
    return {name: value for name, value in members.items() if value is not None}


@lru_cache(maxsize=65_536)
def _is_ip(value: str) -> bool:
    # A zone (fe80::1%eth0) means something on one machine only.
    if len(value) > 45 or "%" in value:
        return False
    try:
        ipaddress.ip_address(value)
    except ValueError:
        return False
    return True
