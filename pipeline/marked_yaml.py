"""YAML whose every value remembers its line.

`parse` composes one document and builds plain values from it: mappings with text keys, lists, text,
whole numbers, floats, true/false and null, as YAML 1.2's core schema has them. YAML 1.1's surprises
(`no` as false, `1:30` as ninety) stay text.

A file is bounded in size, depth and number of values, so that anchors which multiply each other
(the "billion laughs") end as an error, not as memory.
"""

from __future__ import annotations

import re
from typing import Any

import yaml

MAX_BYTES = 1 << 20
MAX_DEPTH = 32
MAX_VALUES = 100_000

Path = tuple[str | int, ...]
"""Where a value stands: keys and list positions from the top."""


class YamlError(Exception):
    """The text is not the YAML that we read; `line` counts from 1, `path` leads to the place."""

    def __init__(self, line: int, text: str, path: Path = ()) -> None:
        super().__init__(text)
        self.line = line
        self.text = text
        self.path = path


class Document:
    """The plain values, and the line of every key and list entry."""

    def __init__(self, value: Any) -> None:
        self.value = value
        self.lines: dict[Path, int] = {}
        self.problems: list[YamlError] = []

    def line(self, path: Path) -> int:
        """Give the line of `path`, or of the nearest thing around it that is in the file."""
        while path not in self.lines and path:
            path = path[:-1]
        return self.lines.get(path, 1)


class _Composer(yaml.SafeLoader):
    """SafeLoader with the plain scalars of YAML 1.2's core schema."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012


_PLAIN = (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", list("-+0123456789")),
    (
        "float",
        r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
        list("-+.0123456789"),
    ),
)
for _name, _pattern, _first in _PLAIN:
    _Composer.add_implicit_resolver(
        f"tag:yaml.org,2002:{_name}", re.compile(rf"(?:{_pattern})\Z"), _first
    )


def parse(text: str) -> Document:
    """Read one YAML document.

    Raises YamlError where the text is not YAML at all; what is wrong with single keys (a key given
    twice, a key that is not text) goes to the document's `problems`, and reading goes on.
    """
    if len(text) > MAX_BYTES:
        raise YamlError(1, f"longer than {MAX_BYTES} characters; this is no configuration file")
    try:
        loader = _Composer(text)
        try:
            root = loader.get_single_node()
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        raise _not_yaml(text, error) from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise YamlError(
            line, f"not YAML: the character {error.character!r} is not allowed"
        ) from None
    except RecursionError:
        raise YamlError(1, f"nested deeper than {MAX_DEPTH} levels") from None
    document = Document(None)
    if root is not None:
        document.value = _Builder(document).build(root, ())
    return document


def _not_yaml(text: str, error: yaml.MarkedYAMLError) -> YamlError:
    mark = error.problem_mark or error.context_mark
    line = mark.line + 1 if mark else 1
    what = error.problem or error.context or "cannot be read"
    lines = text.split("\n")
    address = re.search(
        r"\[[0-9a-fA-F.]*:[0-9a-fA-F:.]*\](?::[0-9]+)?|[0-9a-fA-F:]*::[0-9a-fA-F:.]*",
        lines[line - 1],
    )
    if "\t" in what or "'\\t'" in what:
        what = "a tab stands where YAML allows only spaces; indent with spaces"
    elif address:
        what += f'; put an IPv6 address in quotes: "{address[0]}"'
    return YamlError(line, f"not YAML: {what}")


class _Builder:
    """Turns nodes into values, and counts them."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._values = 0

    def build(self, node: yaml.Node, path: Path) -> Any:
        line = node.start_mark.line + 1
        self._document.lines.setdefault(path, line)
        self._values += 1
        if self._values > MAX_VALUES:
            raise YamlError(line, f"more than {MAX_VALUES} values, counting aliases", path)
        if len(path) > MAX_DEPTH:
            raise YamlError(line, f"nested deeper than {MAX_DEPTH} levels", path[:1])
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self.build(item, (*path, at)) for at, item in enumerate(node.value)]
        return self._scalar(node, path)

    def _mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode):
                self._problem(line, "a key must be text", path)
                continue
            key = key_node.value
            here = (*path, key)
            if key in values:
                first = self._document.lines[here]
                self._problem(line, f"given twice, first in line {first}; keep one", here)
                continue
            self._document.lines[here] = line
            values[key] = self.build(value_node, here)
        return values

    def _scalar(self, node: yaml.Node, path: Path) -> Any:
        text: str = node.value
        kind = node.tag.removeprefix("tag:yaml.org,2002:")
        if kind == "str":
            return text
        if kind == "null":
            return None
        if kind == "bool" and text.lower() in ("true", "false"):
            return text.lower() == "true"
        try:
            if kind == "int" and len(text) <= 40:
                return int(text, 0) if text[:2] in ("0o", "0x") else int(text)
            if kind == "float":
                return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
        except ValueError:
            pass
        # An explicit tag, such as `!!binary`, or `!!int` before something else.
        what = f"{text[:40]!r} cannot be read as {kind}"
        self._problem(node.start_mark.line + 1, what, path)
        return None

    def _problem(self, line: int, text: str, path: Path) -> None:
        self._document.problems.append(YamlError(line, text, path))
