"""Which parts a configuration asks for; tests/netns runs them."""

from pathlib import Path
from typing import Any

import orjson
import pytest
import structlog

from pipeline import parts
from pipeline.config import Config, parse_live
from pipeline.config_check import Whole
from suricata.external import External
from suricata.sources.file import FileSource
from suricata.sources.position import StateFile
from suricata.sources.sockets import UnixDgramSource, UnixStreamSource
from suricata.supervisor import Supervisor

LIVE = (
    "gateways: [{from: 172.16.23.1, to: 172.16.23.2, headers: [proxy-v2]}]\n"
    "capture: {interface: br1}\n"
)
LOG: Any = structlog.get_logger()


def parsed(text: str) -> tuple[Config, Whole]:
    return parse_live(LIVE + text, "p.yaml")


def test_directories_are_those_of_all_files() -> None:
    _, whole = parsed(
        "state: {directory: /s}\ncontrol: {socket: /r/c.sock}\n"
        "sinks: [{file: /l/a.json}, {file: /l/b.json}, {stdout: true}]\n"
    )
    assert parts.directories(whole) == [Path("/s"), Path("/r"), Path("/l")]


@pytest.mark.parametrize(
    ("text", "superframes"),
    [
        ("", "keep"),
        ("superframes: segment\n", "segment"),
        ("superframes: segment\ntap: {superframes: keep}\n", "keep"),
    ],
)
def test_the_engine_announces_connections(text: str, superframes: str) -> None:
    json = orjson.loads(parts.engine_json(*parsed(text)))
    assert (json["announce"], json["superframes"]) == (True, superframes)


# The configuration, and where its events come from.
SOURCES = {
    "our own Suricata's file": ("", FileSource, "/s/suricata/eve.json"),
    "our own Suricata's stream socket": (
        "suricata: {eve_output: unix_stream}\n",
        UnixStreamSource,
        "/s/suricata/",
    ),
    "our own Suricata's datagram socket": (
        "suricata: {eve_output: unix_dgram}\n",
        UnixDgramSource,
        "/s/suricata/",
    ),
    "another's file": (
        "suricata: {external: {eve: /e/eve.json}}\n",
        FileSource,
        "/e/eve.json",
    ),
    "another's file, named for events": (
        "suricata: external\nevents: {file: /e/eve.json}\n",
        FileSource,
        "/e/eve.json",
    ),
    "another's stream socket": (
        "suricata: external\nevents: {unix_stream: /e/eve.sock}\n",
        UnixStreamSource,
        "/e/eve.sock",
    ),
    "another's datagram socket": (
        "suricata: external\nevents: {unix_dgram: /e/eve.sock}\n",
        UnixDgramSource,
        "/e/eve.sock",
    ),
}


@pytest.mark.parametrize(("text", "kind", "name"), SOURCES.values(), ids=SOURCES)
def test_events_come_from_where_they_are_told(text: str, kind: type, name: str) -> None:
    config, whole = parsed("state: {directory: /s}\n" + text)
    suricata = parts._suricata(config, whole, LOG)
    assert isinstance(suricata, External if "external" in text else Supervisor)
    source = parts._source(config, whole, suricata, StateFile(Path("/s/absent")), LOG)
    assert isinstance(source, kind)
    assert source.name.startswith(name)
