"""The live suricata.yaml, and what the installed Suricata makes of it."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from suricata import live_config
from suricata.settings import SuricataSettings


def nodes(tmp_path: Path, **settings: Any) -> dict[str, Any]:
    text = live_config.emit(SuricataSettings(**settings), "vtap0", tmp_path)
    found: dict[str, Any] = yaml.safe_load(text)
    return found


@pytest.mark.parametrize(("megabytes", "threads"), [(64, 1), (64, 4), (1, 1), (1, 256), (4096, 3)])
def test_rings_take_what_they_are_given(megabytes: int, threads: int) -> None:
    packets = live_config.ring_packets(megabytes, threads)
    # As Suricata 7 reckons (source-af-packet.c, AFPComputeRingParamsV3).
    blocks = packets // (live_config.BLOCK_BYTES // 1600) + 1
    taken = blocks * live_config.BLOCK_BYTES * threads
    least = 2 * live_config.BLOCK_BYTES * threads
    assert taken <= max(megabytes << 20, least)
    assert taken > (megabytes << 20) - 2 * least


def test_the_ring(tmp_path: Path) -> None:
    [ring] = nodes(tmp_path, threads=2)["af-packet"]
    assert ring["interface"] == "vtap0"
    assert ring["threads"] == 2
    assert ring["tpacket-v3"] is True
    assert ring["block-size"] == 131072
    assert ring["checksum-checks"] == "kernel"
    assert "copy-mode" not in ring, "Suricata warns of any, even of none"


@pytest.mark.parametrize(
    ("settings", "filetype", "filename"),
    [
        ({}, "regular", "eve.json"),
        ({"eve_output": "unix_stream"}, "unix_stream", "{directory}/eve.sock"),
        ({"eve_output": "unix_dgram"}, "unix_dgram", "{directory}/eve.sock"),
    ],
)
def test_where_events_go(
    tmp_path: Path, settings: dict[str, Any], filetype: str, filename: str
) -> None:
    eve = nodes(tmp_path, **settings)["outputs"][0]["eve-log"]
    assert (eve["filetype"], eve["filename"]) == (filetype, filename.format(directory=tmp_path))
    assert any("stats" in one for one in eve["types"]), "for the metrics"


def test_rules_can_be_others(tmp_path: Path) -> None:
    settings = SuricataSettings(rules=[Path("/a.rules")])
    for rules, wanted in ((None, ["/a.rules"]), ([Path("/copy")], ["/copy"])):
        text = live_config.emit(settings, "vtap0", tmp_path, rules)
        assert yaml.safe_load(text)["rule-files"] == wanted


def test_another_user(tmp_path: Path) -> None:
    assert "run-as.user" not in nodes(tmp_path)
    for text, pair in (("ids", ("ids", "ids")), ("ids:sensors", ("ids", "sensors"))):
        found = nodes(tmp_path, run_as=text)
        assert (found["run-as.user"], found["run-as.group"]) == pair


def test_extra_has_the_last_word(tmp_path: Path) -> None:
    assert nodes(tmp_path, extra={"luajit.states": 1})["luajit.states"] == 1


@pytest.mark.suricata
def test_suricata_takes_it(tmp_path: Path) -> None:
    settings = SuricataSettings(eve_threaded=True, run_as="daemon")
    path = tmp_path / "suricata.yaml"
    path.write_text(live_config.emit(settings, "vtap0", tmp_path))
    dump = subprocess.run(
        ["suricata", "--dump-config", "-c", path], capture_output=True, text=True, check=True
    ).stdout
    found = dict(line.split(" = ", 1) for line in dump.splitlines() if " = " in line)
    assert found["af-packet.0.interface"] == "vtap0"
    assert "af-packet.1" not in found
    assert found["defrag.prealloc"] == "false"
    assert found["defrag.trackers"] == "65535", "what there may be stays"
    assert found["run-as.user"] == "daemon"
    assert found["unix-command.filename"] == str(tmp_path / "command.sock")
    assert found["outputs.0.eve-log.threaded"] == "true"
    assert found["vlan.use-for-tracking"] == "true"
    assert found["stats.interval"] == "10"


def test_events_may_go_to_redis(tmp_path: Path) -> None:
    found = nodes(tmp_path, eve_redis={"server": "h", "mode": "rpush"})
    eve = found["outputs"][0]["eve-log"]
    assert eve["filetype"] == "redis"
    assert eve["redis"] == {"server": "h", "port": 6379, "key": "suricata", "mode": "rpush"}
    found = nodes(tmp_path, eve_redis={"mode": "stream"})
    assert found["outputs"][0]["eve-log"]["redis"]["stream-maxlen"] == 0, "none is forgotten"
