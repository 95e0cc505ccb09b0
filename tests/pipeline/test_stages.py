"""The stage between correction and sinks, as a configuration wants it."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.config import parse_live
from pipeline.config_check import Whole
from pipeline.stages import FAILURES, open_enrichment, placed

ROOT = Path(__file__).parents[2]
MINIMAL = """
gateways: [{from: 172.16.23.1, to: 172.16.23.2:9000, headers: [proxy-v2]}]
capture: {interface: br1}
"""


def whole(text: str = "") -> Whole:
    return parse_live(MINIMAL + text, "p.yaml")[1]


def say(level: int, text: str) -> None:
    raise AssertionError(text)


def test_without_a_wish_there_is_none() -> None:
    assert open_enrichment(whole(), say) is None
    assert placed(whole()) == []


def test_segments_of_a_topology_are_known(tmp_path: Path) -> None:
    network = ROOT / "fixtures" / "topologies" / "segments.yaml"
    wanted = whole(f"state: {{directory: {tmp_path}}}\nenrichment: {{topology: {network}}}\n")
    assert {one.name for one in placed(wanted)} == {"office", "plant"}
    stage = open_enrichment(wanted, say)
    assert stage is not None
    stage.close()


def test_what_cannot_be_used_is_one_of_the_failures(tmp_path: Path) -> None:
    absent = whole(f"enrichment: {{geoip: {{city: {tmp_path / 'no.mmdb'}}}}}\n")
    with pytest.raises(FAILURES, match=r"no\.mmdb"):
        open_enrichment(absent, say)
