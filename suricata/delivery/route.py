"""Which events go to a sink: rules, of which any may say yes, and one in so many of a flood.

What is asked of an event is asked by role: the decoy of an alert is the end that was attacked,
whichever way the packet went.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Mapping, Sequence
from fnmatch import translate
from typing import Any, Final

from ..event_settings import WhenSettings
from ..shapes.ends import ends

Event = dict[str, Any]

_ALERT: Final = "alert"


class Route:
    """`takes` says whether an event goes there; `when` None is all, `sample` by event type."""

    def __init__(
        self, when: Sequence[WhenSettings] | None = None, sample: Mapping[str, int] | None = None
    ) -> None:
        self._rules = None if when is None else [_rule(one) for one in when]
        self._sample = {kind: each for kind, each in (sample or {}).items() if each > 1}

    @property
    def is_open(self) -> bool:
        """Whether it takes everything."""
        return self._rules is None and not self._sample

    def takes(self, event: Event) -> bool:
        """Whether `event` goes there."""
        if self._rules is not None and not any(rule(event) for rule in self._rules):
            return False
        each = self._sample.get(_text(event.get("event_type")))
        return each is None or _flow_number(event) % each == 0


def _rule(when: WhenSettings) -> Callable[[Event], bool]:
    types = None if when.types is None else frozenset(when.types)
    decoys = None if when.decoys is None else _globs(when.decoys)
    signatures = None if when.signatures is None else _globs([str(s) for s in when.signatures])
    severity = when.severity

    def holds(event: Event) -> bool:
        if types is not None and _text(event.get("event_type")) not in types:
            return False
        if severity is not None or signatures is not None:
            alert = event.get(_ALERT)
            if type(alert) is not dict:
                return False
            told = alert.get("severity")
            if severity is not None and not (type(told) is int and 0 < told <= severity):
                return False
            if signatures is not None and not (
                signatures(_text(alert.get("signature")))
                or signatures(str(alert.get("signature_id")))
            ):
                return False
        return decoys is None or any(decoys(name) for name in decoy_names(event))

    return holds


def _globs(patterns: Sequence[str]) -> Callable[[str], bool]:
    any_of = re.compile("|".join(translate(pattern) for pattern in patterns))
    return lambda text: any_of.match(text) is not None


def decoy_names(event: Event) -> list[str]:
    """What the attacked decoy is called: its address, and the name that enrichment gave it."""
    names = [ends(event).decoy.ip or ""]
    peeltap = event.get("peeltap")
    decoy = peeltap.get("decoy") if type(peeltap) is dict else None
    if type(decoy) is dict and type(decoy.get("name")) is str:
        names.append(decoy["name"])
    return names


def _flow_number(event: Event) -> int:
    """The same for all events of a flow, and spread evenly."""
    number = event.get("flow_id")
    if number is None:
        peeltap = event.get("peeltap")
        number = peeltap.get("flow") if type(peeltap) is dict else None
    if number is None:
        number = event.get("timestamp")
    return zlib.crc32(str(number).encode(errors="replace"))


def _text(value: object) -> str:
    return value if type(value) is str else ""
