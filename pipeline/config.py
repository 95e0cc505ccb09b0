"""The configuration file: one YAML, checked in full before anything starts.

`load` gives a `Config` or raises `ConfigError`, whose text has one line for each mistake:

    FILE:LINE: key: what is wrong; what is allowed

A file in which all is right, and that says nothing of Suricata, is read in plain Python
(`reassembly.engine_config`); any other goes through the models (`pipeline.config_check`).

`load` is for work on files, which has no use for the sections of the live service and does not look
at them; `load_live` checks and gives the whole.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline import marked_yaml
from pipeline.errors import ConfigError
from reassembly import engine_config

if TYPE_CHECKING:
    from pipeline.config_check import Whole
    from suricata.settings import SuricataSettings

LIVE_SECTIONS = (
    "capture",
    "flows",
    "tap",
    "workers",
    "events",
    "sinks",
    "enrichment",
    "sessions",
    "state",
    "control",
    "metrics",
    "page",
    "log",
    "run_as",
)
"""Keys that only the live service reads."""


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
    """Read and check the file at `path` for work on captures; raises ConfigError."""
    # Files that a configuration names lie beside it, wherever peeltap was started.
    return parse(_text(path), str(path)).beside(Path(path).parent)


def load_live(path: str | Path) -> tuple[Config, Whole]:
    """Read and check the file at `path`, all of it, for the live service; raises ConfigError."""
    from pipeline.config_check import beside

    config, whole = parse_live(_text(path), str(path))
    directory = Path(path).parent
    return config.beside(directory), beside(whole, directory)


def load_worker(path: str | Path) -> tuple[Config, Whole]:
    """As `load_live`, for a worker that captures nothing: legs and interface may be absent."""
    from pipeline.config_check import beside

    config, whole = parse_live(_text(path), str(path), captures=False)
    directory = Path(path).parent
    return config.beside(directory), beside(whole, directory)


def is_of_workers(path: str | Path) -> bool:
    """Whether the file at `path` is for workers alone: it captures nothing, and finds flow records
    in Redis. Raises ConfigError."""
    _, data, _ = _compose(_text(path), str(path))
    return data.get("capture") is None and data.get("flows") is not None


def _text(path: str | Path) -> str:
    try:
        raw = Path(path).read_bytes()
    except OSError as error:
        raise ConfigError([f"{path}: cannot be read: {error.strerror}"]) from None
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise ConfigError([f"{path}:{line}: not UTF-8 text"]) from None


def parse(text: str, name: str) -> Config:
    """Check the configuration in `text`; `name` is the file's name in messages."""
    document, data, found = _compose(text, name)
    data = {key: value for key, value in data.items() if key not in LIVE_SECTIONS}
    engine = engine_config.read(data) if not found else None
    if engine is not None:
        return Config(engine)
    from pipeline import config_check

    whole = _checked(config_check.check(data), document, name, found)
    return Config(whole.engine(), whole.suricata)


def parse_live(text: str, name: str, *, captures: bool = True) -> tuple[Config, Whole]:
    """As `parse`, with every section; without `captures`, what a worker elsewhere needs."""
    from pipeline import config_check

    document, data, found = _compose(text, name)
    check = config_check.check_worker
    checked = config_check.check(data, live=True) if captures else check(data)
    whole = _checked(checked, document, name, found)
    return Config(whole.engine(), whole.suricata), whole


_Found = list[tuple[int, marked_yaml.Path, str]]


def _compose(text: str, name: str) -> tuple[marked_yaml.Document, dict[str, Any], _Found]:
    """Read the YAML; what is wrong with single keys is found, what is no mapping is raised."""
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
    return document, data, found


def _checked(
    checked: Whole | list[tuple[marked_yaml.Path, str]],
    document: marked_yaml.Document,
    name: str,
    found: _Found,
) -> Whole:
    if isinstance(checked, list):
        found = found + [(document.line(path), path, what) for path, what in checked]
    if found or isinstance(checked, list):
        found = list(dict.fromkeys(found))
        raise ConfigError([_message(name, *problem) for problem in sorted(found, key=_order)])
    return checked


def _order(problem: tuple[int, marked_yaml.Path, str]) -> tuple[int, str]:
    return problem[0], _dotted(problem[1])


def _message(name: str, line: int, path: marked_yaml.Path, text: str) -> str:
    return f"{name}:{line}: {_dotted(path)}: {text}" if path else f"{name}:{line}: {text}"


def _dotted(path: marked_yaml.Path) -> str:
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
    return text
