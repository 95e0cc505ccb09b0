"""Steps, each with its inverse, what a person would have typed, and its form in the journal.

A step is a value; `diversion.setup.machine` carries it out.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from dataclasses import dataclass
from typing import Any

from diversion.setup import things
from diversion.setup.firewall import rules
from diversion.setup.things import Key, Setting, Thing, Value


@dataclass(frozen=True)
class Make:
    """A thing shall be there."""

    thing: Thing

    @property
    def key(self) -> Key:
        """The key of what it is about."""
        return self.thing.key

    @property
    def inverse(self) -> Remove:
        """The step back."""
        return Remove(self.thing)


@dataclass(frozen=True)
class Remove:
    """A thing shall be gone."""

    thing: Thing

    @property
    def key(self) -> Key:
        """The key of what it is about."""
        return self.thing.key

    @property
    def inverse(self) -> Make:
        """The step back."""
        return Make(self.thing)


@dataclass(frozen=True)
class Set:
    """A setting shall have a value; `former` is what it has now, None if there is nothing yet."""

    setting: Setting
    value: Value
    former: Value | None

    @property
    def key(self) -> Key:
        """The key of what it is about."""
        return self.setting.key

    @property
    def inverse(self) -> Set | None:
        """The step back; None where the setting goes away with the thing it belongs to."""
        if self.former is None:
            return None
        return Set(self.setting, self.former, self.value)


Step = Make | Remove | Set

_CLASSES = {
    kind.__name__: kind
    for kind in (
        *typing.get_args(Thing),
        *typing.get_args(Setting),
        *typing.get_args(Step),
        rules.Rule,
        rules.Match,
        rules.AddressSet,
    )
}


def to_json(value: Any) -> Any:
    """Give a step, or a part of one, as plain values; `origin` is left out."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        plain: dict[str, Any] = {"is": type(value).__name__}
        for one in dataclasses.fields(value):
            held = getattr(value, one.name)
            if one.name != "origin" and held != one.default:
                plain[one.name] = to_json(held)
        return plain
    if isinstance(value, tuple):
        return [to_json(one) for one in value]
    return value


def from_json(plain: Any) -> Any:
    """Give back what `to_json` made; ValueError if it is nothing of the kind."""
    if isinstance(plain, list):
        return tuple(from_json(one) for one in plain)
    if not isinstance(plain, dict):
        return plain
    kind = _CLASSES.get(str(plain.get("is")))
    if kind is None:
        raise ValueError(f"{plain.get('is')!r} is no kind of step")
    try:
        value = kind(**{name: from_json(one) for name, one in plain.items() if name != "is"})
    except TypeError as error:
        raise ValueError(f"{kind.__name__}: {error}") from None
    return value


def step_from_json(plain: Any) -> Step:
    """Give back a step; ValueError for anything else."""
    step = from_json(plain)
    if not isinstance(step, Make | Remove | Set):
        raise ValueError(f"{type(step).__name__} is no step")
    inner = step.setting if isinstance(step, Set) else step.thing
    wanted = things.Setting if isinstance(step, Set) else things.Thing
    if not isinstance(inner, types.UnionType | type) and not isinstance(
        inner, typing.get_args(wanted)
    ):
        raise ValueError(f"{type(step).__name__} of a {type(inner).__name__}")
    return step
