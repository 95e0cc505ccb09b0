"""What is wrong with a configuration, in words: the models, and pydantic's findings made ours.

The models live with the packages that use them (`reassembly.settings`, `suricata.settings`); this
module puts them together. Imported only for a file that is not plainly right.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Iterator
from pathlib import Path as FilePath
from typing import Any, TypeVar

from pydantic import BaseModel, Field, ValidationError

from pipeline.flow_settings import FlowsSettings
from pipeline.marked_yaml import Path
from pipeline.page.settings import PageSettings
from pipeline.service_settings import ServiceSections
from reassembly.rules import hint, problems
from reassembly.settings import EngineSettings
from suricata.enrichment.settings import EnrichmentSettings, SessionSettings
from suricata.event_settings import EventSettings, FileSettings, SinkSettings
from suricata.settings import SuricataSettings
from tap.settings import TapSettings

_REMEDIES = {
    "gateways": "name the legs that carry headers: gateways: "
    "[{from: 172.16.23.1, to: 172.16.23.2:9000, headers: [proxy-v2]}]",
    "capture": "name the interface that carries the proxied legs: capture: {interface: br1}",
}


class Whole(ServiceSections, EngineSettings):
    """The whole file."""

    tap: TapSettings = Field(
        default_factory=TapSettings, description="where the regenerated packets go"
    )
    suricata: SuricataSettings = Field(
        default_factory=SuricataSettings, description="how Suricata is run"
    )
    events: EventSettings = Field(
        default_factory=EventSettings, description="where Suricata's events come from"
    )
    sinks: list[SinkSettings] = Field(
        default=[SinkSettings(file=FileSettings(path=FilePath("/var/log/peeltap/events.json")))],
        min_length=1,
        description="where the corrected events go",
    )
    enrichment: EnrichmentSettings = Field(
        default_factory=EnrichmentSettings, description="what is added to events"
    )
    sessions: SessionSettings | None = Field(
        default=None, description="how connections of one attacker become one story"
    )
    page: PageSettings | None = Field(default=None, description="the page to look at")
    flows: FlowsSettings | None = Field(
        default=None, description="where flow records are kept for workers on other machines"
    )

    def engine(self) -> dict[str, Any]:
        """Give the engine's part as `engine_config.read` does."""
        return self.model_dump(by_alias=True, include=set(EngineSettings.model_fields))


def check(data: dict[str, Any], *, live: bool = False) -> Whole | list[tuple[Path, str]]:
    """Give the whole file, or its mistakes; `live`: what the live service cannot do without."""
    absent: list[tuple[Path, str]] = []
    if live and data.get("capture") is None:
        absent.append((("capture",), f"missing; {_REMEDIES['capture']}"))
    try:
        whole = Whole.model_validate(data)
    except ValidationError as error:
        return absent + list(_explain(error, data))
    return absent or (list(_together(whole)) if live else []) or whole


_LEG = {"from": "192.0.2.1", "to": "192.0.2.2", "headers": ["proxy-v2"]}


def check_worker(data: dict[str, Any]) -> Whole | list[tuple[Path, str]]:
    """As `check`, for `peeltap enrich --workers`, which captures nothing."""
    # A file of workers alone has no legs; one that is a sensor's, too, has.
    whole = check({"gateways": [_LEG], **data})
    if isinstance(whole, list):
        return whole
    found = [*_one_name_each(whole), *_of_workers(whole)]
    return found or whole


def _of_workers(whole: Whole) -> Iterator[tuple[Path, str]]:
    """What a worker cannot do without, and what it cannot do."""
    if whole.events.redis is None:
        yield ("events",), "workers read from Redis; name it: events: {redis: {url: ...}}"
    if whole.flows is None:
        yield ("flows",), "workers find flow records in Redis; name it: flows: {redis: {url: ...}}"
    parts = 1 if whole.events.redis is None else whole.events.redis.partitions
    if whole.sessions is not None and parts > 1:
        yield (
            ("sessions",),
            "an attacker's connections go to several workers, and none has the whole story; set"
            " events: {redis: {partitions: 1}}, or take this out",
        )
    for number, sink in enumerate(whole.sinks):
        if sink.backlog.full == "drop-oldest":
            yield (
                ("sinks", number, "backlog"),
                "what waits for a worker's sink waits in Redis, for any worker, and nothing of it"
                " is dropped; take full: drop-oldest out",
            )
        if sink.stdout:
            yield ("sinks", number), "workers share standard output; name a file, or another sink"


def _together(whole: Whole) -> Iterator[tuple[Path, str]]:
    """What only shows when the packages' sections are seen together."""
    if whole.suricata.run_as is not None:
        yield (
            ("suricata", "run_as"),
            "live, Suricata runs as the service does, which has given up changing users; set the"
            " key run_as of the whole file instead",
        )
    if whole.suricata.keep_running and whole.tap.interface is None and not whole.tap.persistent:
        yield (
            ("suricata", "keep_running"),
            "Suricata cannot go on without its tap; set tap: {persistent: true}, or take this out",
        )
    yield from _events_to_redis(whole)
    yield from _one_name_each(whole)
    if whole.capture is not None and whole.capture.interface == whole.tap.device:
        yield (
            ("tap",),
            f"{whole.tap.device} is the interface that is captured; packets written to it would be"
            " captured again; name another one",
        )


def _one_name_each(whole: Whole) -> Iterator[tuple[Path, str]]:
    labels = [sink.label for sink in whole.sinks]
    for number, label in enumerate(labels):
        if label in labels[:number]:
            yield (
                ("sinks", number),
                f"{label} is the name of another sink, too; give each a name: of its own",
            )


def _events_to_redis(whole: Whole) -> Iterator[tuple[Path, str]]:
    """A sensor's Suricata writes where workers read, and nobody else's events are forgotten."""
    written, read = whole.suricata.eve_redis, whole.events.redis
    if written is not None and read is None:
        yield (
            ("suricata", "eve_redis"),
            "events that go to Redis are read there; name it: events: {redis: {url: ...}}",
        )
    if written is None and read is not None and whole.suricata.external is None:
        yield (
            ("events", "redis"),
            "the Suricata that Peeltap runs writes to a file; set suricata: {eve_redis: {server:"
            " ...}}, or suricata: external for your own",
        )
    if written is not None and read is not None and written.key != read.inbox:
        yield (
            ("events", "redis", "inbox"),
            f"{read.inbox!r} is not the key that Suricata writes to: {written.key!r}",
        )


_M = TypeVar("_M", bound=BaseModel)


def beside(model: _M, directory: FilePath) -> _M:
    """Take every relative path in `model` as relative to `directory`."""

    def moved(value: Any) -> Any:
        match value:
            case FilePath():
                return directory / value
            case BaseModel():
                return beside(value, directory)
            case list():
                return [moved(one) for one in value]
            case dict():
                return {name: moved(one) for name, one in value.items()}
            case _:
                return value

    return model.model_copy(update={name: moved(value) for name, value in model})


def explain(
    error: ValidationError, data: dict[str, Any], root: type[BaseModel]
) -> Iterator[tuple[Path, str]]:
    """Give each of pydantic's findings on a file whose model is `root` a place and our words."""
    for item in error.errors(include_url=False):
        location = tuple(step for step in item["loc"] if step != "[key]")
        yield _place(location, data), _words(item, root)


def _explain(error: ValidationError, data: dict[str, Any]) -> Iterator[tuple[Path, str]]:
    """Give each of pydantic's findings a place and our words; then what only shows in the whole."""
    whole = False
    for item in error.errors(include_url=False):
        whole = whole or item["type"] == "setting"
        yield _place(item["loc"], data), _words(item)
    if not whole:
        # The model's own check of the whole runs only when every part is right.
        yield from problems(data)


def _place(location: tuple[int | str, ...], data: Any) -> Path:
    """Keep the steps that are in the file (pydantic adds names of union members), and the last."""
    path: list[int | str] = []
    for at, step in enumerate(location):
        inside = (isinstance(data, dict) and step in data) or (
            isinstance(data, list) and isinstance(step, int) and step < len(data)
        )
        if inside:
            data = data[step]
        elif at < len(location) - 1 or not isinstance(data, dict):
            continue
        path.append(step)
    return tuple(path)


def _words(item: Any, root: type[BaseModel] = Whole) -> str:
    """Say one pydantic error as: what is wrong; what is allowed."""
    kind, value, context = item["type"], item["input"], item.get("ctx", {})
    location = item["loc"]
    match kind:
        case "extra_forbidden":
            return _unknown_key(location, root)
        case "missing":
            return f"missing; {_REMEDIES.get(str(location[-1])) or _description(location, root)}"
        case "setting":
            return str(context["text"])
        case "value_error":
            return str(context["error"])
        case "literal_error" | "enum":
            allowed = context["expected"].replace("'", "").replace(" or ", ", ")
            return f"{_shown(value)} is not allowed; allowed: {allowed}"
        case "greater_than_equal":
            return f"{_shown(value)} is too small; at least {context['ge']}"
        case "greater_than":
            return f"{_shown(value)} is too small; more than {context['gt']:g}"
        case "less_than_equal":
            return f"{_shown(value)} is too large; at most {context['le']:g}"
        case "too_short":
            return f"is empty; at least {context['min_length']} needed"
        case "string_too_short":
            return "is empty"
        case "string_type":
            quote = f'; put it in quotes: "{value}"' if isinstance(value, int | float) else ""
            return f"must be text, not {kind_of(value)}{quote}"
        case "path_type":
            return f"must be the name of a file, not {_shown(value)}"
        case "int_type" | "int_parsing" | "int_from_float":
            return f"must be a whole number, not {_shown(value)}"
        case "float_type" | "float_parsing":
            return f"must be a number, not {_shown(value)}"
        case "bool_type" | "bool_parsing":
            return f"must be true or false, not {_shown(value)}"
        case "list_type" | "tuple_type":
            return f"must be a list, not {kind_of(value)}"
        case "dict_type" | "model_type" | "model_attributes_type":
            return f"must be a mapping of keys to values, not {kind_of(value)}"
        case "finite_number":
            return f"must be a finite number, not {_shown(value)}"
        case _:
            return str(item["msg"])


def _unknown_key(location: tuple[int | str, ...], root: type[BaseModel]) -> str:
    key = str(location[-1])
    model = _model_at(location[:-1], root)
    allowed = [field.alias or name for name, field in model.model_fields.items()] if model else []
    return f"unknown key{hint(key, allowed)}"


def _description(location: tuple[int | str, ...], root: type[BaseModel]) -> str:
    model = _model_at(location[:-1], root)
    for name, field in model.model_fields.items() if model else ():
        if location[-1] in (name, field.alias):
            return str(field.description)
    return "it is needed"


def _model_at(location: tuple[int | str, ...], root: type[BaseModel]) -> type[BaseModel] | None:
    """Follow a location from the file's model to the one that holds it."""
    kind: Any = root
    for step in location:
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            fields = {field.alias or name: field for name, field in kind.model_fields.items()}
            if step not in fields:
                return None
            kind = fields[str(step)].annotation
        else:
            arguments = typing.get_args(kind)
            kind = arguments[-1] if arguments else None
        kind = _without_none(kind)
    return kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None


def _without_none(kind: Any) -> Any:
    """Take `None` off a union of one type and None."""
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        members = [one for one in typing.get_args(kind) if one is not types.NoneType]
        return members[0] if len(members) == 1 else kind
    return kind


def kind_of(value: object) -> str:
    """Name the kind of a value, as it looks in the file."""
    match value:
        case None:
            return "empty"
        case bool():
            return str(value).lower()
        case int() | float():
            return f"the number {value}"
        case str():
            return "text"
        case list():
            return "a list"
        case _:
            return "a mapping"


def _shown(value: object) -> str:
    """Show a value as a person wrote it, cut where it is long."""
    if isinstance(value, str):
        return repr(value if len(value) <= 60 else value[:57] + "...")
    if isinstance(value, bool | None) or not isinstance(value, int | float):
        return kind_of(value)
    return str(value)
