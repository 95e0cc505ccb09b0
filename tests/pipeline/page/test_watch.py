"""What is kept for whoever looks, and what it may cost while nobody does."""

from pipeline.page.watch import SEARCHES, Watch
from tests.pipeline.page.parts import line

ALERT, FLOW = line(), line("flow")


def test_while_nobody_looks_only_alerts_are_kept() -> None:
    watch = Watch()
    for block in (FLOW, FLOW + ALERT, FLOW):
        watch.put(block)
    assert watch.take() == [FLOW + ALERT]
    watch.is_looked_at = True
    watch.put(FLOW)
    assert watch.take() == [FLOW]
    assert watch.take() == []


def test_of_a_flood_that_nobody_sees_some_blocks_are_searched() -> None:
    now = 5.0
    watch = Watch(clock=lambda: now)
    for _ in range(SEARCHES):
        watch.put(FLOW)
    watch.put(ALERT)
    assert watch.take() == []
    now = 6.0
    watch.put(ALERT)
    assert watch.take() == [ALERT]


def test_an_alert_in_a_text_is_none() -> None:
    watch = Watch()
    watch.put(line("http", http={"url": '/?"event_type":"alert"'}))
    assert watch.take() == []


def test_it_keeps_the_last_ones_and_counts_the_others() -> None:
    watch = Watch(kept_bytes=10 * len(ALERT))
    watch.is_looked_at = True
    for _ in range(1000):
        watch.put(ALERT)
    assert watch.take() == [ALERT] * 10
    assert watch.passed == 990
    # What nobody would have seen is not missed by anybody.
    watch.is_looked_at = False
    for _ in range(SEARCHES):
        watch.put(ALERT)
    assert watch.passed == 990


def test_of_a_large_block_the_end_is_kept() -> None:
    watch = Watch(kept_bytes=2 * len(ALERT) + 5)
    watch.put(FLOW * 100 + ALERT + ALERT)
    assert watch.take() == [ALERT + ALERT]
