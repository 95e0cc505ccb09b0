"""Shapes by name, and a shaped event as one line of JSON."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import orjson

from .cim import cim
from .ecs import ecs
from .ocsf import ocsf
from .values import Event

Shape = Callable[[Event], Event]


def eve(event: Event) -> Event:
    """The event as Suricata wrote it, corrected."""
    return event


SHAPES: Final[dict[str, Shape]] = {"eve": eve, "ecs": ecs, "ocsf": ocsf, "cim": cim}


def make_shape(name: str) -> Shape:
    """The shape of that name; KeyError for one that is none."""
    return SHAPES[name]


def write(shape: Shape, event: Event) -> bytes:
    """The shaped event, JSON without a newline.

    What JSON cannot hold of it (half a surrogate pair, a number beyond 64 bits, a nest deeper than
    the writer's limit) is left out with the member of the event that it is in: an attacker must not
    be able to hide an alert in it.
    """
    try:
        return orjson.dumps(shape(event))
    except TypeError:
        return orjson.dumps(shape(_writable(event)))


def _writable(event: Event) -> Event:
    """The members that can be written, and of objects those of their members."""
    kept: Event = {}
    for name, value in event.items():
        if _can_be_written({name: value}):
            kept[name] = value
        elif type(value) is dict:
            kept[name] = {
                inner: one for inner, one in value.items() if _can_be_written({inner: one})
            }
    return kept


def _can_be_written(value: object) -> bool:
    # A shape nests what it found a few levels deeper.
    for _ in range(_DEEPER):
        value = [value]
    try:
        orjson.dumps(value)
    except TypeError:
        return False
    return True


_DEEPER: Final = 8
