"""`events:` and `sinks:`: what may stand there."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from suricata.event_settings import EventSettings, SinkSettings


def test_nothing_given_is_our_own_suricata_from_its_beginning() -> None:
    settings = EventSettings()
    assert (settings.file, settings.unix_stream, settings.unix_dgram) == (None, None, None)
    assert settings.start == "beginning"
    assert not settings.forward_stats


def sink(value: object) -> SinkSettings:
    return SinkSettings.model_validate(value)


def test_each_kind_of_sink_and_what_it_is_called() -> None:
    short, whole = sink({"file": "/a"}), sink({"file": {"path": "/a", "rotate": {"mb": 1}}})
    assert short.file is not None
    assert short.file.path == Path("/a")
    assert (short.kind, short.label, whole.label) == ("file", "/a", "/a")
    assert (sink({"stdout": True}).kind, sink({"stdout": True}).label) == ("stdout", "stdout")
    assert sink({"stdout": True, "name": "pipe"}).label == "pipe"


def test_what_is_not_said_is_everything_at_once_in_its_own_form() -> None:
    plain = sink({"file": "/a"})
    assert (plain.shape, plain.when, plain.sample, plain.aggregate) == ("eve", None, {}, None)
    assert plain.backlog.full == "block"
    [rule] = sink({"stdout": True, "when": [{"signatures": [2001, "ET *"]}]}).when or ()
    assert rule.signatures == [2001, "ET *"]


BAD = [
    (EventSettings, {"file": "/a", "unix_dgram": "/b"}, "file and unix_dgram: name one source"),
    (EventSettings, {"wait_seconds": -1}, "greater than or equal to 0"),
    (EventSettings, {"start": "middle"}, "'beginning' or 'end'"),
    (EventSettings, {"flie": "/a"}, "Extra inputs"),
    (SinkSettings, {}, "name one kind for each sink"),
    (SinkSettings, {"file": "/a", "stdout": True}, "name one kind for each sink"),
    (SinkSettings, {"stdout": False}, "name one kind for each sink: file, stdout"),
    (SinkSettings, {"file": {"path": "/a", "rotate": {}}}, "says not when to rotate"),
    (SinkSettings, {"stdout": True, "name": "a b"}, "'a b' is no name of a sink"),
    (SinkSettings, {"stdout": True, "sample": {"flow": 0}}, "greater than or equal to 1"),
    (SinkSettings, {"stdout": True, "shape": "leef"}, "'eve', 'ecs', 'ocsf' or 'cim'"),
    (SinkSettings, {"stdout": True, "when": []}, "at least 1 item"),
    (SinkSettings, {"stdout": True, "backlog": {"full": "drop"}}, "'block' or 'drop-oldest'"),
]


@pytest.mark.parametrize(("model", "value", "words"), BAD)
def test_what_is_refused(
    model: type[EventSettings | SinkSettings], value: dict[str, object], words: str
) -> None:
    with pytest.raises(ValidationError, match=words):
        model.model_validate(value)
