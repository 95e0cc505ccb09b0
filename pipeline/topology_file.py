"""A topology file: read and checked whole, with the line of each mistake.

FILE:LINE: key: what is wrong; what is allowed
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from diversion.setup import checks
from diversion.setup.settings import TopologySettings
from pipeline import config_check, marked_yaml
from pipeline.config import _message, _order, _text
from pipeline.errors import ConfigError


@dataclass(frozen=True)
class TopologyFile:
    """The file's settings, and where in it each of them stands."""

    name: str
    settings: TopologySettings
    document: marked_yaml.Document

    def error(self, problems: Iterable[tuple[marked_yaml.Path, str]]) -> ConfigError:
        """Give problems at places of the file as the error to be raised."""
        return _error(self.name, self.document, problems)


def load(path: str | Path) -> TopologyFile:
    """Read and check the file at `path`; raises ConfigError."""
    return parse(_text(path), str(path))


def parse(text: str, name: str) -> TopologyFile:
    """Check the topology in `text`; `name` is the file's name in messages."""
    try:
        document = marked_yaml.parse(text)
    except marked_yaml.YamlError as error:
        raise ConfigError([_message(name, error.line, error.path, error.text)]) from None
    data: Any = {} if document.value is None else document.value
    if not isinstance(data, dict):
        kind = config_check.kind_of(data)
        raise ConfigError(
            [_message(name, 1, (), f"must be a mapping of keys to values, not {kind}")]
        )
    twice = [(problem.line, problem.path, problem.text) for problem in document.problems]
    found: list[tuple[marked_yaml.Path, str]] = []
    try:
        settings = TopologySettings.model_validate(data)
    except ValidationError as error:
        found += config_check.explain(error, data, TopologySettings)
        raise _error(name, document, found, twice) from None
    found += checks.problems(settings)
    if found or twice:
        raise _error(name, document, found, twice)
    return TopologyFile(name, settings, document)


def _error(
    name: str,
    document: marked_yaml.Document,
    problems: Iterable[tuple[marked_yaml.Path, str]],
    more: Iterable[tuple[int, marked_yaml.Path, str]] = (),
) -> ConfigError:
    placed = {(document.line(path), path, text) for path, text in problems} | set(more)
    return ConfigError([_message(name, *one) for one in sorted(placed, key=_order)])
