"""The block path: events are corrected by the newest flow records without Python in between.

    whole lines ──> events whose record the core has, too ────> corrected lines
                    or of a connection that was decided before
                         └─ the first other one: back, and it is told what was decided of that

`peeltap_core.KnownEvents` reads the text of an event as far as is needed to find its connection and
its moment, and puts the answer in. It takes less than the fast path does and nothing that the fast
path would treat in another way: a property test holds the ways against each other.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, Final

from orjson import dumps, loads
from peeltap_core import FlowIndex, KnownEvents

from .flows import Match
from .ids import Places
from .summary import AlertSummary

# About 1 KB each; all are forgotten together.
MAX_ANSWERS: Final = 1 << 14

# Beyond all moments of events.
_FAR: Final = 1 << 62

_ENDS: Final = ("src_ip", "src_port", "dest_ip", "dest_port")


class BlockPath:
    """Corrects runs of events; `types`, `outcomes` and `alerts` are the caller's counters."""

    def __init__(
        self,
        flows: FlowIndex | None,
        *,
        seed: int,
        alerts: AlertSummary,
        types: dict[str, int],
        outcomes: Counter[str],
    ) -> None:
        self._known = KnownEvents(flows, seed=seed, tells_alerts=alerts.tells)
        self.hold = self._known.hold
        self.release = self._known.release
        self.release_all = self._known.release_all
        self._alerts = alerts
        self._types = types
        self._outcomes = outcomes
        self._allowed: set[str] = set()

    def clear(self) -> None:
        """The store has changed: nothing that was decided holds any more."""
        self._known.clear()

    def allow(self, kind: str) -> None:
        """Events of this type are counted already, and may be taken."""
        if kind not in self._allowed:
            self._allowed.add(kind)
            self._known.allow(kind)

    def learn(self, line: bytes, match: Match, root: dict[str, Any], member: bytes) -> None:
        """What was decided of `line`: what changes at its root, and `peeltap` up to confidence."""
        if len(self._known) >= MAX_ANSWERS:
            self.clear()
        src_ip, src_port, dest_ip, dest_port = (dumps(root[key]) if root else b"" for key in _ENDS)
        hash_ = root.get("community_id")
        self._known.learn(
            line,
            # A record may tell a year that no 64 bits hold, and no event is of.
            max(match.since, -_FAR),
            min(match.until, _FAR),
            (src_ip, src_port, dest_ip, dest_port) if root else None,
            None if hash_ is None else dumps(hash_),
            member,
            match.record,
        )

    def correct(self, data: bytes, at: int, ids: Places | None) -> tuple[bytes, int, int]:
        """The events of `data`, whole lines, from `at` to the first that is for the other paths.

        Returns the corrected lines, where that one begins, and how many were corrected.
        """
        file, offset = (None, 0) if ids is None else ids
        written, at, lines = self._known.correct(data, at, file, offset)
        if lines:
            self._count(data)
        return written, at, lines

    def _count(self, data: bytes) -> None:
        exact, time, other, types, alerts, told = self._known.take()
        for name, count in (("exact", exact), ("time", time), ("other_proto", other)):
            if count:
                self._outcomes[name] += count
        for kind, count in types.items():
            self._types[kind] += count
        if not self._alerts.tells:
            self._alerts.count(alerts)
        for record, start, end in told:
            self._alerts.add(loads(data[start:end]), record)
