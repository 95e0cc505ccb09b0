"""Attackers by address: one's own, or those that are known already."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Final, Literal

from .networks import Networks
from .settings import PeerSettings
from .watched import EnrichmentError, Watched

MAX_FILE_BYTES: Final = 64 << 20


class PeerList:
    """Says whether an attacker is on the list `name`, and what then becomes of its events."""

    def __init__(self, name: str, settings: PeerSettings) -> None:
        self.name = name
        self.then: Literal["drop", "tag"] = settings.then
        self._fixed = Networks((address, True) for address in settings.addresses)
        self._file = None if settings.file is None else Watched(settings.file, load_peers)

    def holds(self, ip: str) -> bool:
        """Whether `ip`, a valid address, is on it."""
        if self._fixed.find(ip) is not None:
            return True
        return self._file is not None and self._file.value.find(ip) is not None

    def refresh(self, now: float) -> None:
        """Read the file again if it has changed."""
        if self._file is not None:
            self._file.refresh(now)

    @property
    def trouble(self) -> str | None:
        """What is wrong with the file, if anything is."""
        return None if self._file is None else self._file.trouble

    def __len__(self) -> int:
        return len(self._fixed) + (0 if self._file is None else len(self._file.value))


def load_peers(path: Path) -> Networks[bool]:
    """The addresses and networks in a file, one a line; raises EnrichmentError."""
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise EnrichmentError(f"{path} has more than {MAX_FILE_BYTES >> 20} MiB; shorten it")
        text = path.read_text("utf-8", "replace")
    except OSError as error:
        raise EnrichmentError(
            f"{path} cannot be read ({error.strerror}); make it readable, or name another"
        ) from None
    entries = []
    for number, line in enumerate(text.splitlines(), 1):
        entry = line.partition("#")[0].strip()
        if not entry:
            continue
        try:
            entries.append((str(ipaddress.ip_network(entry, strict=False)), True))
        except ValueError:
            raise EnrichmentError(
                f"{path}, line {number}: {entry[:64]!r} is no address and no network;"
                " allowed: 192.0.2.1, 192.0.2.0/24"
            ) from None
    return Networks(entries)
