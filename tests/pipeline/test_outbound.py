"""From a configuration to its sinks."""

from __future__ import annotations

from pathlib import Path

from pipeline.outbound import open_outbound, open_state, shape_of
from suricata.event_settings import SinkSettings
from suricata.sources import position
from suricata.sources.position import Position, Print


def test_sinks_are_those_that_are_named(tmp_path: Path) -> None:
    sinks = [
        SinkSettings.model_validate({"file": str(tmp_path / "a.json")}),
        SinkSettings.model_validate({"stdout": True, "name": "pipe"}),
    ]
    state = open_state(tmp_path)
    out = open_outbound(sinks, tmp_path, state, rereads=True, say=lambda *_: None)
    assert list(out.status()) == [str(tmp_path / "a.json"), "pipe"]
    out.close()


def test_places_of_an_earlier_release_are_found(tmp_path: Path) -> None:
    places = {"eve.json": [Position(7, 9, Print.of(b"a\n"), Print.of(b"a\n"), 1)]}
    position.save(tmp_path / "events-position.json", places)
    state = open_state(tmp_path)
    assert state.load() == (places, None)
    state.close()


def test_events_own_form_needs_no_shape() -> None:
    assert shape_of(SinkSettings(stdout=True)) is None
