"""All that is added to one event."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..shapes.ends import Ends
from .geoip import Geoip
from .lists import PeerList
from .names import Names
from .reverse_dns import ReverseNames
from .settings import EnrichmentSettings, Named


class Enrichment:
    """Adds to the `peeltap` of events what the settings ask for.

    `segments` and `decoys` beyond the settings' own: the topology's, which the caller has read.
    Raises EnrichmentError where a file cannot be had.
    """

    def __init__(
        self,
        settings: EnrichmentSettings,
        *,
        decoys: Iterable[Named] = (),
        segments: Iterable[Named] = (),
    ) -> None:
        # The first of two with the same prefix counts: what was written by hand.
        self.names = Names(
            [*settings.decoys, *decoys], [*settings.segments, *segments], settings.agents
        )
        self._lists = [
            PeerList(name, peers)
            for name, peers in (("allow", settings.allow), ("deny", settings.deny))
            if peers is not None
        ]
        self._geoip = None if settings.geoip is None else Geoip(settings.geoip)
        self._reverse = ReverseNames(settings.nameservers) if settings.reverse_dns else None
        self._dropped = 0

    def start(self) -> None:
        """Begin the threads that there are."""
        if self._reverse is not None:
            self._reverse.start()

    def stop(self) -> None:
        """End them."""
        if self._reverse is not None:
            self._reverse.stop()

    def add(self, peeltap: dict[str, Any], roles: Ends) -> bool:
        """Add what is known of both ends; False: the event goes nowhere.

        `peeltap` is changed. `allow` comes before `deny`: what is one's own is no enemy.
        """
        self.names.add(peeltap, roles)
        ip = roles.attacker.ip
        if ip is None:
            return True
        # 1. Of whom is left out nobody need ask anything.
        listed = next((peers for peers in self._lists if peers.holds(ip)), None)
        if listed is not None and listed.then == "drop":
            self._dropped += 1
            return False
        # 2. What is known of the others.
        attacker: dict[str, Any] = {} if self._geoip is None else dict(self._geoip.find(ip))
        name = None if self._reverse is None else self._reverse.name(ip)
        if name is not None:
            attacker["domain"] = name
        if listed is not None:
            attacker["lists"] = [listed.name]
        if attacker:
            peeltap["attacker"] = attacker
        return True

    def refresh(self, now: float) -> None:
        """Look after files that may have changed; `now` as for `Watched`."""
        for peers in self._lists:
            peers.refresh(now)
        if self._geoip is not None:
            self._geoip.refresh(now)

    def status(self) -> dict[str, Any]:
        """Events dropped, entries of lists, what the resolver did, and what is wrong."""
        troubles = [peers.trouble for peers in self._lists]
        troubles.append(None if self._geoip is None else self._geoip.trouble)
        return {
            "dropped": self._dropped,
            "lists": {peers.name: len(peers) for peers in self._lists},
            "reverse_dns": None if self._reverse is None else self._reverse.status(),
            "troubles": [trouble for trouble in troubles if trouble is not None],
        }
