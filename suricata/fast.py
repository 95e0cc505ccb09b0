"""The fast path: what was decided for one event of a connection serves its next ones.

A connection has a dozen events, all with the same 5-tuple, and the store's answer for the first
holds for the rest. So the answer is kept, together with what it puts into an event: the root's
members that change, and the ready text of `peeltap`.

The rule. A line goes this way only if

1. it is an object, written in the very bytes in which it is written here. Then writing it anew
   differs from it in what is changed here and in nothing else: no key is repeated, no number is
   beyond 64 bits, nothing is spaced or spelt otherwise;
2. it is TCP, with ports that are integers, and has no `peeltap` yet;
3. an answer of the store for the same ends, Community ID and VLAN tags is known, or is given now;
   it is by the observed tuple, and not `late`;
4. the event's moment lies in the time for which the answer holds. The flow's start, where the event
   tells one, *is* the moment; else it is the timestamp.

An event of another protocol than TCP (and than ICMP, which may quote TCP) needs no answer, only 1.
Whatever else comes gets None and takes the general way, with nothing done to it yet. What is
compared are parsed values, never text: a string that looks like a member, inside a value, is a
string. A property test holds the two ways against each other.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, Final

from orjson import OPT_APPEND_NEWLINE, Fragment, JSONEncodeError, dumps

from .blocks import BlockPath
from .eve import (
    Clock,
    Event,
    flow_start,
    nested_corrections,
    peeltap_object,
    root_corrections,
    vlan_tags,
)
from .flows import FlowStore, Match
from .summary import AlertSummary

# About 1.5 KB each. Events of one connection stand near one another.
MAX_ANSWERS: Final = 1 << 14

# A Community ID has 30 characters, a start 31; what is longer is no text of Suricata's.
_MAX_TEXT: Final = 64

# Differs from every value that a JSON text may hold.
_ABSENT: Final = ()

_UNKNOWN: Final = b',"peeltap":{"confidence":"none"}}\n'
_UNKNOWN_ID: Final = b',"peeltap":{"confidence":"none","id":"%b"}}\n'

# Both ends, Community ID and VLAN tags. Ports are integers, the rest is whatever stands there.
_Key = tuple[Any, int, Any, int, Any, "tuple[int, ...]"]

# What stands in an event whose moment lies between the first two (ns, both included): the root's
# members that change, `peeltap` for a moment that is the timestamp and for one that is the flow's
# start, the match, and `peeltap` up to its confidence. Where each event has an id, which stands at
# the end of `peeltap`, its text ends before that. A plain tuple: it is taken apart for each event.
_Answer = tuple[int, int, Event, Any, Any, Match, bytes]


class FastPath:
    """Corrects usual events by answers of `store` that are kept while it does not change.

    `types` and `outcomes` are the caller's counters, `alerts` its summary; all see an event that is
    corrected here as they would on the general way.
    """

    def __init__(
        self,
        store: FlowStore,
        *,
        clock: Clock,
        community_id_seed: int,
        alerts: AlertSummary,
        types: dict[str, int],
        outcomes: Counter[str],
    ) -> None:
        self._store = store
        self._parse_time = clock.parse
        self._seed = community_id_seed
        self._alerts = alerts
        self._types = types
        self._outcomes = outcomes
        self._answers: dict[_Key, _Answer] = {}
        # Those that were given before the store changed; their texts may serve again.
        self._earlier: dict[_Key, _Answer] = {}
        self._moments: dict[str, int] = {}
        self._version = -1
        self._with_ids = False
        self.blocks = BlockPath(
            store.index, seed=community_id_seed, alerts=alerts, types=types, outcomes=outcomes
        )
        self._teaches = False

    def begin(self, *, with_ids: bool = False, blocks: bool = False) -> None:
        """Lines come: what was answered before the store changed has to be asked again.

        `blocks`: the block path sees them first, and wants to know what is decided here.
        """
        self._teaches = blocks
        if with_ids != self._with_ids:
            self._with_ids = with_ids
            self._answers.clear()
            self._earlier.clear()
        version = self._store.version
        if version != self._version:
            self._version = version
            if len(self._earlier) + len(self._answers) > MAX_ANSWERS:
                self._earlier.clear()
            self._earlier.update(self._answers)
            self._answers.clear()
            self.blocks.clear()

    def correct(self, line: bytes, event: object, id_: bytes | None = None) -> bytes | None:
        """The corrected line with its newline, or None if `line` has to take the general way.

        `event` is `line`, parsed; `id_` its id, of every line since `begin` or of none.
        """
        if type(event) is not dict or (id_ is None) is self._with_ids:
            return None
        get = event.get
        kind = get("event_type")
        # The first event of each type is for the general way, which bounds their number.
        if type(kind) is not str or kind not in self._types or "peeltap" in event:
            return None
        if get("proto") != "TCP":
            return self._other_protocol(line, event, kind, id_)
        # 1. Its ends.
        src_port, dest_port = get("src_port"), get("dest_port")
        if type(src_port) is not int or type(dest_port) is not int:
            return None
        vlan = vlan_tags(event) if "vlan" in event else ()
        hash_ = get("community_id", _ABSENT)
        key: _Key = get("src_ip"), src_port, get("dest_ip"), dest_port, hash_, vlan
        # 2. Its moment.
        flow = get("flow")
        named, begun = "alert" in event or "tunnel" in event, None
        if type(flow) is dict:
            named = named or "src_ip" in flow
            begun = flow.get("start")
        if begun is None and "netflow" in event:
            begun = flow_start(event)
        try:
            if begun is None:
                moment = self._parse_time(get("timestamp"))
            else:
                moment = self._moments.get(begun)
                if moment is None:
                    moment = self._remember(begun)
            # 3. The answer.
            answer = self._answers.get(key)
        except TypeError:
            return None  # an object or an array in the place of a text
        if moment is None:
            return None
        if answer is None or not answer[0] <= moment <= answer[1]:
            answer = self._ask(key, event, moment)
            if answer is None:
                return None
        try:
            if dumps(event) != line:
                return None
        except JSONEncodeError:
            return None  # nested too deeply to be written
        # 4. The correction.
        _, _, root, by_time, by_start, match, text = answer
        if self._teaches and match.since <= match.until:
            self.blocks.allow(kind)
            self.blocks.learn(line, match, root, text)
        if root:
            if named:
                for path, values in nested_corrections(event, match.record):
                    holder = event
                    for name in path:
                        holder = holder[name]
                    holder.update(values)
            event.update(root)
        if kind == "alert":
            self._alerts.add(event, match.record)
        self._types[kind] += 1
        if begun is None:
            member = by_time
            self._outcomes["time"] += 1
        else:
            member = by_start
            self._outcomes["exact"] += 1
        event["peeltap"] = member if id_ is None else Fragment(b'%b%b"}' % (member, id_))
        return dumps(event, None, OPT_APPEND_NEWLINE)

    def _remember(self, begun: Any) -> int | None:
        """The moment of a flow's start, which the flow's events repeat."""
        moment = self._parse_time(begun)
        if moment is not None and len(begun) <= _MAX_TEXT:
            if len(self._moments) >= MAX_ANSWERS:
                self._moments.clear()
            self._moments[begun] = moment
        return moment

    def _other_protocol(
        self, line: bytes, event: Event, kind: str, id_: bytes | None
    ) -> bytes | None:
        proto = event.get("proto")
        if type(proto) is not str or "ICMP" in proto:
            return None
        if event.get("src_ip") is None and event.get("dest_ip") is None:
            return None
        try:
            if dumps(event) != line:
                return None
        except JSONEncodeError:
            return None
        if self._teaches:
            self.blocks.allow(kind)
        if kind == "alert":
            self._alerts.add(event, None)
        self._outcomes["other_proto"] += 1
        self._types[kind] += 1
        return line[:-1] + (_UNKNOWN if id_ is None else _UNKNOWN_ID % id_)

    def _ask(self, key: _Key, event: Event, moment: int) -> _Answer | None:
        """The store's answer, kept for the next event if it holds for more than this moment."""
        src_ip, src_port, dest_ip, dest_port, hash_, vlan = key
        if type(src_ip) is not str or type(dest_ip) is not str:
            return None
        if hash_ is not _ABSENT and (type(hash_) is not str or len(hash_) > _MAX_TEXT):
            return None
        # Which of the event's two times it is does not matter to which record it is.
        match = self._store.lookup("TCP", src_ip, src_port, dest_ip, dest_port, moment, vlan=vlan)
        if match is None or match.by == "true" or match.confidence == "late":
            return None
        earlier = self._earlier.pop(key, None)
        answer: _Answer
        if earlier is not None and _says_the_same(earlier[5], match):
            # A live store changes with nearly every batch, but seldom in this connection.
            answer = match.since, match.until, *earlier[2:5], match, earlier[6]
        else:
            member = peeltap_object(event, match, self._seed)
            del member["confidence"]
            text = dumps(member)[:-1]
            answer = (
                match.since,
                match.until,
                root_corrections(event, match, self._seed) or {},
                self._ready(text + b',"confidence":"time"'),
                self._ready(text + b',"confidence":"exact"'),
                match,
                text,
            )
        if match.since <= match.until:
            if len(self._answers) >= MAX_ANSWERS:
                self._answers.clear()
            self._answers[key] = answer
        return answer

    def _ready(self, text: bytes) -> Fragment | bytes:
        """`text`, up to where an event's id stands."""
        return text + b',"id":"' if self._with_ids else Fragment(text + b"}")


def _says_the_same(one: Match, other: Match) -> bool:
    """Whether both put the same into an event of the same ends; their times may differ."""
    return one.reversed == other.reversed and one.by == other.by and one.record == other.record
