"""The service's own sections: defaults, and what is refused; messages are in test_config."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from pipeline.service_settings import (
    Address,
    Capture,
    Control,
    Log,
    Metrics,
    ServiceSections,
    State,
)


def test_everything_but_the_interface_has_a_default() -> None:
    whole = ServiceSections.model_validate({"capture": {"interface": "br1"}})
    assert whole.capture == Capture(interface="br1", ring_mb=64, block_timeout_ms=20)
    assert whole.state.directory == Path("/var/lib/peeltap")
    assert whole.control.socket == Path("/run/peeltap/control.sock")
    assert (whole.workers, whole.metrics, whole.log.format, whole.run_as) == (1, None, "json", None)


REFUSED: dict[str, dict[str, Any]] = {
    "an interface's name that is too long": {"capture": {"interface": "a" * 16}},
    "an interface with a slash": {"capture": {"interface": "a/b"}},
    "an interface with a space": {"capture": {"interface": "a b"}},
    "no interface": {"capture": {"interface": ""}},
    "no ring": {"capture": {"interface": "br1", "ring_mb": 0}},
    "a ring as text": {"capture": {"interface": "br1", "ring_mb": "64"}},
    "an empty filter": {"capture": {"interface": "br1", "filter": ""}},
    "a key nobody knows": {"capture": {"interface": "br1", "ring": 1}},
    "no workers": {"workers": 0},
    "a half worker": {"workers": 1.5},
    "metrics for everybody": {"metrics": {"listen": "0.0.0.0:9469"}},
    "metrics without a place": {"metrics": {}},
    "metrics of workers for everybody": {
        "metrics": {"listen": "127.0.0.1:9469", "workers": "0.0.0.0:9470"}
    },
    "a level that is none": {"log": {"level": "loud"}},
    "checkpoints without a pause": {"state": {"checkpoint_seconds": 0}},
    "a directory that is a number": {"state": {"directory": 5}},
    "an empty group": {"control": {"group": ""}},
    "a user with a slash": {"run_as": "a/b"},
}


@pytest.mark.parametrize("data", REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_is_refused(data: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        ServiceSections.model_validate(data)


OWN: list[tuple[dict[str, Any], str, str | None]] = [
    ({}, "/var/lib/peeltap/workers.sock", None),
    ({"state": {"directory": "/s"}}, "/s/workers.sock", None),
    ({"control": {"workers": "/run/w.sock"}}, "/run/w.sock", None),
    ({"metrics": {"listen": "127.0.0.1:1"}}, "/var/lib/peeltap/workers.sock", "127.0.0.1:1"),
    (
        # A sensor has that address.
        {"metrics": {"listen": "127.0.0.1:1"}, "capture": {"interface": "br1"}},
        "/var/lib/peeltap/workers.sock",
        None,
    ),
    (
        {
            "metrics": {"listen": "127.0.0.1:1", "workers": "[::1]:2"},
            "capture": {"interface": "br1"},
        },
        "/var/lib/peeltap/workers.sock",
        "[::1]:2",
    ),
]


@pytest.mark.parametrize(("data", "control", "listen"), OWN)
def test_workers_are_asked_elsewhere(
    data: dict[str, Any], control: str, listen: str | None
) -> None:
    whole = ServiceSections.model_validate(data)
    assert (whole.workers_socket, whole.workers_metrics) == (Path(control), listen)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:9469", ("127.0.0.1", 9469)),
        ("[::1]:1", ("::1", 1)),
        ("127.0.0.2:65535", ("127.0.0.2", 65535)),
    ],
)
def test_an_address_is_read(text: str, address: tuple[str, int]) -> None:
    assert Address.parse(text) == address
    assert Metrics(listen=text).listen == text


@pytest.mark.parametrize(
    "text",
    ["", ":", "9469", "localhost:9469", "127.0.0.1", "::1:80", "[127.0.0.1]:80", "127.0.0.1:0"],
)
def test_what_is_no_address_is_said(text: str) -> None:
    with pytest.raises(ValueError, match=r"write 127\.0\.0\.1:9469"):
        Address.parse(text)


def test_nothing_changes_afterwards() -> None:
    for model in (State(), Control(), Log()):
        with pytest.raises(ValidationError):
            model.directory = Path("/")  # type: ignore[union-attr, misc]
