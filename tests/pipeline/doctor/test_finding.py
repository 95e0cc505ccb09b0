"""A finding, and the gravest of several."""

from __future__ import annotations

import pytest

from pipeline.doctor.finding import Finding, State, fail, ok, warn, worst


@pytest.mark.parametrize(
    ("states", "gravest"),
    [
        ((), "ok"),
        (("ok", "ok"), "ok"),
        (("ok", "warn", "ok"), "warn"),
        (("fail", "warn", "ok"), "fail"),
    ],
)
def test_worst(states: tuple[State, ...], gravest: State) -> None:
    assert worst([Finding("tap", state, "so") for state in states]) == gravest


def test_what_is_not_well_has_a_remedy() -> None:
    assert ok("tap", "well").remedy is None
    assert warn("tap", "so", "do").as_dict() == {
        "topic": "tap",
        "state": "warn",
        "text": "so",
        "remedy": "do",
    }
    assert fail("tap", "so", "do").state == "fail"
