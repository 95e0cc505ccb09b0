"""The overlay, and what the installed Suricata makes of it."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import get_args

import pytest
import yaml

from suricata import config
from suricata.settings import EveType, SuricataSettings


def test_the_overlay_comes_after_the_distributions_file(tmp_path: Path) -> None:
    text = config.emit(SuricataSettings(), tmp_path)
    assert text.startswith("%YAML 1.1\n---\n")
    assert next(iter(yaml.safe_load(text))) == "include"


def test_extra_has_the_last_word(tmp_path: Path) -> None:
    settings = SuricataSettings(extra={"unix-command": {"enabled": True}, "stream.midstream": True})
    nodes = yaml.safe_load(config.emit(settings, tmp_path))
    assert nodes["unix-command"] == {"enabled": True}
    assert nodes["stream.midstream"] is True


@pytest.mark.suricata
def test_suricata_lets_the_overlay_win_and_keeps_the_rest(tmp_path: Path) -> None:
    settings = SuricataSettings(
        home_net=["192.168.110.0/24", "!192.168.110.9"],
        eve_types=list(get_args(EveType)),
        community_id_seed=7,
        rules=[tmp_path / 'a "b" #.rules'],
        extra={"app-layer.protocols.mqtt.enabled": "yes"},
    )
    path = config.write(settings, tmp_path / "log dir")
    dump = subprocess.run(
        ["suricata", "--dump-config", "-c", path], capture_output=True, text=True, check=True
    ).stdout
    nodes = dict(line.split(" = ", 1) for line in dump.splitlines() if " = " in line)
    assert nodes["vars.address-groups.HOME_NET"] == "[192.168.110.0/24,!192.168.110.9]"
    assert nodes["vars.address-groups.EXTERNAL_NET"] == "!$HOME_NET"
    assert nodes["vars.port-groups.HTTP_PORTS"] == "80"
    assert nodes["outputs.0"] == "eve-log"
    assert "outputs.1" not in nodes
    assert nodes["outputs.0.eve-log.community-id-seed"] == "7"
    assert nodes["rule-files.0"] == str(tmp_path / 'a "b" #.rules')
    assert "rule-files.1" not in nodes
    assert nodes["unix-command.enabled"] == "false"
    assert nodes["app-layer.protocols.mqtt.enabled"] == "yes"
    assert nodes["app-layer.protocols.ssh.enabled"] == "yes"
