"""The documentation says what the program does: examples run, tables leave nothing out."""

import json
import re
import shlex
import typing
from itertools import pairwise
from pathlib import Path

import orjson
import peeltap_core
import pytest
from prometheus_client import CollectorRegistry
from pydantic import BaseModel

from pipeline import cli, config, config_check
from pipeline.demo.offline import Comparison
from pipeline.demo.sides import Side
from pipeline.demo.verdict import Row, Verdict
from pipeline.metrics import StatusCollector
from pipeline.page.settings import PageSettings
from pipeline.service_settings import Capture, Control, Log, Metrics, State
from pipeline.summary import OUTCOMES, VERDICTS, Events, Summary
from pipeline.worker_metrics import of_workers
from pipeline.workers_report import WorkersReporter
from reassembly import records
from reassembly.engine_config import engine_config
from reassembly.layout import BINARY_KINDS, NUMBER_ROLES, TEXT_KINDS
from reassembly.presets import LAYOUT_PRESETS
from reassembly.rules import BUILTIN_CODECS, SSLPROXY
from reassembly.settings import Codec, EngineSettings, Gateway, Limits
from suricata.event_settings import (
    BacklogSettings,
    BatchSettings,
    EventSettings,
    FileSettings,
    RotateSettings,
    SinkSettings,
    WhenSettings,
)
from suricata.settings import EveType, SuricataSettings
from tap.settings import TapSettings
from tests.pipeline.samples import REPORT, Asked, worker

ROOT = Path(__file__).parents[1]
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")])


def page(name: str) -> str:
    return (ROOT / "docs" / name).read_text()


def examples(language: str) -> list[object]:
    """Every fenced block in `language`, named by its page and line."""
    found: list[object] = []
    for path in PAGES:
        text = path.read_text()
        for block in re.finditer(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
            line = text.count("\n", 0, block.start()) + 2
            found.append(pytest.param(block[1], id=f"{path.name}:{line}"))
    return found


def table_keys(text: str) -> set[str]:
    """The words in the first column of the page's tables."""
    rows = re.findall(r"^\| (.+?) \|", text, re.MULTILINE)
    return {word for row in rows for word in re.findall(r"`([^`]+)`", row)}


def section(text: str, title: str) -> str:
    return text.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


@pytest.mark.parametrize("text", examples("yaml"))
def test_configurations_in_the_documentation_are_right(text: str) -> None:
    settings = config.parse(text, "example.yaml")
    peeltap_core.Engine(engine_config(settings.engine))
    if "capture:" in text:
        config.parse_live(text, "example.yaml")


@pytest.mark.parametrize("text", examples("console"))
def test_commands_in_the_documentation_are_right(text: str) -> None:
    """Every `peeltap` command parses; every make target exists."""
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for line in text.splitlines():
        words = shlex.split(line.removeprefix("$ "), comments=True)
        pipes = [at for at, word in enumerate(words) if word == "|"]
        for start, end in pairwise([-1, *pipes, len(words)]):
            part = words[start + 1 : end]
            if part[:1] == ["make"]:
                assert part[1] in targets
            elif part and part[0].endswith("peeltap") and part[1] != "--help":
                cli._parser(part[1]).parse_intermixed_args(part[2:])


@pytest.mark.parametrize("text", examples("json"))
def test_json_in_the_documentation_is_json(text: str) -> None:
    json.loads(text)


@pytest.mark.parametrize("name", ["replay", "enrich", "run", "status", "sinks", "demo"])
def test_commands_in_help_are_right(name: str) -> None:
    _, _, text = cli._COMMANDS[name]
    for line in re.findall(r"^  .*\bpeeltap .*$", text, re.MULTILINE):
        part = next(part for part in line.split("|") if "peeltap" in part.split()[0])
        cli._parser(name).parse_intermixed_args(shlex.split(part)[2:])


@pytest.mark.parametrize("name", ["replay", "enrich", "demo"])
def test_every_option_is_in_the_documentation(name: str) -> None:
    text = section(page("demo.md" if name == "demo" else "replay.md"), f"peeltap {name}")
    for action in cli._parser(name)._actions:
        longest = max(action.option_strings, key=len, default=None)
        if longest not in (None, "--help"):
            assert f"{longest}" in text, longest


def test_every_key_of_the_configuration_is_in_the_documentation() -> None:
    text = page("configuration.md")
    for model, title in MODELS:
        assert table_keys(section(text, title)) >= names(model), title
    titles = set(re.findall(r"^## (\w+)$", text, re.MULTILINE))
    assert titles == names(config_check.Whole)
    assert names(EngineSettings) < titles
    assert names(SuricataSettings) <= table_keys(page("events.md"))


MODELS = (
    (Gateway, "gateways"),
    (Codec, "codecs"),
    (Limits, "limits"),
    (Capture, "capture"),
    (State, "state"),
    (Control, "control"),
    (Metrics, "metrics"),
    (Log, "log"),
)


def names(model: type[BaseModel]) -> set[str]:
    return {field.alias or name for name, field in model.model_fields.items()}


@pytest.mark.parametrize(
    ("model", "text"),
    [
        (Gateway, section(page("configuration.md"), "gateways")),
        (Limits, section(page("configuration.md"), "limits")),
        *((model, section(page("configuration.md"), title)) for model, title in MODELS[3:]),
        (SuricataSettings, page("events.md")),
    ],
    ids=["gateways", "limits", *(title for _, title in MODELS[3:]), "suricata"],
)
def test_defaults_in_the_documentation_are_the_programs(model: type[BaseModel], text: str) -> None:
    for name, field in model.model_fields.items():
        key = field.alias or name
        [told] = re.findall(rf"^\| `{key}` \| (.+?) \|", text, re.MULTILINE)
        if not told.startswith("`"):
            assert told in ("needed", "none", "the distribution's", "all that tell of an attack")
            continue
        default = field.default
        shown = str(default).lower() if isinstance(default, bool) else str(default)
        assert told == f"`{shown}`", key


def test_allowed_words_are_in_the_documentation() -> None:
    text = page("configuration.md")
    for key in ("mode", "midstream", "other", "superframes"):
        for word in typing.get_args(EngineSettings.model_fields[key].annotation):
            assert f"`{word}`" in section(text, key)
    for codec in (*BUILTIN_CODECS, SSLPROXY, *LAYOUT_PRESETS):
        assert f"`{codec}`" in page("codecs.md")
    for word in typing.get_args(EveType):
        assert f"`{word}`" in page("events.md")


def test_every_kind_of_field_is_in_the_documentation() -> None:
    text = page("codecs.md")
    binary, _, textual = text.partition("### Text")
    for kind in BINARY_KINDS:
        assert re.search(rf"\{{{kind}: |`{kind}`", binary), kind
    for kind in TEXT_KINDS:
        assert f"{{{kind}: " in textual, kind
    for role, options in NUMBER_ROLES.items():
        assert re.search(rf": {role}[,}}]", binary), role
        for option in options:
            assert f"`{option}`" in binary, option


def test_every_verdict_and_confidence_is_in_the_documentation() -> None:
    assert set(VERDICTS) == set(records.VERDICTS)
    assert table_keys(page("flow-records.md")) >= set(records.VERDICTS)
    for confidence in ("exact", "time", "late", "none"):
        assert confidence in OUTCOMES
        assert f"`{confidence}`" in page("events.md")


def test_every_oddity_is_in_the_documentation() -> None:
    engine = peeltap_core.Engine(orjson.dumps({"codecs": [], "gateways": []}))
    stats = engine.stats()
    text = section(page("replay.md"), "peeltap replay")
    counted = re.findall(r'= "(\w+)"', (ROOT / "core/src/engine/stats.rs").read_text())
    assert set(stats["events"]) <= set(counted)
    for name in counted:
        assert f"`{name}`" in text, name


def test_the_json_of_the_documentation_has_the_programs_keys() -> None:
    text = section(page("replay.md"), "peeltap replay")
    [told] = re.findall(r"^```json\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    shown = json.loads(told)
    summary = Summary([], {}, "strip", events=Events())
    assert list(shown) == list(summary.as_dict())
    assert list(shown["suricata"]) == list(Events().as_dict())
    offline = section(page("demo.md"), "Recordings")
    for key in (*Side().as_dict(), *Comparison([], "", Side(), Side(), summary).as_dict()):
        assert f"`{key}`" in offline, key
    live = section(page("demo.md"), "Its JSON")
    row = Row("", True, "", ("", 0))
    verdict = Verdict([row]).as_dict()
    for key in (*verdict, *verdict["rows"][0]):
        assert f"`{key}`" in live, key


def test_python_in_the_documentation_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = page("flow-records.md")
    [record] = re.findall(r"^```json\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    (tmp_path / "flows.jsonl").write_text(json.dumps(json.loads(record)) + "\n")
    monkeypatch.chdir(tmp_path)
    [code] = re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    exec(compile(code, "flow-records.md", "exec"), {})
    printed = capsys.readouterr().out
    assert "203.0.113.7" in printed
    assert "True time" in printed


def test_links_lead_somewhere() -> None:
    for path in PAGES:
        for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", path.read_text()):
            if "://" not in target:
                assert (path.parent / target).exists(), f"{path.name}: {target}"


def test_every_option_of_the_service_is_in_the_documentation() -> None:
    text = page("run.md")
    for name, part in (("run", text), ("status", section(text, "peeltap status"))):
        for action in cli._parser(name)._actions:
            longest = max(action.option_strings, key=len, default=None)
            if longest != "--help":
                assert f"| `{longest}` |" in part, longest


def test_what_the_service_tells_is_in_the_documentation() -> None:
    text = page("run.md")
    for key in REPORT:
        assert f"`{key}`" in text, key
    registry = CollectorRegistry(auto_describe=False)
    registry.register(StatusCollector(lambda: REPORT))
    told = re.findall(r"`(peeltap_[a-z_]+?)(?:_total)?(\*)?`", section(text, "Metrics"))
    for family in registry.collect():
        assert (family.name, "") in told or any(
            rest and family.name.startswith(name) for name, rest in told
        ), family.name


def test_what_workers_tell_is_in_the_documentation() -> None:
    text = section(page("scale.md"), "Watching it")
    told = WorkersReporter(config="w.yaml", partitions=16, workers=[Asked(worker(1))]).report()
    for key in told.keys() - {"service", "rates"}:
        assert f"| `{key}` |" in text, key
    documented = f"{text}{section(page('run.md'), 'Metrics')}"
    names = re.findall(r"`(peeltap_[a-z_]+?)(?:_total)?(\*)?`", documented)
    for family in of_workers(told):
        assert (family.name, "") in names or any(
            rest and family.name.startswith(name) for name, rest in names
        ), family.name


def test_every_key_of_a_sink_is_in_the_documentation() -> None:
    text = section(page("events.md"), "Sinks")
    told = table_keys(text)
    for model in (SinkSettings, WhenSettings, FileSettings):
        assert names(model) <= told, model
    for model in (BatchSettings, BacklogSettings, RotateSettings):
        for name, field in model.model_fields.items():
            assert f"`{name}`" in text, name
            if field.default is not None and name != "full":
                shown = str(field.default).lower()
                assert f"`{name}` (`{shown}`)" in text, name
    assert names(EventSettings) <= table_keys(page("events.md"))
    for action in cli._parser("sinks")._actions:
        longest = max(action.option_strings, key=len, default=None)
        if longest not in (None, "--help"):
            assert f"{longest}" in text, longest


def test_every_option_and_topic_of_the_doctor_is_in_the_documentation() -> None:
    text = page("doctor.md")
    for action in cli._parser("doctor")._actions:
        longest = max(action.option_strings, key=len, default=None)
        if longest != "--help":
            assert f"`{longest}`" in text, longest
    sources = "".join(path.read_text() for path in (ROOT / "pipeline/doctor").glob("*.py"))
    topics = set(re.findall(r'topic(?:, [a-z_, ]+)? = "(\w+)"', sources))
    assert topics >= {"tap", "canary", "clock", "directories", "rules"}
    for topic in topics | {"service", "store", "checkpoint"}:
        assert f"`{topic}`" in text, topic


def test_every_key_of_the_page_is_in_the_documentation() -> None:
    text = section(page("page.md"), "The page")
    for name, field in PageSettings.model_fields.items():
        [told] = re.findall(rf"^\| `{name}` \| (.+?) \|", text, re.MULTILINE)
        if field.is_required() or not field.default:
            assert told == (
                "needed" if field.is_required() else "none" if name == "names" else "`false`"
            )
        else:
            assert told == f"`{field.default}`", name


def test_every_key_of_the_tap_is_in_the_documentation() -> None:
    text = page("tap.md")
    for name, field in TapSettings.model_fields.items():
        [told] = re.findall(rf"^\| `{name}` \| (.+?) \|", text, re.MULTILINE)
        default = field.default
        shown = str(default).lower() if isinstance(default, bool) else str(default)
        assert told == ("none" if default is None else f"`{shown}`"), name
