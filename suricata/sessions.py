"""Sessions: all that one attacker did within a window, on whatever decoys and legs, as one story.

    event ──> peer known? ──> its session ──> `peeltap.session`
                                   └──> every `summary_seconds`, and at its end: a summary event

A session begins with an attacker's first event and ends `window_seconds` after its last. Its id is
made of the attacker and of the moment of the first event, so that whoever begins with the same
event, after a crash or on another machine, arrives at the same id.

The clock is that of the events: a backlog of yesterday makes yesterday's sessions. While no event
comes it goes on with the caller's.

Only attackers count that a header named; the proxies themselves are nobody's story. A connection
that was seen on two legs, the agent's and the host's, is one: it is told by its true ends.

Everything is bounded: sessions (the one that was silent for longest ends first), and what each
remembers of decoys, ports and signatures; what goes beyond is counted.

Source for timestamps: EVE's `%Y-%m-%dT%H:%M:%S.%f%z`.
"""

from __future__ import annotations

import hashlib
import ipaddress
from collections import OrderedDict
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final

from .shapes.ends import Ends
from .shapes.values import Event, child, number, text

MAX_DECOYS: Final = 64
MAX_PORTS: Final = 64
MAX_SIGNATURES: Final = 64
MAX_AGENTS: Final = 16
MAX_CONNECTIONS: Final = 1 << 16

_SECOND: Final = 1_000_000_000
_MAX_NAME: Final = 256
_EVENT_TYPE: Final = "peeltap_session"

Connection = tuple[str, str | None, int | None, str | None, int | None]


@dataclass(slots=True)
class Session:
    """One attacker's story so far; times in nanoseconds since 1970."""

    peer: str
    first: int
    last: int
    id: str
    events: int = 0
    alerts: int = 0
    connections: int = 0
    bytes_to_server: int = 0
    bytes_to_client: int = 0
    decoys: dict[str, list[int]] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    signatures: dict[str, list[Any]] = field(default_factory=dict)
    agents: list[str] = field(default_factory=list)
    others: dict[str, int] = field(default_factory=dict)
    attacker: dict[str, Any] = field(default_factory=dict)
    summaries: int = 0
    summed_at: int = 0
    summed_events: int = 0


class SessionTable:
    """The sessions that go on. `note` each event, `due` from time to time.

    `seconds`: as in `SessionSettings`. `max_connections`: how many connections are told apart, of
    all sessions together, to count each of them once.
    """

    def __init__(
        self,
        *,
        window_seconds: float = 900.0,
        summary_seconds: float = 300.0,
        sessions: int = 10_000,
        ipv6_prefix: int = 128,
        max_connections: int = MAX_CONNECTIONS,
    ) -> None:
        self._window = int(window_seconds * _SECOND)
        self._interval = int(summary_seconds * _SECOND)
        self._max = sessions
        self._prefix = ipv6_prefix
        self._max_connections = max_connections
        # The one whose last event is the oldest stands first.
        self._sessions: OrderedDict[str, Session] = OrderedDict()
        # Whether its bytes have been counted.
        self._connections: OrderedDict[Connection, bool] = OrderedDict()
        # By the moment of the next summary; each open session with something new is in it.
        self._due: OrderedDict[str, int] = OrderedDict()
        self._changed: set[str] = set()
        self._ended: list[Session] = []
        self._now = 0
        self._now_at = 0.0
        self._counts = {"begun": 0, "ended": 0, "evicted": 0, "summaries": 0}

    def __len__(self) -> int:
        return len(self._sessions)

    def note(self, event: Event, roles: Ends, at: int | None, now: float) -> str | None:
        """The id of the session that the event belongs to, None if to none.

        `at`: the event's time, nanoseconds since 1970, or None; `now`: seconds of the caller's
        clock, which does not run backwards.
        """
        if not roles.proxied or not roles.known or roles.attacker.ip is None:
            return None
        self._advance(at, now)
        moment = self._now if at is None else at
        peer = peer_of(roles.attacker.ip, self._prefix)
        session = self._sessions.get(peer)
        # A late event neither begins a new story nor ends the one that goes on.
        if session is None or moment - session.last > self._window:
            if session is not None:
                self._end(session)
            session = self._begin(peer, moment)
        session.last = max(session.last, moment)
        self._sessions.move_to_end(peer)
        self._changed.add(peer)
        if peer not in self._due:
            self._due[peer] = session.summed_at + self._interval
        self._count(session, event, roles)
        return session.id

    def due(self, now: float) -> list[Event]:
        """Summaries of sessions that have ended, and of those that went on for long enough."""
        self._advance(None, now)
        for session in self._silent():
            self._end(session)
        out = [self._summary(session, "ended") for session in self._ended]
        self._ended.clear()
        for peer, at in [item for item in self._due.items() if item[1] <= self._now]:
            del self._due[peer]
            session = self._sessions[peer]
            out.append(self._summary(session, "open"))
            self._changed.add(peer)
            session.summed_at = max(self._now, at)
        return out

    def changes(self) -> tuple[dict[str, dict[str, Any]], list[str]]:
        """Since the last `saved`: sessions that changed, by peer, and peers that have none now."""
        here = {peer: self._sessions.get(peer) for peer in self._changed}
        changed = {peer: dump(session) for peer, session in here.items() if session is not None}
        return changed, [peer for peer, session in here.items() if session is None]

    def saved(self) -> None:
        """What `changes` told is safe."""
        self._changed.clear()

    def restore(self, kept: list[dict[str, Any]]) -> None:
        """Go on with sessions that `changes` told before a restart; broken ones are left out."""
        found = [session for one in kept if (session := load(one)) is not None]
        for session in sorted(found, key=lambda one: one.last)[-self._max :]:
            self._sessions[session.peer] = session
            if session.events > session.summed_events:
                self._due[session.peer] = session.summed_at + self._interval
            self._now = max(self._now, session.last)

    def status(self) -> dict[str, int]:
        """Counters, and the sessions that go on."""
        return {**self._counts, "open": len(self._sessions)}

    # Time.

    def _advance(self, at: int | None, now: float) -> None:
        """The events' own clock goes on with the caller's."""
        if self._now:
            self._now += max(0, int((now - self._now_at) * _SECOND))
        self._now_at = now
        # One event from the far future must not end every session that comes after it.
        if at is not None and (at > self._now or self._now - at > 2 * self._window):
            self._now = at

    def _silent(self) -> list[Session]:
        out = []
        for session in self._sessions.values():
            if self._now - session.last <= self._window:
                break
            out.append(session)
        return out

    # Sessions.

    def _begin(self, peer: str, at: int) -> Session:
        while len(self._sessions) >= self._max:
            self._counts["evicted"] += 1
            self._end(next(iter(self._sessions.values())))
        session = Session(peer, at, at, session_id(peer, at), summed_at=at)
        self._sessions[peer] = session
        self._counts["begun"] += 1
        return session

    def _end(self, session: Session) -> None:
        del self._sessions[session.peer]
        self._due.pop(session.peer, None)
        self._changed.add(session.peer)
        self._ended.append(session)
        self._counts["ended"] += 1

    def _count(self, session: Session, event: Event, roles: Ends) -> None:
        session.events += 1
        peeltap = child(event, "peeltap")
        # 1. Where.
        decoy, port = roles.decoy
        if decoy is not None and (decoy in session.decoys or _room(session, "decoys", MAX_DECOYS)):
            ports = session.decoys.setdefault(decoy, [])
            if port is not None and port not in ports:
                if len(ports) < MAX_PORTS:
                    ports.append(port)
                else:
                    session.others["ports"] = session.others.get("ports", 0) + 1
            name = text(child(peeltap, "decoy").get("name"))
            if name is not None:
                session.names[decoy] = name[:_MAX_NAME]
        agent = text(child(peeltap, "agent").get("name")) or roles.leg_attacker.ip
        if agent is not None and agent not in session.agents and len(session.agents) < MAX_AGENTS:
            session.agents.append(agent[:_MAX_NAME])
        # 2. What.
        if event.get("event_type") == "alert":
            session.alerts += 1
            self._sign(session, child(event, "alert"))
        # 3. How much: each connection once, whichever legs it was seen on.
        key: Connection = (session.id, roles.attacker.ip, roles.attacker.port, decoy, port)
        counted = self._connections.get(key)
        if counted is None:
            session.connections += 1
            counted = False
        flow = child(event, "flow")
        if event.get("event_type") == "flow" and not counted:
            session.bytes_to_server += number(flow.get("bytes_toserver")) or 0
            session.bytes_to_client += number(flow.get("bytes_toclient")) or 0
            counted = True
        self._connections[key] = counted
        self._connections.move_to_end(key)
        if len(self._connections) > self._max_connections:
            self._connections.popitem(last=False)
        # 4. Who.
        attacker = child(peeltap, "attacker")
        if attacker:
            session.attacker = attacker

    def _sign(self, session: Session, alert: Event) -> None:
        sid, name = number(alert.get("signature_id")), text(alert.get("signature")) or ""
        key = str(sid) if sid is not None else name[:_MAX_NAME]
        row = session.signatures.get(key)
        if row is not None:
            row[2] += 1
        elif _room(session, "signatures", MAX_SIGNATURES):
            session.signatures[key] = [sid, name[:_MAX_NAME], 1]

    def _summary(self, session: Session, state: str) -> Event:
        session.summaries += 1
        session.summed_events = session.events
        self._counts["summaries"] += 1
        at = max(self._now, session.last) if state == "open" else session.last
        peeltap: Event = {"session": session.id}
        if session.attacker:
            peeltap["attacker"] = session.attacker
        # Last, as in every event.
        peeltap["id"] = f"{session.id}.{session.summaries}"
        return {
            "timestamp": timestamp(at),
            "event_type": _EVENT_TYPE,
            "src_ip": session.peer,
            "summary": summary(session, state),
            "peeltap": peeltap,
        }


def _room(session: Session, name: str, most: int) -> bool:
    """Whether one more may be remembered; what may not is counted."""
    if len(getattr(session, name)) < most:
        return True
    session.others[name] = session.others.get(name, 0) + 1
    return False


def summary(session: Session, state: str) -> dict[str, Any]:
    """What a session comes to; `others` counts what was too much to be told apart."""
    told: dict[str, Any] = {
        "state": state,
        "first": timestamp(session.first),
        "last": timestamp(session.last),
        "events": session.events,
        "alerts": session.alerts,
        "connections": session.connections,
        "bytes_to_server": session.bytes_to_server,
        "bytes_to_client": session.bytes_to_client,
        "decoys": [
            {"ip": ip, **({"name": session.names[ip]} if ip in session.names else {})}
            | {"ports": sorted(ports)}
            for ip, ports in session.decoys.items()
        ],
        "agents": session.agents[:],
        "signatures": [
            {"signature_id": sid, "signature": name, "count": count}
            for sid, name, count in session.signatures.values()
        ],
    }
    if session.others:
        told["others"] = dict(session.others)
    return told


@lru_cache(maxsize=65_536)
def peer_of(ip: str, ipv6_prefix: int) -> str:
    """What stands for the attacker at `ip`, a valid address: it, or its IPv6 prefix's first."""
    if ":" not in ip or ipv6_prefix == 128:
        return ip
    network = ipaddress.IPv6Network((ip, ipv6_prefix), strict=False)
    return network.network_address.exploded


def session_id(peer: str, first: int) -> str:
    """The id of the session that `peer` began at `first` (nanoseconds)."""
    # A name, no secret: it has to be the same for all who see the same.
    return "s-" + hashlib.blake2b(f"{peer}|{first}".encode(), digest_size=8).hexdigest()


def timestamp(at: int) -> str:
    """Nanoseconds since 1970 as EVE writes them."""
    seconds, rest = divmod(at, _SECOND)
    moment = datetime.fromtimestamp(seconds, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{rest // 1000:06d}+0000"


def dump(session: Session) -> dict[str, Any]:
    """A session as JSON can hold it."""
    return {name: getattr(session, name) for name in _TYPES}


def load(kept: dict[str, Any]) -> Session | None:
    """What `dump` made; None for anything else."""
    if type(kept) is not dict or set(kept) != set(_TYPES):
        return None
    if any(type(kept[name]) is not kind for name, kind in _TYPES.items()):
        return None
    if any(type(ports) is not list for ports in kept["decoys"].values()):
        return None
    rows = kept["signatures"].values()
    if any(type(row) is not list or len(row) != 3 or type(row[2]) is not int for row in rows):
        return None
    return Session(**kept)


_TYPES: Final[dict[str, type]] = {
    "peer": str,
    "first": int,
    "last": int,
    "id": str,
    "events": int,
    "alerts": int,
    "connections": int,
    "bytes_to_server": int,
    "bytes_to_client": int,
    "decoys": dict,
    "names": dict,
    "signatures": dict,
    "agents": list,
    "others": dict,
    "attacker": dict,
    "summaries": int,
    "summed_at": int,
    "summed_events": int,
}
