"""Flow records in Redis: where they lie, how long, and how they get there.

    peeltap:flow:SITE:TCP 172.16.23.1 40001 172.16.23.2 9000    a hash: the epochs of one 5-tuple
        field   start, sensor, id, epoch
        value   o or c (open, closed), and the record without what no event needs

    peeltap:sensor:SITE:NAME    up to which moment (ns) this sensor's records are all there

Each key stands for itself, so a cluster may have them anywhere. `SITE` is one space of addresses:
sensors whose proxied legs carry the same ones have sites of their own, and so have their events.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, NamedTuple, Protocol

import orjson

from .records import Endpoints, FlowRecord, RecordError, emit_time, keys_of, parse_record

SECONDS: Final = 3600.0
"""A record of a closed connection stays so long; Suricata's last event of it comes far earlier."""

OPEN_SECONDS: Final = 86_400.0

# Of a tuple; the same bound as in a file.
MAX_EPOCHS: Final = 32

# Of those that go in one script, which holds up everybody else's commands.
_SCRIPT_RECORDS: Final = 50

# KEYS: of each record. ARGV: ms that a closed one stays, and an open one, epochs at most; then each
# record's field and value. An announcement that comes late does not open again what has closed.
_PUT: Final = """
for at, key in ipairs(KEYS) do
  local field, value = ARGV[2 * at + 2], ARGV[2 * at + 3]
  local known = redis.call('HGET', key, field)
  if not known or string.sub(known, 1, 1) == 'o' or string.sub(value, 1, 1) == 'c' then
    redis.call('HSET', key, field, value)
  end
  local count, open = redis.call('HLEN', key), false
  if count > tonumber(ARGV[3]) then
    local fields = redis.call('HKEYS', key)
    table.sort(fields)
    for surplus = 1, count - ARGV[3] do redis.call('HDEL', key, fields[surplus]) end
  end
  for _, one in ipairs(redis.call('HVALS', key)) do
    open = open or string.sub(one, 1, 1) == 'o'
  end
  redis.call('PEXPIRE', key, open and ARGV[2] or ARGV[1])
end
return #KEYS
"""


class Link(Protocol):
    """A connection to Redis; `pipeline` hands in one of `suricata`, which is not imported here."""

    def connected(self) -> Any:
        """The library's client. Raises its errors."""
        ...

    def run(self, script: str, keys: Sequence[object], arguments: Sequence[object]) -> Any:
        """What a script answers. Raises the library's errors."""
        ...

    def broken(self, error: Exception) -> str:
        """The sentence of an error; what comes next has a new connection."""
        ...

    def abort(self) -> None:
        """From another thread: what waits for an answer fails soon."""
        ...

    def close(self) -> None:
        """Let go of it."""
        ...


class Site(NamedTuple):
    """One space of addresses, and how long its records stay."""

    name: str = "default"
    seconds: float = SECONDS
    open_seconds: float = OPEN_SECONDS

    def key(self, proto: str, ends: Endpoints) -> str:
        """Where the connections of these ends lie, whoever began them."""
        a, b = f"{ends.src_ip} {ends.src_port}", f"{ends.dest_ip} {ends.dest_port}"
        low, high = (a, b) if a <= b else (b, a)
        return f"peeltap:flow:{self.name}:{proto} {low} {high}"

    def sensor_key(self, sensor: str) -> str:
        """Where a sensor says how far it got."""
        return f"peeltap:sensor:{self.name}:{sensor}"


class Kept(NamedTuple):
    """A record as it came from Redis, and whose it is; `sensor` is empty for no sensor's."""

    record: FlowRecord
    sensor: str


def emit(record: FlowRecord, sensor: str) -> tuple[str, bytes]:
    """The record's field and value."""
    value = {
        "id": record.id,
        "epoch": record.epoch,
        "observed": {**record.observed._asdict(), "proto": record.proto, "vlan": record.vlan},
        "true": None if record.true is None else record.true._asdict(),
        "headers": [{"codec": one.codec, "length": one.length} for one in record.headers],
        "start": emit_time(record.start),
        "end": None if record.end is None else emit_time(record.end),
        "verdict": record.verdict,
        "restored": record.restored,
    }
    state = b"o" if record.end is None else b"c"
    # Twenty digits: fields in the order of their text are in that of their starts.
    field = f"{max(0, record.start):020d} {sensor} {record.id} {record.epoch}"
    return field, state + orjson.dumps(value)


def parse(field: bytes, value: bytes) -> Kept:
    """The record of `emit`. Raises RecordError."""
    words = field.split(b" ")
    if len(words) < 4:
        raise RecordError("bad_field", f"{field[:60]!r} is no field of a record")
    return Kept(parse_record(value[1:]), words[1].decode("ascii", "replace"))


def put(link: Link, site: Site, records: Sequence[FlowRecord], sensor: str) -> None:
    """Write `records` in as few steps as can be. Raises the library's errors."""
    client = link.connected()
    one_by_one = hasattr(client, "get_nodes")
    rows = list(_rows(site, records, sensor))
    step = 1 if one_by_one else _SCRIPT_RECORDS
    lifetimes = int(site.seconds * 1000), int(site.open_seconds * 1000), MAX_EPOCHS
    if not one_by_one:
        for at in range(0, len(rows), step):
            piece = rows[at : at + step]
            rest = [part for _, field, value in piece for part in (field, value)]
            link.run(_PUT, [key for key, _, _ in piece], (*lifetimes, *rest))
        return
    pipe = client.pipeline(transaction=False)
    for key, field, value in rows:
        # As the pipeline of a cluster takes it.
        pipe.execute_command("EVAL", _PUT, 1, key, *lifetimes, field, value)
    pipe.execute()


def _rows(
    site: Site, records: Iterable[FlowRecord], sensor: str
) -> Iterator[tuple[str, str, bytes]]:
    for record in records:
        field, value = emit(record, sensor)
        for ends, _ in keys_of(record):
            yield site.key(record.proto, ends), field, value
