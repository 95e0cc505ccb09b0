"""Both stores answer alike: one table of lookups, and what only the file has."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reassembly.records import (
    Counters,
    Endpoints,
    FlowRecord,
    HeaderSeen,
    emit_record,
    parse_record,
    parse_time,
)
from reassembly.schema import ends_key
from reassembly.store import FlowStore, Match, MemoryStore, SqliteStore, StoreError

S = 1_000_000_000
LEG = Endpoints("172.16.23.1", 40001, "172.16.23.2", 9000)
ATTACK = Endpoints("203.0.113.7", 46421, "192.168.110.2", 80)
LEG6 = Endpoints("fd00:23::1", 40001, "fd00:23::2", 9000)

RECORD = FlowRecord(
    id="a",
    epoch=0,
    proto="TCP",
    observed=LEG,
    vlan=(),
    true=ATTACK,
    headers=(HeaderSeen("proxy-v2", 28, {}),),
    start=100 * S,
    end=110 * S,
    verdict="stripped",
    restored=False,
    packets=Counters(3, 2),
    bytes=Counters(30, 20),
)
SECOND = RECORD._replace(epoch=1, start=200 * S, end=None)


@pytest.fixture(params=["memory", "sqlite"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[..., FlowStore]]:
    made: list[FlowStore] = []

    def build(**bounds: int) -> FlowStore:
        if request.param == "memory":
            made.append(MemoryStore(**bounds))
        else:
            made.append(SqliteStore(tmp_path / f"{len(made)}.db", **bounds))
        return made[-1]

    yield build
    for store in made:
        store.close()


def found(
    name: str = "a",
    epoch: int = 0,
    *,
    turned: bool = False,
    by: str = "observed",
    confidence: str = "time",
) -> tuple[str, int, bool, str, str]:
    return name, epoch, turned, by, confidence


RESTORED = RECORD._replace(restored=True)

# records | tuple | at | started | vlan | what is found: (id, epoch, reversed, by, confidence)
LOOKUPS = [
    ("in its lifetime", [RECORD], LEG, 105, None, (), found()),
    ("by its flow's start", [RECORD], LEG, 300, 100, (), found(confidence="exact")),
    ("the server's packets", [RECORD], LEG.reverse(), 105, None, (), found(turned=True)),
    ("after its end", [RECORD], LEG, 111, None, (), found(confidence="late")),
    ("at its end", [RECORD], LEG, 110, None, (), found()),
    ("just before its start", [RECORD], LEG, 100 - 0.0009, None, (), found()),
    ("before its start", [RECORD], LEG, 99.9, None, (), None),
    ("another port", [RECORD], LEG._replace(src_port=1), 105, None, (), None),
    ("another address", [RECORD], LEG._replace(dest_ip="172.16.23.3"), 105, None, (), None),
    ("no address at all", [RECORD], LEG._replace(dest_ip="::zz"), 105, None, (), None),
    ("open", [SECOND], LEG, 900, None, (), found("a", 1)),
    ("first epoch", [RECORD, SECOND], LEG, 105, None, (), found()),
    ("between epochs", [RECORD, SECOND], LEG, 150, None, (), found(confidence="late")),
    ("second epoch", [SECOND, RECORD], LEG, 205, None, (), found("a", 1)),
    ("first epoch, reported late", [RECORD, SECOND], LEG, 205, 100, (), found(confidence="exact")),
    (
        "nanoseconds that EVE cuts",
        [RECORD, SECOND._replace(start=200 * S + 999)],
        LEG,
        200,
        200,
        (),
        found("a", 1, confidence="exact"),
    ),
    ("true, not restored", [RECORD], ATTACK, 105, None, (), None),
    ("true, restored", [RESTORED], ATTACK, 105, None, (), found(by="true")),
    (
        "true, server's packets",
        [RESTORED],
        ATTACK.reverse(),
        105,
        None,
        (),
        found(turned=True, by="true"),
    ),
    ("observed, restored", [RESTORED], LEG, 105, None, (), found()),
    (
        "restored, equal tuples",
        [RECORD._replace(restored=True, true=LEG)],
        LEG,
        105,
        None,
        (),
        found(),
    ),
    (
        "true tuples that collide",
        [RESTORED, SECOND._replace(id="b", restored=True, observed=LEG._replace(src_port=2))],
        ATTACK,
        205,
        None,
        (),
        found("b", 1, by="true"),
    ),
    (
        "IPv6 as Suricata writes it",
        [RECORD._replace(observed=LEG6)],
        LEG6._replace(src_ip="fd00:0023:0000:0000:0000:0000:0000:0001"),
        105,
        None,
        (),
        found(),
    ),
    (
        "its VLAN",
        [RECORD._replace(vlan=(1,)), RECORD._replace(id="b", vlan=(2,))],
        LEG,
        105,
        None,
        (2,),
        found("b"),
    ),
    (
        "VLAN unknown",
        [RECORD._replace(vlan=(1,)), RECORD._replace(id="b", start=101 * S)],
        LEG,
        105,
        None,
        None,
        found("b"),
    ),
    ("VLAN that no record has", [RECORD._replace(vlan=(1,))], LEG, 105, None, (3,), found()),
    (
        "both directions are connections",
        [RECORD, SECOND._replace(id="b", observed=LEG.reverse())],
        LEG,
        205,
        None,
        (),
        found("b", 1, turned=True),
    ),
    ("no header", [RECORD._replace(true=None, verdict="plain")], LEG, 105, None, (), found()),
]


@pytest.mark.parametrize("row", LOOKUPS, ids=[row[0] for row in LOOKUPS])
def test_lookup(make: Callable[..., FlowStore], row: tuple) -> None:
    _, records, ends, at, started, vlan, expected = row
    store = make()
    store.add_many(records)
    match = store.lookup(
        "TCP",
        *ends,
        round(at * S),
        started=None if started is None else started * S,
        vlan=vlan,
    )
    answer = None
    if match is not None:
        r = match.record
        answer = (r.id, r.epoch, match.reversed, match.by, match.confidence)
        assert r in records
    assert answer == expected
    assert store.lookup("UDP", *ends, round(at * S)) is None


def test_a_record_announced_open_is_replaced_when_it_closes(
    make: Callable[..., FlowStore],
) -> None:
    store = make()
    store.add(RECORD._replace(end=None, true=None))
    before = store.version
    store.add(RECORD)
    assert len(store) == 1
    assert store.version != before
    match = store.lookup("TCP", *LEG, 111 * S)
    assert match is not None
    assert match.record == RECORD
    assert match.confidence == "late"


def test_twice_in_one_batch_the_last_word_counts(make: Callable[..., FlowStore]) -> None:
    store = make()
    assert store.add_many([RECORD._replace(end=None), RECORD]) == 2
    assert len(store) == 1
    match = store.lookup("TCP", *LEG, 105 * S)
    assert match is not None
    assert match.record == RECORD


def test_bounded_in_number_the_oldest_leave(make: Callable[..., FlowStore]) -> None:
    store = make(max_records=10)
    store.add_many(
        RECORD._replace(id=f"{n}", start=n * S, observed=LEG._replace(src_port=n))
        for n in range(2500)
    )
    assert len(store) == 10
    assert store.lookup("TCP", *LEG._replace(src_port=2489), 2499 * S) is None
    assert store.lookup("TCP", *LEG._replace(src_port=2490), 2499 * S) is not None


def test_many_of_one_moment_do_not_all_leave(make: Callable[..., FlowStore]) -> None:
    store = make(max_records=10)
    store.add_many(RECORD._replace(id=f"{n}", observed=LEG._replace(src_port=n)) for n in range(11))
    assert len(store) == 10


# Epochs of one tuple in either direction, some restored, on two VLANs; times in microseconds.
EPOCHS = st.lists(
    st.tuples(
        st.integers(0, 5_000),
        st.none() | st.integers(0, 3_000),
        st.booleans(),
        st.booleans(),
        st.sampled_from([(), (1,)]),
    ),
    max_size=6,
)
MOMENTS = st.integers(-2_000, 9_000)


@settings(deadline=None, max_examples=200)
@given(
    EPOCHS,
    st.sampled_from([LEG, LEG.reverse(), ATTACK]),
    st.none() | st.sampled_from([(), (1,), (2,)]),
    MOMENTS,
    st.lists(MOMENTS, max_size=8),
)
def test_an_answer_holds_as_long_as_it_says(
    epochs: list[Any],
    ends: Endpoints,
    vlan: tuple[int, ...] | None,
    at: int,
    others: list[int],
) -> None:
    records = [
        RECORD._replace(
            epoch=number,
            start=100 * S + start * 1000 + number,
            end=None if length is None else 100 * S + (start + length) * 1000 + 999,
            observed=LEG.reverse() if turned else LEG,
            restored=restored,
            vlan=tags,
        )
        for number, (start, length, turned, restored, tags) in enumerate(epochs)
    ]
    stores = [MemoryStore(), SqliteStore(":memory:")]
    answers = []
    for store in stores:
        store.add_many(records)

        def ask(micros: int, store: FlowStore = store) -> Match | None:
            return store.lookup("TCP", *ends, 100 * S + micros * 1000, vlan=vlan)

        match = ask(at)
        answers.append(match and match[:4])
        if match is None or match.since > match.until:
            continue
        assert match.since <= 100 * S + at * 1000 <= match.until
        edges = [-(-(match.since - 100 * S) // 1000), (match.until - 100 * S) // 1000]
        for other in others + [min(edge, 1 << 30) for edge in edges]:
            if match.since <= 100 * S + other * 1000 <= match.until:
                again = ask(other)
                assert again is not None
                assert again[:4] == match[:4]
        store.close()
    assert answers[0] == answers[1]


# Only the file.


def test_survives_reopening(tmp_path: Path) -> None:
    path = tmp_path / "flows.db"
    with SqliteStore(path) as store:
        store.add_many([RECORD, SECOND])
    with SqliteStore(path) as store:
        assert len(store) == 2
        match = store.lookup("TCP", *LEG, 205 * S)
        assert match is not None
        assert match.record == SECOND
        journal = sqlite3.connect(path).execute("PRAGMA journal_mode").fetchone()
        assert journal == ("wal",)


def test_retention_counts_from_the_newest_record(tmp_path: Path) -> None:
    with SqliteStore(tmp_path / "flows.db", retention_seconds=50) as store:
        store.add(RECORD)
        store.add(RECORD._replace(id="b", start=149 * S))
        assert len(store) == 2
        store.add(RECORD._replace(id="c", start=151 * S))
        assert len(store) == 2
        assert store.evicted == 1


def test_a_full_store_makes_room_for_a_little_more_than_what_comes(tmp_path: Path) -> None:
    with SqliteStore(tmp_path / "flows.db", max_records=2560) as store:
        for n in range(0, 4000, 100):
            store.add_many(
                RECORD._replace(id=f"{m}", start=m * S, observed=LEG._replace(src_port=m))
                for m in range(n, n + 100)
            )
            assert min(n + 100, 2550) <= len(store) <= 2560
        assert len(store) + store.evicted == 4000
        assert store.lookup("TCP", *LEG._replace(src_port=3999), 3999 * S) is not None


@settings(deadline=None, max_examples=100)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["a", "b", "000000000000000a"]),
            st.integers(0, 2),
            st.sampled_from([LEG, LEG.reverse(), LEG6, ATTACK]),
            st.booleans(),
            st.integers(0, 50),
        ),
        max_size=30,
    ),
    st.integers(1, 7),
)
def test_records_that_come_again_with_other_ends(rows: list[Any], size: int) -> None:
    """The file's numbers have no holes, whatever is replaced; and it answers as memory does."""
    memory, file = MemoryStore(), SqliteStore(":memory:")
    records = [
        RECORD._replace(
            id=name, epoch=epoch, observed=ends, restored=restored, start=start * S + at, end=None
        )
        for at, (name, epoch, ends, restored, start) in enumerate(rows)
    ]
    for at in range(0, len(records), size):
        for store in (memory, file):
            store.add_many(records[at : at + size])
        assert len(file) == len(memory)
    assert file._db.execute("SELECT count(*) FROM record").fetchone() == (len(memory),)
    for ends in (LEG, LEG6, ATTACK, ATTACK.reverse()):
        for at in (0, 25 * S, 60 * S):
            answers = [store.lookup("TCP", *ends, at) for store in (memory, file)]
            assert (answers[0] and answers[0][:4]) == (answers[1] and answers[1][:4])
    file.close()


def test_others_with_the_same_key_do_not_hide_a_record(tmp_path: Path) -> None:
    path = tmp_path / "flows.db"
    with SqliteStore(path) as store:
        store.add(RECORD)
        store.add_many(
            RECORD._replace(id=f"{n}", observed=LEG._replace(src_port=n), start=(101 + n) * S)
            for n in range(200)
        )
        store._db.execute("UPDATE record SET observed = ?", (ends_key("TCP", LEG),))
        match = store.lookup("TCP", *LEG, 900 * S)
        assert match is not None
        assert match.record == RECORD
        assert store.lookup("TCP", *LEG._replace(src_port=1), 900 * S) is None


@pytest.mark.parametrize("year", ["0001", "9999"])
def test_a_moment_beyond_64_bits_of_nanoseconds(make: Callable[..., FlowStore], year: str) -> None:
    at = parse_time(f"{year}-12-31T00:00:00.000000+0000")
    store = make()
    assert store.lookup("TCP", *LEG, at) is None
    store.add(RECORD._replace(start=at, end=None))
    assert len(store) == 1
    match = store.lookup("TCP", *LEG, at)
    assert match is not None
    assert match.record.start == at
    # A record that is not of that year comes and goes as any other.
    store.add(RECORD._replace(epoch=1))
    assert store.lookup("TCP", *LEG, 105 * S) is not None


def test_a_line_is_kept_as_it_came(tmp_path: Path) -> None:
    line = emit_record(RECORD).replace(b'"start":', b'"more": {"a": [1]}, "start":')
    with SqliteStore(tmp_path / "flows.db") as store:
        assert store.add_lines([(parse_record(line), line)]) == 1
        match = store.lookup("TCP", *LEG, 105 * S)
        assert match is not None
        assert match.record == RECORD
        assert store._db.execute("SELECT line FROM record").fetchone() == (line,)


def test_another_process_reads_what_is_added(tmp_path: Path) -> None:
    with SqliteStore(tmp_path / "flows.db") as writer, SqliteStore(tmp_path / "flows.db") as reader:
        before = reader.version
        assert reader.lookup("TCP", *LEG, 105 * S) is None
        writer.add(RECORD)
        assert reader.version != before
        assert reader.lookup("TCP", *LEG, 105 * S) is not None


def _not_sqlite(path: Path) -> None:
    path.write_bytes(b"not a database, but long enough to be asked about" * 30)


def _torn(path: Path) -> None:
    with SqliteStore(path) as store:
        store.add_many(RECORD._replace(id=f"{n}") for n in range(500))
    data = bytearray(path.read_bytes())
    data[4096:] = b"\xff" * (len(data) - 4096)
    path.write_bytes(data)


def _of_another(path: Path) -> None:
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE other (x)")


def _newer(path: Path) -> None:
    SqliteStore(path).close()
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 3")


def _directory(path: Path) -> None:
    path.mkdir()


BAD_FILES = [
    (_not_sqlite, "is damaged or not a flow store"),
    (_torn, "is damaged or not a flow store"),
    (_of_another, "is an SQLite file of something else"),
    (_newer, r"was written by a newer peeltap \(schema 3; this one knows 2\)"),
    (_directory, "cannot be used as a flow store"),
]


@pytest.mark.parametrize(
    ("spoil", "sentence"), BAD_FILES, ids=[row[0].__name__ for row in BAD_FILES]
)
def test_a_bad_file_is_one_sentence(
    tmp_path: Path, spoil: Callable[[Path], None], sentence: str
) -> None:
    path = tmp_path / "flows.db"
    spoil(path)
    with pytest.raises(StoreError, match=sentence) as caught, SqliteStore(path) as store:
        store.lookup("TCP", *LEG, 105 * S)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_locked_file_is_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "flows.db"
    with SqliteStore(path, busy_seconds=0.05) as store:
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(StoreError, match="is locked by another process"):
            store.add(RECORD)
        other.execute("ROLLBACK")
        store.add(RECORD)
        assert len(store) == 1
        other.close()
