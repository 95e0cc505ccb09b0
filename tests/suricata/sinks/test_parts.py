"""A batch in parts, as transcripts: what was sent, what was said, what is known at the end."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from suricata.sinks.client import Partly, Rejected, Unavailable
from suricata.sinks.parts import Outcome, Smaller, in_parts


class Side:
    """Takes parts of at most `most`, none with a place of `never`; those of `again` later."""

    def __init__(self, most: int = 99, never: set[int] | None = None, down_at: int = 99) -> None:
        self.most = most
        self.never = never or set()
        self.down_at = down_at
        self.sent: list[list[int]] = []

    def __call__(self, part: Sequence[int]) -> Outcome:
        self.sent.append(list(part))
        if len(self.sent) > self.down_at:
            raise Unavailable("down", retry_after=3)
        if len(part) > self.most or self.never & set(part):
            raise Smaller("too much")
        return Outcome()


def test_a_batch_that_is_taken_is_sent_once() -> None:
    side = Side()
    assert in_parts([range(5)], side) == []
    assert side.sent == [[0, 1, 2, 3, 4]]


def test_halves_are_sent_in_order() -> None:
    side = Side(most=2)
    assert in_parts([range(5)], side) == []
    assert side.sent == [[0, 1, 2, 3, 4], [0, 1], [2, 3, 4], [2], [3, 4]]


def test_the_one_that_is_at_fault_is_found() -> None:
    side = Side(never={3})
    assert in_parts([range(5)], side) == [Rejected(3, "too much")]


def test_nothing_is_known_of_a_batch_that_meets_nobody() -> None:
    with pytest.raises(Unavailable, match="down") as told:
        in_parts([range(5)], Side(down_at=0))
    assert told.value.retry_after == 3


def test_what_was_done_before_the_end_is_kept() -> None:
    side = Side(most=2, never={1}, down_at=5)
    with pytest.raises(Partly, match="down") as told:
        in_parts([range(5)], side)
    assert side.sent == [[0, 1, 2, 3, 4], [0, 1], [0], [1], [2, 3, 4], [2]]
    assert told.value.taken == {0}
    assert told.value.rejected == [Rejected(1, "too much")]
    assert told.value.retry_after == 3


def test_several_fates_in_one_answer() -> None:
    answers = [
        Outcome([Rejected(0, "no")], again=[1], smaller=[2, 3], sentence="busy", retry_after=2),
        Outcome(),
        Outcome([Rejected(3, "no")]),
    ]
    sent: list[list[int]] = []

    def send(part: Sequence[int]) -> Outcome:
        sent.append(list(part))
        return answers[len(sent) - 1]

    with pytest.raises(Partly, match="busy") as told:
        in_parts([range(5)], send)
    assert sent == [[0, 1, 2, 3, 4], [2], [3]]
    assert told.value.taken == {2, 4}
    assert told.value.rejected == [Rejected(0, "no"), Rejected(3, "no")]


def test_parts_that_were_given_go_one_after_the_other() -> None:
    side = Side()
    assert in_parts([[0], [], [1, 2]], side) == []
    assert side.sent == [[0], [1, 2]]
