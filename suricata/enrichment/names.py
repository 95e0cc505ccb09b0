"""Decoys, segments and agents by address."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..shapes.ends import Ends
from .networks import Networks
from .settings import Named


class Names:
    """Names the attacked decoy, the segment that it lies in, and the agent that was touched.

    The agent is who connects on the proxied leg: the address that the flow record observed.
    """

    def __init__(
        self,
        decoys: Iterable[Named] = (),
        segments: Iterable[Named] = (),
        agents: Iterable[Named] = (),
    ) -> None:
        self._decoys, self._segments, self._agents = map(_table, (decoys, segments, agents))

    def add(self, peeltap: dict[str, Any], roles: Ends) -> None:
        """Put into `peeltap` what is known by name."""
        for key, table, ip in (
            ("decoy", self._decoys, roles.decoy.ip),
            ("segment", self._segments, roles.decoy.ip),
            ("agent", self._agents, roles.leg_attacker.ip),
        ):
            found = None if ip is None else table.find(ip)
            if found is not None:
                peeltap[key] = found

    def decoy(self, ip: str) -> str | None:
        """The name of the decoy at `ip`, a valid address."""
        found = self._decoys.find(ip)
        return None if found is None else found["name"]


def _table(entries: Iterable[Named]) -> Networks[dict[str, Any]]:
    return Networks((address, _member(one)) for one in entries for address in one.addresses)


def _member(one: Named) -> dict[str, Any]:
    return {"name": one.name, "tags": list(one.tags)} if one.tags else {"name": one.name}
