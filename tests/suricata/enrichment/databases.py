"""Small files in MaxMind's format, written by a library of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mmdb_writer import MMDBWriter
from netaddr import IPSet

LINKOPING: dict[str, Any] = {
    "city": {"names": {"en": "Linköping", "de": "Linköping"}},
    "continent": {"code": "EU", "names": {"en": "Europe"}},
    "country": {"iso_code": "SE", "names": {"en": "Sweden"}},
    "location": {"latitude": 58.4167, "longitude": 15.6167, "time_zone": "Europe/Stockholm"},
    "postal": {"code": "582 22"},
    "subdivisions": [{"iso_code": "E", "names": {"en": "Östergötland County"}}],
}
BREDBAND = {"autonomous_system_number": 29518, "autonomous_system_organization": "Bredband2 AB"}


def write(path: Path, kind: str, entries: dict[str, Any], *, version: int = 6) -> Path:
    """A database of `entries`: records by network."""
    writer = MMDBWriter(
        ip_version=version,
        ipv4_compatible=version == 6,
        database_type=kind,
        languages=["en"],
        description="made for a test",
        float_type="f64",
    )
    for network, record in entries.items():
        writer.insert_network(IPSet([network]), record)
    # As a careful updater does: another file takes the place.
    made = path.with_suffix(".new")
    writer.to_db_file(str(made))
    return made.replace(path)
