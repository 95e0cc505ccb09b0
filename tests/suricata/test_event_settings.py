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


def test_each_kind_of_sink() -> None:
    assert SinkSettings.model_validate({"file": "/a"}).file == Path("/a")
    assert SinkSettings.model_validate({"stdout": True}).stdout


BAD = [
    (EventSettings, {"file": "/a", "unix_dgram": "/b"}, "file and unix_dgram: name one source"),
    (EventSettings, {"wait_seconds": -1}, "greater than or equal to 0"),
    (EventSettings, {"start": "middle"}, "'beginning' or 'end'"),
    (EventSettings, {"flie": "/a"}, "Extra inputs"),
    (SinkSettings, {}, "name one kind for each sink"),
    (SinkSettings, {"file": "/a", "stdout": True}, "name one kind for each sink"),
]


@pytest.mark.parametrize(("model", "value", "words"), BAD)
def test_what_is_refused(
    model: type[EventSettings | SinkSettings], value: dict[str, object], words: str
) -> None:
    with pytest.raises(ValidationError, match=words):
        model.model_validate(value)
