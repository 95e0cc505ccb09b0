"""YAML with lines: what values mean, where they stand, and what cannot be read."""

import math

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.marked_yaml import YamlError, parse


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a", "a"),
        ("'1'", "1"),
        ("1", 1),
        ("-7", -7),
        ("007", 7),
        ("0x1F", 31),
        ("0o17", 15),
        ("1.5", 1.5),
        ("1e3", 1000.0),
        (".5", 0.5),
        (".inf", math.inf),
        ("-.Inf", -math.inf),
        ("true", True),
        ("False", False),
        ("null", None),
        ("~", None),
        ("", None),
        # YAML 1.1 read these otherwise.
        ("no", "no"),
        ("on", "on"),
        ("1:30", "1:30"),
        ("1_000", "1_000"),
        ("2026-01-01", "2026-01-01"),
        ("0b101", "0b101"),
        ("172.16.23.1", "172.16.23.1"),
        ("d1e0c0ffee5eedb5", "d1e0c0ffee5eedb5"),
        ("[1, a, [true]]", [1, "a", [True]]),
        ("{a: {b: 1}}", {"a": {"b": 1}}),
        ("1: a", {"1": "a"}),
        ("<<: a", {"<<": "a"}),
        ("a: &x [1]\nb: *x", {"a": [1], "b": [1]}),
    ],
)
def test_values(text: str, value: object) -> None:
    found = parse(text).value
    assert found == value
    assert type(found) is type(value)


def test_not_a_number_is_read_as_one() -> None:
    assert math.isnan(parse(".nan").value)


def test_every_value_knows_its_line() -> None:
    document = parse("# note\na:\n  - 1\n  - b: 2\n    c:\n      d\n")
    lines = {path: document.line(path) for path in document.lines}
    assert lines == {
        (): 2,
        ("a",): 2,
        ("a", 0): 3,
        ("a", 1): 4,
        ("a", 1, "b"): 4,
        ("a", 1, "c"): 5,
    }


def test_what_is_not_there_has_the_line_of_what_is_around_it() -> None:
    document = parse("x: 1\na:\n  b: 1\n")
    assert document.line(("a", "absent")) == 2
    assert document.line(("a", "b", 3, "c")) == 3
    assert document.line(("absent",)) == 1
    assert parse("").line(("a",)) == 1


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("a: [1", 1, "not YAML: "),
        ("a: 1\n b: 2", 2, "not YAML: "),
        ("a: 1\n---\nb: 2", 2, "not YAML: "),
        ("a: @b", 1, "not YAML: "),
        ("x: 1\na: 'b", 2, "not YAML: "),
        ("a: *b", 1, "not YAML: found undefined alias 'b'"),
    ],
)
def test_what_is_not_yaml(text: str, line: int, message: str) -> None:
    with pytest.raises(YamlError) as caught:
        parse(text)
    assert caught.value.text.startswith(message)
    assert caught.value.line == line


def test_what_is_wrong_with_single_keys_does_not_stop_the_reading() -> None:
    document = parse("a: 1\na: 2\n[b]: 3\nc: !!int x\nd: !!python/name:os.system ''\ne: 4\n")
    assert document.value == {"a": 1, "c": None, "d": None, "e": 4}
    assert [(problem.line, problem.text) for problem in document.problems] == [
        (2, "given twice, first in line 1; keep one"),
        (3, "a key must be text"),
        (4, "'x' cannot be read as int"),
        (5, "'' cannot be read as python/name:os.system"),
    ]


def test_a_number_of_a_million_digits_is_an_error_not_a_wait() -> None:
    document = parse("a: " + "9" * 100_000)
    assert document.value == {"a": None}
    assert len(document.problems) == 1


SCALARS = st.one_of(st.none(), st.booleans(), st.integers(-(2**63), 2**63), st.text(max_size=20))
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=20,
)


class Quoting(yaml.SafeDumper):
    """Writes every text in quotes."""


Quoting.add_representer(
    str, lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"')
)


@settings(deadline=None)
@given(value=st.dictionaries(st.text(max_size=8), VALUES))
def test_what_pyyaml_writes_is_read_back(value: dict[str, object]) -> None:
    # With quotes: what is a number is not the same in PyYAML's YAML 1.1 and in ours (0E0).
    text = yaml.dump(value, Dumper=Quoting, allow_unicode=False)
    document = parse(text)
    assert document.value == value
    assert document.problems == []


@settings(deadline=None)
@given(text=st.text(alphabet="ab:-[]{}&*!|>'\"#,?%@ \n\t01", max_size=60))
def test_any_text_gives_a_document_or_one_error(text: str) -> None:
    found: YamlError | None = None
    try:
        parse(text)
    except YamlError as error:
        found = error
    if found is not None:
        assert 1 <= found.line <= text.count("\n") + 2
        assert "\n" not in found.text
