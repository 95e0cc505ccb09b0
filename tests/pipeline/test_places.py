from __future__ import annotations

import pytest

from pipeline import topology_file
from pipeline.places import segments
from tests.test_layout import ROOT

TOPOLOGIES = ROOT / "fixtures" / "topologies"


def test_segments_and_virtual_addresses_have_names() -> None:
    settings = topology_file.load(TOPOLOGIES / "whole-host.yaml").settings
    named = {one.name: one.addresses for one in segments(settings)}
    for segment in settings.segments:
        assert set(segment.network) <= set(named[segment.name])
    for virtual in settings.virtual:
        assert named[virtual.on]


def test_a_range_becomes_the_prefixes_that_make_it_up() -> None:
    text = (
        "name: t\nbridges: {br0: {}}\nvirtual:\n"
        "  - {on: br0, addresses: [192.0.2.10-192.0.2.13, 192.0.2.20], to: 192.0.2.200}\n"
    )
    [one] = segments(topology_file.parse(text, "t.yaml").settings)
    assert one.addresses == ["192.0.2.10/31", "192.0.2.12/31", "192.0.2.20/32"]


@pytest.mark.parametrize("path", sorted(TOPOLOGIES.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_example_can_be_asked(path: object) -> None:
    try:
        settings = topology_file.load(path).settings  # type: ignore[arg-type]
    except Exception:
        pytest.fail(f"{path} is no topology")
    segments(settings)
