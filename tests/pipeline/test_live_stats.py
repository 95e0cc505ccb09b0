"""Workers' counters added up, and counters made rates."""

import threading
from typing import Any

import pytest

from fixtures.netns import wait_until
from pipeline.live_stats import Rates, Remembered, combine


def test_numbers_add_up_level_by_level() -> None:
    one = {"packets": {"in": 2, "held": 1}, "merged": {}, "state": "up", "on": True, "none": None}
    two = {"packets": {"in": 3}, "merged": {"header": 4}, "state": "down", "on": True, "none": 7}
    assert combine([one, two]) == {
        "packets": {"in": 5, "held": 1},
        "merged": {"header": 4},
        "state": "up",
        "on": True,
        "none": 7,
    }
    assert one["packets"] == {"in": 2, "held": 1}
    assert combine([]) == {}


def test_a_rate_is_what_was_counted_in_the_window() -> None:
    rates = Rates(10.0)
    assert rates.per_second() == {}
    rates.add(0.0, {"packets": 0})
    assert rates.per_second() == {}
    for second in range(1, 31):
        rates.add(float(second), {"packets": 100 * second if second < 20 else 2000})
    assert rates.per_second() == {"packets": 0.0}
    rates.add(31.0, {"packets": 3000, "events": 11})
    assert rates.per_second() == {"packets": pytest.approx(100.0), "events": pytest.approx(1.1)}


def test_a_counter_that_began_anew_counts_from_zero() -> None:
    rates = Rates()
    rates.add(0.0, {"packets": 1000})
    rates.add(2.0, {"packets": 10})
    assert rates.per_second() == {"packets": 5.0}


def test_two_looks_at_one_moment_are_no_rate() -> None:
    rates = Rates()
    rates.add(1.0, {"packets": 1})
    rates.add(1.0, {"packets": 2})
    assert rates.per_second() == {}


def test_nobody_waits_for_an_answer_that_takes_its_time() -> None:
    go = threading.Event()
    asked = 0

    def ask() -> dict[str, Any]:
        nonlocal asked
        asked += 1
        go.wait(60)
        return {"state": "external", "asked": asked}

    remembered = Remembered(ask, {"state": "unknown"}, seconds=0.0)
    assert remembered() == remembered() == {"state": "unknown"}
    go.set()
    wait_until(lambda: remembered()["state"] == "external", "the answer")
    assert remembered()["asked"] >= 1


def test_an_answer_is_remembered_for_a_while() -> None:
    asked: list[int] = []

    def ask() -> dict[str, Any]:
        asked.append(1)
        return {"asked": len(asked)}

    remembered = Remembered(ask, {})
    wait_until(lambda: remembered() == {"asked": 1}, "the answer")
    for _ in range(100):
        assert remembered() == {"asked": 1}
    assert asked == [1]
