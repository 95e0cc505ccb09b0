"""What may be forgotten, and when."""

from __future__ import annotations

from suricata.ledger import Ledger


def test_a_batch_is_settled_when_its_lines_left_and_their_blocks_arrived() -> None:
    ledger = Ledger()
    ledger.fed(3, "a")
    ledger.fed(5, "b")
    ledger.left(None, 2)
    assert not ledger.has_settled(1)
    assert ledger.settled(1) == []
    assert ledger.has_settled(2)
    assert ledger.settled(2) == ["a", "b"]
    assert ledger.settled(9) == []
    assert len(ledger) == 0


def test_a_waiting_line_holds_its_batch_and_all_after_it() -> None:
    ledger = Ledger()
    for last, token in ((3, "a"), (5, "b"), (8, "c")):
        ledger.fed(last, token)
    ledger.left(4, 1)  # line 4 waits: of batch b
    assert ledger.settled(1) == ["a"]
    ledger.left(5, 2)
    assert ledger.settled(2) == []
    # Its block is a later one than that of the lines beside it.
    ledger.left(None, 3)
    assert ledger.settled(2) == []
    assert ledger.settled(3) == ["b", "c"]
