"""The tables of a flow store's file, and how records become rows.

One table in the order of arrival: what comes is written behind what is there, and what leaves,
leaves from the front. So the numbers have no holes, and how many records there are is known without
counting them.

Small indexes of integers find a row again, by the record's name and by its ends. What comes
together should lie together: each page that a transaction touches is written whole, twice. Ends may
share an integer by chance; whoever looks up compares the record itself.

    schema 1   0.1.0: the name as the key of the table, the ends as text
    schema 2   this
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from functools import lru_cache
from hashlib import blake2b
from typing import Final

from .records import Endpoints, FlowRecord, keys_of, parse_record

SCHEMA_VERSION: Final = 2
# "peel" in ASCII: tells a flow store from any other SQLite file.
APPLICATION_ID: Final = 0x7065656C

# Beyond every moment, and an SQLite integer still.
FAR: Final = 1 << 62

_TABLES: Final = (
    """CREATE TABLE record (
        number INTEGER PRIMARY KEY,
        name INTEGER NOT NULL, epoch INTEGER NOT NULL, start INTEGER NOT NULL,
        observed INTEGER NOT NULL, restored INTEGER, line BLOB NOT NULL
    )""",
    "CREATE UNIQUE INDEX record_name ON record (name, epoch)",
    "CREATE INDEX record_observed ON record (observed, start)",
    "CREATE INDEX record_restored ON record (restored, start) WHERE restored IS NOT NULL",
)

# A record that comes again keeps its place: pages near the newest are at hand.
PUT: Final = """
INSERT INTO record (name, epoch, start, observed, restored, line) VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT (name, epoch) DO UPDATE SET
    start = excluded.start, observed = excluded.observed, restored = excluded.restored,
    line = excluded.line
"""

Row = tuple[int, int, int, int, int | None, bytes]


def row(record: FlowRecord, line: bytes) -> Row:
    """What PUT takes; `line` is a text of `record`."""
    ends = [ends_key(record.proto, ends) for ends, _ in keys_of(record)]
    return (
        name_key(record.id),
        record.epoch,
        max(-FAR, min(record.start, FAR)),
        ends[0],
        ends[1] if len(ends) > 1 else None,
        line,
    )


def name_key(name: str) -> int:
    """A record's id as a signed 64-bit integer.

    The engine's ids are such integers in hexadecimal; any other text is hashed.
    """
    try:
        value = int(name, 16) if len(name) == 16 else -1
    except ValueError:
        value = -1
    if value < 0 or f"{value:016x}" != name:
        digest = blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8).digest()
        value = int.from_bytes(digest, "big")
    return value - (1 << 63)


def ends_key(proto: str, ends: Endpoints) -> int:
    """A signed 64-bit integer of a connection's ends, the same for both directions.

    A hash of all but the higher port, then that port: it is the client's nearly always, and a
    kernel gives them out in order. So what begins together at one gateway are neighbours.
    """
    src_ip, src_port, dest_ip, dest_port = ends
    if (src_port, src_ip) <= (dest_port, dest_ip):
        return _fixed_part(proto, src_ip, src_port, dest_ip) + dest_port
    return _fixed_part(proto, dest_ip, dest_port, src_ip) + src_port


@lru_cache(maxsize=4096)
def _fixed_part(proto: str, ip: str, port: int, other_ip: str) -> int:
    text = f"{proto} {ip} {port} {other_ip}".encode("utf-8", "surrogatepass")
    digest = blake2b(text, digest_size=6).digest()
    return (int.from_bytes(digest, "big") - (1 << 47)) << 16


def prepare(db: sqlite3.Connection, version: int) -> None:
    """Make the tables in an empty file (`version` 0), or those of schema 1 into these.

    Begun transactions are the caller's. Raises RecordError if a record in the file cannot be read.
    """
    if version == 1:
        db.execute("ALTER TABLE record RENAME TO record_1")
    for statement in _TABLES:
        db.execute(statement)
    if version == 1:
        db.executemany(PUT, _rows_of_1(db))
        db.execute("DROP TABLE record_1")
        db.execute("DROP TABLE tuple")
    db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")


def _rows_of_1(db: sqlite3.Connection) -> Iterator[Row]:
    # It did not keep the order of arrival; that of starts is what it evicted by.
    for (line,) in db.execute("SELECT line FROM record_1 ORDER BY start"):
        yield row(parse_record(line), line)
