"""The map: which decoys there are, by the segment that they lie in, and which of them were touched.

Names are those of the enrichment, its own and the topology file's. A decoy without a name gets its
place on the map when it is touched.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import Any, Final

from pipeline.page.alerts import Touch
from pipeline.summary import printable
from suricata.enrichment.networks import Networks
from suricata.enrichment.settings import Named

ATTACKERS: Final = 10
"""The last ones are drawn, with lines to what they touched."""

STRANGERS: Final = 100
"""Decoys without a name that are drawn; touches of others are counted."""

DRAWN: Final = 300
ADDRESSES: Final = 4
ELSEWHERE: Final = "elsewhere"
ALL: Final = "decoys"
"""What the frame of those in no segment is called: where there are segments, and where not."""


class _Decoy:
    """One box of the map."""

    def __init__(self, number: int, name: str, addresses: Sequence[str], segment: str) -> None:
        self.number = number
        self.name = name
        self.addresses = [_plain(one) for one in addresses[:ADDRESSES]]
        self.segment = segment
        self.alerts = self.connections = 0
        self.last: str | None = None

    def as_dict(self) -> dict[str, Any]:
        return {
            "id": self.number,
            "name": self.name,
            "addresses": self.addresses,
            "alerts": self.alerts,
            "connections": self.connections,
            "last": self.last,
        }


class Decoys:
    """The decoys and who touched them; used by one thread."""

    def __init__(self, decoys: Iterable[Named] = (), segments: Iterable[Named] = ()) -> None:
        named = list(segments)
        self._segments = Networks((one, segment.name) for segment in named for one in _of(segment))
        self._order = [*dict.fromkeys(segment.name for segment in named), ELSEWHERE]
        self._elsewhere = ELSEWHERE if named else ALL
        self._all: list[_Decoy] = []
        known: list[tuple[str, _Decoy]] = []
        for decoy in decoys:
            box = self._add(decoy.name, decoy.addresses)
            known += [(address, box) for address in decoy.addresses]
        self._known = Networks(known)
        self._strangers: dict[str, _Decoy] = {}
        self._attackers: OrderedDict[str, dict[int, None]] = OrderedDict()
        self._others = 0
        self.version = 0

    def _add(self, name: str, addresses: Sequence[str]) -> _Decoy:
        # Of a decoy that is a whole network the first address tells the segment.
        segment = self._segments.find(addresses[0].partition("/")[0]) or ELSEWHERE
        box = _Decoy(len(self._all), printable(name), addresses, segment)
        self._all.append(box)
        return box

    def touch(self, touches: Iterable[Touch]) -> None:
        """Take account of them."""
        for touch in touches:
            self.version += 1
            box = self._known.find(touch.decoy) or self._stranger(touch.decoy)
            if box is None:
                self._others += 1
                continue
            if touch.alert:
                box.alerts += 1
            else:
                box.connections += 1
            box.last = touch.at
            if touch.attacker is not None:
                reached = self._attackers.pop(touch.attacker, {})
                self._attackers[touch.attacker] = {**reached, box.number: None}
                while len(self._attackers) > ATTACKERS:
                    self._attackers.popitem(last=False)

    def _stranger(self, ip: str) -> _Decoy | None:
        box = self._strangers.get(ip)
        if box is None and len(self._strangers) < STRANGERS:
            box = self._strangers[ip] = self._add(ip, [ip])
        return box

    def as_dict(self) -> dict[str, Any]:
        """The map as it is drawn: frames with decoys, the last attackers with what they reached."""
        # What was touched is drawn before what was not.
        drawn = sorted(self._all, key=lambda box: not (box.alerts or box.connections))[:DRAWN]
        frames = []
        for segment in dict.fromkeys(self._order):
            inside = sorted(
                (box for box in drawn if box.segment == segment), key=lambda box: box.number
            )
            if inside or segment != ELSEWHERE:
                name = self._elsewhere if segment == ELSEWHERE else segment
                frames.append({"name": printable(name), "decoys": [b.as_dict() for b in inside]})
        numbers = {box.number for box in drawn}
        return {
            "frames": frames,
            "attackers": [
                {"ip": ip, "decoys": [one for one in reached if one in numbers]}
                for ip, reached in reversed(self._attackers.items())
            ],
            "undrawn": len(self._all) - len(drawn),
            "others": self._others,
        }


def _plain(address: str) -> str:
    """An address as people write it, a network as it is."""
    return address.removesuffix("/32") if "." in address else address.removesuffix("/128")


def _of(named: Named) -> list[str]:
    return list(named.addresses)
