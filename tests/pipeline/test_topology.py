"""`peeltap topology`: a file before it is applied, and the host after."""

from __future__ import annotations

import json
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from pipeline import topology
from pipeline.errors import UsageError
from pipeline.topology import Format
from tests.support.plumbing import ROOT, plumbed

EXAMPLE = ROOT / "fixtures/topologies/virtual.yaml"


@pytest.mark.parametrize("form", topology.FORMATS)
def test_every_format_of_a_file(form: Format, tmp_path: Path) -> None:
    text = topology.text(topology.of_file(str(EXAMPLE), tmp_path, compare=False), form)
    assert "pvcb00710a" in text
    if form == "json":
        assert {node["state"] for node in json.loads(text)["nodes"]} == {"there"}
    if form == "svg":
        ElementTree.fromstring(text)


@pytest.mark.netns
@pytest.mark.tool("nft")
def test_a_file_is_drawn_with_its_differences_and_the_host_as_it_became() -> None:
    with plumbed() as host:
        state = str(host.lab.directory / "state")
        run = ["env", f"--chdir={ROOT}", sys.executable, "-m", "tests.support.run_cli"]
        file = ["--topology", str(EXAMPLE), "--state", state]
        before = host.host.run([*run, "topology", *file]).decode()
        assert "├── + br0 (bridge)" in before
        assert "│   ├── ~ eth0 (interface)" in before or "│   ├── eth0 (interface)" in before
        host.host.run([*run, "setup", "up", *file])
        after = host.host.run([*run, "topology", *file]).decode()
        assert "+ " not in after
        seen = host.host.run([*run, "topology"]).decode()
        for line in ("├── br0 (bridge)", "pvcb00710a (macvlan)", "═ eth0 in vip-203.0.113.30"):
            assert line in after
            assert line in seen
        host.host.run([*run, "setup", "down", *file])


def test_a_saved_file_that_is_none_is_wrong_use(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--docker"):
        topology.of_host(docker=str(tmp_path / "none.json"))
