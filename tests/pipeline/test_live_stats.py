"""Workers' counters added up, and counters made rates."""

import pytest

from pipeline.live_stats import Rates, combine


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
