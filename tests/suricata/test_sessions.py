from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from suricata import sessions
from suricata.sessions import SessionTable, dump, load, session_id, timestamp
from suricata.shapes.ends import ends
from suricata.shapes.values import nanoseconds

from .shapes.material import corrected, some

START = 1767225600 * 10**9
SECOND = 10**9


def event(
    at: float,
    *,
    peer: str = "203.0.113.7",
    port: int = 40000,
    decoy: str = "192.168.110.2",
    decoy_port: int = 80,
    leg: str = "172.16.23.1",
    kind: str = "http",
    back: bool = False,
    **more: Any,
) -> dict[str, Any]:
    """An event at `at` seconds after START; `back`: from the decoy to the attacker."""
    there = [peer, port, decoy, decoy_port]
    seen = [leg, 50000, "172.16.23.2", 9000]
    if back:
        there, seen = there[2:] + there[:2], seen[2:] + seen[:2]
    names = ("src_ip", "src_port", "dest_ip", "dest_port")
    return {
        "timestamp": timestamp(START + int(at * SECOND)),
        "event_type": kind,
        **dict(zip(names, there, strict=True)),
        "proto": "TCP",
        **more,
        "peeltap": {
            "observed": dict(zip(names, seen, strict=True)),
            "direction": "to_client" if back else "to_server",
        },
    }


def note(table: SessionTable, one: dict[str, Any], now: float = 0.0) -> str | None:
    return table.note(one, ends(one), nanoseconds(one["timestamp"]), now)


def flow(at: float, up: int, down: int, **more: Any) -> dict[str, Any]:
    return event(at, kind="flow", flow={"bytes_toserver": up, "bytes_toclient": down}, **more)


def alert(at: float, sid: int, **more: Any) -> dict[str, Any]:
    return event(at, kind="alert", alert={"signature_id": sid, "signature": f"rule {sid}"}, **more)


def test_one_attacker_on_several_decoys_is_one_story() -> None:
    table = SessionTable()
    story = [
        event(0),
        alert(1, 7),
        alert(2, 7, back=True),
        flow(3, 100, 200),
        event(5, decoy="192.168.110.3", decoy_port=22, port=40001),
        flow(6, 10, 20, decoy="192.168.110.3", decoy_port=22, port=40001),
    ]
    ids = {note(table, one) for one in story}
    assert ids == {session_id("203.0.113.7", START)}
    assert note(table, event(6, peer="203.0.113.8")) not in ids
    [first, _] = table.due(now=1000.0)
    assert first["src_ip"] == "203.0.113.7"
    assert first["summary"] == {
        "state": "ended",
        "first": timestamp(START),
        "last": timestamp(START + 6 * SECOND),
        "events": 6,
        "alerts": 2,
        "connections": 2,
        "bytes_to_server": 110,
        "bytes_to_client": 220,
        "decoys": [
            {"ip": "192.168.110.2", "ports": [80]},
            {"ip": "192.168.110.3", "ports": [22]},
        ],
        "agents": ["172.16.23.1"],
        "signatures": [{"signature_id": 7, "signature": "rule 7", "count": 2}],
    }


def test_a_connection_that_crosses_two_legs_counts_once() -> None:
    table = SessionTable()
    for leg in ("10.0.0.1", "172.16.23.1"):
        note(table, event(0, leg=leg))
        note(table, flow(1, 100, 200, leg=leg))
    [one] = table.due(now=1000.0)
    assert one["summary"]["connections"] == 1
    assert one["summary"]["bytes_to_server"] == 100
    assert one["summary"]["agents"] == ["10.0.0.1", "172.16.23.1"]


def test_silence_ends_a_session_and_another_begins() -> None:
    table = SessionTable(window_seconds=900)
    first = note(table, event(0))
    assert note(table, event(900)) == first
    second = note(table, event(1801))
    assert second != first
    assert [one["peeltap"]["session"] for one in table.due(0.0)] == [first]
    assert table.status() == {"begun": 2, "ended": 1, "evicted": 0, "summaries": 1, "open": 1}


def test_without_events_the_callers_clock_goes_on() -> None:
    table = SessionTable(window_seconds=900, summary_seconds=10_000)
    note(table, event(0), now=50.0)
    assert table.due(now=950.0) == []
    [one] = table.due(now=950.1)
    assert one["summary"]["state"] == "ended"
    assert table.due(now=2000.0) == []
    assert len(table) == 0


def test_a_session_that_goes_on_is_summed_up_while_it_changes() -> None:
    table = SessionTable(summary_seconds=300)
    session = note(table, event(0))
    for second in range(1, 299):
        note(table, event(second))
    assert table.due(0.0) == []
    note(table, event(300))
    [one] = table.due(0.0)
    assert (one["summary"]["state"], one["summary"]["events"]) == ("open", 300)
    assert one["peeltap"] == {"session": session, "id": f"{session}.1"}
    assert table.due(now=600.0) == []  # nothing new
    note(table, event(1000), now=600.0)
    [two] = table.due(now=600.0)
    assert two["peeltap"]["id"] == f"{session}.2"


def test_a_backlog_makes_the_sessions_of_its_own_time() -> None:
    """Yesterday's events, read within a second of today."""
    table = SessionTable(window_seconds=900)
    ids = [note(table, event(at), now=5.0) for at in (-86_400, -86_000, -80_000, -79_900)]
    assert ids[0] == ids[1]
    assert ids[2] == ids[3] != ids[0]


def test_late_events_and_one_from_the_future_do_no_harm() -> None:
    table = SessionTable(window_seconds=900)
    first = note(table, event(500))
    assert note(table, event(100)) == first  # late: part of what goes on
    note(table, event(10**8, peer="203.0.113.99"))
    table.due(0.0)
    again = note(table, event(510))
    assert again is not None
    assert note(table, event(520)) == again
    assert table.due(0.0) == []


def test_an_ipv6_attacker_may_be_a_prefix() -> None:
    one, two = (f"2001:0db8:0203:0000:0000:0000:0000:000{n}" for n in (1, 2))
    for bits, same in ((64, True), (128, False)):
        table = SessionTable(ipv6_prefix=bits)
        assert (note(table, event(0, peer=one)) == note(table, event(0, peer=two))) is same


def test_only_attackers_that_a_header_named_have_a_story() -> None:
    table = SessionTable()
    told = {}
    for one in corrected():
        told.setdefault(note(table, one) is not None, []).append(one)
    assert all("direction" in one["peeltap"] for one in told[True])
    assert all("direction" not in one.get("peeltap", {}) for one in told[False])
    plain = event(0)
    plain["peeltap"]["observed"] = {
        name: plain[name] for name in ("src_ip", "src_port", "dest_ip", "dest_port")
    }
    assert note(table, plain) is None


def test_a_scanner_of_everything_stays_within_bounds() -> None:
    table = SessionTable(max_connections=100)
    for number in range(3000):
        one = alert(
            number / 100,
            number,
            decoy=f"10.0.{number // 250}.{number % 250}",
            decoy_port=1 + number,
            port=1024 + number,
        )
        note(table, one)
    for number in range(300):
        note(table, event(40, decoy="10.0.0.0", decoy_port=1 + number))
    [one] = table.due(now=10_000.0)
    told = one["summary"]
    assert len(told["decoys"]) == sessions.MAX_DECOYS
    assert len(told["signatures"]) == sessions.MAX_SIGNATURES
    assert max(len(decoy["ports"]) for decoy in told["decoys"]) == sessions.MAX_PORTS
    assert told["connections"] == 3300
    assert told["others"].keys() == {"decoys", "signatures", "ports"}
    assert len(table._connections) == 100
    assert len(orjson.dumps(one)) < 20_000


def test_the_oldest_ends_where_there_is_no_room() -> None:
    table = SessionTable(sessions=3)
    ids = [note(table, event(n, peer=f"203.0.113.{n}")) for n in range(5)]
    assert len(table) == 3
    assert [one["peeltap"]["session"] for one in table.due(0.0)] == ids[:2]
    assert table.status()["evicted"] == 2


def restarted(table: SessionTable, kept: dict[str, bytes] | None = None) -> SessionTable:
    """Go on from what a store has, which is `kept` and what changed since."""
    kept = {} if kept is None else kept
    changed, gone = table.changes()
    for peer in gone:
        kept.pop(peer, None)
    kept.update({peer: orjson.dumps(one) for peer, one in changed.items()})
    other = SessionTable()
    other.restore([orjson.loads(one) for one in kept.values()])
    return other


def test_a_restart_goes_on_with_the_same_story() -> None:
    table = SessionTable()
    first = note(table, alert(0, 7))
    table = restarted(table)
    assert note(table, alert(60, 7)) == first
    [one] = table.due(now=2000.0)
    assert one["summary"]["alerts"] == 2
    assert one["summary"]["signatures"][0]["count"] == 2


def test_changes_are_told_until_they_are_saved() -> None:
    table = SessionTable()
    note(table, event(0))
    assert table.changes()[0].keys() == {"203.0.113.7"}
    assert table.changes()[0].keys() == {"203.0.113.7"}
    table.saved()
    assert table.changes() == ({}, [])
    table.due(now=2000.0)
    assert table.changes() == ({}, ["203.0.113.7"])


@pytest.mark.parametrize(
    "change",
    [{"first": "x"}, {"decoys": {"a": 1}}, {"signatures": {"7": [7, "x"]}}, {"more": 1}],
    ids=str,
)
def test_a_broken_session_is_left_out(change: dict[str, Any]) -> None:
    table = SessionTable()
    note(table, alert(0, 7))
    kept = next(iter(table.changes()[0].values()))
    assert load(kept) is not None
    assert load(kept | change) is None
    assert load({}) is None


def test_a_session_is_kept_whole() -> None:
    table = SessionTable()
    note(table, alert(0, 7))
    [session] = table._sessions.values()
    assert load(orjson.loads(orjson.dumps(dump(session)))) == session


STEPS = st.tuples(
    st.integers(0, 3000), st.integers(0, 5), st.sampled_from(["note", "due", "restart"])
)


@some
@given(st.lists(STEPS, max_size=40))
def test_a_session_never_spans_more_silence_than_the_window(
    steps: list[tuple[int, int, str]],
) -> None:
    """Whatever the order of events: one open session a peer, and ids that come with its first."""
    table, at = SessionTable(), 0
    kept: dict[str, bytes] = {}
    open_: dict[int, str | None] = {}
    last: dict[int, int] = {}
    for gap, number, step in steps:
        at += gap
        if step == "due":
            table.due(0.0)
        elif step == "restart":
            table = restarted(table, kept) if len(table) else table
        peer = f"203.0.113.{number}"
        found = note(table, event(at, peer=peer))
        if number in last and at - last[number] <= 900:
            assert found == open_[number]
        elif number in open_:
            assert found != open_[number]
        open_[number], last[number] = found, at
    assert len(table) <= 6


def test_timestamps_are_eves() -> None:
    assert timestamp(START + 5_000) == "2026-01-01T00:00:00.000005+0000"
    assert nanoseconds(timestamp(START)) == START
