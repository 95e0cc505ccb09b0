"""The configuration file: one YAML, checked in full before anything starts.

`load` gives a `Config` or raises `ConfigError`, whose text has one line for each mistake:

    FILE:LINE: key: what is wrong; what is allowed

A file in which all is right, and that says nothing of Suricata, is read in plain Python
(`reassembly.engine_config`); any other goes through the models (`pipeline.config_check`).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline import marked_yaml
from pipeline.errors import ConfigError
from reassembly import engine_config

if TYPE_CHECKING:
    from suricata.settings import SuricataSettings


class Config:
    """The whole file: `engine` as `reassembly.engine_config.read` gives it, and Suricata's part."""

    def __init__(self, engine: dict[str, Any], suricata: SuricataSettings | None = None) -> None:
        self.engine = engine
        self._suricata = suricata

    @property
    def mode(self) -> str:
        """`strip` or `restore`."""
        mode: str = self.engine["mode"]
        return mode

    @property
    def suricata(self) -> SuricataSettings:
        """How Suricata is run; its defaults where the file has no such section."""
        if self._suricata is None:
            from suricata.settings import SuricataSettings

            self._suricata = SuricataSettings()
        return self._suricata

    def beside(self, directory: Path) -> Config:
        """Take relative names of files as relative to `directory`."""
        if self._suricata is None:
            return self
        return Config(self.engine, self._suricata.beside(directory))


def load(path: str | Path) -> Config:
    """Read and check the file at `path`; raises ConfigError."""
    try:
        raw = Path(path).read_bytes()
    except OSError as error:
        raise ConfigError([f"{path}: cannot be read: {error.strerror}"]) from None
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise ConfigError([f"{path}:{line}: not UTF-8 text"]) from None
    # Files that a configuration names lie beside it, wherever peeltap was started.
    return parse(text, str(path)).beside(Path(path).parent)


def parse(text: str, name: str) -> Config:
    """Check the configuration in `text`; `name` is the file's name in messages."""
    try:
        document = marked_yaml.parse(text)
    except marked_yaml.YamlError as error:
        raise ConfigError([_message(name, error.line, error.path, error.text)]) from None
    found = [(problem.line, problem.path, problem.text) for problem in document.problems]
    data = {} if document.value is None else document.value
    if not isinstance(data, dict):
        from pipeline.config_check import kind_of

        found.append((1, (), f"must be a mapping with the key gateways, not {kind_of(data)}"))
        raise ConfigError([_message(name, *problem) for problem in found])
    engine = engine_config.read(data) if not found else None
    if engine is not None:
        return Config(engine)
    from pipeline import config_check

    checked = config_check.check(data)
    if isinstance(checked, list):
        found += [(document.line(path), path, what) for path, what in checked]
    if found or isinstance(checked, list):
        found = list(dict.fromkeys(found))
        raise ConfigError([_message(name, *problem) for problem in sorted(found, key=_order)])
    return Config(*checked)


def _order(problem: tuple[int, marked_yaml.Path, str]) -> tuple[int, str]:
    return problem[0], _dotted(problem[1])


def _message(name: str, line: int, path: marked_yaml.Path, text: str) -> str:
    return f"{name}:{line}: {_dotted(path)}: {text}" if path else f"{name}:{line}: {text}"


def _dotted(path: marked_yaml.Path) -> str:
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
    return text
