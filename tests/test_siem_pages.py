"""docs/siem: each page's configuration is run as it stands there, but for addresses and files."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import orjson
import pytest
import redis
from pydantic import BaseModel

from pipeline import config, sinks
from pipeline.outbound import open_outbound, open_state
from suricata.event_settings import SinkSettings
from suricata.sinks import settings
from tests.support.http_bulk import Bulk
from tests.support.http_collector import Collector
from tests.support.http_siem import papers
from tests.support.kafka_mock import MockCluster
from tests.support.programs import answers, free_port, redis_server, rsyslog, until
from tests.support.sink_load import many
from tests.suricata.sinks.test_webhook import KEY, Hook

ROOT = Path(__file__).parents[1]
PAGES = {path.stem: path for path in sorted((ROOT / "docs/siem").glob("*.md"))}
SECRET = "correct-horse-battery"
COUNT = 500

Ids = Callable[[], set[str]]


def blocks(name: str, language: str) -> list[str]:
    text = PAGES[name].read_text()
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


MODELS = {
    "elastic": settings.Elasticsearch,
    "splunk": settings.Splunk,
    "syslog": settings.Syslog,
    "kafka": settings.Kafka,
    "redis": settings.Redis,
    "webhook": settings.Webhook,
    "README": settings.Tls,
}


@pytest.mark.parametrize("name", MODELS)
def test_every_key_and_its_default_is_on_its_page(name: str) -> None:
    model: type[BaseModel] = MODELS[name]
    rows = re.findall(r"^\| (`.+?) \| (.+?) \|", PAGES[name].read_text(), re.MULTILINE)
    told = {key: default for keys, default in rows for key in re.findall(r"`(\w+)`", keys)}
    shared = set() if name == "README" else set(settings.Tls.model_fields)
    if name == "kafka":
        shared = set()
    for key, field in model.model_fields.items():
        if key in shared:
            continue
        if re.fullmatch(r"`.+`", told[key]):
            default = field.default
            shown = str(default).lower() if isinstance(default, bool) else str(default)
            assert told[key] == f"`{shown}`", key
        else:
            assert (told[key] == "needed") == field.is_required(), key


@pytest.mark.parametrize("name", PAGES)
def test_links_lead_somewhere_and_json_is_json(name: str) -> None:
    page = PAGES[name]
    for target, anchor in re.findall(r"\]\(([^)#]*)(#[^)]*)?\)", page.read_text()):
        if "://" not in target:
            path = page.parent / target if target else page
            assert path.exists(), target
            if anchor:
                titles = re.findall(r"^#+ (.*)$", path.read_text(), re.MULTILINE)
                named = {re.sub(r"[^\w -]", "", one).lower().replace(" ", "-") for one in titles}
                assert anchor[1:] in named, anchor
    for text in blocks(name, "json"):
        json.loads(text)


def test_every_page_is_in_the_index() -> None:
    index = PAGES["README"].read_text()
    for name in set(PAGES) - {"README"}:
        assert f"[{name}.md]({name}.md)" in index


# One other side a page: what is to be put in the place of what, and the ids that arrived there.


@contextmanager
def elastic(place: Path) -> Iterator[tuple[dict[str, str], Ids]]:
    with Bulk(place, api_key=SECRET, index="logs-peeltap-default") as server:
        at = {"https://es-1.example:9200": server.url, "https://es-2.example:9200": server.url}
        yield at, lambda: set(server.documents)


@contextmanager
def opensearch(place: Path) -> Iterator[tuple[dict[str, str], Ids]]:
    with Bulk(place, basic=f"peeltap:{SECRET}") as server:
        yield {"https://opensearch.example:9200": server.url}, lambda: set(server.documents)


@contextmanager
def splunk(place: Path) -> Iterator[tuple[dict[str, str], Ids]]:
    with Collector(place, token=SECRET) as server:
        yield {"https://splunk.example:8088": server.url}, lambda: set(server.indexed)


@contextmanager
def webhook(place: Path) -> Iterator[tuple[dict[str, str], Ids]]:
    with Hook(place) as server:
        yield {"https://hooks.example/peeltap": server.url}, lambda: set(server.events)
    assert server.headers[-1]["Authorization"] == SECRET


@contextmanager
def wazuh(place: Path) -> Iterator[tuple[dict[str, str], Ids]]:
    file = place / "events.json"
    yield (
        {"/var/log/peeltap/events.json": str(file)},
        lambda: {orjson.loads(line)["peeltap"]["id"] for line in file.read_bytes().splitlines()},
    )


@contextmanager
def syslog(place: Path) -> Iterator[tuple[dict[str, str], Ids]]:
    port = free_port()
    [told] = [text for text in blocks("syslog", "text") if "imtcp" in text]
    # The page's own configuration of rsyslog, less what the test's has.
    inputs = told[told.index("module(") :].replace('"6514"', f'"{port}" address="127.0.0.1"')
    files = dict(re.findall(r'(defaultNetstreamDriver\w+File)="(\S+?)"', told))
    ours = {name: str(place / Path(path).name) for name, path in files.items()}

    def idents() -> set[str]:
        file = place / "received"
        text = file.read_text() if file.exists() else ""
        return set(re.findall(r'"id":"([^"]+)"\}\}\n', text))

    with rsyslog(place, inputs, lambda: answers(port), **ours):
        yield {"syslog.example:6514": f"localhost:{port}"}, idents


@contextmanager
def kafka(place: Path) -> Iterator[tuple[dict[str, str], Ids]]:
    with MockCluster() as cluster:
        brokers = "[kafka-1.example:9093, kafka-2.example:9093]"
        # Of proofs and TLS the built-in brokers know nothing.
        options = {
            line: ""
            for line in blocks("kafka", "yaml")[0].splitlines()
            if re.match(r" +(sasl|ssl|security)\.", line)
        }
        at = {brokers: f"[{', '.join(cluster.brokers)}]", **options}
        yield at, lambda: set(cluster.idents())


@contextmanager
def redis_(place: Path) -> Iterator[tuple[dict[str, str], Ids]]:
    port, pem = free_port(), str(place / "server.pem")
    tls = ("--port", "0", "--tls-port", str(port), "--tls-cert-file", pem, "--tls-key-file", pem)
    more = ("--tls-ca-cert-file", str(place / "ca.pem"), "--tls-auth-clients", "no")
    [told] = [text for text in blocks("redis", "text") if "SETUSER" in text]
    with redis_server(place, port, *tls, *more):
        admin = redis.Redis("localhost", port, ssl=True, ssl_ca_certs=str(place / "ca.pem"))
        admin.execute_command(*told.replace("PASSWORD", SECRET).split())
        yield (
            {"redis.example:6379": f"localhost:{port}"},
            lambda: {fields[b"id"].decode() for _, fields in admin.xrange("peeltap")},
        )


SIDES = {
    "elastic": elastic,
    "opensearch": opensearch,
    "splunk": splunk,
    "webhook": webhook,
    "wazuh": wazuh,
    "syslog": syslog,
    "kafka": kafka,
    "redis": redis_,
}


@pytest.mark.tool("redis-server")
@pytest.mark.tool("rsyslogd")
@pytest.mark.parametrize("name", SIDES)
def test_the_configuration_of_a_page_brings_events_there(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    papers(tmp_path)
    [text] = blocks(name, "yaml")
    # As it stands.
    [sink] = config.parse_live(text, "peeltap.yaml")[1].sinks
    with SIDES[name](tmp_path) as (places, idents):
        for old, new in places.items():
            assert old in text
            text = text.replace(old, new)
        for old, new in (("siem-ca", "ca"), ("sensor", "client")):
            text = text.replace(f"/etc/peeltap/{old}.pem", str(tmp_path / f"{new}.pem"))
        for variable in re.findall(r"env: (\w+)", text):
            monkeypatch.setenv(variable, KEY if "WEBHOOK" in variable else SECRET)
        for file in re.findall(r"file: (/etc/peeltap/[\w-]+)", text):
            (tmp_path / Path(file).name).write_text(SECRET)
            text = text.replace(file, str(tmp_path / Path(file).name))
        assert "example" not in text
        [sink] = config.parse_live(text, "peeltap.yaml")[1].sinks
        # The shapes have tests of their own; here events are told by what they are.
        sink = sink.model_copy(update={"shape": "eve", "aggregate": None})
        outcome = sinks.send(sink)
        assert outcome.acknowledged, outcome.found
        assert SECRET not in outcome.found
        assert _delivered(sink, tmp_path, lambda: idents() - {outcome.id}) == {
            one.id for one in many(COUNT)
        }


def _delivered(sink: SinkSettings, place: Path, idents: Ids) -> set[str]:
    """What arrives of many events through everything that the service has behind its relay."""
    state = open_state(place)
    outbound = open_outbound([sink], place, state, rereads=True, say=lambda *_: None)
    outbound.start()
    outbound.put(b"".join(one.line + b"\n" for one in many(COUNT)), time.monotonic())
    assert outbound.finish(time.monotonic() + 60)
    [status] = outbound.status().values()
    assert (status["lines"], status["rejected"]) == (COUNT, 0)
    outbound.close()
    until(lambda: len(idents()) >= COUNT, "the events")
    return idents()
