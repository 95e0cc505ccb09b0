"""`peeltap agent` and `peeltap gateway`: their files, with the line of what is wrong in them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from diversion.agent import config as agent_config
from diversion.gateway.rules import Rules, checked
from diversion.gateway.settings import GatewaySettings
from pipeline import config_check, marked_yaml
from pipeline.config import _message as message
from pipeline.errors import ConfigError

Model = TypeVar("Model", bound=BaseModel)


def load_gateway(path: str | Path) -> GatewaySettings:
    """Read and check a gateway's file; names of files in it lie beside it. Raises ConfigError."""
    settings = _load(Path(path), GatewaySettings)
    one = settings.gateway1
    if one is None:
        return settings
    beside = Path(path).parent
    listen = [
        listener
        if listener.tls is None
        else listener.model_copy(
            update={
                "tls": listener.tls.model_copy(
                    update={
                        key: str(beside / getattr(listener.tls, key))
                        for key in ("certificate", "key", "ca")
                    }
                )
            }
        )
        for listener in one.listen
    ]
    update = {"rules": str(beside / one.rules), "listen": listen}
    return settings.model_copy(update={"gateway1": one.model_copy(update=update)})


def load_rules(path: Path) -> Rules:
    """Read and check a file of rules; raises ConfigError."""
    return _load(path, Rules)


def check_rules(settings: GatewaySettings, path: Path) -> Rules:
    """Read a file of rules, and check it against the gateway's file too; raises ConfigError."""
    rules = load_rules(path)
    try:
        checked(settings, rules)
    except ValueError as error:
        raise ConfigError([f"{path}: {error}"]) from None
    return rules


def load_agent(path: str | Path) -> agent_config.AgentConfig:
    """Read and check an agent's file, which may be YAML here; raises ConfigError."""
    document = _parse(Path(path))
    try:
        return agent_config.check(document.value, str(path))
    except agent_config.AgentConfigError as error:
        raise ConfigError(str(error).split("\n")) from None


def _load(path: Path, model: type[Model]) -> Model:
    document = _parse(path)
    data = {} if document.value is None else document.value
    try:
        return model.model_validate(data)
    except ValidationError as error:
        found = sorted((document.line(place), place, what) for place, what in _explain(error, data))
        lines = dict.fromkeys(message(str(path), *one) for one in found)
        raise ConfigError(list(lines)) from None


def _parse(path: Path) -> marked_yaml.Document:
    try:
        text = path.read_bytes().decode("utf-8-sig")
        document = marked_yaml.parse(text)
    except OSError as error:
        raise ConfigError([f"{path}: cannot be read: {error.strerror}"]) from None
    except UnicodeDecodeError:
        raise ConfigError([f"{path}: not UTF-8 text"]) from None
    except marked_yaml.YamlError as error:
        raise ConfigError([message(str(path), error.line, error.path, error.text)]) from None
    if document.problems:
        raise ConfigError(
            [message(str(path), one.line, one.path, one.text) for one in document.problems]
        )
    return document


def _explain(error: ValidationError, data: Any) -> Iterator[tuple[marked_yaml.Path, str]]:
    for item in error.errors(include_url=False):
        place = config_check._place(item["loc"], data)
        if item["type"] == "extra_forbidden":
            yield place, "unknown key"
        elif item["type"] == "missing":
            yield place, "missing; it is needed"
        else:
            yield place, config_check._words(item)
