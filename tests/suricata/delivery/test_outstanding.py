"""A sink's place moves on with the first block that is not done, and no further."""

from __future__ import annotations

from suricata.delivery.outstanding import Outstanding


def test_the_first_event_on_its_way_holds_all_that_follows() -> None:
    outstanding = Outstanding(7)
    one, two, three = (outstanding.begin(number) for number in (8, 9, 12))
    one.waiting, two.waiting = 2, 1
    for cell in (one, two, three):
        cell.open = False
    assert outstanding.settled() == 7
    two.waiting -= 1
    assert outstanding.settled() == 7
    one.waiting -= 2
    assert outstanding.settled() == 12
    assert len(outstanding) == 0


def test_a_block_that_is_still_looked_at_is_not_done() -> None:
    outstanding = Outstanding(0)
    cell = outstanding.begin(1)
    assert outstanding.settled() == 0
    cell.open = False
    assert outstanding.settled() == 1
