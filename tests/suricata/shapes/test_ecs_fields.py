from __future__ import annotations

import re
from pathlib import Path

import pytest

from suricata.shapes.ecs_fields import CATEGORIES, OBJECTS, ROOT, Field

from .published import ecs_fields, ecs_troubles

FIELDS = [
    (f"{name}.{member}", field)
    for name, fields in [("", ROOT), *OBJECTS.items()]
    for member, field in fields.items()
]


@pytest.mark.parametrize(("member", "field"), FIELDS, ids=[name for name, _ in FIELDS])
def test_every_field_of_the_tables_is_published(member: str, field: Field) -> None:
    assert ".".join(field.path) in ecs_fields()


@pytest.mark.parametrize("kind", CATEGORIES)
def test_categories_are_published_words_and_belong_together(kind: str) -> None:
    categories, types = CATEGORIES[kind]
    assert ecs_troubles({"event": {"category": categories, "type": types}}) == []


def test_the_documentation_has_the_tables() -> None:
    text = (Path(__file__).parents[3] / "docs" / "shapes.md").read_text()
    told = re.findall(r"^\| `([a-z_0-9.]+)` \| `([a-z_0-9.]+)` \|$", text, re.MULTILINE)
    assert dict(told) == {name.lstrip("."): ".".join(field.path) for name, field in FIELDS}
