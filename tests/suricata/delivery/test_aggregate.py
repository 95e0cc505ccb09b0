"""Identical alerts of a window become one, with a count; everything else goes by."""

from __future__ import annotations

from typing import Any

from suricata.delivery.aggregate import Aggregate


def alert(n: int = 0, *, peer: str = "203.0.113.7", port: int = 80, sid: int = 1) -> dict[str, Any]:
    return {
        "timestamp": f"2026-01-01T00:00:{n:02d}.000000+0000",
        "event_type": "alert",
        "src_ip": peer,
        "src_port": 1000 + n,
        "dest_ip": "192.168.110.2",
        "dest_port": port,
        "alert": {"signature_id": sid, "gid": 1},
        "peeltap": {"id": f"f-{n}"},
    }


def test_a_window_gives_its_first_event_with_count_first_and_last() -> None:
    gather: Aggregate[str] = Aggregate(60)
    assert [gather.add(alert(n), f"tag {n}", n) for n in range(3)] == [True, False, False]
    assert gather.next_end == 60
    assert gather.ended(59) == []
    [window] = gather.ended(60)
    assert window.tag == "tag 0"
    assert window.merged() == {
        **alert(0),
        "peeltap": {
            "id": "f-0",
            "count": 3,
            "first": "2026-01-01T00:00:00.000000+0000",
            "last": "2026-01-01T00:00:02.000000+0000",
        },
    }
    assert gather.merged == 2
    # The next one opens another window.
    assert gather.add(alert(9), "later", 61) is True


def test_who_whom_and_what_are_told_apart_and_what_is_no_alert_goes_by() -> None:
    gather: Aggregate[None] = Aggregate(60)
    several = [alert(), alert(peer="203.0.113.8"), alert(port=443), alert(sid=2)]
    assert [gather.add(one, None, 0) for one in several] == [True] * 4
    # The same ends, from the decoy's answer.
    answer = {
        **alert(),
        "src_ip": "192.168.110.2",
        "src_port": 80,
        "dest_ip": "203.0.113.7",
        "dest_port": 1000,
        "peeltap": {"direction": "to_client"},
    }
    assert gather.add(answer, None, 0) is False
    odd: list[dict[str, Any]] = [
        {"event_type": "flow"},
        {"event_type": "alert"},
        {"event_type": "alert", "alert": {"signature_id": "1"}},
    ]
    assert [gather.add(one, None, 0) for one in odd] == [None] * 3


def test_one_that_stayed_alone_is_as_it_was_and_windows_are_bounded() -> None:
    gather: Aggregate[int] = Aggregate(60, max_windows=2)
    for n in range(4):
        gather.add(alert(sid=n), n, n)
    assert [window.tag for window in gather.ended(5)] == [0, 1]
    assert [window.merged() for window in gather.flush()] == [alert(sid=2), alert(sid=3)]
    assert len(gather) == 0
    assert gather.next_end is None
