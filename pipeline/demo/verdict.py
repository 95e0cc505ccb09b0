"""What both Suricatas said of each attack, and whether its attacker was named.

The truth is what was played: who made a connection, from which port, to what. Everything else is
read from files of events. On br1 nothing leads from an event to the connection in it, so there a
signature or a kind of conversation counts as seen if it was seen at all.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import orjson

from pipeline.demo.attacks import Step
from pipeline.demo.network import Ends
from pipeline.demo.sides import understood
from reassembly.records import canonical_ip


@dataclass
class Row:
    """One thing that somebody did, in one or several connections.

    `alone` and `tap` are whom the Suricata on br1, and that on vtap0, took for its author, None
    where it saw nothing of the kind; `named` is whom Peeltap made of the latter.
    """

    what: str
    attack: bool
    who: str
    target: Ends
    alone: str | None = None
    tap: str | None = None
    named: str | None = None

    @property
    def right(self) -> bool:
        """Whether the one who did it was named."""
        return self.named == self.who


@dataclass
class Verdict:
    """All rows, how many alerts there were, and who was accused of what he did not do."""

    rows: list[Row] = field(default_factory=list)
    alerts_alone: int = 0
    alerts: int = 0
    blamed: list[str] = field(default_factory=list)
    """Whom the Suricata on br1 took for attackers."""
    wronged: list[str] = field(default_factory=list)
    """Whom an alert names with Peeltap though no attack came from there."""

    @property
    def right(self) -> bool:
        """Whether every author was named, and nobody else."""
        return bool(self.rows) and all(row.right for row in self.rows) and not self.wronged

    @property
    def attackers(self) -> list[str]:
        """Who was named as an attacker, in the order of the rows."""
        return list(dict.fromkeys(row.named for row in self.rows if row.attack and row.named))

    def as_dict(self) -> dict[str, Any]:
        """Give the object that `--json` prints."""
        return {
            "right": self.right,
            "alerts_alone": self.alerts_alone,
            "alerts": self.alerts,
            "blamed": self.blamed,
            "attackers": self.attackers,
            "wronged": self.wronged,
            "rows": [{**asdict(row), "right": row.right} for row in self.rows],
        }


def judge(steps: Sequence[Step], alone: Path, corrected: Path) -> Verdict:
    """Compare what was played with the events of br1's Suricata and with the corrected ones."""
    verdict = Verdict()
    groups: dict[tuple[str, str], list[Step]] = {}
    for step in steps:
        groups.setdefault((step.what, step.who), []).append(step)
    rows = {}
    for key, played in groups.items():
        first = played[0]
        attack = isinstance(first.expected, int)
        rows[key] = Row(first.what, attack, canonical_ip(first.source[0]), first.target)
    seen: dict[int | str, str] = {}
    for event in _events(alone):
        kind = event.get("event_type")
        if kind == "alert":
            verdict.alerts_alone += 1
            verdict.blamed.append(_ip(event, "src"))
        for what in _tells_of(event):
            seen.setdefault(what, _ip(event, "src"))
    for key, played in groups.items():
        rows[key].alone = seen.get(played[0].expected)
    connections = {(step.source, step.target): step for step in steps}
    for event in _events(corrected):
        source, target = _ends(event, "src"), _ends(event, "dest")
        made = connections.get((source, target)) or connections.get((target, source))
        if event.get("event_type") == "alert":
            verdict.alerts += 1
            if made is None or not isinstance(made.expected, int):
                verdict.wronged.append(source[0])
        if made is None or made.expected not in _tells_of(event):
            continue
        row = rows[made.what, made.who]
        row.named = canonical_ip(made.source[0])
        observed = event.get("peeltap", {}).get("observed", {})
        row.tap = canonical_ip(observed["src_ip"]) if "src_ip" in observed else row.named
    verdict.rows = list(rows.values())
    verdict.blamed = sorted(set(verdict.blamed))
    verdict.wronged = sorted(set(verdict.wronged))
    return verdict


def _events(path: Path) -> Iterator[dict[str, Any]]:
    """Every whole line; the last may be cut where a program was killed."""
    if not path.exists():
        return
    with path.open("rb") as stream:
        for line in stream:
            try:
                yield orjson.loads(line)
            except orjson.JSONDecodeError:
                continue


def _ip(event: dict[str, Any], side: str) -> str:
    text = event.get(f"{side}_ip")
    return canonical_ip(text) if text else ""


def _ends(event: dict[str, Any], side: str) -> Ends:
    return _ip(event, side), event.get(f"{side}_port", 0)


def _tells_of(event: dict[str, Any]) -> set[int | str]:
    """What of `Step.expected` the event shows: its signature, or a conversation understood."""
    kind = event.get("event_type", "")
    if kind == "alert":
        return {event["alert"]["signature_id"]}
    return {kind} if any(understood(kind, event.get(kind))) else set()
