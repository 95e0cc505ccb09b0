"""Samples on their way to Prometheus, gathered into families.

A name of a status becomes a metric's: `peeltap_` and what it is of in front; what its name does not
tell to be a state is a counter.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

Status = Mapping[str, Any]

MAX_LABELS: Final = 2000
"""Of counters that others name; a broken event must not grow the answer without bound."""

# What is a state and not a count, among the numbers of ring, output, store and the rest.
GAUGES: Final = frozenset(
    {
        "age_seconds",
        "backlog",
        "before",
        "cached",
        "disk_bytes",
        "files",
        "gathering",
        "held",
        "memory_bytes",
        "open",
        "pending",
        "queued_bytes",
        "recent",
        "ring_bytes",
        "sensors",
        "unsaved",
        "until",
        "viewers",
        "waiting",
        "wanted",
        "workers",
    }
)


_Family = GaugeMetricFamily | CounterMetricFamily


class Families:
    """Every family once, with all its samples; its labels are those of the first of them."""

    def __init__(self) -> None:
        self._found: dict[str, _Family] = {}
        self._labels: dict[str, str] = {}

    def __iter__(self) -> Iterator[Metric]:
        return iter(self._found.values())

    def of(self, **labels: str) -> Families:
        """The same families; what is added through this has `labels`, too."""
        view = Families()
        view._found, view._labels = self._found, {**self._labels, **labels}
        return view

    def gauge(self, name: str, about: str, value: object, **labels: str) -> None:
        """Add what is now so."""
        self._add(GaugeMetricFamily, name, about, value, labels)

    def counter(self, name: str, about: str, value: object, **labels: str) -> None:
        """Add what was counted."""
        self._add(CounterMetricFamily, name, about, value, labels)

    def counters(
        self, name: str, about: str, label: str, values: object, known: tuple[str, ...] = ()
    ) -> None:
        """Add counters that differ by `label`; those that are `known` count from 0."""
        # The family is there before anything has been counted.
        family = self._family(CounterMetricFamily, name, about, [*self._labels, label])
        counted = {**dict.fromkeys(known, 0), **(values if isinstance(values, Mapping) else {})}
        for word, value in list(counted.items())[:MAX_LABELS]:
            family.add_metric([*self._labels.values(), str(word)], number(value))

    def numbers(self, of: str, about: str, values: object, *, gauges: bool = False) -> None:
        """Add every plain number among `values`."""
        for name, value in sorted(values.items() if isinstance(values, Mapping) else ()):
            if is_number(value):
                add = self.gauge if gauges or name in GAUGES else self.counter
                add(f"{of}_{name}", f"{about}: {name}", value)

    def _add(
        self, kind: type[_Family], name: str, about: str, value: object, labels: Mapping[str, str]
    ) -> None:
        whole = {**self._labels, **labels}
        family = self._family(kind, name, about, list(whole))
        family.add_metric(list(whole.values()), number(value))

    def _family(self, kind: type[_Family], name: str, about: str, labels: list[str]) -> _Family:
        family = self._found.get(name)
        if family is None:
            family = self._found[name] = kind(f"peeltap_{name}", about, labels=labels)
        return family


def part(status: Status, name: str) -> Status:
    """The part of `status` under `name`, if it is one."""
    found = status.get(name)
    return found if isinstance(found, Mapping) else {}


def is_number(value: object) -> bool:
    """Whether `value` is a number, and no truth."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def number(value: object) -> float:
    """`value`, or 0 for what is none."""
    return float(value) if isinstance(value, int | float) else 0.0
