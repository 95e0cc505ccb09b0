"""What the published schemas say, and whether a shaped event keeps to it."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Iterator
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator
from ocsf_json_schema import OcsfJsonSchemaEmbedded, get_ocsf_schema

SCHEMAS = Path(__file__).parents[3] / "fixtures" / "schemas"
OWN = ("suricata", "peeltap")
TEXTS = ("keyword", "wildcard", "match_only_text")


@lru_cache(maxsize=1)
def ecs_fields() -> dict[str, tuple[str, bool]]:
    """Type of each field, and whether it is an array."""
    rows = [line.split("\t") for line in (SCHEMAS / "ecs.tsv").read_text().splitlines()]
    return {row[0]: (row[1], len(row) > 2) for row in rows}


@lru_cache(maxsize=1)
def ecs_words() -> dict[str, Any]:
    """The allowed words of the categorization fields; of each category the types to expect."""
    words: dict[str, Any] = json.loads((SCHEMAS / "ecs-categories.json").read_text())
    return words


def ecs_troubles(event: dict[str, Any]) -> list[str]:
    """What is wrong with an event by the Elastic Common Schema."""
    fields = ecs_fields()
    shared = {name: value for name, value in event.items() if name not in OWN}
    found = [
        trouble for path, value in _leaves(shared) for trouble in _trouble(path, value, fields)
    ]
    return found or list(_categorized(shared.get("event", {})))


def _categorized(event: dict[str, Any]) -> Iterator[str]:
    words = ecs_words()
    for path, allowed in words.items():
        told = event.get(path.removeprefix("event."), [])
        for word in [told] if type(told) is str else told:
            if word not in allowed:
                yield f"{path}: {word!r} is no word of it"
    categories = [words["event.category"].get(one, ()) for one in event.get("category", [])]
    for kind in event.get("type", []):
        if categories and not any(kind in types for types in categories):
            yield f"event.type: {kind!r} is expected with none of its categories"


def _leaves(value: dict[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    for name, inner in value.items():
        at = f"{path}.{name}" if path else name
        kind = ecs_fields().get(at, ("", False))[0]
        if type(inner) is dict and kind != "geo_point":
            yield from _leaves(inner, at)
        elif kind in ("object", "nested") and type(inner) is list:
            yield at, inner
            for one in inner:
                yield from _leaves(one, at)
        else:
            yield at, inner


def _trouble(path: str, value: Any, fields: dict[str, tuple[str, bool]]) -> Iterator[str]:
    if path not in fields:
        yield f"{path}: no such field"
        return
    kind, array = fields[path]
    if array != (type(value) is list):
        yield f"{path}: {'no ' if array else 'an '}array"
        return
    for one in value if array else [value]:
        if not _is(kind, one):
            yield f"{path}: {one!r} is no {kind}"


def _is(kind: str, value: Any) -> bool:
    if kind in TEXTS:
        return type(value) is str and value.encode() is not None
    match kind:
        case "long":
            return type(value) is int and -(1 << 63) <= value < 1 << 63
        case "boolean":
            return type(value) is bool
        case "object" | "nested":
            return type(value) is dict
        case "geo_point":
            return {"lat", "lon"} == set(value) and all(
                type(one) is float for one in value.values()
            )
        case "ip":
            return type(value) is str and bool(ipaddress.ip_address(value))
        case "date":
            return type(value) is str and datetime.fromisoformat(value).tzinfo is not None
    raise AssertionError(kind)


CLASSES = {0: "base_event", 2004: "detection_finding", 4001: "network_activity"}


@lru_cache(maxsize=32)
def _validator(version: str, name: str, profiles: tuple[str, ...]) -> Draft202012Validator:
    schema = _ocsf(version).get_class_schema(name, list(profiles))
    return Draft202012Validator(schema)


@lru_cache(maxsize=4)
def _ocsf(version: str) -> OcsfJsonSchemaEmbedded:
    return OcsfJsonSchemaEmbedded(_ocsf_schema(version))


@lru_cache(maxsize=4)
def _ocsf_schema(version: str) -> dict[str, Any]:
    schema: dict[str, Any] = get_ocsf_schema(version)
    assert schema["version"] == version
    schema["classes"].setdefault("base_event", schema.get("base_event"))
    return schema


def ocsf_troubles(event: dict[str, Any], version: str = "1.3.0") -> list[str]:
    """What is wrong with an event by OCSF: classes, required and allowed attributes, enums."""
    name = CLASSES[event["class_uid"]]
    profiles = tuple(event["metadata"].get("profiles", ()))
    errors = _validator(version, name, profiles).iter_errors(event)
    return [f"{'.'.join(map(str, error.absolute_path))}: {error.message}" for error in errors]


def ocsf_word(event: dict[str, Any], attribute: str, version: str = "1.3.0") -> str:
    """What the schema calls the value of an event's `attribute`."""
    of_class = _ocsf_schema(version)["classes"][CLASSES[event["class_uid"]]]
    word: str = of_class["attributes"][attribute]["enum"][str(event[attribute])]["caption"]
    return word


@lru_cache(maxsize=1)
def cim_models() -> dict[str, dict[str, Any]]:
    """Each model's tags and fields; a field's list of allowed values is empty if any will do."""
    models: dict[str, dict[str, Any]] = json.loads((SCHEMAS / "cim.json").read_text())
    return models
