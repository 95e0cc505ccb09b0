"""EVE lines in, corrected lines out: sans-IO, time is an argument.

    bytes ──> lines ──> parse ──> match with a flow record ──> correct ──> bytes
                          │                │ none yet: waits, bounded
                          └> rejected      └> none at all: passes, marked `none`

What a line becomes:

    an event of a known connection   corrected, with a `peeltap` member (see `eve`)
    an event of no known connection  untouched but for `"peeltap":{"confidence":"none"}`
    an event without a 5-tuple       untouched (`stats`), so is one that has `peeltap` already
    a line that can be mended        mended, counted (invalid UTF-8, raw control characters, two
                                     events on one line): an attacker chooses bytes that end up in
                                     events, and must not be able to hide an alert by them
    anything else                    rejected: a SIEM's file holds JSON only. Counted, and handed
                                     to `rejects`

Every line is counted once: lines = events + rejected + waiting.
"""

from __future__ import annotations

import re
from collections import Counter, deque
from collections.abc import Callable, Iterator
from itertools import islice, repeat, zip_longest
from typing import Any, Final, NamedTuple

import orjson

from .eve import (
    Changes,
    Clock,
    Event,
    corrections,
    flow_start,
    peeltap_object,
    quoted_tuple,
    vlan_tags,
)
from .fast import FastPath
from .flows import FlowStore, Match
from .held import Held
from .ids import Ids, Named, Places, of_part
from .oddities import SENTENCES, lenient
from .splice import splice
from .summary import AlertSummary

# Above this a line is not held in memory but rejected. Suricata's own longest lines are those with
# a file's or a body's content, a few hundred KiB by default.
MAX_LINE_BYTES: Final = 16 << 20

# Still corrected, but worth a word: no default of Suricata writes so much.
LONG_LINE_BYTES: Final = 1 << 20

# Of a rejected line so much goes to `rejects`.
REJECT_BYTES: Final = 64 << 10

WAIT_EVENTS: Final = 10_000
WAIT_SECONDS: Final = 5.0

# Waiting events are looked up again at most this often.
RETRY_SECONDS: Final = 0.25

# Event types told apart in `stats`; a file of garbage must not grow the table.
MAX_TYPES: Final = 64

_FAR: Final = 1 << 62
_NONE: Final[Event] = {"confidence": "none"}
_EVENT_HEAD: Final = b'{"timestamp":"'
_BOM: Final = b"\xef\xbb\xbf"
_CONTROL: Final = re.compile(rb"[\x00-\x1f]")
_STRING: Final = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
_BIG_NUMBER: Final = re.compile(rb"(?<![\d.eE+-])-?\d{19,}")


class _Waiting(NamedTuple):
    until: float
    number: int
    line: bytes
    id: bytes | None


class Enricher:
    """Corrects the events of one Suricata by the flow records in `store`.

    `community_id_seed` is Suricata's own. An event that comes before its flow record waits until
    the record is there, `wait_seconds` have passed or more than `wait_events` wait (the oldest
    goes first); `wait_events=0` waits for nothing, for records that are complete beforehand.
    `rejects` is called with every line that is no event, newline included. Without `summarize`
    alerts are counted, and not told apart.

    `feed` and `tick` take `now` in seconds of any clock that does not run backwards.
    """

    def __init__(
        self,
        store: FlowStore,
        *,
        community_id_seed: int = 0,
        wait_events: int = WAIT_EVENTS,
        wait_seconds: float = WAIT_SECONDS,
        rejects: Callable[[bytes], None] | None = None,
        summarize: bool = True,
    ) -> None:
        self._store = store
        self._seed = community_id_seed
        self._wait_events = wait_events
        self._wait_seconds = wait_seconds
        self._rejects = rejects
        self._clock = Clock()
        self._partial: list[bytes] = []
        self._partial_bytes = 0
        self._skipping = False
        self._waiting: deque[_Waiting] = deque()
        self._seen_version = store.version if wait_events else 0
        self._retry_at = 0.0
        self._line_number = 0
        self.alerts = AlertSummary() if summarize else AlertSummary(max_rows=0)
        self._lines_seen = 0
        self._rejected = 0
        self._types: dict[str, int] = {}
        self._outcomes: Counter[str] = Counter()
        self._oddities: Counter[str] = Counter()
        self._first: dict[str, int] = {}
        self._fast = FastPath(
            store,
            clock=self._clock,
            community_id_seed=community_id_seed,
            alerts=self.alerts,
            types=self._types,
            outcomes=self._outcomes,
        )
        self._held = Held(self._fast.blocks)

    def feed(self, data: bytes, now: float = 0.0, ids: Ids | None = None) -> bytes:
        """Take the next bytes of the stream, cut anywhere; whole corrected lines come back.

        With `ids`, of which `data` must be whole lines, each `peeltap` object ends with its own.
        """
        out: list[bytes] = []
        until = now + self._wait_seconds if self._wait_events else None
        head, newline, rest = data.partition(b"\n")
        if not newline:
            self._keep(data)
        elif not (self._skipping or isinstance(ids, Named)):
            if self._partial:
                data = b"".join([*self._partial, data])
                self._drop_partial()
            end = data.rfind(b"\n") + 1
            self._block(data if end == len(data) else data[:end], until, out, ids)
            self._keep(data[end:])
        else:
            lines = rest.split(b"\n")
            tail = lines.pop()
            # The line begun by earlier calls comes first.
            self._keep(head)
            if not self._skipping:
                lines.insert(0, b"".join(self._partial))
            self._drop_partial()
            self._skipping = False
            self._lines(lines, until, out, ids)
            self._keep(tail)
        self._retry(now, out)
        return b"".join(out)

    def tick(self, now: float) -> bytes:
        """Time has passed without data: events that have waited enough come back."""
        out: list[bytes] = []
        self._retry(now, out)
        return b"".join(out)

    def flush(self) -> bytes:
        """The stream has ended: a last line without newline, and all that waits, come back."""
        out: list[bytes] = []
        if self._partial:
            self._line(b"".join(self._partial), None, out, None)
        self._drop_partial()
        self._skipping = False
        while self._waiting:
            self._release(out)
        return b"".join(out)

    @property
    def waiting(self) -> int:
        """Events that wait for their flow record."""
        return len(self._waiting)

    @property
    def line_number(self) -> int:
        """Number of the last whole line that was fed; the first is 1, empty ones count."""
        return self._line_number

    @property
    def oldest_waiting(self) -> int | None:
        """Number of the earliest line that still waits: all before it have come back."""
        return self._waiting[0].number if self._waiting else None

    def stats(self) -> dict[str, Any]:
        """Counters: `lines` = `events` + `rejected` + `waiting`, at any time.

        `outcomes`: exact, time, late, none, other_proto (not TCP: no proxied leg carries it),
        no_tuple, already; they add up to `events`. `oddities`: see `warnings`.
        """
        return {
            "lines": self._lines_seen,
            "events": self._outcomes.total(),
            "rejected": self._rejected,
            "waiting": len(self._waiting),
            "types": dict(self._types),
            "outcomes": dict(self._outcomes),
            "oddities": dict(self._oddities),
            "alerts": self.alerts.alerts,
        }

    def warnings(self) -> list[str]:
        """One sentence for each kind of odd line."""
        return [
            f"EVE: {count} line{'s' if count > 1 else ''} {SENTENCES[name]}"
            f" (first: line {self._first[name]})"
            for name, count in sorted(self._oddities.items())
        ]

    # Lines.

    def _keep(self, piece: bytes) -> None:
        if self._skipping or not piece:
            return
        self._partial.append(piece)
        self._partial_bytes += len(piece)
        if self._partial_bytes > MAX_LINE_BYTES:
            self._lines_seen += 1
            self._line_number += 1
            self._reject(b"".join(self._partial), self._line_number, "too_long")
            self._drop_partial()
            self._skipping = True

    def _drop_partial(self) -> None:
        self._partial.clear()
        self._partial_bytes = 0

    def _block(
        self, data: bytes, until: float | None, out: list[bytes], ids: Places | None
    ) -> None:
        """Whole lines: runs of usual events at once, whatever stands between them by itself."""
        self._fast.begin(with_ids=ids is not None, blocks=True)
        at, size = 0, len(data)
        while at < size:
            written, at, count = self._fast.blocks.correct(data, at, ids)
            if count:
                out.append(written)
                self._line_number += count
                self._lines_seen += count
            if at < size:
                end = data.index(b"\n", at)
                line = data[at:end]
                id_ = None if ids is None else next(ids.behind(at).each((line,)))
                self._usual(line, until, out, id_)
                at = end + 1

    def _lines(
        self, lines: list[bytes], until: float | None, out: list[bytes], ids: Ids | None
    ) -> None:
        """As `_usual` for each."""
        self._fast.begin(with_ids=ids is not None)
        each: Iterator[bytes | None] = repeat(None) if ids is None else ids.each(lines)
        # Ids come on demand: a line that lacks one is told by nothing, and is not lost.
        for line, id_ in zip_longest(lines, islice(each, len(lines))):
            self._usual(line, until, out, id_)

    def _usual(self, line: bytes, until: float | None, out: list[bytes], id_: bytes | None) -> None:
        """As `_line`, a usual event by the fast path."""
        try:
            # A long line is worth a word, and an empty one is none.
            event = orjson.loads(line) if len(line) <= LONG_LINE_BYTES else None
        except orjson.JSONDecodeError:
            event = None
        if event is None:
            self._line(line, until, out, id_)
            return
        held = self._held and self._held.follows(event)
        written = None if held else self._fast.correct(line, event, id_)
        self._line_number += 1
        self._lines_seen += 1
        if written is None:
            self._correct(line, event, self._line_number, until, out, id_)
        else:
            out.append(written)

    def _line(self, line: bytes, until: float | None, out: list[bytes], id_: bytes | None) -> None:
        self._line_number = number = self._line_number + 1
        if not line:
            return
        self._lines_seen += 1
        if len(line) > LONG_LINE_BYTES:
            if len(line) > MAX_LINE_BYTES:
                self._reject(line, number, "too_long")
                return
            self._odd("long_line", number)
        try:
            event = orjson.loads(line)
        except orjson.JSONDecodeError:
            self._mend(line, number, until, out, id_, may_split=True)
        else:
            self._correct(line, event, number, until, out, id_)

    def _odd(self, name: str, number: int) -> None:
        self._oddities[name] += 1
        self._first.setdefault(name, number)

    def _reject(self, line: bytes, number: int, name: str) -> None:
        self._rejected += 1
        self._odd(name, number)
        if self._rejects is not None:
            self._rejects(line[:REJECT_BYTES] + b"\n")

    def _pass(self, line: bytes, event: Event, outcome: str, out: list[bytes]) -> None:
        out.append(line)
        out.append(b"\n")
        self._outcomes[outcome] += 1
        self._count_type(event)

    def _count_type(self, event: Event) -> None:
        kind = event.get("event_type")
        if type(kind) is not str or not self._is_counted(kind):
            kind = "other"
        self._types[kind] = self._types.get(kind, 0) + 1

    def _is_counted(self, kind: str) -> bool:
        if kind in self._types:
            return True
        return len(self._types) < MAX_TYPES and kind.isascii() and kind.isidentifier()

    # Events. `until` is when an event has waited enough; None if it may not wait (any more).

    def _correct(
        self,
        line: bytes,
        event: object,
        number: int,
        until: float | None,
        out: list[bytes],
        id_: bytes | None,
    ) -> None:
        # 1. Events that are none of ours.
        if type(event) is not dict:
            self._reject(line, number, "not_an_object")
            return
        if "peeltap" in event:
            self._pass(line, event, "already", out)
            return
        src_ip, dest_ip = event.get("src_ip"), event.get("dest_ip")
        if src_ip is None and dest_ip is None:
            self._pass(line, event, "no_tuple", out)
            return
        # 2. The 5-tuple by which it is looked up.
        src_port, dest_port = event.get("src_port"), event.get("dest_port")
        proto = event.get("proto")
        if proto != "TCP":
            quoted = None
            if type(proto) is str and "ICMP" in proto:
                quoted = quoted_tuple(event, self._seed)
            if quoted is None:
                self._finish(line, event, number, None, "other_proto", out, id_)
                return
            src_ip, src_port, dest_ip, dest_port = quoted
        if not (
            type(src_ip) is str
            and type(dest_ip) is str
            # Half a surrogate pair, which only the lenient parser reads, is no text for a file.
            and src_ip.isascii()
            and dest_ip.isascii()
            and type(src_port) is int
            and type(dest_port) is int
            and 0 <= src_port <= 0xFFFF
            and 0 <= dest_port <= 0xFFFF
        ):
            self._odd("bad_address_field", number)
            self._finish(line, event, number, None, "none", out, id_)
            return
        # 3. Its connection, by 5-tuple and time; a flow's events stay in their order.
        if until is not None and self._held and self._held.follows(event):
            self._wait(until, number, line, event, id_, out)
            return
        at = self._clock.parse(event.get("timestamp"))
        begun = flow_start(event)
        started = None if begun is None else self._clock.parse(begun)
        match = self._store.lookup(
            "TCP",
            src_ip,
            src_port,
            dest_ip,
            dest_port,
            _FAR if at is None else at,
            started=started,
            vlan=vlan_tags(event) if "vlan" in event else (),
        )
        # An earlier epoch's record may be all there is as yet.
        if until is not None and (match is None or match.confidence == "late"):
            self._wait(until, number, line, event, id_, out)
            return
        # 4. The correction.
        if at is None and started is None:
            self._odd("bad_timestamp", number)
        outcome = "none" if match is None else match.confidence
        self._finish(line, event, number, match, outcome, out, id_)

    def _finish(
        self,
        line: bytes,
        event: Event,
        number: int,
        match: Match | None,
        outcome: str,
        out: list[bytes],
        id_: bytes | None,
    ) -> None:
        changes: Changes = []
        if match is None:
            member = _NONE
        else:
            member = peeltap_object(event, match, self._seed)
            changes = corrections(event, match, self._seed)
        if id_ is not None:
            member = {**member, "id": id_.decode("ascii")}
        written = self._write(line, event, number, changes, member)
        if event.get("event_type") == "alert":
            self.alerts.add(event, None if match is None else match.record)
        self._pass(written, event, outcome, out)

    def _write(
        self, line: bytes, event: Event, number: int, changes: Changes, member: Event
    ) -> bytes:
        """The line with `changes` made and `peeltap` added; `event` is changed likewise."""
        try:
            faithful = orjson.dumps(event) == line
        except TypeError:
            # A number or a string that only the lenient parser reads.
            faithful = False
        written = b""
        if not faithful:
            if _BIG_NUMBER.search(line):
                self._odd("big_number", number)
            written = splice(
                line,
                {
                    (*path, key): orjson.dumps(value)
                    for path, values in changes
                    for key, value in values.items()
                },
                {"peeltap": orjson.dumps(member)},
            )
        for path, values in changes:
            holder = event
            for name in path:
                holder = holder[name]
            holder.update(values)
        if not faithful:
            return written
        # Writing what was parsed gave the same bytes, so this differs from the line in the changed
        # values and the new member only.
        event["peeltap"] = member
        return orjson.dumps(event)

    # Waiting.

    def _wait(
        self,
        until: float,
        number: int,
        line: bytes,
        event: Event,
        id_: bytes | None,
        out: list[bytes],
    ) -> None:
        self._waiting.append(_Waiting(until, number, line, id_))
        self._held.add(event)
        if len(self._waiting) > self._wait_events:
            self._release(out)

    def _release(self, out: list[bytes]) -> None:
        """The oldest waiting event goes, as it is."""
        _, number, line, id_ = self._waiting.popleft()
        event = _reparse(line)
        self._held.remove(event)
        self._correct(line, event, number, None, out, id_)

    def _retry(self, now: float, out: list[bytes]) -> None:
        waiting = self._waiting
        if not waiting:
            return
        if now >= self._retry_at:
            version = self._store.version
            if version != self._seen_version:
                self._seen_version = version
                self._retry_at = now + RETRY_SECONDS
                # Each is taken out at the left and, if it has to wait on, put back at the right;
                # what follows it, follows it again.
                self._held.clear()
                for _ in range(len(waiting)):
                    until, number, line, id_ = waiting.popleft()
                    self._correct(line, _reparse(line), number, until, out, id_)
        while waiting and waiting[0].until <= now:
            self._release(out)
            # Others may have waited for this one alone.
            self._seen_version = -1

    # Lines that the fast parser refuses.

    def _mend(
        self,
        line: bytes,
        number: int,
        until: float | None,
        out: list[bytes],
        id_: bytes | None,
        *,
        may_split: bool,
    ) -> None:
        if line.isspace():
            self._lines_seen -= 1
            return
        text = line.removeprefix(_BOM)
        odd: list[str] = []
        try:
            text.decode()
        except UnicodeDecodeError:
            text = text.decode("utf-8", "replace").encode()
            odd.append("invalid_utf8")
        event, why = lenient(text, odd)
        if event is None and _CONTROL.search(text):
            escaped = _STRING.sub(_escape_controls, text)
            if escaped != text:
                odd.append("control_character")
                event, why = lenient(escaped, odd)
                text = escaped
        if event is not None:
            for name in odd:
                self._odd(name, number)
            self._correct(text, event, number, until, out, id_)
            return
        # A writer that died in the middle of a line, and the next one's first.
        at = line.rfind(_EVENT_HEAD)
        if may_split and at > 0:
            self._odd("two_on_a_line", number)
            self._lines_seen += 1
            second = None if id_ is None else of_part(id_, 1)
            for part, its in ((line[:at], id_), (line[at:], second)):
                try:
                    event = orjson.loads(part)
                except orjson.JSONDecodeError:
                    self._mend(part, number, until, out, its, may_split=False)
                else:
                    self._correct(part, event, number, until, out, its)
            return
        self._reject(line, number, why)


def _reparse(line: bytes) -> object:
    """A waiting line's value; it has been parsed once, and mended if need be."""
    event, _ = lenient(line, [])
    return event


def _escape_controls(string: re.Match[bytes]) -> bytes:
    return _CONTROL.sub(lambda c: b"\\u%04x" % c[0][0], string[0])
