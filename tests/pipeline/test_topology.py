"""`peeltap topology`: a file before it is applied, and the host after."""

from __future__ import annotations

import json
import re
import shlex
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from diversion.setup import settings as topology_settings
from diversion.setup.settings import TopologySettings
from pipeline import cli, topology
from pipeline.errors import UsageError
from pipeline.topology import Format
from tests.support import draw_examples
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


@pytest.mark.parametrize("example", draw_examples.EXAMPLES, ids=lambda path: path.stem)
def test_the_documentation_has_the_picture_and_it_is_current(example: Path) -> None:
    page = (ROOT / "docs/topologies.md").read_text()
    assert f"`{example.name}`" in page
    assert f"(topologies/{example.stem}.svg)" in page
    assert draw_examples.target(example).read_text() == draw_examples.drawn(example), (
        "draw the pictures anew: python -m tests.support.draw_examples"
    )


@pytest.mark.parametrize("command", ["setup", "topology"])
def test_every_option_and_example_is_right(command: str) -> None:
    page = (ROOT / "docs/setup.md").read_text()
    section = page.partition(f"\n## peeltap {command}\n")[2].partition("\n## ")[0]
    parser = cli._parser(command)
    for action in parser._actions:
        longest = max(action.option_strings, key=len, default=None)
        if longest not in (None, "--help"):
            assert f"`{longest}`" in section, longest
    for line in re.findall(r"^  peeltap (.*)$", cli._COMMANDS[command][2], re.MULTILINE):
        parser.parse_intermixed_args(shlex.split(line)[1:])


def test_every_key_of_a_topology_file_is_in_the_documentation() -> None:
    page = (ROOT / "docs/setup.md").read_text()
    rows = dict(re.findall(r"^\| `(\w+)` \| (.+?) \|$", page, re.MULTILINE))
    for name, field in TopologySettings.model_fields.items():
        told = rows[name]
        inner = re.findall(r"(\w+Settings)", str(field.annotation))
        for model in inner:
            for key, one in getattr(topology_settings, model).model_fields.items():
                assert f"`{one.alias or key}`" in told, (name, key)
