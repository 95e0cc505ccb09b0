from __future__ import annotations

import re
from pathlib import Path

import pytest

from suricata.shapes.ecs_fields import CATEGORIES, OBJECTS, ROOT, Field

from .published import ecs_fields

FIELDS = [
    (f"{name}.{member}", field)
    for name, fields in [("", ROOT), *OBJECTS.items()]
    for member, field in fields.items()
]

# Allowed values of ECS 8 that the tables use.
CATEGORY = {"network", "intrusion_detection", "web", "file", "email", "host"}
TYPE = {"access", "allowed", "connection", "denied", "end", "info", "protocol"}


@pytest.mark.parametrize(("member", "field"), FIELDS, ids=[name for name, _ in FIELDS])
def test_every_field_of_the_tables_is_published(member: str, field: Field) -> None:
    assert ".".join(field.path) in ecs_fields()


def test_categories_are_words_of_ecs() -> None:
    for categories, types in CATEGORIES.values():
        assert set(categories) <= CATEGORY
        assert set(types) <= TYPE


def test_the_documentation_has_the_tables() -> None:
    text = (Path(__file__).parents[3] / "docs" / "shapes.md").read_text()
    told = re.findall(r"^\| `([a-z_0-9.]+)` \| `([a-z_0-9.]+)` \|$", text, re.MULTILINE)
    assert dict(told) == {name.lstrip("."): ".".join(field.path) for name, field in FIELDS}
