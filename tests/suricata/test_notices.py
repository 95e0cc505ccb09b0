"""Sentences that come again are counted, not said."""

from __future__ import annotations

import logging

from suricata.notices import Notices


def test_a_kind_is_said_once_in_a_while() -> None:
    said: list[tuple[int, str]] = []
    moments = iter([0.0, 1.0, 2.0, 2.0, 61.0])
    notices = Notices(
        lambda *what: said.append(what), again_seconds=60, clock=lambda: next(moments)
    )
    for _ in range(3):
        notices.say("a", "full")
    notices.say("b", "gone", logging.ERROR)
    notices.say("a", "full")
    assert said == [
        (logging.WARNING, "full"),
        (logging.ERROR, "gone"),
        (logging.WARNING, "full (2 more of these not said)"),
    ]


def test_an_end_is_told_of_what_was_said() -> None:
    said: list[tuple[int, str]] = []
    notices = Notices(lambda *what: said.append(what))
    notices.ended("a", "well")
    notices.say("a", "full")
    notices.ended("a", "well")
    notices.ended("a", "well")
    assert said == [(logging.WARNING, "full"), (logging.INFO, "well")]
